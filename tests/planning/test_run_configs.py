"""A run's configurations: its values, whatever way they were given, and nothing of the machine or of its data."""

import json

import numpy as np
import pytest
from monai.bundle import ConfigParser

from tests.conftest import ellipsoids, read_json, write_volume
from ulite_monai.errors import InputError
from ulite_monai.planning.json_text import write_json
from ulite_monai.planning.run_configs import LOCAL, differing, load_configs, plain, run_configs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("confidential")
    for number in range(5):
        for part, array in zip(("imagesTr", "labelsTr"), ellipsoids((24, 28, 20), seed=number), strict=True):
            write_volume(folder / part / f"case_{number}.nii.gz", array)
    return folder


@pytest.fixture(scope="module")
def left(bundle, dataset, tmp_path_factory):
    """A function that gives the configurations which a training of the hippocampus bundle leaves."""

    def run(ids=None, overlay=None, source=bundle):
        files = [source / "configs" / "train.json"]
        if isinstance(overlay, str):
            files.append(source / "configs" / overlay)
        elif overlay is not None:
            files.append(tmp_path_factory.mktemp("overlay") / "own.json")
            write_json(files[-1], overlay)
        parser = ConfigParser()
        parser.read_config([str(file) for file in files])
        local = {
            "bundle_root": str(source),
            "dataset_dir": str(dataset),
            "output_dir": "/somewhere/run",
            "device": "cpu",
        }
        parser.update({**local, **(ids or {})})
        return run_configs(parser, load_configs(source))

    return run


def test_any_override_is_the_runs_own_value(left):
    ids = {
        "labels": ["a", "b"],
        "epochs": 3,
        "spacing": (1.0, 1.0, 2.0),
        "network_def#features": [8, 16, 16],
        "augmentation#1#margin": 2.5,
        "normalization#channel_wise": False,
        "straight_boundary": True,
        "mode": "constant",
    }
    configs = left(ids)
    train, inference = configs["train.json"], configs["inference.json"]
    assert (train["epochs"], train["augmentation"][1]["margin"]) == (3, 2.5)
    for config in (train, inference):
        assert config["labels"] == ["a", "b"] and list(config["spacing"]) == [1.0, 1.0, 2.0]
        assert config["network_def"]["features"] == [8, 16, 16] and config["network_def"]["stem_stride"] == 2
        assert config["normalization"]["channel_wise"] is False
        assert config["straight_boundary"] is True and config["mode"] == "constant"
    assert "straight_boundary" not in configs["evaluate.json"]  # train.json, which comes before, says it


def test_what_the_data_decide_is_plain(left):
    train = left()["train.json"]
    decided = {"labels": ["class_1", "class_2"], "flip_axes": [0], "foreground_share": 0.0, "roi_size": [96, 96, 96]}
    decided |= {"grow_windows": True, "overlap": 0.25, "straight_boundary": False}
    assert {name: train[name] for name in decided} == decided


def test_inference_is_for_these_classes_flips_and_windows(left):
    inference = left({"labels": ["left a", "right a"], "foreground_share": 1 / 3})["inference.json"]
    assert inference["labels"] == ["left a", "right a"] and inference["flip_axes"] == []
    assert inference["roi_size"] == [40, 56, 40]  # the patch, of which more context wasn't learnt
    assert (inference["grow_windows"], inference["overlap"]) == (False, 0.5)
    assert inference["straight_boundary"] is False and inference["on_nonfinite"] == "replace"


def test_nothing_of_the_machine_or_of_the_data_is_written(left, bundle, dataset):
    lists = {
        f"{part}#dataset#data": [{"image": "/ward/Doe^Jane.nii", "label": "l.nii"}] for part in ("train", "validate")
    }
    local = {"amp": True, "num_workers": 3, "cache_rate": 0.5, "resume": True, "overwrite": True, "max_memory": 1}
    paths = {"init_weights": "/ward/model.pt", "ckpt_dir": "/somewhere/m", "foreground_share": 0.0}
    configs = left({**lists, **local, "labels": ["a", "b"], **paths})
    text = json.dumps(configs)
    for secret in ("Doe", "/ward", "/somewhere", str(dataset), str(bundle)):
        assert secret not in text
    assert configs["train.json"]["dataset_dir"] is configs["inference.json"]["dataset_dir"] is None
    source = read_json(bundle / "configs" / "train.json")
    for name in LOCAL:
        assert ConfigParser(configs["train.json"])[name] == ConfigParser(source)[name]


def test_an_overlay_counts_as_overrides_do(left):
    handler = {"_target_": "tests.bundle.watch_ranks.WatchRanks"}
    overlay = {"learning_rate": 0.1, "+train#handlers": [handler], "optimizer#_target_": "torch.optim.Adam"}
    train = left(overlay=overlay)["train.json"]
    assert train["learning_rate"] == 0.1 and train["optimizer"]["_target_"] == "torch.optim.Adam"
    assert train["train"]["handlers"][-1] == handler and len(train["train"]["handlers"]) > 5


def test_several_processes_leave_what_one_leaves(left):
    ids = {"epochs": 3}
    assert left(ids, overlay="multi_gpu_train.json")["train.json"] == left(ids)["train.json"]


def test_a_run_that_starts_from_a_run_leaves_the_same(left, tmp_path):
    first = left({"labels": ["a", "b"], "spacing": [1.0, 1.0, 2.0]})
    for name, content in first.items():
        write_json(tmp_path / "configs" / name, content)
    again = left(source=tmp_path)
    for name in first:
        assert again[name] == first[name], name


def test_what_is_no_bundle_is_named(tmp_path):
    with pytest.raises(InputError, match=r"holds no configs/train\.json"):
        load_configs(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "train.json").write_text("{")
    with pytest.raises(InputError, match=r"holds no configs/inference\.json"):
        load_configs(tmp_path)
    for name in ("inference.json", "metadata.json"):
        (tmp_path / "configs" / name).write_text("{}")
    with pytest.raises(InputError, match="not valid JSON"):
        load_configs(tmp_path)


def test_a_run_segments_no_whole_heads(left, bundle):
    """Where a locator finds what another network segments isn't known."""
    assert "heads" in read_json(bundle / "configs" / "inference.json")
    assert "heads" not in left()["inference.json"]


def test_plain_values():
    assert plain({"a": (1, np.float32(0.5)), 2: [np.arange(2), None, "x", True]}) == {
        "a": [1, 0.5],
        "2": [[0, 1], None, "x", True],
    }
    with pytest.raises(TypeError, match="can't be written"):
        plain([object()])


def test_differing_ids():
    assert differing({"a": 1, "b": 2, "d": 4}, {"a": 1, "b": 3, "c": None, "d": 5}, but=("d",)) == ["b"]
