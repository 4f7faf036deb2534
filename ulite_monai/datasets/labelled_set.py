"""A labelled data set: its cases, classes with their values, groups and channels, whatever its layout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.datasets.cases import with_channels
from ulite_monai.datasets.layouts import Layout, find_layout
from ulite_monai.errors import InputError
from ulite_monai.io.images import is_image_file, read_label_image
from ulite_monai.io.read_volume import load_readers
from ulite_monai.io.references import read_reference

__all__ = ["LabelledSet", "read_labelled_set"]

MOST_CLASSES = 255
NUMBERED_OBJECTS = 8  # in one mask, from which on its values may number objects
UNNAMED = re.compile(r"segment[ _]?\d*", re.IGNORECASE)  # what 3D Slicer calls a segment that nobody named
MR = re.compile(r"mri?|t1\w*|t2\w*|flair|adc|dwi|pdw?|swi", re.IGNORECASE)


@dataclass(frozen=True)
class LabelledSet:
    """What there is to train on.

    Attributes:
        items: a MONAI data list: `case_id`, `image` (a path, or one per channel), `label` (a path), `group` (cases of
            one group never lie on both sides of a split; the case's id where nothing else is said), and `fold` where
            the data set says it.
        names: of the classes.
        values: the value of each class in the labels, ascending.
        ignore: the value of voxels that neither a loss nor a metric counts; None without one.
        channels: names of an image's channels.
        modality: "CT" or "MR" where the data set declares it, else None.
        layout: in words.
        declared: whether the data set itself says its classes; else they were found in its labels.
        instances: whether the labels number objects of one class: any value above 0 is the class, and `values` is [1].
    """

    items: list[dict[str, Any]]
    names: list[str]
    values: list[int]
    ignore: int | None
    channels: list[str]
    modality: str | None
    layout: str
    declared: bool = False
    instances: bool = False

    @property
    def groups(self) -> list[str]:
        """The groups, each once, in order."""
        return sorted({item["group"] for item in self.items})


def read_labelled_set(dataset: str | Path, group: str | None = None) -> LabelledSet:
    """Read what a labelled data set says of itself; where it doesn't name its classes, its labels are read for them.

    Args:
        dataset: as `find_layout` takes it.
        group: a regular expression; what it finds in a case's id is the group of the case. None for what the data set
            itself says.

    Raises:
        InputError: When the data set has no layout that is known, lacks files, contradicts itself, or the pattern
            doesn't group it.
    """
    layout = _with_channels(find_layout(dataset))
    groups = dict(layout.groups) if group is None else _grouped([case.id for case in layout.cases], group)
    items = [
        case.item()
        | {"group": groups.get(case.id, case.id)}
        | ({"fold": layout.folds[case.id]} if case.id in layout.folds else {})
        for case in layout.cases
    ]
    ignore, declared = _declared(layout)
    channels, modality = _channels(layout)
    if declared:
        values, names = zip(*sorted(declared.items()), strict=True)
        classes = _Classes(list(values), list(names))
    else:
        classes = _classes_in([str(case.label) for case in layout.cases], layout.source, ignore)
    return LabelledSet(
        items,
        classes.names,
        classes.values,
        ignore,
        channels,
        modality,
        layout.name,
        declared=bool(declared),
        instances=classes.instances,
    )


@dataclass(frozen=True)
class _Classes:
    values: list[int]
    names: list[str]
    instances: bool = False


def _grouped(ids: Sequence[str], pattern: str) -> dict[str, str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--group {pattern!r} is no regular expression ({error}).") from None
    groups = {}
    for case_id in ids:
        match = compiled.search(case_id)
        if match is None or not match[0]:
            raise InputError(f"--group {pattern!r} finds nothing in the case id {case_id!r}; change the pattern.")
        groups[case_id] = match[0]
    if len(ids) > 1 and len(set(groups.values())) == 1:
        raise InputError(
            f"--group {pattern!r} puts all {len(ids)} cases into one group, {groups[ids[0]]!r}, so none is left to "
            "validate on; change the pattern."
        )
    return groups


def _declared(layout: Layout) -> tuple[int | None, dict[int, str]]:
    """The value to ignore, and the names of the classes by value, as far as the data set says them."""
    labels = layout.said.get("labels")
    ignore = layout.said.get("ignore_label")
    if labels is not None and not isinstance(labels, dict):
        raise InputError(
            f'{layout.source}: labels must be an object such as {{"background": 0, "tumour": 1}}, got {labels!r:.80}.'
        )
    names: dict[int, str] = {}
    for key, value in (labels or {}).items():
        entry = _entry(key, value)
        if entry is None:  # a region of several values, which nnU-Net knows, is no class
            return _whole(ignore, layout), {}
        number, name = entry
        if number in names:
            raise InputError(f"{layout.source}: calls the value {number} both {names[number]!r} and {name!r}.")
        twin = next((one for one, other in names.items() if other.strip().casefold() == name.strip().casefold()), None)
        if twin is not None:
            raise InputError(f"{layout.source}: calls both values {twin} and {number} {name!r}; rename one.")
        if name.strip().casefold() == "ignore":
            ignore = number
        else:
            names[number] = name
    background = names.pop(0, "background")
    ignore = _whole(ignore, layout)
    if ignore is not None and ignore in names:
        raise InputError(f"{layout.source}: the value {ignore} is both the class {names[ignore]!r} and to be ignored.")
    if any(number < 0 for number in names):
        raise InputError(
            f"{layout.source}: the value {min(names)} is negative; label values are 0 {background}, 1, ..."
        )
    return ignore, names


def _entry(key: str, value: Any) -> tuple[int, str] | None:
    """Label value and name of `"1": "liver"` or `"liver": 1`."""
    if isinstance(value, str):
        if key.lstrip("-").isdigit():
            return int(key), value
        return (int(value), key) if value.lstrip("-").isdigit() else None
    return (value, key) if isinstance(value, int) and not isinstance(value, bool) else None


def _whole(ignore: Any, layout: Layout) -> int | None:
    if ignore is None:
        return None
    if isinstance(ignore, bool) or not isinstance(ignore, int) or ignore < 0:
        raise InputError(f"{layout.source}: the value to ignore must be a whole number >= 0, got {ignore!r}.")
    return ignore


def _with_channels(layout: Layout) -> Layout:
    """The layout with the channels of images in one 4D file; a series in time is one where it is declared so."""
    said = _said_channels(layout)
    if len(said) == 1:
        return layout
    declared = len(said) > 1 or layout.said.get("tensorImageSize") == "4D"
    cases = [with_channels(case, timed=declared) for case in layout.cases]
    odd = next((case for case in cases if case.stacked > 1 and said and case.stacked != len(said)), None)
    if odd is not None:
        raise InputError(
            f"{layout.source}: names {len(said)} channels, {', '.join(said)}, but {odd.image[0]} holds {odd.stacked} "
            "along its fourth axis; correct one of them."
        )
    return replace(layout, cases=cases)


def _said_channels(layout: Layout) -> list[str]:
    """Names of the channels, as far as the data set says them one by one."""
    said = layout.said.get("channel_names") or layout.said.get("modality") or {}
    said = {} if isinstance(said, str) else said if isinstance(said, Mapping) else dict(enumerate(said))
    return [str(name) for _, name in sorted(said.items(), key=lambda one: int(one[0]) if str(one[0]).isdigit() else 0)]


def _channels(layout: Layout) -> tuple[list[str], str | None]:
    """Names of the channels, and the modality if all have one that is declared."""
    one_name = layout.said.get("channel_names") or layout.said.get("modality")
    names = [one_name] if isinstance(one_name, str) else _said_channels(layout)
    first = layout.cases[0]
    count = len(first.channels)
    if names and len(names) != count and layout.said.get("channel_names"):
        raise InputError(
            f"{layout.source}: names {len(names)} channels, {', '.join(names)}, but {first.id} has {count}; "
            f"its files would be {first.id}_0000, _0001, ...; correct one of them."
        )
    modalities = {"CT" if name.upper() == "CT" else "MR" if MR.fullmatch(name) else None for name in names}
    modality = modalities.pop() if len(modalities) == 1 else None
    if len(names) != count:
        names = list(layout.channels)
    if len(names) != count:
        names = ["image"] if count == 1 else [f"image_{n}" for n in range(count)]
    return names, modality


@dataclass(frozen=True)
class _Label:
    """What one label holds."""

    path: str
    values: tuple[int, ...] = ()
    segments: Mapping[int, str] = field(default_factory=dict)


def _classes_in(labels: Sequence[str], source: Path, ignore: int | None) -> _Classes:
    """The classes that label maps hold; those that can't be read are passed over, because the preflight tells them."""
    load_readers(labels)
    with ThreadPoolExecutor(max_workers=2) as pool:
        found = list(pool.map(_look, labels))
    values = sorted(set().union(*(label.values for label in found)) - {0, ignore})
    if _number_objects(found):
        return _Classes([1], ["class_1"], instances=True)
    if len(values) > MOST_CLASSES:
        most = max(found, key=lambda label: len(label.values))
        raise InputError(
            f"{most.path}: holds {len(most.values)} different values; a label holds a value for each class, at most "
            f"{MOST_CLASSES}. Is it an image?"
        )
    if not values:
        readable = [label for label in found if label.values]
        if readable:
            raise InputError(f"{source}: no label holds anything but background, in {len(found)} cases; label some.")
        values = [1]  # whatever they are, the preflight says it
    segments = {value: name for label in reversed(found) for value, name in label.segments.items()}
    names = [segments.get(value, f"class_{number}") for number, value in enumerate(values, 1)]
    distinct = len({name.casefold() for name in names}) == len(names)
    return _Classes(values, names if distinct else [f"class_{number}" for number in range(1, len(values) + 1)])


def _look(path: str) -> _Label:
    try:
        if is_image_file(path):
            return _Label(path, _whole_values(read_label_image(path)))
        volume = read_reference(path)
    except InputError:
        return _Label(path)
    named = {v: name.strip() for v, name in volume.segments.items() if not UNNAMED.fullmatch(name.strip())}
    return _Label(path, _whole_values(volume.array), named)


def _whole_values(array: np.ndarray) -> tuple[int, ...]:
    values = np.unique(array)
    return tuple(int(value) for value in values if value >= 0 and value == np.round(value))


def _number_objects(labels: Sequence[_Label]) -> bool:
    """Whether masks of 2D images number their objects: 1 to another number in nearly each of them, up to many."""
    if not all(is_image_file(label.path) for label in labels):
        return False
    counts = [len(label.values) - (0 in label.values) for label in labels]
    in_turn = [max(label.values, default=0) == count for label, count in zip(labels, counts, strict=True)]
    return max(counts, default=0) >= NUMBERED_OBJECTS and len(set(counts)) > 1 and sum(in_turn) >= 0.9 * len(labels)
