"""Where the voxels of one grid lie in another."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.volume import Volume

__all__ = ["on_grid_of", "voxels_within"]

TOLERANCE = 0.1  # voxels; what writers of DICOM SEG and NRRD lose in rounding is far below


def on_grid_of(image: Volume, label: Volume) -> np.ndarray:
    """The label on its image's grid, empty where it has no voxels; a DICOM SEG leaves empty slices out.

    Args:
        image: of shape (i, j, k).
        label: a box of the same grid, in any orientation.

    Returns:
        The label's values, shape (i, j, k).

    Raises:
        InputError: When its voxels aren't voxels of the image.
    """
    # From the label's voxels to the image's: on one grid, a permutation of axes with signs and a whole offset.
    to_image = np.linalg.solve(image.affine, label.affine)
    turn = nib.orientations.io_orientation(to_image)
    array = nib.orientations.apply_orientation(label.array, turn)
    exact = to_image @ nib.orientations.inv_ornt_aff(turn, label.array.shape)
    start = np.round(exact[:3, 3]).astype(int)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in array.shape], indexing="ij")).reshape(3, -1)
    apart = np.abs(exact[:3, :3] @ corners + exact[:3, 3:] - corners - start[:, None]).max()
    if apart > TOLERANCE or (start < 0).any() or (start + array.shape > image.array.shape).any():
        raise InputError(
            f"{label.source}: its voxels aren't voxels of its image {image.source} (shapes {label.array.shape} and "
            f"{image.array.shape}); save the label on the image's grid."
        )
    whole = np.zeros(image.array.shape, label.array.dtype)
    whole[tuple(slice(a, a + n) for a, n in zip(start, array.shape, strict=True))] = array
    return whole


def voxels_within(
    affine: np.ndarray, shape: Sequence[int], other_affine: np.ndarray, other_shape: Sequence[int]
) -> np.ndarray:
    """Which voxels of a grid have their centre in a voxel of another one: bool, of `shape`.

    Args:
        affine, other_affine: 4x4, from voxels to mm, of any two grids.
        shape, other_shape: (i, j, k).
    """
    to_other = np.linalg.inv(other_affine) @ affine
    i, j, k = np.ogrid[tuple(slice(0, n) for n in shape)]
    places = (row[0] * i + row[1] * j + row[2] * k + row[3] for row in to_other[:3])
    return np.logical_and.reduce([(at > -0.5) & (at < n - 0.5) for at, n in zip(places, other_shape, strict=True)])
