"""The metadata and the card of a run: what is known of it, nothing of the bundle that it ran from."""

import math

import pytest

from tests.conftest import read_json
from ulite_monai.planning.run_card import run_card
from ulite_monai.planning.run_metadata import run_metadata, with_figures

RANGES = {"modality": ["CT"], "spacing_mm": [0.5, 6.0], "extent_mm": [[5.0, 24.0], [15.0, 80.0], [25.0, 180.0]]}
TRAIN = {"epochs": 8, "batch_size": 2, "patch_size": [24, 24, 16], "seed": 0, "fold": 1, "num_folds": 3}
COMMAND = ["python", "-m", "monai.bundle", "run", "training", "--labels", "['a','left b']"]


@pytest.fixture(scope="module")
def source(bundle):
    return read_json(bundle / "configs" / "metadata.json")


@pytest.fixture(scope="module")
def metadata(source):
    return run_metadata(source, ["a", "left b"], 2, "4 train, 2 validate, 0123abcd", RANGES)


def test_the_metadata_are_the_runs_own(source, metadata):
    formats = metadata["network_data_format"]
    image, prediction = formats["inputs"]["image"], formats["outputs"]["pred"]
    assert (image["num_channels"], image["modality"]) == (2, "CT")
    assert image["channel_def"] == {"0": "image", "1": "image 1"}
    assert prediction["num_channels"] == 3
    assert prediction["channel_def"] == {"0": "background", "1": "a", "2": "left b"}
    assert metadata["input_ranges"] == RANGES and metadata["label_classes"].endswith("1 a, 2 left b")
    assert "4 train, 2 validate" in metadata["data_source"]
    for name in ("eval_metrics", "references", "data_type", "label_codes"):
        assert name in source or name == "label_codes"
        assert name not in metadata
    for name in ("name", "task", "description", "copyright", "data_source"):
        assert "ippocampus" not in metadata[name] and "anterior" not in metadata[name]


def test_the_source_is_left_as_it_is(source, bundle):
    assert source == read_json(bundle / "configs" / "metadata.json")


@pytest.mark.parametrize(("labels", "kept"), [(["anterior", "posterior"], True), (["anterior"], False)], ids=str)
def test_codes_stay_where_the_classes_do(source, labels, kept):
    codes = {"anterior": {"category": []}, "posterior": {"category": []}}
    metadata = run_metadata({**source, "label_codes": codes}, labels, 1, "", {})
    assert (metadata.get("label_codes") == codes) is kept
    assert metadata["network_data_format"]["inputs"]["image"]["modality"] == "n/a"  # NIfTI doesn't say


def test_the_card_says_what_is_known(metadata):
    whole = with_figures(
        metadata, "2 validation cases, which chose epoch 5", {"a": 0.81234, "left b": 0.7, "in no case": math.nan}
    )
    assert "eval_metrics" not in metadata
    card = run_card(whole, TRAIN, COMMAND, has_curve=True)
    for text in (
        "# U-Lite: a, left b",
        "4 train, 2 validate, 0123abcd",
        "5 to 24 mm from right to left, 15 to 80 mm from front to back, 25 to 180 mm from head to foot",
        "spacing 0.5 to 6 mm, modality CT",
        "8 epochs of batches of 2, patches of 24x24x16, seed 0, fold 1 of 3",
        "python -m monai.bundle run training --labels '['\"'\"'a'\"'\"','\"'\"'left b'\"'\"']'",
        "2 validation cases, which chose epoch 5",
        "| a | 0.8123 |\n| left_b | 0.7 |\n\n",
        "`curve.csv`",
        "For research use only",
        "torch 2.",
    ):
        assert text in card, text


def test_a_card_without_figures_or_ranges_says_so(metadata):
    card = run_card({**metadata, "input_ranges": {}}, TRAIN, COMMAND, has_curve=False)
    assert "There is no figure yet" in card and "Volumes that it is for" not in card and "curve.csv" not in card
