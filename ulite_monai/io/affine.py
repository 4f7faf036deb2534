"""What an affine says of a grid: the size of its voxels, their shear, and whether it places them at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ulite_monai.errors import InputError

__all__ = ["LPS_TO_RAS", "settle_affine", "shear_of", "spacing_of", "voxel_volume"]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from the axes of DICOM and ITK to those of NIfTI
FLAT = 1e-6  # of the volume that a voxel's sides would have at right angles
SHEAR = 1e-4  # cosine; ITK's reader finds "no orthonormal definition" above it (tried: 1e-4 opens, 3e-4 doesn't)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """The voxel's size along i, j, k in the affine's unit."""
    i, j, k = np.linalg.norm(affine[:3, :3], axis=0)
    return float(i), float(j), float(k)


def voxel_volume(affine: np.ndarray) -> float:
    """The volume of a voxel in cubes of the affine's unit, whether its axes are sheared or not."""
    return abs(float(np.linalg.det(np.asarray(affine, dtype=np.float64)[:3, :3])))


def shear_of(affine: np.ndarray) -> float:
    """The largest cosine between two axes of a grid; 0 where all meet at right angles as far as ITK distinguishes."""
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
