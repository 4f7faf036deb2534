"""Folds: which cases train, and which validate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from ulite_monai.bundles import BUNDLES, find_bundle
from ulite_monai.errors import InputError

__all__ = ["Folds", "folds_of", "how_split", "split"]


@dataclass(frozen=True)
class Folds:
    """The fold of each group, and where it comes from.

    Attributes:
        of: fold by group.
        count: how many folds there are.
        how: in a sentence.
    """

    of: Mapping[str, int]
    count: int
    how: str


def folds_of(items: Sequence[Mapping[str, Any]], num_folds: int, seed: int) -> Folds:
    """The folds of a data list.

    A fold that the data set says itself (`fold`) holds, else the one that a shipped bundle's `folds.json` says, if seed
    and number are its. Every other group has the fold that its hash gives, so that further cases move none. Where a
    fold would stay empty, the groups are dealt out in the order of their hashes.

    Args:
        items: entries with `case_id` and, if wanted, `group` and `fold`.
        num_folds: how many; a data set's own folds are as many as they are.
        seed: changes the hashes.

    Raises:
        InputError: When the data set's own folds part a group, or there are fewer groups than folds.
    """
    known = _own(items)
    if known:
        count, how = max(known.values()) + 1, "The folds are the data set's own."
    else:
        known, count = _shipped(items, num_folds, seed), num_folds
        how = "The folds are those that a shipped bundle's folds.json has for these cases."
    groups = sorted({_group(item) for item in items})
    hashes = {group: hashlib.sha256(f"{seed}:{group}".encode()).hexdigest() for group in groups}
    by_hash = {group: int(hashes[group], 16) % count for group in groups}
    if known:
        return Folds(by_hash | known, count, how)
    if len(groups) < count:
        what = "cases" if len(groups) == len(items) else "groups of cases"
        remedy = f"--num_folds {len(groups)}" if len(groups) > 1 else "--fold all, which validates on none"
        raise InputError(f"{len(groups)} {what} can't be split into {count} folds; add cases or give {remedy}.")
    if len(set(by_hash.values())) == count:
        what = "id" if len(groups) == len(items) else "group"
        how = f"The fold of a case follows from a hash of its {what}, so further cases don't move these."
        return Folds(by_hash, count, how)
    dealt = {group: rank % count for rank, group in enumerate(sorted(groups, key=lambda group: hashes[group]))}
    how = (
        "The cases were dealt out in turn, because by their hashes a fold would be empty; further cases may move these."
    )
    return Folds(dealt, count, how)


def split(
    items: Sequence[dict[str, Any]], part: Literal["train", "validate"], fold: int | str, num_folds: int, seed: int
) -> list[dict[str, Any]]:
    """The training or validation part of a fold; cases of one group lie in one part.

    Args:
        items: as `folds_of` takes them.
        part: "validate" for the cases of the fold, "train" for all others.
        fold: 0 to `num_folds - 1`, or "all": every case is in both parts (a training on all validates on none).
        num_folds: at least 2, at most the number of groups.
        seed: changes the split.

    Raises:
        InputError: When the folds don't fit the cases.
    """
    if not items:
        raise InputError("dataset_dir is not set: give the folder of your labelled volumes, --dataset_dir DIR.")
    if fold == "all":
        return list(items)
    own = any("fold" in item for item in items)
    if not isinstance(fold, int) or num_folds < 2 or not (own or 0 <= fold < num_folds):
        raise InputError(
            f"fold must be all, or 0 to num_folds - 1 with num_folds at least 2; got {fold} of {num_folds}."
        )
    folds = folds_of(items, num_folds, seed)
    if not 0 <= fold < folds.count:
        raise InputError(f"fold must be all, or 0 to {folds.count - 1}; got {fold} of {folds.count}.")
    chosen = [item for item in items if (folds.of[_group(item)] == fold) == (part == "validate")]
    if not chosen:
        raise InputError(
            f"fold {fold} of {folds.count} holds {'no' if part == 'validate' else 'every'} case; give another."
        )
    return sorted(chosen, key=lambda item: str(item["case_id"]))


def how_split(items: Sequence[Mapping[str, Any]], fold: int | str, num_folds: int, seed: int) -> str:
    """Where the folds of a training come from, in a sentence; empty where none validates."""
    return folds_of(items, num_folds, seed).how if items and fold != "all" else ""


def _group(item: Mapping[str, Any]) -> str:
    return str(item.get("group", item["case_id"]))


def _own(items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    folds: dict[str, int] = {}
    for item in items:
        if "fold" in item:
            group, fold = _group(item), int(item["fold"])
            if folds.setdefault(group, fold) != fold:
                raise InputError(
                    f"the data set's own folds part the group {group!r}: {item['case_id']} is in fold {fold}, another "
                    f"of its cases in {folds[group]}; correct the folds, or the groups."
                )
    return folds


def _shipped(items: Sequence[Mapping[str, Any]], num_folds: int, seed: int) -> dict[str, int]:
    shipped = _shipped_folds(num_folds, seed)
    return {_group(item): shipped[_group(item)] for item in items if _group(item) in shipped}


@cache
def _shipped_folds(num_folds: int, seed: int) -> dict[str, int]:
    """The fold of each case that a shipped bundle was trained on."""
    found: dict[str, int] = {}
    for name in BUNDLES:
        folds = json.loads((find_bundle(name) / "docs" / "folds.json").read_text(encoding="utf-8"))
        if (folds["num_folds"], folds["seed"]) == (num_folds, seed):
            found |= {case: fold for fold, cases in enumerate(folds["validation"]) for case in cases}
    return found
