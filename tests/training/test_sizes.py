"""Large volumes get patches around their labels, and only as many cases in memory as fit."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from tests.conftest import read_json, write_volume
from ulite_monai.training import cache_rate, caches_in_half, foreground_share
from ulite_monai.training.sizes import typical_voxels


@pytest.fixture
def large(tmp_path):
    """Volumes of 60x60x60 voxels of 2x1x1 mm with a lesion of 4x8x8 voxels somewhere."""
    random = np.random.default_rng(0)
    for number in range(6):
        label = np.zeros((60, 60, 60), np.uint8)
        i, j, k = random.integers(0, 50, 3)
        label[i : i + 4, j : j + 8, k : k + 8] = 1
        affine = np.diag([2.0, 1, 1, 1])
        image = random.normal(size=label.shape).astype(np.float32)
        write_volume(tmp_path / "imagesTr" / f"case_{number}.nii.gz", image, affine)
        write_volume(tmp_path / "labelsTr" / f"case_{number}.nii.gz", label, affine)
    return tmp_path


def items(folder):
    return [{"image": str(path)} for path in sorted((folder / "imagesTr").iterdir())]


def test_typical_voxels_are_those_at_the_spacing(large):
    assert typical_voxels(items(large), (1, 1, 1)) == pytest.approx(2 * 60**3)
    assert typical_voxels(items(large), (2, 2, 2)) == pytest.approx(60**3 / 4)
    assert typical_voxels([], (1, 1, 1)) == 0


def test_a_format_without_a_quick_header_counts_too(large, tmp_path):
    import SimpleITK

    image = SimpleITK.ReadImage(str(large / "imagesTr" / "case_0.nii.gz"))
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"))
    assert typical_voxels([{"image": [str(tmp_path / "a.mha")]}], (1, 1, 1)) == pytest.approx(2 * 60**3)


def test_only_large_volumes_are_cut_around_labels(large):
    assert foreground_share(items(large), (1, 1, 1), (24, 24, 24)) == pytest.approx(1 / 3)
    assert foreground_share(items(large), (1, 1, 1), (56, 56, 56)) == 0


def test_as_many_cases_are_cached_as_half_of_the_memory_holds(large, monkeypatch):
    def with_memory(cases, channels, half):
        """Half of it holds so many of the six cases, as 32-bit or 16-bit floats, with a byte a voxel of the label."""
        needed = (channels * (2 if half else 4) + 1) * (2 * 60**3) * cases
        monkeypatch.setattr("ulite_monai.training.sizes.free_memory", lambda device: 2 * needed)

    for channels in (1, 3):
        with_memory(6, channels, half=False)
        assert not caches_in_half(items(large), (1, 1, 1), channels)
        assert cache_rate(items(large), (1, 1, 1), channels) == 1
        with_memory(6, channels, half=True)
        assert caches_in_half(items(large), (1, 1, 1), channels)
        assert cache_rate(items(large), (1, 1, 1), channels, half=True) == 1
        with_memory(3, channels, half=True)
        assert cache_rate(items(large), (1, 1, 1), channels, half=True) == 0.5


def test_what_is_cached_in_16_bit_makes_the_same_patches(bundle, large):
    whole, half = ([*patches(bundle, large, cache_half=half)] for half in (False, True))
    for (one, _), (other, _) in zip(whole, half, strict=True):
        assert one["image"].dtype == other["image"].dtype == torch.float32
        assert torch.equal(one["label"], other["label"])
        torch.testing.assert_close(one["image"], other["image"], rtol=0.05, atol=0.05)
    kept = [pairs[0][1]._cache[0] for pairs in (whole, half)]
    assert [case["image"].dtype for case in kept] == [torch.float32, torch.float16]
    assert {case["label"].dtype for case in kept} == {torch.uint8}


def patches(bundle, folder, **ids):
    parser = ConfigParser(read_json(bundle / "configs/train.json"))
    parser.update({"dataset_dir": str(folder), "labels": ["lesion"], "patch_size": [24, 24, 24], "num_folds": 3, **ids})
    dataset = parser.get_parsed_content("train#dataset")
    dataset.transform.set_random_state(seed=0)
    for number in range(40):
        patch = dataset[number % len(dataset)]
        yield (patch[0] if isinstance(patch, list) else patch), dataset


@pytest.mark.slow
def test_a_third_of_the_patches_holds_the_lesion_in_its_core(bundle, large):
    found = [patch["label"] for patch, _ in patches(bundle, large)]
    assert all(label.shape == (2, 24, 24, 24) for label in found)
    core = [bool(label[1, 3:20, 3:20, 3:20].any()) for label in found]
    assert 0.2 < np.mean(core) < 0.6
    everywhere = [bool(p["label"][1].any()) for p, _ in patches(bundle, large, foreground_share=1.0)]
    assert np.mean(everywhere) > 0.95
    without = [bool(p["label"][1].any()) for p, _ in patches(bundle, large, foreground_share=0)]
    assert np.mean(without) < 0.3


def test_small_volumes_are_cut_anywhere_as_they_always_were(bundle, hippocampus):
    parser = ConfigParser(read_json(bundle / "configs/train.json"))
    parser.update({"dataset_dir": str(hippocampus)})
    assert parser.get_parsed_content("foreground_share") == 0
    names = [type(step).__name__ for step in parser.get_parsed_content("train#preprocessing").transforms]
    start = names.index("RandPatchd")
    assert names[start : start + 2] == ["RandPatchd", "RandAffined"] and "PatchStartsd" not in names
    assert nib.load(items(hippocampus)[0]["image"]).shape == (35, 51, 35)
