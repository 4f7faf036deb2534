"""Folds: every case once, groups whole, and cases that come later move none."""

import random

import pytest

from ulite_monai.datasets.folds import folds_of, how_split, split
from ulite_monai.errors import InputError

ITEMS = [{"case_id": f"case_{n:02d}", "image": f"{n}.nii"} for n in range(23)]


def ids(items):
    return [item["case_id"] for item in items]


def test_folds_partition_the_cases():
    parts = [split(ITEMS, "validate", fold, 5, seed=0) for fold in range(5)]
    assert sorted(len(part) for part in parts) == [3, 3, 3, 6, 8]
    assert sorted(i for part in parts for i in ids(part)) == ids(ITEMS)
    for fold, part in enumerate(parts):
        assert sorted(ids(part) + ids(split(ITEMS, "train", fold, 5, seed=0))) == ids(ITEMS)


def test_the_order_of_listing_does_not_matter_and_the_seed_does():
    shuffled = random.Random(1).sample(ITEMS, len(ITEMS))
    assert split(shuffled, "train", 2, 5, seed=0) == split(ITEMS, "train", 2, 5, seed=0)
    assert split(ITEMS, "train", 2, 5, seed=1) != split(ITEMS, "train", 2, 5, seed=0)


def test_a_known_split_stays_as_it_is_and_further_cases_move_none():
    assert ids(split(ITEMS, "validate", 0, 5, seed=0)) == EXPECTED
    more = [*ITEMS, *({"case_id": f"new_{n}"} for n in range(40))]
    assert [name for name in ids(split(more, "validate", 0, 5, seed=0)) if not name.startswith("new")] == EXPECTED
    assert "further cases don't move" in how_split(more, 0, 5, seed=0)


EXPECTED = ["case_02", "case_05", "case_10", "case_11", "case_19", "case_22"]


def grouped(items, size=3):
    return [item | {"group": f"patient_{n // size}"} for n, item in enumerate(items)]


def test_a_group_is_never_parted():
    items = grouped(ITEMS)
    for fold in range(3):
        groups = [{item["group"] for item in split(items, part, fold, 3, seed=0)} for part in ("train", "validate")]
        assert groups[0] and groups[1] and not groups[0] & groups[1]
    assert "a hash of its group" in how_split(items, 0, 3, seed=0)


def test_groups_are_dealt_out_where_a_fold_would_be_empty():
    items = ITEMS[:5]
    folds = folds_of(items, 5, seed=0)
    assert sorted(folds.of.values()) == [0, 1, 2, 3, 4] and "dealt out in turn" in folds.how
    assert how_split(items, "all", 5, seed=0) == how_split([], 0, 5, seed=0) == ""


def test_the_data_sets_own_folds_hold():
    items = [item | {"fold": n % 2} for n, item in enumerate(ITEMS[:6])]
    assert ids(split(items, "validate", 1, 5, seed=3)) == ["case_01", "case_03", "case_05"]
    with pytest.raises(InputError, match="0 to 1; got 2 of 2"):
        split(items, "validate", 2, 5, seed=0)
    with pytest.raises(InputError, match="part the group 'patient_0'"):
        split(grouped(items), "train", 0, 5, seed=0)


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
