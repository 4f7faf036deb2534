"""What DICOM SEG says of a bundle's labels."""

import pytest

from tests.conftest import read_json
from ulite_monai.io.coding import COLOURS, coded_labels

HIPPOCAMPUS = {"value": "5366008", "scheme": "SCT", "meaning": "Hippocampus"}


@pytest.fixture
def metadata(bundle):
    return read_json(bundle / "configs" / "metadata.json")


def test_the_bundles_labels_have_its_codes_and_the_colours_of_its_pictures(metadata):
    coded = coded_labels(metadata, ["anterior", "posterior"])
    assert [(label["value"], label["name"], label["colour"]) for label in coded] == [
        (1, "anterior", COLOURS[0]),
        (2, "posterior", COLOURS[1]),
    ]
    assert all(label["type"] == HIPPOCAMPUS for label in coded)


def test_other_labels_are_structures_in_colours_that_come_again(metadata):
    coded = coded_labels(metadata, [str(number) for number in range(9)])
    assert [label["colour"] for label in coded] == [*COLOURS, *COLOURS[:2]]
    assert {label["type"]["value"] for label in coded} == {"91723000"}


def test_a_bundle_without_metadata():
    assert [label["name"] for label in coded_labels({}, ["a"])] == ["a"]
