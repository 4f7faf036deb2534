"""One volume in memory, with all that is needed to put a mask on it voxel by voxel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulite_monai.errors import InputError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

    from ulite_monai.io.dicom.series import DicomSeries

__all__ = ["LPS_TO_RAS", "Volume", "require_same_grid", "settle_affine", "shear_of", "spacing_of", "voxel_volume"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the axes of DICOM and ITK to those of NIfTI
SAME_GRID = 1e-3  # of the smallest side of a voxel
FLAT = 1e-6  # of the volume that a voxel's sides would have at right angles
SHEAR = 1e-4  # cosine; ITK's reader finds "no orthonormal definition" above it (tried: 1e-4 opens, 3e-4 doesn't)


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
    """

    array: np.ndarray
    affine: np.ndarray
    source: Path | DicomSeries
    header: Nifti1Header | None = None
    warnings: list[str] = field(default_factory=list)
    segments: Mapping[int, str] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The voxel's size along i, j, k in millimetres."""
        return spacing_of(self.affine)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """The voxel's size along i, j, k in the affine's unit."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0)
    return float(i), float(j), float(k)


def voxel_volume(affine: np.ndarray) -> float:
    """The volume of a voxel in cubes of the affine's unit, whether its axes are sheared or not."""
    return abs(float(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3])))


def shear_of(affine: np.ndarray) -> float:
    """The largest cosine between two axes of a grid; 0 where all meet at right angles as far as ITK can tell."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    return cosine if cosine > SHEAR else 0.0


def settle_affine(affine: np.ndarray, name: str | Path, warnings: list[str]) -> np.ndarray:
    """The affine, if it places voxels.

    Args:
        affine: 4x4, from voxel indices to mm.
        name: what to call the volume in messages.
        warnings: where the one about sheared axes goes.

    Raises:
        InputError: When it isn't finite, or its voxels have no volume.
    """
    sides = spacing_of(affine)
    if not np.isfinite(affine).all() or not min(sides) > 0 or voxel_volume(affine) < FLAT * np.prod(sides):
        raise InputError(f"{name}: its affine {affine[:3].tolist()} can't place voxels; export it again.")
    if cosine := shear_of(affine):
        angle = np.degrees(np.arccos(min(cosine, 1.0)))
        warnings.append(
            f"{name}: its axes are sheared (two meet at {angle:.2f} degrees); masks keep the geometry, but programs "
            "that are built on ITK can't open such NIfTI files or place them elsewhere."
        )
    return affine


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
