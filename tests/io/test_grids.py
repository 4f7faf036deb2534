"""A label that is a part of its image's grid, or lies elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.grids import on_grid_of, voxels_within
from ulite_monai.io.volume import Volume

AFFINE = np.array([[-0.9, 0.1, 0, 30], [0.1, 0.9, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])
LABEL = np.random.default_rng(0).integers(0, 3, (6, 7, 8)).astype(np.uint8)


def volume(array, affine=AFFINE, name="label.nii.gz"):
    return Volume(array, affine, Path(name))


IMAGE = volume(np.zeros(LABEL.shape, np.float32), name="image.nii.gz")


def test_a_label_on_the_same_grid_stays_as_it_is():
    assert np.array_equal(on_grid_of(IMAGE, volume(LABEL)), LABEL)


def test_slices_that_were_left_out_are_empty():
    affine = AFFINE.copy()
    affine[:, 3] = AFFINE @ [0, 0, 2, 1]
    whole = on_grid_of(IMAGE, volume(LABEL[:, :, 2:5], affine))
    expected = np.zeros_like(LABEL)
    expected[:, :, 2:5] = LABEL[:, :, 2:5]
    assert np.array_equal(whole, expected)


def test_another_orientation_is_turned_back():
    # Axes permuted and one flipped, as a viewer may store it.
    turned = LABEL.transpose(2, 0, 1)[:, ::-1]
    to_old = np.array([[0, -1, 0, 5], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    assert np.array_equal(on_grid_of(IMAGE, volume(turned, AFFINE @ to_old)), LABEL)


@pytest.mark.parametrize(
    "change",
    [
        np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.diag([1.1, 1, 1, 1]),
        np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
    ids=["half a voxel", "outside", "other spacing", "sheared"],
)
def test_what_lies_elsewhere_is_refused(change):
    with pytest.raises(InputError, match=r"label\.nii\.gz: its voxels aren't voxels of its image image\.nii\.gz"):
        on_grid_of(IMAGE, volume(LABEL, AFFINE @ change))


def test_voxels_lie_within_a_grid_where_their_centres_do():
    within = voxels_within(AFFINE @ np.diag([0.4, 0.4, 0.4, 1]), (20, 20, 20), AFFINE, (6, 6, 8))
    assert within[:14, :14, :19].all() and within.sum() == 14 * 14 * 19  # 13 * 0.4 is below 5.5, 14 * 0.4 isn't
    assert not voxels_within(AFFINE, (3, 3, 3), AFFINE + np.eye(4)[:, 3:] * [0, 0, 0, 90], (3, 3, 3)).any()
