"""The head locator: trained on label maps alone, by MONAI's command, it leaves a bundle that finds places."""

import numpy as np
import pytest
import torch

from tests.conftest import read_json, run_bundle, write_volume
from tests.heads import as_item, head_map
from ulite_monai.io.read_volume import read_volume
from ulite_monai.prediction import Segmenter
from ulite_monai.transforms import HeadClassesd, SynthesizeFromLabelsd


@pytest.fixture(scope="module")
def locator(root):
    return root / "examples" / "head_locator"


def test_the_network_is_small(locator):
    weights = torch.load(locator / "models" / "model.pt", weights_only=True)
    assert sum(values.numel() for values in weights.values()) < 200_000


@pytest.mark.slow
def test_label_maps_are_all_that_a_training_needs(locator, tmp_path):
    labels, affine = head_map()
    for name in "abcde":
        write_volume(tmp_path / "maps" / f"{name}.nii.gz", labels, affine)
    config = str(locator / "configs" / "train.json")
    given = ("--bundle_root", str(locator), "--config_file", config, "--dataset_dir", str(tmp_path / "maps"))
    short = ("--epochs", "1", "--val_interval", "1", "--heads_per_map", "2", "--patch_size", "[24,24,24]")
    run_bundle("run", "training", *given, "--output_dir", str(tmp_path / "run"), *short, cwd=tmp_path)
    assert read_json(tmp_path / "run" / "docs" / "split.json")["validation"] == ["c"]
    item = HeadClassesd("label")(as_item(labels, affine)) | {"seed": 1}
    made = SynthesizeFromLabelsd("label", spacing=3.0, size=(50, 60, 40), empty_share=0.0)(item)
    path = write_volume(tmp_path / "head.nii.gz", made["image"][0].numpy(), made["image"].affine.numpy())
    found = Segmenter(tmp_path / "run", device="cpu")({"image": [read_volume(path)]})
    assert found.mask.shape == made["image"].shape[1:] and set(np.unique(found.mask)) <= {0, 1, 2, 3}
