"""The volume of a case, or the reason why a bundle won't segment it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ulite_monai.datasets.cases import Case
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.finite import NonFinite
from ulite_monai.io.references import read_references
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.ranges import is_head, outside_ranges

__all__ = ["Refused", "read_case", "require_fitting"]


class Refused(Exception):
    """A case that could be read and isn't segmented all the same; the message says why."""


def require_fitting(case: Case, takes_volumes: bool, channels: int) -> None:
    """Refuse a case that isn't of the kind that a bundle segments.

    Args:
        case: as `find_cases` gives it.
        takes_volumes: whether the bundle segments volumes; else 2D images.
        channels: of the network's input.

    Raises:
        Refused: With the reason.
    """
    kinds = {False: "a 2D image", True: "a volume"}
    is_volume = not case.is_image
    if is_volume != takes_volumes:
        raise Refused(f"it is {kinds[is_volume]}, and this bundle segments {kinds[takes_volumes]}.")
    if is_volume and len(case.channels) != channels:
        raise Refused(
            f"it has {len(case.channels)} channels, and this bundle takes {channels}; a case's are the files "
            "NAME_0000.nii.gz, NAME_0001.nii.gz, what a data list names, or one 4D NIfTI file."
        )


def read_case(
    case: Case,
    metadata: Mapping[str, Any],
    force: bool = False,
    resample_tilt: bool = False,
    on_nonfinite: NonFinite = "replace",
    modality: str = "",
    heads: Mapping[str, Any] | None = None,
) -> list[Volume]:
    """The case's volumes, one for each channel.

    Args:
        case: of volumes, not of a 2D image.
        metadata: the bundle's, whose `input_ranges` the volume must lie in.
        force: whether it may lie outside them.
        resample_tilt: resample a DICOM series with a gantry tilt instead of refusing it.
        on_nonfinite: what to do about NaN and infinite voxels.
        modality: DICOM's, of a file that doesn't say it itself.
        heads: the metadata of whole heads, in whose `input_ranges` a volume as large as one must lie instead.

    Raises:
        Refused: When the series can't be used, or the volume lies outside the bundle's ranges.
        InputError: When it can't be read.
    """
    series = case.series
    if series is None:
        volumes = read_references(case.channels, on_nonfinite, resample_tilt)
        volume = volumes[0]
        modality = volume.source.modality if isinstance(volume.source, DicomSeries) else modality
    else:
        if series.problem is not None and not (series.tilt and resample_tilt):
            raise Refused(series.problem)
        from ulite_monai.io.dicom.volume import read_series

        volume, modality = read_series(series, resample_tilt), series.modality
        volumes = [volume]
    grid = volume.array.shape, volume.affine
    ranges = heads if heads and is_head(*grid, heads) else metadata
    outside = None if force else outside_ranges(*grid, modality, ranges)
    if outside is not None:
        raise Refused(f"{outside}; a mask of it can't be relied on. --force (or force=True) segments it all the same.")
    return volumes
