"""Classes, sides and what training refuses."""

import json
from contextlib import nullcontext

import pytest

from ulite_monai.datasets.labelled_set import LabelledSet
from ulite_monai.errors import InputError
from ulite_monai.training import (
    class_names,
    class_values,
    flips_beside_sides,
    labelled_set,
    require_names_of_data,
    require_unflipped_sides,
    require_usable,
)


@pytest.mark.parametrize(
    ("labels", "sided"),
    [
        (["left kidney", "liver"], True),
        (["hippocampus_R"], True),
        (["Kidney-L"], True),
        (["lh_cortex"], True),
        (["bright", "cleft", "tumour"], False),
        (["vertebra_L1"], False),
    ],
    ids=str,
)
def test_classes_that_name_a_side_are_not_flipped(labels, sided):
    assert flips_beside_sides(labels, [0, 1]) == ([1] if sided else [0, 1])
    require_unflipped_sides(labels, [1])
    with pytest.raises(InputError, match=r'--flip_axes "\[1\]"') if sided else nullcontext():
        require_unflipped_sides(labels, [0, 1])


def test_names_are_the_data_sets_in_the_bundles_spelling(make_dataset):
    dataset, own = make_dataset(), ["anterior", "posterior"]
    assert class_names(labelled_set(None), own) == own and class_values(labelled_set(None), own) is None
    assert class_names(labelled_set(str(dataset)), own) == ["class_1", "class_2"]
    for declared, names in ((["Anterior", "Posterior"], own), (["left lobe", "right lobe"], None)):
        content = {"labels": {"background": 0, **{name: n for n, name in enumerate(declared, 1)}}}
        (dataset / "dataset.json").write_text(json.dumps(content))
        assert class_names(labelled_set(str(dataset)), own) == (names or declared)
    with pytest.raises(InputError, match=r"1 left lobe, 2 right lobe, but labels are .*anterior"):
        require_names_of_data(own, labelled_set(str(dataset)))


def found(values, declared=False):
    names = [f"class_{n}" for n in range(1, len(values) + 1)]
    return LabelledSet([{"case_id": "a"}], names, values, None, ["image"], None, "imagesTr, labelsTr", declared)


@pytest.mark.parametrize(
    ("values", "labels", "ignore", "expected"),
    [
        ([1, 2], "ab", None, [1, 2]),
        ([255], "a", None, [255]),
        ([2, 5, 9], "ab", 9, [2, 5]),
        ([1, 3], "abc", None, [1, 2, 3]),  # the second is in no case
    ],
    ids=str,
)
def test_classes_have_the_values_of_the_data_set(values, labels, ignore, expected):
    assert class_values(found(values), list(labels), ignore) == expected


def test_other_classes_than_are_declared_are_refused():
    with pytest.raises(
        InputError, match=r"the data set \(imagesTr, labelsTr\) declares the classes 1 class_1, 3 class_2"
    ):
        class_values(found([1, 3], declared=True), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("values", "ignore", "words"),
    [
        ([1], None, "for each of the 2 labels"),
        ([1, 1], None, "each of"),
        ([1, 2], 2, "ignore_label"),
        (None, 9, "needs"),
    ],
)
def test_values_that_fit_no_classes_are_refused(values, ignore, words):
    with pytest.raises(InputError, match=words):
        require_usable([], ["a", "b"], values, ignore)


@pytest.mark.parametrize(
    ("image", "labels", "kind", "words"),
    [
        ("a.png", ["a"], {}, r"a\.png: this bundle trains on volumes"),
        (["a_0000.nii.gz", "a_0001.nii.gz"], ["a"], {"images": True}, r"a_0000\.nii\.gz: this bundle trains on 2D im"),
        ("a.png", ["a", "b"], {"instances": True, "images": True}, "one class beside the background"),
    ],
    ids=str,
)
def test_images_of_another_kind_are_refused_at_once(image, labels, kind, words):
    with pytest.raises(InputError, match=words):
        require_usable([{"image": image, "label": "label", "case_id": "a"}], labels, **kind)


def test_what_a_reader_warns_of_is_logged_once_before_training(geometries, caplog):
    item = {"image": str(geometries["microns"]), "label": str(geometries["oblique_sform"]), "case_id": "a"}
    with pytest.raises(InputError, match="must be whole numbers"):  # the label is an image
        require_usable([item], ["a"])
    assert caplog.text.count("gives positions in microns") == 1


@pytest.mark.parametrize("name", ["$1+1", "@bundle_root", "%necrosis", "L#1", "L::1", " "])
def test_names_that_a_configuration_would_evaluate_are_refused(name):
    with pytest.raises(InputError, match="a class can't be named"):
        require_usable([], ["one", name])


@pytest.mark.parametrize("labels", [["a", "a"], ["a b", "A_b"]])
def test_two_classes_of_one_name_are_refused(labels):
    with pytest.raises(InputError, match="name two classes alike"):
        require_usable([], labels)
