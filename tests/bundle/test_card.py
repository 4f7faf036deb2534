"""The model cards' claims: the folds are those of the split, and weights, cases and tables belong together."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import read_json
from ulite_monai.prediction import Segmenter
from ulite_monai.reports.metrics import overlap
from ulite_monai.reports.metrics_csv import read_metrics
from ulite_monai.reports.table import markdown_table
from ulite_monai.training import labelled_items, split

CARDS = {"hippocampus": ("bundle", "Task04_Hippocampus"), "nuclei": ("examples/nuclei_bundle", "dsb2018")}


def test_the_folds_are_those_that_a_training_uses(bundle, hippocampus):
    folds = read_json(bundle / "docs" / "folds.json")
    items = labelled_items(str(hippocampus))
    for number, expected in enumerate(folds["validation"]):
        part = split(items, "validate", number, folds["num_folds"], folds["seed"])
        assert [item["case_id"] for item in part] == expected
    assert sorted(case for fold in folds["validation"] for case in fold) == sorted(item["case_id"] for item in items)


@pytest.mark.parametrize("name", CARDS)
def test_the_cards_table_is_that_of_its_cases(name, root):
    docs = root / CARDS[name][0] / "docs"
    assert markdown_table(read_metrics(docs / "fold0_metrics.csv")) in (docs / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_the_shipped_weights_reproduce_cases_of_the_card(name, root, shared_data):
    """The first three cases of the card's CSV, to the fourth digit; another engine may move single voxels."""
    folder, data = CARDS[name]
    rows = read_metrics(root / folder / "docs" / "fold0_metrics.csv")
    items = {item["case_id"]: item for item in labelled_items(str(shared_data / data))}
    segmenter = Segmenter(name, device="cpu", overrides={"engine": "torch"})
    for case in list(dict.fromkeys(row.case_id for row in rows))[:3]:
        label = _label(items[case]["label"])
        mask = segmenter({"image": [items[case]["image"]]}).mask
        expected = [row.dice for row in rows if row.case_id == case]
        values = [label > 0] if name == "nuclei" else [label == 1, label == 2]
        dice = [overlap(mask == value, true) for value, true in enumerate(values, start=1)]
        assert dice == pytest.approx(expected, abs=1e-4)


def _label(path):
    if path.endswith(".png"):
        with Image.open(path) as image:
            return np.asarray(image).T
    return np.asarray(nib.load(path).dataobj)
