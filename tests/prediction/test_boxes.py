"""Boxes in a head: where they lie, and values that go there and back."""

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ANISOTROPIC, OBLIQUE, SHEARED
from ulite_monai.prediction.boxes import Box, fine_mean, upright, with_axis_at

TURN = nib.eulerangles.euler2mat(0.2, 0.5, -0.3)


def box_in(affine, shape, size=(14, 16, 12), spacing=1.5):
    middle = nib.affines.apply_affine(affine, (np.asarray(shape) - 1) / 2)
    return Box.around(middle, TURN, size, np.full(3, spacing))


def linear(affine, shape):
    """At each voxel of a grid the value of one linear function of its place."""
    places = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    return places @ [0.3, -0.2, 0.5] + 7


@pytest.mark.parametrize("affine", [ANISOTROPIC, OBLIQUE, SHEARED], ids=["anisotropic", "oblique", "sheared"])
def test_a_box_shows_what_lies_there_on_any_grid(affine):
    shape = (30, 40, 30)
    box = box_in(affine, shape)
    assert np.abs(box.cut(linear(affine, shape), affine) - linear(box.affine, box.shape)).max() < 1e-4


@pytest.mark.parametrize("affine", [ANISOTROPIC, OBLIQUE, SHEARED], ids=["anisotropic", "oblique", "sheared"])
def test_what_is_put_back_lies_where_it_was_and_nowhere_else(affine):
    shape = (30, 40, 30)
    box = box_in(affine, shape)
    part = box.within(affine, shape)
    back = np.zeros(shape)
    back[part] = box.put_back(linear(box.affine, box.shape), affine, part)
    at = nib.affines.apply_affine(np.linalg.inv(box.affine) @ affine, np.moveaxis(np.indices(shape), 0, -1))
    deep = ((at > 2) & (at < np.subtract(box.shape, 3))).all(-1)
    outside = ((at < -3) | (at > np.add(box.shape, 2))).any(-1)
    assert deep.sum() > 20 and np.abs(back - linear(affine, shape))[deep].max() < 1e-4
    assert not back[outside].any()


def test_a_large_voxel_is_the_mean_of_what_lies_in_it():
    values = np.random.default_rng(0).random((6, 4, 4)).astype(np.float32)
    to_values = nib.affines.from_matvec(np.diag([3.0, 1, 2]), [1, 0, 0.5])
    means = values.reshape(2, 3, 4, 2, 2).mean((1, 4))
    assert np.allclose(fine_mean(values, to_values, (2, 4, 2), "constant"), means, atol=1e-6)


def test_a_box_outside_of_a_grid_has_no_part_of_it():
    box = Box.around(np.array([500.0, 0, 0]), np.eye(3), (4, 4, 4), np.ones(3))
    part = box.within(np.eye(4), (10, 10, 10))
    assert np.zeros((10, 10, 10))[part].size == 0
    assert box.put_back(np.ones((4, 4, 4)), np.eye(4), part).size == 0


def test_an_upright_pose_keeps_the_top():
    pose = upright(np.array([50.0, 5.0, 0.0]))
    assert np.allclose(pose.T @ pose, np.eye(3)) and np.linalg.det(pose) == pytest.approx(1)
    assert np.allclose(pose[:, 0], np.array([50, 5, 0]) / np.hypot(50, 5)) and np.allclose(pose[:, 2], [0, 0, 1])


def test_a_pose_follows_the_hippocampi():
    """However the head is held, its axes come from where its hippocampi lie and point."""
    pitch = -24.0
    angle = np.radians(pitch)
    forward = TURN @ [0.1, np.cos(angle), np.sin(angle)]
    assert np.allclose(with_axis_at(TURN[:, 0] * 54, forward, pitch), TURN)
