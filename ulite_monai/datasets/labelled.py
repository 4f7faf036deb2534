"""Which cases a training sees, and whether they can be trained on."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ulite_monai.datasets.cases import case_items, find_labelled_cases, first_image
from ulite_monai.datasets.class_names import named_classes, require_same_names, same_names
from ulite_monai.datasets.preflight import check_items
from ulite_monai.errors import InputError
from ulite_monai.io.finite import NonFinite
from ulite_monai.io.images import is_image_file

__all__ = [
    "case_digest",
    "case_names",
    "class_names",
    "flips_beside_sides",
    "labelled_items",
    "require_names_of_data",
    "require_unflipped_sides",
    "require_usable",
    "split",
]

logger = logging.getLogger(__name__)

SIDE = re.compile(r"(?<![a-z])(left|right|[lr]h?(?![0-9]))(?![a-z])", re.IGNORECASE)  # L1 is a vertebra


def labelled_items(dataset_dir: str | None) -> list[dict[str, Any]]:
    """The labelled cases below `dataset_dir` as a MONAI data list; see `find_labelled_cases`.

    Without a `dataset_dir` there are none: an application such as MONAI Label gives the lists of both parts itself.
    """
    return case_items(find_labelled_cases(dataset_dir)) if dataset_dir else []


def split(
    items: Sequence[dict[str, Any]], part: Literal["train", "validate"], fold: int | str, num_folds: int, seed: int
) -> list[dict[str, Any]]:
    """The training or validation part of a fold.

    The cases are put in the order of a hash of the seed and their id and dealt to the folds in turn, so the split
    depends on nothing but the seed and the ids.

    Args:
        items: data list with a `case_id` each.
        part: "validate" for the cases of the fold, "train" for all others.
        fold: 0 to `num_folds - 1`, or "all": every case is in both parts (a training on all validates on none).
        num_folds: at least 2, at most the number of cases.
        seed: changes the split.

    Raises:
        InputError: When the folds don't fit the cases.
    """
    if not items:
        raise InputError("dataset_dir is not set: give the folder of your labelled volumes, --dataset_dir DIR.")
    if fold == "all":
        return list(items)
    if not isinstance(fold, int) or num_folds < 2 or not 0 <= fold < num_folds:
        raise InputError(
            f"fold must be all, or 0 to num_folds - 1 with num_folds at least 2; got {fold} of {num_folds}."
        )
    if len(items) < num_folds:
        remedy = f"--num_folds {len(items)}" if len(items) > 1 else "--fold all, which validates on none"
        raise InputError(f"{len(items)} cases can't be split into {num_folds} folds; add cases or give {remedy}.")
    dealt = sorted(items, key=lambda item: hashlib.sha256(f"{seed}:{item['case_id']}".encode()).hexdigest())
    chosen = [item for rank, item in enumerate(dealt) if (rank % num_folds == fold) == (part == "validate")]
    return sorted(chosen, key=lambda item: str(item["case_id"]))


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
    instances: bool = False,
    channels: int | None = None,
    on_nonfinite: NonFinite = "error",
    resample_tilt: bool = False,
    patch: Sequence[float] | None = None,
    images: bool = False,
) -> None:
    """Check every case before training starts; warnings are logged.

    Args:
        items: data list with `image` and `label` paths.
        labels: names of the classes, in the order of the label values 1, 2, ...
        instances: whether the label values number objects of one class.
        images: whether the bundle trains on 2D images, not on volumes.
        channels, on_nonfinite, resample_tilt, patch: as `ulite_monai.datasets.preflight.check_items` takes them.

    Raises:
        InputError: When the images aren't of the bundle's kind; else one line for each case that can't be trained on.
    """
    if isinstance(labels, str) or not labels:
        raise InputError(f"labels must be a list of class names such as \"['a','b']\", got {labels!r}.")
    _require_names(labels)
    if instances and len(labels) != 1:
        raise InputError(f"this bundle has one class beside the background, but labels are {list(labels)}; give one.")
    for item in items:
        path = first_image(item)
        if is_image_file(path) != images:
            kinds = ("2D images (PNG, JPEG, TIFF)", "volumes")
            raise InputError(f"{path}: this bundle trains on {kinds[not images]}; take another bundle or other data.")
    names = dict(enumerate(labels, start=1))
    findings = check_items(items, len(labels), instances, channels, on_nonfinite, resample_tilt, patch, names)
    for finding in findings:
        if finding.level == "warning":
            logger.warning("warning: %s", finding.text)
    errors = [finding.text for finding in findings if finding.level == "error"]
    if errors:
        raise InputError("\nerror: ".join(errors))


def _require_names(labels: Sequence[str]) -> None:
    """Refuse what a bundle's configuration would evaluate or take apart, and two classes of one name."""
    for label in labels:
        if not str(label).strip() or str(label)[0] in "$@%" or "#" in str(label) or "::" in str(label):
            raise InputError(f"a class can't be named {label!r}: not by nothing, with $, @ or % at its start, # or ::.")
    known = [str(label).strip().casefold().replace(" ", "_") for label in labels]
    if len(set(known)) < len(known):
        raise InputError(f"labels {list(labels)} name two classes alike; rename one of them.")


def class_names(
    dataset_dir: str | None, items: Sequence[dict[str, Any]], own: Sequence[str], instances: bool = False
) -> list[str]:
    """Names of the classes to train: those of the data set, in the bundle's spelling where they are the same.

    Args:
        dataset_dir: the data set; without one, an application trains the bundle's own classes further.
        items: its data list.
        own: the bundle's names.
        instances: whether the label values number objects of one class, the bundle's.

    Raises:
        InputError: When nothing names the classes and their values leave some out.
    """
    if not dataset_dir or instances:
        return list(own)
    names = named_classes(dataset_dir, [item["label"] for item in items])
    return list(own) if same_names(names, own) else names


def require_names_of_data(labels: Sequence[str], dataset_dir: str | None) -> None:
    """Check that labels that were typed don't contradict the data set; see `require_same_names`."""
    if dataset_dir and not isinstance(labels, str):
        require_same_names(labels, dataset_dir)


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
