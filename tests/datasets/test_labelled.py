"""Folds and flags."""

import json
import random
from contextlib import nullcontext

import pytest

from ulite_monai.errors import InputError
from ulite_monai.training import (
    class_names,
    flips_beside_sides,
    labelled_items,
    require_names_of_data,
    require_unflipped_sides,
    require_usable,
    split,
)

ITEMS = [{"case_id": f"case_{n:02d}", "image": f"{n}.nii"} for n in range(23)]


def ids(items):
    return [item["case_id"] for item in items]


def test_folds_partition_the_cases():
    parts = [split(ITEMS, "validate", fold, 5, seed=0) for fold in range(5)]
    assert sorted(len(part) for part in parts) == [4, 4, 5, 5, 5]
    assert sorted(i for part in parts for i in ids(part)) == ids(ITEMS)
    for fold, part in enumerate(parts):
        assert sorted(ids(part) + ids(split(ITEMS, "train", fold, 5, seed=0))) == ids(ITEMS)


def test_the_order_of_listing_does_not_matter_and_the_seed_does():
    shuffled = random.Random(1).sample(ITEMS, len(ITEMS))
    assert split(shuffled, "train", 2, 5, seed=0) == split(ITEMS, "train", 2, 5, seed=0)
    assert split(ITEMS, "train", 2, 5, seed=1) != split(ITEMS, "train", 2, 5, seed=0)


def test_a_known_split_stays_as_it_is():
    assert ids(split(ITEMS, "validate", 0, 5, seed=0)) == EXPECTED


EXPECTED = ["case_03", "case_08", "case_14", "case_20", "case_22"]


def test_all_cases_are_in_both_parts():
    assert split(ITEMS, "train", "all", 5, 0) == split(ITEMS, "validate", "all", 5, 0) == ITEMS


@pytest.mark.parametrize(("fold", "num_folds"), [(5, 5), (-1, 5), (0, 1), ("some", 5), (0, 24)])
def test_folds_that_do_not_fit(fold, num_folds):
    with pytest.raises(InputError, match=str(num_folds)):
        split(ITEMS, "train", fold, num_folds, seed=0)


def test_a_single_case_has_no_folds_and_trains_all_the_same():
    with pytest.raises(InputError, match=r"1 cases can't be split into 5 folds; .* give --fold all"):
        split(ITEMS[:1], "train", 0, 5, seed=0)
    assert split(ITEMS[:1], "train", "all", 5, seed=0) == ITEMS[:1]


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
    items = labelled_items(str(dataset))
    assert class_names(None, [], own) == own
    assert class_names(str(dataset), items, own) == ["class_1", "class_2"]
    for declared, names in ((["Anterior", "Posterior"], own), (["left lobe", "right lobe"], None)):
        content = {"labels": {"background": 0, **{name: n for n, name in enumerate(declared, 1)}}}
        (dataset / "dataset.json").write_text(json.dumps(content))
        assert class_names(str(dataset), items, own) == (names or declared)
    with pytest.raises(InputError, match=r"left lobe.*anterior"):
        require_names_of_data(own, str(dataset))


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
    item = {"image": str(geometries["microns"]), "label": str(geometries["sform"]), "case_id": "a"}
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
