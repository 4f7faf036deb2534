"""The same image in any unit, and with a few bright voxels, is the same."""

import numpy as np
import torch
from monai.data import MetaTensor

from ulite_monai.transforms import ScaleByPercentilesd

VALUES = torch.from_numpy(np.random.default_rng(0).random((1, 10, 10, 10), np.float32))


def scaled(values):
    return ScaleByPercentilesd("image", 1, 99)({"image": MetaTensor(values)})["image"].as_tensor()


def test_percentiles_become_0_and_1_and_what_is_beyond_is_clipped():
    low, high = np.percentile(VALUES.numpy(), [1, 99])
    assert np.allclose(scaled(VALUES), np.clip((VALUES - low) / (high - low), 0, 1), atol=1e-6)


def test_neither_the_unit_nor_a_few_bright_voxels_matter():
    bright = VALUES.clone()
    bright[bright > bright.quantile(0.995)] = 1e6
    assert torch.allclose(scaled(1000 * VALUES - 300), scaled(VALUES), atol=1e-5)
    assert torch.allclose(scaled(bright), scaled(VALUES), atol=1e-5)


def test_one_value_becomes_0():
    assert not scaled(torch.full((1, 3, 3, 3), 7.0)).any()
