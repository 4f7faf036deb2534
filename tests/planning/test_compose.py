"""The shipped bundles are what the writer makes of the templates, which hold what is equal in both once."""

import json

import pytest
from monai.bundle import ConfigParser

from ulite_monai.bundles import BUNDLES, find_bundle
from ulite_monai.planning.compose import GIVEN, PARTS, compose, shipped_configs, template
from ulite_monai.planning.json_text import json_text

NAMES = ("hippocampus", "nuclei")


@pytest.mark.parametrize("name", BUNDLES)
def test_the_shipped_files_are_those_that_the_writer_writes(name):
    """After a change of a template: python -m ulite_monai.planning."""
    for file, content in shipped_configs(name).items():
        assert (find_bundle(name) / "configs" / file).read_text(encoding="utf-8") == json_text(content) + "\n", file


@pytest.mark.parametrize("name", BUNDLES)
def test_nothing_asked_for_is_left_open(name):
    for content in shipped_configs(name).values():
        assert GIVEN not in content.values()


@pytest.mark.parametrize("name", NAMES)
def test_inference_and_evaluation_do_what_training_does(name):
    """Each id that both have is equal, but for those that say where, on what, or what the shipped masks are."""
    configs = shipped_configs(name)
    own = {"imports", "output_dir", "overwrite", "labels", "on_nonfinite", "flip_axes", "roi_size", "grow_windows"}
    own |= {"label_values", "overlap", "straight_boundary", "network", "initialize", "run"}
    train, inference = configs["train.json"], configs["inference.json"]
    both = (train.keys() & inference.keys()) - own
    assert both >= {"network_def", "in_channels", "image_preprocessing", "sw_batch_size", "mode", "max_memory"}
    assert {name: train[name] for name in both} == {name: inference[name] for name in both}
    assert train["validate"]["inferer"] == inference["inferer"]
    # What evaluation does to a mask, apart from the reference.
    text = json.dumps(configs["evaluate.json"]["mask_postprocessing"]).replace(
        "@validate#preprocessing", "@preprocessing"
    )
    steps = [step for step in json.loads(text) if step["keys"] == "pred"]
    assert steps == inference["mask_postprocessing"]


def test_the_hippocampus_masks_are_evaluated_as_they_are_predicted():
    configs = shipped_configs("hippocampus")
    said = [configs[name]["straight_boundary"] for name in PARTS]
    assert said == [False, True, True]  # train, inference, evaluate


def test_ids_of_both_kinds_differ_only_by_what_is_of_volumes_or_of_images():
    volumes, images = (shipped_configs(name)["train.json"] for name in NAMES)
    assert images.keys() - volumes.keys() == {"instances"}
    of_volumes = {"spacing", "on_nonfinite", "resample_tilt", "skip_empty", "skip_empty_margin", "straight_boundary"}
    of_volumes |= {"margin", "rotate_range", "scale_range", "shear_range"}
    assert volumes.keys() - images.keys() == of_volumes
    for part in ("train", "validate"):
        assert volumes[part] == images[part]


def test_what_is_said_of_training_holds_for_inference_unless_it_says_otherwise():
    plan = {"train.json": {"in_channels": 2, "labels": ["a"], "network_def": "N"}, "inference.json": {"labels": ["b"]}}
    configs = compose("volumes", plan)
    assert [configs["train.json"][name] for name in ("in_channels", "labels")] == [2, ["a"]]
    assert [configs["inference.json"][name] for name in ("in_channels", "labels")] == [2, ["b"]]
    assert "instances" not in configs["train.json"]  # of images only, and nobody gave one
    configs["train.json"]["train"].clear()
    assert template("train.json")["train"]


def test_an_id_with_marks_names_a_place_in_the_template():
    configs = compose("volumes", {"train.json": {"train#dataset#cache_num": 7, "validate#dataset#data": []}})
    train = configs["train.json"]
    assert train["train"]["dataset"]["cache_num"] == 7 and train["validate"]["dataset"]["data"] == []
    assert train["train"]["dataset"]["_target_"] == "CacheDataset" and "train#dataset#cache_num" not in train


def test_the_locator_sees_images_scaled_and_padded_as_in_its_training():
    configs = shipped_configs("head_locator")
    train, inference = configs["train.json"], configs["inference.json"]
    for name in ("spacing", "network_def", "labels", "in_channels", "roi_size", "grow_windows", "overlap"):
        assert train[name] == inference[name]
    trained, used = (
        config[name][-2:] for config, name in ((train, "label_preprocessing"), (inference, "image_preprocessing"))
    )
    assert trained[0] == used[0] and trained[1]["_target_"] == used[1]["_target_"] == "SpatialPadd"
    assert train["patch_size"] == used[1]["spatial_size"]


def test_the_hippocampus_bundle_carries_the_locator_as_it_is():
    """After a training of the locator: python -m ulite_monai.planning."""
    own, locator = find_bundle("hippocampus"), find_bundle("head_locator")
    assert (own / "models" / "locator.pt").read_bytes() == (locator / "models" / "model.pt").read_bytes()
    carried = shipped_configs("hippocampus")["locator.json"]
    assert carried == shipped_configs("head_locator")["inference.json"] | {"ckpt": carried["ckpt"]}
    assert not {"heads", "locator.json"} & {*compose("volumes", {}), *compose("volumes", {})["inference.json"]}


def test_an_id_that_no_template_has_is_refused():
    with pytest.raises(KeyError, match="epoch"):
        compose("volumes", {"train.json": {"epoch": 3}})


@pytest.mark.parametrize("name", NAMES)
def test_the_overlay_for_processes_fits_the_training(name):
    """MONAI merges by id, so a mistyped one would change nothing."""
    configs = shipped_configs(name)
    parser = ConfigParser(configs["train.json"])
    for id_ in configs["multi_gpu_train.json"]:
        parent = id_.removeprefix("+").rpartition("#")[0] or id_.removeprefix("+")
        assert parent in parser, id_
