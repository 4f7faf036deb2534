"""Patches: how often each voxel comes into one, where it lies in it, and what lies outside."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta
from monai.transforms import Compose

from ulite_monai.transforms import PatchStartsd, RandPatchd

PATCH = (10, 8, 6)
SHAPE = (24, 17, 20)  # of a large volume


def sampler(share, margin=1.0, patch=PATCH, classes=2, keys=("image", "label")):
    steps = [PatchStartsd("label", patch, classes)] if share else []
    return Compose([*steps, RandPatchd(keys, patch, margin, share)]).set_random_state(seed=0)


def case(label):
    """An image whose voxels are their own numbers, from 1."""
    numbers = torch.arange(1.0, label.size + 1).reshape(1, *label.shape)
    return {"image": MetaTensor(numbers), "label": MetaTensor(torch.as_tensor(label, dtype=torch.float32)[None])}


def counts(label, share, patches=3000):
    """How many patches hold each voxel."""
    cut, data = sampler(share, keys=("image",)), case(label)
    prepared = cut.transforms[0](data) if share else data
    seen = np.zeros(label.size + 1, int)
    set_track_meta(False)  # where a patch lies doesn't depend on it, and it takes most of the time
    try:
        for _ in range(patches):
            image = cut.transforms[-1](dict(prepared))["image"]
            assert image.shape == (1, *PATCH)
            seen[image.numpy().astype(int).ravel()] += 1
    finally:
        set_track_meta(True)
    return seen[1:].reshape(label.shape)


def border(shape):
    inner = np.zeros(shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    return ~inner


@pytest.mark.slow
@pytest.mark.parametrize("share", [1 / 3, 1.0])
def test_voxels_of_a_class_at_the_border_are_as_frequent_as_others_of_it(share):
    """Class 1 has the same box in a corner, at a face and in the middle; class 2 runs through the volume."""
    label = np.zeros(SHAPE, np.uint8)
    boxes = [np.s_[:3, :3, :3], np.s_[10:13, 7:10, 17:], np.s_[10:13, 7:10, 8:11]]
    for box in boxes:
        label[box] = 1
    label[17:21, 5:10] = 2
    seen = counts(label, share)
    corner, face, middle = (seen[box].mean() for box in boxes)
    assert corner > 0.8 * middle and face > 0.8 * middle
    for value in (1, 2):
        of_class = label == value
        at_border = seen[of_class & border(SHAPE)].mean()
        assert at_border > 0.8 * seen[of_class & ~border(SHAPE)].mean()


def test_a_class_has_its_share_of_the_patches_however_small_it_is():
    label = np.zeros(SHAPE, np.uint8)
    label[0, 0, 0] = 2
    label[3:20, 3:15, 3:18] = 1
    seen = counts(label, 1.0)
    assert seen[0, 0, 0] == pytest.approx(1500, rel=0.1)
    middle = counts(label, 0.0)
    assert middle.min() > 0 and seen[0, 0, 0] > 10 * middle[0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(12, 8, 6), (14, 11, 8), (9, 12, 7)], ids=str)
def test_in_a_small_volume_patches_lie_inside_and_reach_its_border_as_often_as_can_be(shape):
    """Of the patches that touch it along an axis, `patch / (voxels + patch - 1)` hold a voxel at its end."""
    label = np.ones(shape, np.uint8)
    seen = counts(label, 0.0) / 3000
    at_ends = [size / (n + size - 1) if n > size else 1 for n, size in zip(shape, PATCH, strict=True)]
    for corner in np.ndindex(2, 2, 2):
        place = tuple(0 if end == 0 else n - 1 for end, n in zip(corner, shape, strict=True))
        assert seen[place] > 0.8 * np.prod(at_ends)
    cut, data = sampler(0.0), case(label)
    empty = sum(max(0, size - n) for n, size in zip(shape, PATCH, strict=True))
    for _ in range(20):
        assert bool((cut(dict(data))["image"] == 0).any()) == bool(empty)


@pytest.mark.parametrize("margin", [1.0, 1.5, 1.3, [1.5, 1.0, 1.2]])
def test_the_patch_is_the_middle_of_what_is_cut_and_label_and_affine_follow(margin):
    label = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    cut, data = sampler(0.5, margin), case(label)
    for _ in range(20):
        patch = cut(dict(data))
        image, found = patch["image"].numpy()[0].astype(int), patch["label"].numpy()[0]
        assert all((np.subtract(image.shape, PATCH) % 2 == 0) & (image.shape >= np.multiply(margin, PATCH)))
        assert np.array_equal(found, np.where(image > 0, label.ravel()[image - 1], 0))
        inside = np.argwhere(image > 0)[0]
        place = patch["image"].affine.numpy() @ [*inside, 1]
        assert tuple(place[:3]) == np.unravel_index(image[tuple(inside)] - 1, SHAPE)
        assert "patch_starts" not in patch


def test_the_core_of_a_patch_holds_its_class():
    label = np.zeros(SHAPE, np.uint8)
    label[5, 16, 0] = 1
    cut, data = sampler(1.0, patch=(11, 9, 7), classes=1), case(label)
    places = set()
    for _ in range(500):
        (place,) = np.argwhere(cut(dict(data))["label"].numpy()[0] == 1)
        places.add(tuple(place))
    assert np.min(list(places), 0).tolist() == [1, 1, 1] and np.max(list(places), 0).tolist() == [8, 7, 5]


def test_a_case_without_a_label_is_cut_anywhere():
    assert sampler(1.0)(case(np.zeros(SHAPE, np.uint8)))["label"].shape == (1, *PATCH)


def test_two_dimensions():
    label = np.zeros((40, 30), np.uint8)
    label[0, 10:14] = 1
    patch = sampler(1.0, patch=(8, 8), classes=1)(case(label))
    assert patch["image"].shape == (1, 8, 8) and patch["label"].any()
