"""Blocks of voxels become their mean, at their centre, and go back to where they were."""

import numpy as np
import torch
from monai.data import MetaTensor

from tests.conftest import OBLIQUE
from ulite_monai.transforms import ShrinkByMeand


def test_a_block_becomes_its_mean_at_its_centre():
    values = torch.arange(4 * 6 * 5, dtype=torch.float32).reshape(1, 4, 6, 5)
    shrunk = ShrinkByMeand("image", 2.0)({"image": MetaTensor(values, affine=np.diag([1.0, 0.5, 2.0, 1]))})["image"]
    assert shrunk.shape == (1, 2, 2, 5)  # 2, 4 and 1 voxels make one
    assert torch.equal(shrunk[0, 0, 0].as_tensor(), values[0, :2, :4].mean((0, 1)))
    assert torch.equal(shrunk[0, 1, 1].as_tensor(), values[0, 2:, 4:].mean((0, 1)))  # of what there is
    expected = np.diag([2.0, 2.0, 2.0, 1])
    expected[:3, 3] = 0.5, 0.75, 0
    assert np.allclose(shrunk.affine, expected)


def test_what_varies_evenly_stays_where_it_is_and_goes_back():
    shape = (16, 20, 12)
    place = np.moveaxis(np.indices(shape), 0, -1) @ OBLIQUE[:3, :3].T + OBLIQUE[:3, 3]
    image = MetaTensor(torch.from_numpy(place.sum(-1)[None].astype(np.float32)), affine=OBLIQUE)
    transform = ShrinkByMeand("image", 5.0)
    made = transform({"image": image.clone()})
    shrunk = made["image"]
    affine = shrunk.affine.numpy()
    there = np.moveaxis(np.indices(shrunk.shape[1:]), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    whole = tuple(slice(0, n // block) for n, block in zip(shape, (3, 5, 2), strict=True))
    assert np.allclose(shrunk[0].numpy()[whole], there.sum(-1)[whole], atol=1e-3)
    back = transform.inverse(made)["image"]
    assert back.shape == image.shape and np.allclose(back.affine, OBLIQUE)
    inner = (0, slice(3, 12), slice(5, 15), slice(2, 10))
    assert np.allclose(back[inner].numpy(), image[inner].numpy(), atol=1e-2)


def test_a_coarse_image_stays_as_it_is():
    image = MetaTensor(torch.rand(1, 4, 3, 5), affine=np.diag([6.0, 5.0, 4.0, 1]))
    assert torch.equal(ShrinkByMeand("image", 5.0)({"image": image})["image"], image)
