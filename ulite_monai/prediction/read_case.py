"""The volume of a case, or the reason why a bundle won't segment it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ulite_monai.io.cases import Case
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.ranges import outside_ranges

__all__ = ["Refused", "read_case"]


class Refused(Exception):
    """A case that could be read and isn't segmented all the same; the message says why."""


def read_case(case: Case, metadata: Mapping[str, Any], force: bool = False, resample_tilt: bool = False) -> Volume:
    """The case's volume, or the first channel of it.

    Args:
        case: of volumes, not of a 2D image.
        metadata: the bundle's, whose `input_ranges` the volume must lie in.
        force: whether it may lie outside them.
        resample_tilt: resample a DICOM series with a gantry tilt instead of refusing it.

    Raises:
        Refused: When the series can't be used, or the volume isn't of the bundle's kind.
        InputError: When it can't be read.
    """
    series = case.series
    if series is None:
        volume, modality = read_volume(case.image[0], "replace"), ""
    else:
        if series.problem is not None and not (series.tilt and resample_tilt):
            raise Refused(series.problem)
        from ulite_monai.io.dicom_volume import read_series

        volume, modality = read_series(series, resample_tilt), series.modality
    outside = None if force else outside_ranges(volume.array.shape, volume.affine, modality, metadata)
    if outside is not None:
        raise Refused(f"{outside}; a mask of it can't be relied on. --force segments it all the same.")
    return volume
