"""A stack of slices that lean, as a CT gantry's tilt makes them, resampled to a grid at right angles."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform

from ulite_monai.io.volume import Volume

__all__ = ["correct_gantry_tilt"]


def correct_gantry_tilt(volume: Volume, degrees: float) -> Volume:
    """Shift every slice in its own plane to where a grid at right angles has it.

    Args:
        volume: shape (i, j, k), whose affine's third column leans.
        degrees: the tilt, for the warning.

    Returns:
        The volume as float32 on a grid with the same axes i and j and the same distance between slices, larger in i
        and j so that nothing is cut off; what no slice covers has the volume's minimum. Interpolated linearly.
    """
    affine, per_slice = _upright(volume.affine)
    offsets = np.outer(np.arange(volume.array.shape[2]), per_slice)
    start = np.floor(offsets.min(axis=0)).astype(int)
    more = np.ceil(offsets.max(axis=0)).astype(int) - start
    size = volume.array.shape[0] + int(more[0]), volume.array.shape[1] + int(more[1])
    lowest = np.float32(volume.array.min())
    array = np.empty((*size, len(offsets)), dtype=np.float32, order="F")
    for k, by in enumerate(offsets - start):
        array[:, :, k] = affine_transform(
            volume.array[:, :, k], (1, 1), -by, size, np.float32, order=1, mode="grid-constant", cval=lowest
        )
    affine[:3, 3] += affine[:3, :2] @ start
    warning = f"Resampled from a tilt of {degrees:.2f} degrees; a mask lies on the resampled grid, not on the slices."
    return Volume(array, affine, volume.source, None, [*volume.warnings, warning])


def _upright(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The affine with its third column along the normal, and by how many voxels (i, j) a slice leans over the last."""
    i, j, k = affine[:3, :3].T
    normal = np.cross(i, j)
    normal /= np.linalg.norm(normal)
    upright = affine.copy()
    upright[:3, 2] = (k @ normal) * normal
    return upright, np.array([k @ i / (i @ i), k @ j / (j @ j)])
