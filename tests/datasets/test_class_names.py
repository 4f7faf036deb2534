"""Names of classes come from the data set, whichever way it declares them, or they are numbers."""

import json

import numpy as np
import pytest

from tests.conftest import write_volume
from ulite_monai.datasets.class_names import declared_names, named_classes, require_same_names
from ulite_monai.errors import InputError


def declare(folder, content, encoding="utf-8"):
    (folder / "dataset.json").write_text(content if isinstance(content, str) else json.dumps(content), encoding)
    return folder


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"0": "background", "1": "Anterior", "2": "Posterior"}, {1: "Anterior", 2: "Posterior"}),
        ({"background": 0, "GTV": 1}, {1: "GTV"}),
        ({"GTV": 1}, {1: "GTV"}),
        ({"2": "b", "1": "a"}, {1: "a", 2: "b"}),
        ({"whole tumour": [1, 2], "core": 2}, {}),
        ({}, {}),
        (None, {}),
    ],
    ids=str,
)
def test_the_decathlons_way_and_nnu_nets(tmp_path, labels, names):
    assert declared_names(declare(tmp_path, {"labels": labels})) == names


def test_a_byte_order_mark_is_no_fault(tmp_path):
    assert declared_names(declare(tmp_path, {"labels": {"GTV": 1}}, "utf-8-sig")) == {1: "GTV"}


def test_without_a_declaration_classes_are_numbers(tmp_path):
    label = np.zeros((4, 4, 4), np.uint8)
    label[0], label[1] = 1, 2
    paths = [write_volume(tmp_path / "a.nii.gz", label), tmp_path / "gone.nii.gz"]
    assert named_classes(tmp_path, paths) == ["class_1", "class_2"]
    assert named_classes(declare(tmp_path, {"labels": {"a": 1, "c": 3}}), paths) == ["a", "class_2", "c"]


def test_values_with_a_gap_need_names(tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", np.full((4, 4, 4), 255, np.uint8))
    with pytest.raises(InputError, match=r"hold the values \[255\], .* name every class .* by --labels"):
        named_classes(tmp_path, [path])


@pytest.mark.parametrize("labels", [["gtv "], ["GTV"]])
def test_the_same_names_but_for_case(tmp_path, labels):
    require_same_names(labels, declare(tmp_path, {"labels": {"GTV": 1}}))
    require_same_names(["anything"], tmp_path / "without")


@pytest.mark.parametrize("labels", [["tumour"], ["GTV", "other"], []], ids=str)
def test_a_contradiction_is_refused_with_both(tmp_path, labels):
    with pytest.raises(InputError) as error:
        require_same_names(labels, declare(tmp_path, {"labels": {"background": 0, "GTV": 1}}))
    assert "names the classes ['GTV']" in str(error.value) and f"labels are {labels}" in str(error.value)
