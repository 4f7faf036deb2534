"""Weights from one file, and from several as an ensemble."""

import pytest
import torch

from ulite_monai.engines.weights import checkpoint_files, trained
from ulite_monai.errors import InputError
from ulite_monai.networks import Ensemble, ULite


def network(seed=0):
    torch.manual_seed(seed)
    return ULite(2, 1, 2, features=(4, 8)).eval()


@pytest.fixture
def folds(tmp_path):
    """Weights of three networks at `[a] fold */model.pt`."""
    for seed in range(3):
        file = tmp_path / f"[a] fold {seed}" / "model.pt"
        file.parent.mkdir()
        torch.save(network(seed).state_dict(), file)
    return tmp_path


def test_a_pattern_means_its_files_in_order_and_a_path_itself(folds, monkeypatch):
    files = [folds / f"[a] fold {seed}" / "model.pt" for seed in range(3)]
    assert checkpoint_files(folds / "*" / "model.pt") == checkpoint_files(str(folds / "**" / "*.pt")) == files
    assert checkpoint_files(files[1]) == [files[1]]  # though brackets are a pattern's, too
    assert checkpoint_files(folds / "*.ckpt") == [folds / "*.ckpt"]
    monkeypatch.setenv("HOME", str(folds))
    assert checkpoint_files("~/*/model.pt") == files


def test_several_weights_are_an_ensemble_of_copies_and_one_is_the_network_itself(folds):
    own, image = network(9), torch.randn(1, 1, 12, 10)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    ensemble = trained(own, folds / "*" / "model.pt")
    assert isinstance(ensemble, Ensemble) and len(ensemble.members) == 3
    assert all(torch.equal(before[name], value) for name, value in own.state_dict().items())
    with torch.no_grad():
        expected = sum(network(seed)(image) for seed in range(3)) / 3
        torch.testing.assert_close(ensemble(image), expected)
        assert trained(own, folds / "[a] fold 2" / "model.pt") is own
        assert torch.equal(own(image), network(2)(image))


def test_weights_that_are_missing_or_of_another_network_are_named(folds):
    with pytest.raises(InputError, match=r"\*\.ckpt: no such checkpoint"):
        trained(network(), folds / "*.ckpt")
    torch.save(ULite(2, 1, 3, features=(4, 8)).state_dict(), folds / "[a] fold 1" / "model.pt")
    with pytest.raises(InputError, match=r"fold 1.model\.pt: .*shape \(3,.*is \(2,.*give labels, .* network_def"):
        trained(network(), folds / "*" / "model.pt")
    deeper = ULite(2, 1, 2, features=(4, 4, 8), strides=(1, 2))
    with pytest.raises(InputError, match=r"fold 0.model\.pt: .*only the network has .* names differ\); give labels, "):
        trained(deeper, folds / "[a] fold 0" / "model.pt")
