"""Any volume file, or a folder with one DICOM series, by one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ulite_monai.errors import InputError, reason
from ulite_monai.io.finite import NonFinite
from ulite_monai.io.images import has_deep_colours
from ulite_monai.io.volume import Volume

__all__ = ["NIFTI_SUFFIXES", "load_readers", "read_channels", "read_volume"]

NIFTI_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz", ".gii", ".gii.gz")
ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")


def load_readers(paths: Iterable[str | Path]) -> None:
    """Load what reading these files takes, before threads share it; see `ulite_monai.io.itk_image.load_itk`."""
    if any(str(path).lower().endswith(ITK_SUFFIXES) or has_deep_colours(path) for path in paths):
        from ulite_monai.io.itk_image import load_itk

        load_itk()


def read_volume(path: str | Path, on_nonfinite: NonFinite = "error", resample_tilt: bool = False) -> Volume:
    """Read the volume at `path`.

    Args:
        path: NIfTI, Analyze, NRRD or MetaImage by its suffix; otherwise DICOM: a file, or a folder (searched
            recursively) that holds exactly one series that can be read, or else exactly one DICOM SEG.
        on_nonfinite: what to do about NaN and infinite voxels.
        resample_tilt: resample a tilted DICOM series instead of refusing it.

    Raises:
        InputError: When there isn't exactly one readable volume.
    """
    path = Path(path).expanduser()
    with _told(path):
        return _read(path, on_nonfinite, resample_tilt)


def read_channels(path: str | Path, on_nonfinite: NonFinite = "error") -> list[Volume]:
    """Read the volumes along the fourth axis of a NIfTI file; see `ulite_monai.io.nifti.read_nifti_channels`."""
    from ulite_monai.io.nifti import read_nifti_channels

    path = Path(path).expanduser()
    with _told(path):
        return read_nifti_channels(path, on_nonfinite)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file is an InputError that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever a file provokes deep inside a library
        raise InputError(f"{path}: can't be read ({reason(error)}); copy or export it again.") from error


def _read(path: Path, on_nonfinite: NonFinite, resample_tilt: bool) -> Volume:
    name = path.name.lower()
    if path.is_dir():
        return _read_dicom(path, resample_tilt)
    if name.endswith(NIFTI_SUFFIXES):
        from ulite_monai.io.nifti import read_nifti

        return read_nifti(path, on_nonfinite)
    if name.endswith(ITK_SUFFIXES):
        from ulite_monai.io.itk_image import read_itk_image

        return read_itk_image(path, on_nonfinite)
    return _read_dicom(path, resample_tilt)


def _read_dicom(path: Path, resample_tilt: bool) -> Volume:
    from ulite_monai.io.dicom.tree import find_series
    from ulite_monai.io.dicom.volume import read_series

    series = find_series(path).series
    usable = [one for one in series if one.problem is None or (one.tilt and resample_tilt)]
    if not series:
        from ulite_monai.io.dicom.read_seg import find_segmentation, read_segmentation

        segmentation = find_segmentation(path)
        if segmentation is not None:
            return read_segmentation(segmentation)
        raise InputError(f"{path}: holds no volume that can be read (NIfTI, NRRD, MetaImage or DICOM images).")
    if len(usable) > 1:
        names = ", ".join(f"{one.id} ({one.description or one.modality})" for one in usable)
        raise InputError(f"{path}: holds {len(usable)} DICOM volumes, one is needed: {names}; give one by itself.")
    return read_series((usable or list(series))[0], resample_tilt)
