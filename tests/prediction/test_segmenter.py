"""A bundle's workflow in memory: its ids, several weights, flips, slices."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

import ulite_monai
from tests.conftest import run_bundle, write_volume
from tests.prediction.conftest import FREE, volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import Segmenter, predict_cases
from ulite_monai.prediction.export_bundle import export_bundle


def more_anterior(weights, path, by):
    """`weights` at `path`, their logit of the anterior part higher by `by`."""
    state = torch.load(weights, weights_only=True)
    state["head.bias"][1] += by
    torch.save(state, path)
    return path


def write_more_anterior(weights, folder):
    """The weights and others at `folder/*.pt`, whose ensemble adds 0.5 to the logit of the anterior part."""
    more_anterior(weights, folder / "a.pt", 0)
    more_anterior(weights, folder / "b.pt", 1)
    return folder / "*.pt"


@pytest.mark.slow
def test_ids_with_an_option_of_their_own_and_bad_values_are_a_sentence(weights):
    for overrides, words in (
        ({"device": "cpu"}, "--device"),
        ({"ckpt": "a.pt"}, "--ckpt"),
        ({"force": True}, "--force"),
        ({"spacing": [0, 1, 1]}, "three sizes above 0"),
        ({"spacing": [1, 1]}, "three sizes above 0"),
        ({"precision": "int8"}, "precision must be one of auto"),
    ):
        with pytest.raises(InputError, match=words):
            Segmenter("hippocampus", weights, "cpu", overrides=overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"engine": "abacus"}, "engine must be one of"),
        ({"overlap": 2}, "overlap must be"),
        ({"threads": 0}, "threads must be"),
        ({"spaceing": [9, 9, 9]}, "has no id 'spaceing'"),
        ({"labels": "tumour"}, "labels must be a list"),
    ],
    ids=str,
)
def test_bad_overrides_are_a_sentence(weights, overrides, words):
    with pytest.raises(InputError, match=words):
        Segmenter("hippocampus", weights, "cpu", overrides=overrides)


@pytest.mark.slow
def test_several_weights_are_averaged(segmenter, weights, tmp_path):
    path = write_volume(tmp_path / "in.nii.gz", volume())
    half = Segmenter("hippocampus", more_anterior(weights, tmp_path / "half.ckpt", 0.5), "cpu", overrides=FREE)
    pattern = write_more_anterior(weights, tmp_path)
    both = Segmenter("hippocampus", pattern, "cpu", overrides=FREE)
    masks = [made_by({"image": str(path)}).mask for made_by in (segmenter, half, both)]
    assert np.array_equal(masks[1], masks[2]) and (masks[0] != masks[2]).sum() > 100
    assert len({segmenter.weights_sha256, half.weights_sha256, both.weights_sha256}) == 3
    (result,) = predict_cases(path, tmp_path / "out", both)
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert result.status == "done" and report["ckpt"] == [str(tmp_path / "a.pt"), str(tmp_path / "b.pt")]
    assert np.array_equal(np.asarray(ulite_monai.predict(path, ckpt=pattern, overrides=FREE).dataobj), masks[2])
    ids = {"roi_size": [24, 32, 24]}
    report = export_bundle("hippocampus", tmp_path / "network.ts", "torchscript", pattern, ids)
    assert report.largest_difference <= 1e-4
    image = torch.randn(1, 1, 16, 12, 10)
    exported = torch.jit.load(report.files[0])(image)
    torch.testing.assert_close(exported, both.trained.eval()(image), atol=1e-4, rtol=0)


def make_bundle(bundle, weights, folder, **ids):
    """A bundle as a training leaves it: its own weights, and its own values in `inference.json`."""
    shutil.copytree(bundle / "configs", folder / "configs")
    (folder / "models").mkdir()
    shutil.copy(weights, folder / "models" / "model.pt")
    path = folder / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | FREE | ids))
    return folder


def test_a_bundle_says_what_its_weights_are_for(bundle, weights, tmp_path):
    ids = {"labels": ["lobe a", "lobe b"], "roi_size": [40, 40, 40], "grow_windows": False}
    segmenter = Segmenter(make_bundle(bundle, weights, tmp_path / "mine", **ids), device="cpu")
    assert segmenter.labels == ["lobe a", "lobe b"] and segmenter.settings["straight_boundary"] is False
    assert segmenter.settings["roi_size"] == [40, 40, 40] and segmenter.settings["grow_windows"] is False
    assert segmenter.own_weights and segmenter.algorithm[0] == segmenter.metadata["name"]
    image = {"image": str(write_volume(tmp_path / "a.nii.gz", volume()))}
    (tmp_path / "elsewhere").mkdir()
    moved = Segmenter(shutil.move(tmp_path / "mine", tmp_path / "elsewhere" / "of another name"), device="cpu")
    assert np.array_equal(moved(image).mask, segmenter(image).mask)


def test_several_bundles_are_averaged(bundle, weights, tmp_path):
    """As several weights of one bundle are."""
    pattern = write_more_anterior(weights, tmp_path)
    for name in ("a", "b"):
        make_bundle(bundle, tmp_path / f"{name}.pt", tmp_path / "folds" / name)
    image = {"image": str(write_volume(tmp_path / "a.nii.gz", volume()))}
    of_weights = Segmenter("hippocampus", pattern, "cpu", overrides=FREE)
    of_bundles = Segmenter(tmp_path / "folds" / "*", device="cpu")
    assert of_bundles.ckpts == [tmp_path / "folds" / name / "models" / "model.pt" for name in ("a", "b")]
    assert of_bundles.own_weights and not of_weights.own_weights
    assert np.array_equal(of_bundles(image).mask, of_weights(image).mask)


def test_an_ensemble_has_the_windows_of_its_bundles_that_were_trained_on_patches(bundle, weights, tmp_path):
    of_patches = {"roi_size": [24, 32, 24], "grow_windows": False, "overlap": 0.5}
    for name, windows in (("a", {"roi_size": [96, 96, 96], "overlap": 0.25}), ("b", of_patches)):
        make_bundle(bundle, weights, tmp_path / name, **windows)
    settings = Segmenter(tmp_path / "[ab]", device="cpu").settings
    assert {name: settings[name] for name in of_patches} == of_patches


def test_bundles_that_were_trained_otherwise_make_no_ensemble(bundle, weights, tmp_path):
    for name, labels in (("a", ["left", "right"]), ("b", ["right", "left"])):
        make_bundle(bundle, weights, tmp_path / name, labels=labels)
    message = r"b: was trained with labels \['right', 'left'\], .*a with \['left', 'right'\]; .* alike"
    with pytest.raises(InputError, match=message):
        Segmenter(tmp_path / "[ab]", device="cpu")


def test_flips_are_averaged(weights, tmp_path):
    """Eight flips of three axes; the network without a sense of direction gives the same for each of them."""
    path = write_volume(tmp_path / "a.nii.gz", volume())
    axes = {"flip_axes": [0, 1, 2], **FREE}
    plain, flipping = (Segmenter("hippocampus", weights, "cpu", tta, axes) for tta in (False, True))
    seen = []
    inferer = flipping.inferer
    flipping.inferer = lambda image, network: seen.append(image.sum(dim=(3, 4)).clone()) or inferer(image, network)
    assert np.array_equal(flipping({"image": str(path)}).mask, plain({"image": str(path)}).mask)
    assert len(seen) == 8 and not np.array_equal(seen[0], seen[1])


def test_flips_at_test_time_are_those_of_training(root):
    """Flipping the hippocampus front to back swaps its labels' places: a network that never saw it gives nonsense."""
    for bundle in ("bundle", "examples/nuclei_bundle"):
        train, inference = (
            ConfigParser(json.loads((root / bundle / "configs" / f"{name}.json").read_text())).get_parsed_content(
                "flip_axes"
            )
            for name in ("train", "inference")
        )
        assert train == inference


@pytest.fixture(scope="module")
def slice_weights(bundle, tmp_path_factory):
    """Random weights of the bundle's network in 2D, and that network."""
    torch.manual_seed(0)
    parser = ConfigParser(json.loads((bundle / "configs/inference.json").read_text()))
    parser["network_def#spatial_dims"] = 2
    network = parser.get_parsed_content("network_def").eval()
    path = tmp_path_factory.mktemp("slices") / "model.pt"
    torch.save(network.state_dict(), path)
    return path, network


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 2])
def test_a_bundle_of_slices_segments_volumes(slice_weights, bundle, tmp_path, axis):
    """`ulite predict`, `monai.bundle run`, and each slice by itself."""
    path, network = slice_weights
    image = volume()
    write_volume(tmp_path / "in" / "a.nii.gz", image, np.diag([1, 1, 1, 1]))
    ids = {"network_def#spatial_dims": 2, "roi_size": [32, 32], "inferer#slice_axis": axis, "sw_batch_size": 4, **FREE}
    with torch.no_grad():
        slices = torch.from_numpy((image - image.mean()) / image.std()).movedim(axis, 0)[:, None]
        logits = torch.cat([network(one[None]) for one in slices])
        expected = logits.argmax(1).movedim(0, axis).numpy()
    assert len(np.unique(expected)) > 1
    (result,) = predict_cases(tmp_path / "in", tmp_path / "ours", Segmenter("hippocampus", path, "cpu", overrides=ids))
    assert (result.status, result.inference) == ("done", "slices, one pass each"), result.message
    run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/inference.json")),
        *("--dataset_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "theirs"), "--ckpt", str(path)),
        *(text for name, value in ids.items() for text in (f"--{name}", str(value))),
        cwd=tmp_path,
    )
    ours, theirs = (np.asarray(nib.load(tmp_path / where / "a.nii.gz").dataobj) for where in ("ours", "theirs"))
    assert np.array_equal(ours, theirs)
    assert (ours == expected).mean() > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
def test_equals_the_bundles_own_run_voxel_for_voxel(several, bundle, weights, hippocampus, tmp_path):
    ckpt = write_more_anterior(weights, tmp_path) if several else weights
    for name in ("hippocampus_001", "hippocampus_003"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(hippocampus / "imagesTr" / f"{name}.nii.gz", tmp_path / "in")
    predict_cases(tmp_path / "in", tmp_path / "ours", Segmenter("hippocampus", ckpt, device="cpu"))
    run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/inference.json")),
        *("--dataset_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "theirs"), "--ckpt", str(ckpt)),
        cwd=tmp_path,
    )
    for path in (tmp_path / "theirs").glob("*.nii.gz"):
        ours, theirs = nib.load(tmp_path / "ours" / path.name), nib.load(path)
        assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        assert np.array_equal(ours.affine, theirs.affine) and np.asarray(ours.dataobj).any()
