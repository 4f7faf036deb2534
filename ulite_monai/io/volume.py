"""One volume in memory, with all that is needed to put a mask on it voxel by voxel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.affine import spacing_of

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

    from ulite_monai.io.dicom.series import DicomSeries

__all__ = ["Volume", "require_same_grid"]

SAME_GRID = 1e-3  # of the smallest side of a voxel


@dataclass
class Volume:
    """A scalar 3D image on its own grid.

    Attributes:
        array: the values, axes (i, j, k) as NIfTI has them; integers, or float32 / float64.
        affine: 4x4 float64, from voxel indices (i, j, k) to RAS+ millimetres.
        header: the geometry of the NIfTI header it came with, which a mask repeats field by field; None for other
            formats.
        source: the file, or the DICOM series.
        warnings: what the reader of a result should know, one sentence each.
        segments: names that the file gives its label values, as 3D Slicer does.
        drawn_on: of a DICOM SEG, the SeriesInstanceUID of the series that it refers to; else empty.
    """

    array: np.ndarray
    affine: np.ndarray
    source: Path | DicomSeries
    header: Nifti1Header | None = None
    warnings: list[str] = field(default_factory=list)
    segments: Mapping[int, str] = field(default_factory=dict)
    drawn_on: str = ""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The voxel's size along i, j, k in millimetres."""
        return spacing_of(self.affine)


def require_same_grid(first: Volume, other: Volume) -> None:
    """Check that two channels of a case can be stacked as they are stored.

    Raises:
        InputError: When their shapes differ, or their affines by more than a thousandth of a voxel.
    """
    apart = SAME_GRID * min(first.spacing)
    if first.array.shape != other.array.shape or not np.allclose(first.affine, other.affine, rtol=0, atol=apart):
        raise InputError(
            f"{other.source}: the channels of a case must lie on one grid, but this one has shape "
            f"{other.array.shape} and {first.source} has {first.array.shape}, or their affines differ."
        )
