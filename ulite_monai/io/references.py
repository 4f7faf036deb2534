"""A volume named by one string: a path, or `<folder>#<series id>` for one DICOM series of many."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.finite import NonFinite
from ulite_monai.io.nifti import read_nifti_grid
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.volume import Volume

__all__ = ["header_is_enough", "read_grid", "read_reference", "referred_series"]


def read_reference(reference: str, on_nonfinite: NonFinite = "error", resample_tilt: bool = False) -> Volume:
    """Read the volume that `reference` names.

    Args:
        reference: a path as `read_volume` takes it, or `<folder>#<series id>`.
        on_nonfinite: what to do about NaN and infinite voxels.
        resample_tilt: resample a tilted DICOM series instead of refusing it.

    Raises:
        InputError: When there is no such volume, or it can't be read.
    """
    series = referred_series(reference)
    if series is None:
        return read_volume(reference, on_nonfinite, resample_tilt)
    from ulite_monai.io.dicom.volume import read_series

    return read_series(series, resample_tilt)


def header_is_enough(reference: str) -> bool:
    """Whether the grid of a volume is known without reading its voxels."""
    return reference.lower().endswith((".nii", ".nii.gz"))


@lru_cache  # several ask, and some formats are read whole for it
def read_grid(reference: str) -> tuple[tuple[int, ...], np.ndarray, str]:
    """Shape, affine (4x4, voxel to RAS mm) and DICOM's modality, else "", of a volume that may have tilted slices."""
    if header_is_enough(reference):
        return *read_nifti_grid(reference), ""
    volume = read_reference(reference, "replace", resample_tilt=True)
    modality = volume.source.modality if isinstance(volume.source, DicomSeries) else ""
    return volume.array.shape, volume.affine, modality


def referred_series(reference: str) -> DicomSeries | None:
    """The DICOM series that `reference` names; None when it names a path.

    Raises:
        InputError: When the folder doesn't hold that series.
    """
    folder, mark, name = reference.rpartition("#")
    if not mark or Path(reference).exists():
        return None
    series = _series_below(folder).get(name)
    if series is None:
        raise InputError(f"{folder}: holds no DICOM series {name}.")
    return series


@lru_cache(maxsize=2)  # one tree serves all its series
def _series_below(folder: str) -> dict[str, DicomSeries]:
    from ulite_monai.io.dicom.tree import find_series

    return {series.id: series for series in find_series(folder).series}
