"""How far a network contradicts itself."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.conftest import ellipsoids, write_volume
from ulite_monai.label import disagreement
from ulite_monai.label.disagreement import dropout_passes, mean_disagreement, segmenter_with_dropout


def test_disagreement_of_masks():
    one, other = np.array([1, 1, 2, 0]), np.array([1, 0, 2, 2])
    assert mean_disagreement([one, one], 2) == 0
    assert mean_disagreement([one, other], 2) == pytest.approx(1 - (2 / 3 + 2 / 3) / 2)
    assert mean_disagreement([np.zeros(3), np.zeros(3)], 2) == 1


def test_passes_differ_from_each_other_and_are_repeatable(tmp_path):
    path = write_volume(tmp_path / "image.nii.gz", ellipsoids((30, 34, 26), seed=0)[0])
    segmenter = segmenter_with_dropout("hippocampus", None, "cpu")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    passes = dropout_passes(segmenter, {"image": [str(path)]}, passes=2)
    assert passes.shape == (2, 3, 30, 34, 26) and not torch.equal(passes[0], passes[1])
    assert torch.equal(passes, dropout_passes(segmenter, {"image": [str(path)]}, passes=2))
    assert torch.equal(state, torch.get_rng_state())


def test_passes_end_when_the_time_is_over(tmp_path, monkeypatch):
    path = write_volume(tmp_path / "image.nii.gz", ellipsoids((30, 34, 26), seed=0)[0])
    segmenter = segmenter_with_dropout("hippocampus", None, "cpu")

    def passes_with(*times):
        clock = iter(times)
        monkeypatch.setattr(disagreement, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        return len(dropout_passes(segmenter, {"image": [str(path)]}, seconds=5))

    assert passes_with(0, 1, 2, 3, 6) == 3
    with pytest.raises(TimeoutError, match="two passes take longer than 5 s"):
        passes_with(0, 4, 6)
