"""One volume in memory, with all that is needed to put a mask on it voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulite_monai.errors import InputError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

    from ulite_monai.io.dicom_series import DicomSeries

__all__ = ["LPS_TO_RAS", "Volume", "require_same_grid", "spacing_of"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the axes of DICOM and ITK to those of NIfTI
SAME_GRID_MM = 1e-3


@dataclass
class Volume:
    """A scalar 3D image on its own grid.

    Attributes:
        array: the values, axes (i, j, k) as NIfTI has them; integers, or float32 / float64.
        affine: 4x4 float64, from voxel indices (i, j, k) to RAS+ millimetres.
        header: the NIfTI header it came with, whose geometry a mask repeats field by field; None for other formats.
        source: the file, or the DICOM series.
        warnings: what the reader of a result should know, one sentence each.
    """

    array: np.ndarray
    affine: np.ndarray
    source: Path | DicomSeries
    header: Nifti1Header | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The voxel's size along i, j, k in millimetres."""
        return spacing_of(self.affine)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """The voxel's size along i, j, k in the affine's unit."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0)
    return float(i), float(j), float(k)


def require_same_grid(first: Volume, other: Volume) -> None:
    """Check that two channels of a case can be stacked as they are stored.

    Raises:
        InputError: When their shapes differ, or their affines by more than a micrometre.
    """
    if first.array.shape != other.array.shape or not np.allclose(first.affine, other.affine, atol=SAME_GRID_MM):
        raise InputError(
            f"{other.source}: the channels of a case must lie on one grid, but this one has shape "
            f"{other.array.shape} and {first.source} has {first.array.shape}, or their affines differ."
        )
