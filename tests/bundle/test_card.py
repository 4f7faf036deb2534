"""The model card's claims: its folds are those of the split, and what it names as files is there."""

from tests.conftest import read_json
from ulite_monai.training import labelled_items, split


def test_the_folds_are_those_that_a_training_uses(bundle, hippocampus):
    folds = read_json(bundle / "docs" / "folds.json")
    items = labelled_items(str(hippocampus))
    for number, expected in enumerate(folds["validation"]):
        part = split(items, "validate", number, folds["num_folds"], folds["seed"])
        assert [item["case_id"] for item in part] == expected
    assert sorted(case for fold in folds["validation"] for case in fold) == sorted(item["case_id"] for item in items)
