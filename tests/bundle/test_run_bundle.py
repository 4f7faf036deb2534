"""What a training leaves is a bundle: it needs no further id, nothing of the bundle that it ran from, and no place."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.bundle.conftest import parser_of, state, ulite
from tests.conftest import read_json, run_bundle
from ulite_monai.errors import InputError, input_error
from ulite_monai.planning.json_text import write_json
from ulite_monai.prediction import Segmenter, predict_cases

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(trained):
    return trained[0] / "the run"


@pytest.fixture(scope="module")
def data(trained):
    return trained[0] / "my data"


@pytest.fixture(scope="module")
def expected(run, data):
    """The mask of each training image, by the run's own bundle; none is refused by its own ranges."""
    return masks_of(run, data)


def masks_of(bundle, data):
    """Masks of a data set's images by a bundle and no further setting."""
    output = bundle.parent / f"masks of {bundle.name}"
    results = predict_cases(data / "imagesTr", output, Segmenter(bundle, device="cpu"))
    assert {result.status for result in results} == {"done"}, results
    masks = voxels(output)
    shutil.rmtree(output)
    return masks


def voxels(folder):
    return {path.name: np.asarray(nib.load(path).dataobj) for path in sorted(folder.glob("*.nii.gz"))}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_what_a_run_leaves(run):
    parts = {"configs", "docs", "models", "tensorboard", "LICENSE", "report.html"}
    assert {path.name for path in run.iterdir()} == parts
    assert any((run / "tensorboard").iterdir())
    configs = {"train.json", "inference.json", "evaluate.json", "multi_gpu_train.json", "metadata.json", "logging.conf"}
    assert {path.name for path in (run / "configs").iterdir()} == configs
    assert {path.name for path in (run / "models").iterdir()} == {"model.pt", "last.ckpt"}
    docs = {"README.md", "split.json", "curve.csv", "curve.png", "validation.png"}
    assert {path.name for path in (run / "docs").iterdir()} == docs
    split = read_json(run / "docs" / "split.json")
    assert len(split["training"]) == 5 and len(split["validation"]) == 1
    assert not set(split["training"]) & set(split["validation"])
    assert all(isinstance(tensor, torch.Tensor) for tensor in state(run / "models" / "model.pt").values())
    last = state(run / "models" / "last.ckpt")
    assert last["epoch"] == 2 and {"network", "optimizer", "scheduler", "scaler", "random_state"} <= last.keys()


def test_its_configurations_say_what_it_was_given_and_no_path(run, trained):
    train, inference = (read_json(run / "configs" / f"{name}.json") for name in ("train", "inference"))
    assert (train["epochs"], train["seed"], train["num_folds"]) == (2, 0, 3)
    for config in (train, inference):
        assert config["labels"] == ["class_1", "class_2"] and config["network_def"]["features"] == [8, 16, 16]
        assert config["dataset_dir"] is None
    for path in (run / "configs").iterdir():
        assert str(trained[0]) not in path.read_text(encoding="utf-8")


def test_its_metadata_and_card_are_of_its_data(run):
    metadata = read_json(run / "configs" / "metadata.json")
    assert metadata["input_ranges"] == {"spacing_mm": [0.5, 2.0], "extent_mm": [[12, 48], [14, 56], [10, 40]]}
    best = max(curve(run), key=lambda row: sum(row[2:]))
    figures = metadata["eval_metrics"]
    assert f"chose epoch {best[0]:.0f}" in figures["of"]
    assert [figures["dice_class_1"], figures["dice_class_2"]] == pytest.approx(best[2:], abs=1e-4)
    card = (run / "docs" / "README.md").read_text(encoding="utf-8")
    assert "python -m monai.bundle run training --bundle_root" in card
    assert f"| class_1 | {figures['dice_class_1']} |" in card and metadata["data_source"] in card


def curve(run):
    names, *rows = (run / "docs" / "curve.csv").read_text(encoding="utf-8").splitlines()
    assert names == "epoch,loss,dice class_1,dice class_2" and len(rows) == 2
    return [[float(value) for value in row.split(",")] for row in rows]


def test_monai_verifies_it(run, tmp_path):
    """Against the fields that MONAI's specification requires; the official schema can't be reached offline."""
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    metadata = ("--meta_file", str(run / "configs" / "metadata.json"))
    done = run_bundle("verify_metadata", *metadata, "--filepath", str(tmp_path / "schema.json"), cwd=tmp_path)
    assert "metadata is verified with no error" in done.stdout + done.stderr
    network = ("--config_file", str(run / "configs" / "inference.json"), "--bundle_root", str(run))
    done = run_bundle("verify_net_in_out", "network_def", *metadata, *network, cwd=tmp_path)
    assert "data shape of network is verified with no error" in done.stdout + done.stderr


SCHEMA = {
    "type": "object",
    "required": [
        *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
        *("task", "description", "authors", "copyright", "network_data_format"),
    ],
    "properties": {
        "changelog": {"type": "object", "additionalProperties": {"type": "string"}},
        "required_packages_version": {"type": "object", "additionalProperties": {"type": "string"}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "additionalProperties": {"type": "object", "additionalProperties": {"$ref": "#/definitions/tensor"}},
        },
    },
    "definitions": {
        "tensor": {
            "type": "object",
            "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
            "properties": {"num_channels": {"type": "integer"}, "spatial_shape": {"type": "array"}},
        }
    },
}


def test_moved_copied_or_unzipped_it_gives_the_same_masks(run, data, expected, tmp_path):
    assert any(len(np.unique(mask)) > 1 for mask in expected.values())
    copied = shutil.copytree(run, tmp_path / "a copy")
    assert same(masks_of(copied, data), expected)
    moved = copied.rename(tmp_path / "moved")
    assert same(masks_of(moved, data), expected)
    shutil.unpack_archive(shutil.make_archive(str(tmp_path / "run"), "zip", moved), tmp_path / "unzipped")
    shutil.rmtree(moved)
    assert same(masks_of(tmp_path / "unzipped", data), expected)


def test_its_inference_and_evaluation_need_no_further_id(run, data, expected, tmp_path):
    root = ("--bundle_root", str(run), "--config_file")
    inference = str(run / "configs" / "inference.json")
    images = ("--dataset_dir", str(data / "imagesTr"), "--output_dir", str(tmp_path / "masks"))
    run_bundle("run", *root, inference, *images, cwd=tmp_path)
    assert same(voxels(tmp_path / "masks"), expected)
    both = str([str(run / "configs" / name) for name in ("train.json", "evaluate.json")])
    run_bundle("run", *root, both, "--dataset_dir", str(data), "--output_dir", str(tmp_path / "theirs"), cwd=tmp_path)
    ulite("evaluate", run, "--dataset", data, "-o", tmp_path / "fold", "--fold", "0")
    theirs, ours = (read_json(tmp_path / name / "summary.json") for name in ("theirs", "fold"))
    assert ours["cases"] == len(read_json(run / "docs" / "split.json")["validation"]) > 0
    assert ours == theirs and list(ours["labels"]) == ["class_1", "class_2"]


def test_ulite_evaluate_measures_all_cases_and_knows_its_ids(run, data, expected, tmp_path):
    ulite("evaluate", run, "--dataset", data, "-o", tmp_path / "all", "--set", "pictures=0")
    summary = read_json(tmp_path / "all" / "summary.json")
    assert summary["cases"] == 6 and not list((tmp_path / "all").glob("*.png"))
    labels = {name: np.asarray(nib.load(data / "labelsTr" / name).dataobj) for name in expected}
    for value, name in enumerate(("class_1", "class_2"), start=1):
        found = np.mean([dice(expected[case] == value, labels[case] == value) for case in labels])
        assert summary["labels"][name]["dice"]["mean"] == pytest.approx(found, abs=1e-3)
    done = ulite("evaluate", run, "--dataset", data, "-o", tmp_path / "no", "--set", "picture=0", check=False)
    assert done.returncode == 1 and "did you mean --pictures?" in done.stderr and not (tmp_path / "no").exists()


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_further_training_starts_from_it(run, data, tmp_path):
    start = ("--init_weights", str(run / "models" / "model.pt"), "--epochs", "1", "--learning_rate", "0.0001")
    done = run_bundle(
        *("run", "training", "--bundle_root", str(run), "--config_file", str(run / "configs" / "train.json")),
        *("--dataset_dir", str(data), "--output_dir", str(tmp_path / "further"), *start),
        cwd=tmp_path,
    )
    assert "starting from the weights of" in done.stdout and "the head is new" not in done.stdout
    first, further = (state(folder / "models" / "model.pt") for folder in (run, tmp_path / "further"))
    assert 0 < (first["stem.weight"] - further["stem.weight"]).abs().max() < 0.01
    for name in ("inference", "evaluate", "multi_gpu_train"):
        assert read_json(tmp_path / "further" / "configs" / f"{name}.json") == read_json(
            run / "configs" / f"{name}.json"
        )
    train, source = (read_json(folder / "configs" / "train.json") for folder in (tmp_path / "further", run))
    assert train == source | {"epochs": 1, "learning_rate": 0.0001}
    assert (tmp_path / "further" / "LICENSE").read_bytes() == (run / "LICENSE").read_bytes()


@pytest.fixture
def folds(run, tmp_path):
    """Three bundles of the same kind, with other weights each."""
    for number in range(3):
        folder = shutil.copytree(run, tmp_path / "folds" / str(number), ignore=shutil.ignore_patterns("tensorboard"))
        weights = state(folder / "models" / "model.pt")
        weights["head.bias"] = weights["head.bias"] + torch.tensor([0.0, 0.2, -0.2]) * (number - 1)
        torch.save(weights, folder / "models" / "model.pt")
    return tmp_path / "folds"


def test_a_pattern_of_bundles_is_an_ensemble(folds, data):
    ensemble = Segmenter(str(folds / "*"), device="cpu", overrides={"engine": "torch"})
    single = [Segmenter(folds / str(number), device="cpu", overrides={"engine": "torch"}) for number in range(3)]
    assert len(ensemble.ckpts) == 3 and ensemble.own_weights
    image = torch.randn(1, 1, 24, 28, 20, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        mean = sum(one.network(image) for one in single) / 3
        torch.testing.assert_close(ensemble.network(image), mean)
    item = {"image": [str(data / "imagesTr" / "case_0.nii.gz")]}
    assert ensemble(item).mask.shape == (24, 28, 20)


@pytest.mark.parametrize(("name", "value"), [("labels", ["a", "b"]), ("spacing", [1.0, 1.0, 2.0])])
def test_an_ensemble_of_unlike_bundles_is_refused(folds, name, value):
    path = folds / "1" / "configs" / "inference.json"
    write_json(path, read_json(path) | {name: value})
    with pytest.raises(InputError, match=rf"{folds}/1: was trained with {name} .*an ensemble needs bundles that were"):
        Segmenter(str(folds / "*"), device="cpu")


def resumed(run, bundle, data, **ids):
    """What is checked before a run is resumed, by its configuration."""
    parser = parser_of(bundle, data, run, epochs=2)
    parser.update(ids)
    parser.update({"train#check": "$@run_bundle.require_same()"})
    try:
        parser.get_parsed_content("train#check")
    except RuntimeError as error:
        raise input_error(error) from None


def test_what_a_resumption_may_change(run, bundle, data):
    resumed(run, bundle, data)
    more = {"epochs": 9, "patience": 3, "val_interval": 2, "num_workers": 1, "cache_rate": 0.5, "resume": True}
    resumed(run, bundle, data, amp=False, max_memory=1, **more)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ({"spacing": [1.0, 1.0, 2.0]}, r"spacing was \[1.0, 1.0, 1.0\], now \[1.0, 1.0, 2.0\]"),
        (
            {"labels": ["a", "b"], "learning_rate": 1.0},
            r'labels was .*, now \["a", "b"\]; learning_rate was 0.006, now',
        ),
        ({"network_def#features": [8, 16, 32]}, r"network_def was "),
        ({"augmentation#1#margin": 3.0}, r"augmentation was .*Give what the run was started with"),
    ],
    ids=str,
)
def test_other_settings_are_refused_and_named(run, bundle, data, ids, words):
    with pytest.raises(InputError, match=words):
        resumed(run, bundle, data, **ids)


def test_other_cases_are_refused(run, bundle, data, tmp_path):
    other = shutil.copytree(data, tmp_path / "other")
    for part in ("imagesTr", "labelsTr"):
        (other / part / "case_5.nii.gz").rename(other / part / "case_9.nii.gz")
    with pytest.raises(InputError, match=r"this is another split"):
        resumed(run, bundle, other)


def test_a_folder_without_a_run_has_nothing_to_resume(bundle, data, tmp_path):
    with pytest.raises(InputError, match=r"holds no training to resume; give the --output_dir"):
        resumed(tmp_path, bundle, data)
