"""Empty margins are left out of the network's input, and the mask lies where it lay."""

import numpy as np
import pytest
import torch

from tests.conftest import write_volume
from ulite_monai.prediction import Segmenter
from ulite_monai.transforms import above_background


def test_background_is_the_minimum_of_each_channel():
    image = torch.tensor([[[3.0, 1.0, 2.0]], [[-5.0, -5.0, 7.0]]])
    assert above_background(image).tolist() == [[[True, False, True]], [[False, False, True]]]


def test_background_is_zero_where_much_of_it_is():
    """As a normalisation within the rest leaves it, some of which lies below."""
    image = torch.tensor([[[-1.5, 0.0, 0.0, 0.0, 0.7]]])
    assert above_background(image).tolist() == [[[True, False, False, False, True]]]


def test_a_constant_volume_is_all_foreground():
    assert above_background(torch.zeros(1, 2, 3, 4)).all()


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1.5, 0.8, 2, 1])[[1, 0, 2, 3]]], ids=["plain", "turned"])
def test_the_mask_is_the_one_of_the_whole_volume(weights, tmp_path, affine):
    image = np.zeros((70, 64, 61), np.float32)
    image[25:40, 30:50, 28:41] = np.random.default_rng(0).uniform(50, 150, (15, 20, 13))
    path = write_volume(tmp_path / "a.nii.gz", image, affine)
    seen, masks = [], []
    for skip in (False, True):
        segmenter = Segmenter("hippocampus", weights, "cpu", overrides={"skip_empty": skip, "skip_empty_margin": 4})
        run = segmenter.inferer
        segmenter.inferer = lambda x, network, run=run: seen.append(x.shape[2:].numel()) or run(x, network)
        masks.append(segmenter({"image": str(path)}).mask)
    assert masks[0].any() and np.array_equal(*masks)
    assert seen[1] < seen[0] / 8


def test_a_constant_volume_passes(weights, tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", np.full((30, 34, 26), 7, np.float32))
    segmenter = Segmenter("hippocampus", weights, "cpu", overrides={"skip_empty": True})
    assert not segmenter({"image": str(path)}).mask.any()
