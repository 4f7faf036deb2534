"""The places that a locator looks for, in label maps."""

import numpy as np
import pytest
import torch

from tests.heads import CENTRE, LEFT, RIGHT, as_item, head_map
from ulite_monai.errors import InputError
from ulite_monai.transforms import HeadClassesd
from ulite_monai.transforms.head_classes import head_classes


def test_the_hippocampi_keep_their_sides():
    labels, affine = head_map()
    made = HeadClassesd("label")(as_item(labels, affine))
    assert made["label"].dtype == torch.int16 and torch.equal(made["label"][0], torch.from_numpy(labels))
    classes = made["classes"]
    assert classes.dtype == torch.uint8 and np.allclose(classes.affine, affine)
    for number, middle in ((1, LEFT), (2, RIGHT)):
        found = np.argwhere(classes[0].numpy() == number).mean(0) @ affine[:3, :3] + affine[:3, 3]
        assert np.abs(found - CENTRE - middle).max() < 0.5
    assert set(np.unique(classes)) == {0, 1, 2, 3}


def test_the_space_holds_brain_fluid_and_sinus_but_no_bone_and_no_neck():
    labels, _ = head_map()
    space = head_classes(labels) > 0
    lowest = np.flatnonzero((labels == 16).any((0, 1)))[0]
    above = np.arange(labels.shape[2]) >= lowest
    inside = (labels > 0) & (labels < 500) & above
    assert space[inside].mean() > 0.99
    assert not space[np.isin(labels, (507, 511, 515, 516))].any() and not space[:, :, ~above].any()
    sinus = (labels == 514) & (np.arange(labels.shape[1]) < 40)[:, None]
    neck = (labels == 514) & ~sinus
    assert sinus.any() and neck.any() and space[sinus].mean() > 0.9 and not space[neck].any()


def test_stray_fluid_outside_of_the_head_does_not_count():
    labels, _ = head_map()
    stray = labels.copy()
    stray[:3, :3, -3:] = 24
    assert np.array_equal(head_classes(stray), head_classes(labels))


def test_gaps_are_closed():
    labels, _ = head_map()
    holed = labels.copy()
    holed[40:43, 60:63, 50:53] = 0
    assert np.array_equal(head_classes(holed) > 0, head_classes(labels) > 0)


def test_a_map_without_a_brain_has_no_classes():
    assert not head_classes(np.full((20, 22, 24), 507, np.int16)).any()


def test_a_ball_stands_at_each_hippocampus():
    labels, affine = head_map()
    item = as_item(labels, affine)
    space = HeadClassesd("label")(dict(item))["classes"][0].numpy() > 0
    classes = HeadClassesd("label", radius=12.0)(item)["classes"][0].numpy()
    assert np.array_equal(classes > 0, space)
    for number, middle in ((1, LEFT), (2, RIGHT)):
        voxels = np.argwhere(classes == number) @ affine[:3, :3] + affine[:3, 3] - CENTRE - middle
        assert np.abs(voxels.mean(0)).max() < 0.5
        assert 10.5 < np.linalg.norm(voxels, axis=1).max() < 12.5


def test_a_map_without_a_hippocampus_is_refused():
    labels, affine = head_map()
    labels[labels == 53] = 42
    with pytest.raises(InputError, match="has no voxel of 53, FreeSurfer's"):
        HeadClassesd("label")(as_item(labels, affine))
