"""The model cards' claims: the folds are those of the split, and weights, cases and tables belong together."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import read_json
from ulite_monai.prediction import Segmenter
from ulite_monai.reports.metrics import overlap, summarize
from ulite_monai.reports.metrics_csv import read_metrics
from ulite_monai.reports.table import markdown_table
from ulite_monai.training import labelled_set, split

# Bundle, data, and the CSV file of what the shipped weights give.
CARDS = {
    "hippocampus": ("bundle", "Task04_Hippocampus", "training_cases.csv"),
    "nuclei": ("examples/nuclei_bundle", "dsb2018", "fold0_metrics.csv"),
}


@pytest.mark.parametrize(("folder", "data"), [("bundle", "Task04_Hippocampus"), ("examples/nuclei_bundle", "dsb2018")])
def test_the_folds_are_those_that_a_training_uses(root, shared_data, folder, data):
    folds = read_json(root / folder / "docs" / "folds.json")
    items = labelled_set(str(shared_data / data)).items
    for number, expected in enumerate(folds["validation"]):
        part = split(items, "validate", number, folds["num_folds"], folds["seed"])
        assert [item["case_id"] for item in part] == expected
    assert sorted(case for fold in folds["validation"] for case in fold) == sorted(item["case_id"] for item in items)


@pytest.mark.parametrize(
    "path",
    ["bundle/docs/out_of_fold.csv", "bundle/docs/training_cases.csv", "examples/nuclei_bundle/docs/fold0_metrics.csv"],
)
def test_the_cards_tables_are_those_of_their_cases(path, root):
    card = (root / path).parent / "README.md"
    assert markdown_table(read_metrics(root / path)) in card.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["out_of_fold.csv", "training_cases.csv"])
def test_every_case_is_in_the_tables_once(name, bundle):
    folds = read_json(bundle / "docs" / "folds.json")["validation"]
    for label in ("anterior", "posterior"):
        found = [row.case_id for row in read_metrics(bundle / "docs" / name) if row.label == label]
        assert sorted(found) == sorted(case for fold in folds for case in fold)


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_the_shipped_weights_reproduce_cases_of_the_card(name, root, shared_data):
    """The first three cases of the card's CSV, to the fourth digit; another engine may move single voxels."""
    folder, data, table = CARDS[name]
    rows = read_metrics(root / folder / "docs" / table)
    items = {item["case_id"]: item for item in labelled_set(str(shared_data / data)).items}
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


@pytest.mark.parametrize(
    ("folder", "table", "labels", "names"),
    [
        ("bundle", "out_of_fold.csv", ["anterior", "posterior"], ["dice", "hd95_mm", "nsd_1mm"]),
        ("examples/nuclei_bundle", "fold0_metrics.csv", ["nucleus"], ["dice", "iou"]),
    ],
)
def test_the_metadatas_figures_are_those_of_the_cases(root, folder, table, labels, names):
    figures = read_json(root / folder / "configs" / "metadata.json")["eval_metrics"]
    means = summarize(read_metrics(root / folder / "docs" / table), labels)["labels"]
    expected = {f"{name}_{label}": means[label][name]["mean"] for label in labels for name in names}
    assert figures.keys() >= expected.keys()
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=5e-5)
