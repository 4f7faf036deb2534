"""Names of the classes of a labelled data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.images import is_image_file, open_image
from ulite_monai.io.references import read_reference

__all__ = ["declared_names", "named_classes", "require_same_names", "same_names"]


def declared_names(dataset_dir: str | Path) -> dict[int, str]:
    """Names by label value that a `dataset.json` declares, the Decathlon's way or nnU-Net's; empty without them.

    Args:
        dataset_dir: the folder that may hold a `dataset.json`. Regions of several values, which nnU-Net knows, aren't
            classes: with them nothing is declared.

    Raises:
        InputError: When it isn't valid JSON.
    """
    path = _datalist(dataset_dir)
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: is not valid JSON ({error}).") from None
    labels = content.get("labels") if isinstance(content, dict) else None
    named = [_entry(key, value) for key, value in labels.items()] if isinstance(labels, dict) else []
    return {} if None in named else {value: name for value, name in sorted(filter(None, named)) if value > 0}


def named_classes(dataset_dir: str | Path, labels: Sequence[str | Path]) -> list[str]:
    """Names of a data set's classes, for the values 1, 2, ...: as declared, or `class_1`, `class_2`, ...

    Args:
        dataset_dir: as `declared_names` takes it.
        labels: the label maps, which say how many classes there are where nothing is declared; those that can't be
            read are passed over.

    Raises:
        InputError: When nothing names the classes and their values leave some out.
    """
    declared = declared_names(dataset_dir)
    if declared:
        return [declared.get(value, f"class_{value}") for value in range(1, max(declared) + 1)]
    values = sorted(set().union(*map(_values, labels)))
    if values != list(range(1, len(values) + 1)):
        raise InputError(
            f"{dataset_dir}: its labels hold the values {values[:8]}, which aren't 1, 2, ... one after the other, and "
            "no dataset.json names them; number them so, or name every class up to the largest by --labels."
        )
    return [f"class_{value}" for value in values] or ["class_1"]


def same_names(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether both name the same classes in the same order, upper and lower case aside."""
    return [name.strip().casefold() for name in some] == [name.strip().casefold() for name in others]


def require_same_names(labels: Sequence[str], dataset_dir: str | Path) -> None:
    """Check that classes have the names that a data set gives them.

    Raises:
        InputError: When its `dataset.json` declares others. It names both.
    """
    declared = declared_names(dataset_dir)
    expected = [declared.get(value, "") or str(label) for value, label in enumerate(labels, start=1)]
    if declared and not (same_names(expected, labels) and max(declared) == len(labels)):
        raise InputError(
            f"{_datalist(dataset_dir)}: names the classes {list(declared.values())}, but labels are {list(labels)}; "
            "correct one of them, so that every value has one name."
        )


def _datalist(dataset_dir: str | Path) -> Path:
    return Path(dataset_dir).expanduser() / "dataset.json"


def _entry(key: str, value: Any) -> tuple[int, str] | None:
    """Label value and name of `"1": "liver"` or `"liver": 1`."""
    if isinstance(value, str) and key.isdigit():
        return int(key), value
    return (value, key) if isinstance(value, int) else None


def _values(label: str | Path) -> set[int]:
    try:
        array = np.asarray(open_image(label)) if is_image_file(label) else read_reference(str(label)).array
    except InputError:
        return set()
    return {int(value) for value in np.unique(array) if value >= 1}
