"""A volume named by one string: a path, `<folder>#<series id>` for one DICOM series of many, or `<file>#<number>`
for one channel of a 4D NIfTI file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.finite import NonFinite
from ulite_monai.io.nifti import read_nifti_grid
from ulite_monai.io.read_volume import NIFTI_SUFFIXES, read_channels, read_volume
from ulite_monai.io.volume import Volume

__all__ = [
    "header_grid",
    "header_is_enough",
    "read_grid",
    "read_reference",
    "read_references",
    "referred_channel",
    "referred_file",
    "referred_series",
]


def read_reference(reference: str, on_nonfinite: NonFinite = "error", resample_tilt: bool = False) -> Volume:
    """Read the volume that `reference` names.

    Args:
        reference: a path as `read_volume` takes it, `<folder>#<series id>`, or `<file>#<number>`, from 0.
        on_nonfinite: what to do about NaN and infinite voxels.
        resample_tilt: resample a tilted DICOM series instead of refusing it.

    Raises:
        InputError: When there is no such volume, or it can't be read.
    """
    return read_references([reference], on_nonfinite, resample_tilt)[0]


def read_references(
    references: Sequence[str], on_nonfinite: NonFinite = "error", resample_tilt: bool = False
) -> list[Volume]:
    """Read the volumes that `references` name, the channels of a case; a file that holds several is read once.

    Args:
        references: as `read_reference` takes them.
        on_nonfinite, resample_tilt: as `read_reference` takes them.

    Raises:
        InputError: When one can't be read.
    """
    channels = [referred_channel(reference) for reference in references]
    held = {file: read_channels(file, on_nonfinite) for file in dict.fromkeys(c[0] for c in channels if c)}
    return [
        _whole(reference, on_nonfinite, resample_tilt) if channel is None else _channel(held[channel[0]], *channel)
        for reference, channel in zip(references, channels, strict=True)
    ]


def _whole(reference: str, on_nonfinite: NonFinite, resample_tilt: bool) -> Volume:
    series = referred_series(reference)
    if series is None:
        return read_volume(reference, on_nonfinite, resample_tilt)
    from ulite_monai.io.dicom.volume import read_series

    return read_series(series, resample_tilt)


def _channel(volumes: Sequence[Volume], file: Path, number: int) -> Volume:
    if number >= len(volumes):
        raise InputError(f"{file}: holds {len(volumes)} volumes along its fourth axis, none with the number {number}.")
    return volumes[number]


def header_is_enough(reference: str) -> bool:
    """Whether the grid of a volume is known without reading its voxels."""
    return str(referred_file(reference)).lower().endswith(NIFTI_SUFFIXES)


def header_grid(reference: str) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine (4x4, voxel to RAS mm) of a volume whose header is enough."""
    return read_nifti_grid(referred_file(reference), of_channels=referred_channel(reference) is not None)


@lru_cache  # several ask, and some formats are read whole for it
def read_grid(reference: str) -> tuple[tuple[int, ...], np.ndarray, str]:
    """Shape, affine (4x4, voxel to RAS mm) and DICOM's modality, else "", of a volume that may have tilted slices."""
    if header_is_enough(reference):
        return *header_grid(reference), ""
    volume = read_reference(reference, "replace", resample_tilt=True)
    modality = volume.source.modality if isinstance(volume.source, DicomSeries) else ""
    return volume.array.shape, volume.affine, modality


def referred_channel(reference: str) -> tuple[Path, int] | None:
    """The 4D file and the number of the channel that `reference` names; None when it names something else."""
    file, mark, number = reference.rpartition("#")
    is_channel = mark and number.isdecimal() and file.lower().endswith(NIFTI_SUFFIXES)
    return (Path(file), int(number)) if is_channel and not Path(reference).exists() else None


def referred_file(reference: str) -> Path:
    """The path of what `reference` names: for a channel, its file's."""
    channel = referred_channel(reference)
    return Path(reference) if channel is None else channel[0]


def referred_series(reference: str) -> DicomSeries | None:
    """The DICOM series that `reference` names; None when it names a path.

    Raises:
        InputError: When the folder doesn't hold that series.
    """
    folder, mark, name = reference.rpartition("#")
    if not mark or Path(reference).exists() or not Path(folder).exists():
        return None
    series = _series_below(folder).get(name)
    if series is None:
        raise InputError(f"{folder}: holds no DICOM series {name}.")
    return series


@lru_cache(maxsize=2)  # one tree serves all its series
def _series_below(folder: str) -> dict[str, DicomSeries]:
    from ulite_monai.io.dicom.tree import find_series

    return {series.id: series for series in find_series(folder).series}
