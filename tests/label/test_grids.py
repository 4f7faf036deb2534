"""Labels as annotators save them."""

from pathlib import Path

import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.volume import Volume
from ulite_monai.label.grids import on_grid_of, with_values_of

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


def test_a_viewers_numbers_become_the_bundles():
    array = np.array([0, 1, 2, 2])
    segments = [{"name": "posterior", "idx": 1}, {"name": "anterior", "idx": 2}, {"color": [1, 2, 3]}]
    assert list(with_values_of({"anterior": 1, "posterior": 2}, array, segments, "x")) == [0, 2, 1, 1]


def test_an_unknown_segment_is_refused_unless_it_is_empty():
    segments = [{"name": "anterior", "idx": 1}, {"name": "Segment_1", "idx": 2}]
    labels = {"anterior": 1, "posterior": 2}
    assert list(with_values_of(labels, np.array([0, 1]), segments, "x")) == [0, 1]
    with pytest.raises(InputError, match="x: has a segment 'Segment_1'; the bundle's classes are anterior, posterior"):
        with_values_of(labels, np.array([0, 1, 2]), segments, "x")
