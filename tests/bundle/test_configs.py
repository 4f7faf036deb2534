"""The shipped configurations: what their ids come to, and MONAI's own checks pass."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from tests.conftest import read_json, run_bundle
from ulite_monai.bundles import BUNDLES
from ulite_monai.networks import ULite

CONFIGS = ("train", "inference", "evaluate", "sample", "multi_gpu_train", "metadata")


@pytest.fixture(scope="module")
def configs(bundle):
    return {name: read_json(bundle / "configs" / f"{name}.json") for name in CONFIGS}


def test_without_a_data_set_training_has_the_bundles_names_and_flips(configs):
    parser = ConfigParser(configs["train"])
    for name in ("labels", "flip_axes"):
        assert parser.get_parsed_content(name) == configs["inference"][name]


@pytest.mark.parametrize("large", [False, True])
def test_patches_of_large_volumes_mean_windows_of_their_size(configs, large):
    """A network that saw only patches hasn't learnt what more context says; small volumes are seen whole."""
    parser = ConfigParser(configs["train"])
    parser.update({"foreground_share": 1 / 3 if large else 0.0})
    inferer, whole = parser.get_parsed_content("validate#inferer"), configs["inference"]
    assert list(inferer.smallest_window) == (configs["train"]["patch_size"] if large else whole["roi_size"])
    assert inferer.grow_windows == (not large) and whole["grow_windows"] is True
    assert inferer.smallest_overlap == (0.5 if large else 0.25)


@pytest.mark.parametrize(("device", "bytes_"), [("cpu", 600_000_000), ("mps", 600_000_000), ("cuda", None)])
def test_memory_for_the_network_is_the_same_on_every_cpu_and_what_is_free_on_a_gpu(configs, device, bytes_):
    for name in ("train", "inference"):
        parser = ConfigParser(configs[name])
        parser["device"] = device
        assert parser.get_parsed_content("max_memory") == bytes_


def test_flags_may_be_written_in_small_letters(configs):
    """Fire hands `false` over as a word, which Python takes for true."""
    parser = ConfigParser(configs["train"])
    parser.update({"amp": "false", "skip_empty": "false", "grow_windows": "false", "resample_tilt": "false"})
    assert parser.get_parsed_content("train#inferer").amp is False
    assert parser.get_parsed_content("validate#inferer").grow_windows is False
    steps = parser.get_parsed_content("image_preprocessing")
    assert steps[0].resample_tilt is False and "CropForegroundd" not in [type(step).__name__ for step in steps]


@pytest.mark.parametrize("axes", [[], [0], [1, 2]], ids=str)
def test_flips_are_those_asked_for(configs, axes):
    parser = ConfigParser(configs["train"])
    parser.update({"flip_axes": axes, "foreground_share": 0})
    flips = [step for step in parser.get_parsed_content("augmentation") if type(step).__name__ == "RandFlipsd"]
    assert [list(step.axes) for step in flips] == [axes]


def test_metadata_fits_the_network(configs):
    formats = configs["metadata"]["network_data_format"]
    labels = configs["inference"]["labels"]
    assert [formats["outputs"]["pred"]["channel_def"][str(i)] for i in range(3)] == ["background", *labels]
    assert formats["outputs"]["pred"]["num_channels"] == len(labels) + 1
    assert configs["metadata"]["schema"].endswith("meta_schema_20240725.json")


def test_no_absolute_path_device_or_greedy_worker_count(root):
    paths = [*root.glob("bundle/configs/*.json"), *root.glob("examples/*/configs/*.json")]
    assert len(paths) == 16
    for path in paths:
        text = path.read_text()
        assert "cuda:" not in text and '"/' not in text
        assert read_json(path).get("num_workers", 0) == 0


@pytest.mark.parametrize(
    ("files", "kind"), [(["train"], "train"), (["train", "sample"], "train"), (["inference"], "infer")], ids=str
)
def test_no_required_property_is_missing(bundle, files, kind, make_dataset, tmp_path):
    paths = [str(bundle / "configs" / f"{name}.json") for name in files]
    workflow = ConfigWorkflow(
        paths if len(paths) > 1 else paths[0],
        meta_file=str(bundle / "configs" / "metadata.json"),
        workflow_type=kind,
        bundle_root=str(bundle),
        dataset_dir=str(make_dataset()),
        output_dir=str(tmp_path / "out"),
        initialize=[],
    )
    workflow.initialize()
    assert not workflow.check_properties()


def text_of(done):
    return done.stdout + done.stderr


def network_arguments(bundle: Path) -> tuple[str, ...]:
    return (
        *(
            "--meta_file",
            str(bundle / "configs/metadata.json"),
            "--config_file",
            str(bundle / "configs/inference.json"),
        ),
        *("--bundle_root", str(bundle)),
    )


@pytest.mark.slow
def test_verify_net_in_out(bundle, tmp_path):
    done = run_bundle("verify_net_in_out", "network_def", *network_arguments(bundle), cwd=tmp_path)
    assert "data shape of network is verified with no error" in text_of(done)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, bundle):
    """Random weights of the bundle's network in a checkpoint."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    network = ConfigParser(read_json(bundle / "configs/train.json")).get_parsed_content("network_def")
    torch.save(network.state_dict(), path)
    return path, network.eval()


@pytest.mark.slow
def test_ckpt_export(bundle, weights, tmp_path):
    path, network = weights
    export = ("--filepath", "exported.ts", "--ckpt_file", str(path))
    run_bundle("ckpt_export", "network_def", *export, *network_arguments(bundle), cwd=tmp_path)
    exported = torch.jit.load(tmp_path / "exported.ts")
    for size in ((32, 32, 32), (35, 51, 37)):
        x = torch.randn(1, 1, *size)
        with torch.no_grad():
            torch.testing.assert_close(exported(x), network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_onnx_export(bundle, weights, tmp_path):
    path, network = weights
    export = ("--filepath", "exported.onnx", "--ckpt_file", str(path), "--input_shape", "[1,1,40,56,40]")
    run_bundle("onnx_export", "network_def", *export, *network_arguments(bundle), cwd=tmp_path)
    x = torch.randn(1, 1, 40, 56, 40)
    session = onnxruntime.InferenceSession(tmp_path / "exported.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        assert np.abs(found - network(x).numpy()).max() < 1e-3


@pytest.mark.parametrize("folder", BUNDLES.values())
def test_shipped_weights_are_plain_tensors_of_the_network(root, folder):
    bundle = root / folder
    shipped = bundle / "models" / "model.pt"
    assert shipped.stat().st_size < 4 * 2**20
    state = torch.load(shipped, weights_only=True)
    network = ConfigParser(read_json(bundle / "configs/inference.json")).get_parsed_content("network_def")
    assert isinstance(network, ULite)
    network.load_state_dict(state)
    assert all(t.dtype == torch.float32 for t in state.values() if t.is_floating_point())
