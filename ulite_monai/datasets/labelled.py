"""Which cases a training sees, and whether they can be trained on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ulite_monai.datasets.cases import first_image
from ulite_monai.datasets.labelled_set import LabelledSet, read_labelled_set
from ulite_monai.datasets.preflight import check_items
from ulite_monai.errors import InputError
from ulite_monai.io.images import is_image_file

__all__ = [
    "case_digest",
    "case_names",
    "class_names",
    "class_values",
    "flips_beside_sides",
    "labelled_set",
    "require_names_of_data",
    "require_unflipped_sides",
    "require_usable",
]

logger = logging.getLogger(__name__)

EMPTY = LabelledSet([], [], [], None, [], None, "none")
SIDE = re.compile(r"(?<![a-z])(left|right|[lr]h?(?![0-9]))(?![a-z])", re.IGNORECASE)  # L1 is a vertebra


def labelled_set(dataset_dir: str | None, group: str | None = None) -> LabelledSet:
    """What there is at `dataset_dir`; see `read_labelled_set`.

    Without a `dataset_dir` it is empty: an application such as MONAI Label gives the lists of both parts itself.
    """
    return read_labelled_set(dataset_dir, group) if dataset_dir else EMPTY


def case_names(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of a data list's cases; without one, the path of the image."""
    return [str(item.get("case_id", item["image"])) for item in items]


def case_digest(training: Sequence[Mapping[str, Any]], validation: Sequence[Mapping[str, Any]]) -> str:
    """How many cases train and validate, and eight digits that depend on which they are.

    Args:
        training: data list of the training part.
        validation: data list of the validation part.
    """
    names = [sorted(case_names(items)) for items in (training, validation)]
    digits = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]
    return f"{len(training)} train, {len(validation)} validate, {digits}"


def require_usable(
    items: Sequence[dict[str, Any]],
    labels: Sequence[str],
    values: Sequence[int] | None = None,
    ignore: int | None = None,
    instances: bool = False,
    images: bool = False,
    **more: Any,
) -> None:
    """Check every case before training starts; warnings are logged.

    Args:
        items: data list with `image` and `label` paths.
        labels: names of the classes.
        values: the label value of each; None for 1, 2, ...
        ignore: the value of voxels that don't count; None without one.
        instances: whether the label values number objects of one class.
        images: whether the bundle trains on 2D images, not on volumes.
        more: as `ulite_monai.datasets.preflight.check_items` takes it.

    Raises:
        InputError: When the images aren't of the bundle's kind; else one line for each case that can't be trained on.
    """
    if isinstance(labels, str) or not labels:
        raise InputError(f"labels must be a list of class names such as \"['a','b']\", got {labels!r}.")
    _require_names(labels)
    if instances and len(labels) != 1:
        raise InputError(f"this bundle has one class beside the background, but labels are {list(labels)}; give one.")
    _require_values(labels, values, ignore)
    for item in items:
        path = first_image(item)
        if is_image_file(path) != images:
            kinds = ("2D images (PNG, JPEG, TIFF)", "volumes")
            raise InputError(f"{path}: this bundle trains on {kinds[not images]}; take another bundle or other data.")
    names = dict(zip(values or range(1, len(labels) + 1), labels, strict=True))
    findings = check_items(items, None if instances else names, ignore, **more)
    for finding in findings:
        if finding.level == "warning":
            logger.warning("warning: %s", finding.text)
    errors = [finding.text for finding in findings if finding.level == "error"]
    if errors:
        raise InputError("\nerror: ".join(errors))


def _require_values(labels: Sequence[str], values: Sequence[int] | None, ignore: int | None) -> None:
    if values is None:
        if ignore is not None:
            raise InputError("ignore_label needs label_values: give the value of each class too.")
        return
    whole = all(isinstance(value, int) and value > 0 for value in values)
    if not whole or len(set(values)) != len(labels) or ignore in values or ignore == 0:
        raise InputError(
            f"label_values must be a whole number above 0 for each of the {len(labels)} labels, none of them "
            f"ignore_label; got {values}, and ignore_label {ignore}."
        )


def _require_names(labels: Sequence[str]) -> None:
    """Refuse what a bundle's configuration would evaluate or take apart, and two classes of one name."""
    for label in labels:
        if not str(label).strip() or str(label)[0] in "$@%" or "#" in str(label) or "::" in str(label):
            raise InputError(f"a class can't be named {label!r}: not by nothing, with $, @ or % at its start, # or ::.")
    known = [str(label).strip().casefold().replace(" ", "_") for label in labels]
    if len(set(known)) < len(known):
        raise InputError(f"labels {list(labels)} name two classes alike; rename one of them.")


def class_names(
    data_set: LabelledSet, own: Sequence[str], ignore: int | None = None, instances: bool = False
) -> list[str]:
    """Names of the classes to train: those of the data set, in the bundle's spelling where they are the same.

    Args:
        data_set: of `labelled_set`; an empty one trains the bundle's own classes further.
        own: the bundle's names.
        ignore: the value of voxels that don't count, which is no class.
        instances: whether the label values number objects of one class, the bundle's.
    """
    if not data_set.items or instances:
        return list(own)
    names = [name for name, value in zip(data_set.names, data_set.values, strict=True) if value != ignore]
    return list(own) if _same_names(names, own) else names


def class_values(
    data_set: LabelledSet, labels: Sequence[str], ignore: int | None = None, instances: bool = False
) -> list[int] | None:
    """The label value of each class; None where the bundle's own are meant.

    Args:
        data_set: of `labelled_set`.
        labels: names of the classes.
        ignore, instances: as `class_names` takes them.

    Raises:
        InputError: When the data set declares others than the labels name.
    """
    if not data_set.items or instances or isinstance(labels, str):
        return None
    values = [value for value in data_set.values if value != ignore]
    if len(values) == len(labels):
        return values
    if not data_set.declared:  # then the labels do; the preflight tells which file holds what else
        return list(range(1, len(labels) + 1))
    raise InputError(_contradiction(data_set, labels))


def require_names_of_data(labels: Sequence[str], data_set: LabelledSet, ignore: int | None = None) -> None:
    """Check that labels that were typed don't contradict what the data set declares.

    Raises:
        InputError: When its names are others. It tells both.
    """
    names = class_names(data_set, (), ignore)
    if data_set.declared and not isinstance(labels, str) and not _same_names(names, labels):
        raise InputError(_contradiction(data_set, labels))


def _contradiction(data_set: LabelledSet, labels: Sequence[str]) -> str:
    classes = ", ".join(f"{value} {name}" for value, name in zip(data_set.values, data_set.names, strict=True))
    return (
        f"the data set ({data_set.layout}) declares the classes {classes}, but labels are {list(labels)}; correct one "
        "of them, so that every value has one name."
    )


def _same_names(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether both name the same classes in the same order, upper and lower case aside."""
    return [str(name).strip().casefold() for name in some] == [str(name).strip().casefold() for name in others]


def flips_beside_sides(labels: Sequence[str], flip_axes: Sequence[int]) -> list[int]:
    """Axes to flip: not the first, which runs from left to right, where a class names a side.

    Args:
        labels: names of the classes.
        flip_axes: axes that are flipped where none does.
    """
    sided = _sided(labels)
    if sided and 0 in flip_axes:
        logger.info("%s: names a side, so training doesn't flip left and right.", ", ".join(sided))
    return [axis for axis in flip_axes if axis != 0 or not sided]


def require_unflipped_sides(labels: Sequence[str], flip_axes: Sequence[int]) -> None:
    """Check that training doesn't flip one class into the other.

    Raises:
        InputError: When a class names a side and the first axis, left and right, is flipped.
    """
    sided = _sided(labels)
    if sided and 0 in flip_axes:
        raise InputError(
            f"flip_axes {list(flip_axes)} would flip left and right, but {', '.join(sided)} names a side, which can't "
            f'be learnt so; give --flip_axes "{[axis for axis in flip_axes if axis != 0]}".'
        )


def _sided(labels: Sequence[str]) -> list[str]:
    return [label for label in labels if SIDE.search(str(label))]
