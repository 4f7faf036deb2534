"""Preflight: what is wrong with a labelled data set, found before hours of training."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.cases import IMAGE_SUFFIXES
from ulite_monai.io.finite import NonFinite, settle_nonfinite
from ulite_monai.io.images import open_image
from ulite_monai.io.read_volume import load_readers
from ulite_monai.io.references import read_reference
from ulite_monai.io.volume import Volume, require_same_grid

__all__ = ["Finding", "check_items", "corner_displacement"]

WARN_DISPLACEMENT = 0.01
MAX_DISPLACEMENT = 0.5
UNNAMED = re.compile(r"segment[ _]?\d*", re.IGNORECASE)  # what 3D Slicer calls a segment that nobody named


@dataclass(frozen=True)
class Finding:
    """Something to know about a case: an `error` makes it unusable for training, a `warning` doesn't."""

    level: Literal["error", "warning"]
    case_id: str
    text: str


@dataclass(frozen=True)
class _Loaded:
    path: str
    array: np.ndarray
    affine: np.ndarray
    warnings: Sequence[str] = ()
    volume: Volume | None = None  # as it is stored


@dataclass(frozen=True)
class _Label:
    case_id: str
    path: str = ""
    values: set[int] = field(default_factory=set)
    segments: Mapping[int, str] = field(default_factory=dict)


def check_items(
    items: Sequence[dict[str, Any]],
    num_labels: int,
    instances: bool = False,
    channels: int | None = None,
    on_nonfinite: NonFinite = "error",
    resample_tilt: bool = False,
    names: Mapping[int, str] | None = None,
) -> list[Finding]:
    """Check the images and labels of a data list.

    Args:
        items: entries with `image` (a path, or one per channel), `label` (a path) and, if known, `case_id`.
        num_labels: number of classes beside the background; label values are 0 to `num_labels`.
        instances: whether the label values number objects of one class, so that any whole number is right.
        channels: files that each image must consist of; None for any number.
        on_nonfinite: what is done about NaN and infinite voxels of images; "replace" makes them a warning.
        resample_tilt: whether tilted DICOM series are resampled; else they are an error.
        names: of the label values, with which those that 3D Slicer wrote into a label are compared; the values
            without one must have the same name in all cases.

    Returns:
        Findings in the order of the items; then those about segments' names, and one for each label value that no
        case holds, if all could be read.
    """

    def check(item: dict[str, Any]) -> tuple[list[Finding], _Label]:
        return _check_item(item, num_labels, instances, channels, on_nonfinite, resample_tilt)

    load_readers(path for item in items for path in (*_channels(item), item["label"]))
    with ThreadPoolExecutor(max_workers=2) as pool:
        checked = list(pool.map(check, items))
    findings = [finding for of_item, _ in checked for finding in of_item]
    findings += _check_names((label for _, label in checked), names or {})
    if instances or any(finding.level == "error" for finding in findings):
        return findings
    found = set().union(*(label.values for _, label in checked))
    missing = [value for value in range(1, num_labels + 1) if value not in found]
    return findings + [Finding("warning", "", f"no case holds the label value {value}.") for value in missing]


def corner_displacement(shape: Sequence[int], affine: np.ndarray, other: np.ndarray) -> float:
    """How far the corners of a grid lie apart under two affines, at most.

    Args:
        shape: voxels along each axis of the grid.
        affine: 4x4, voxel to world in mm; its voxels are the unit of the result.
        other: 4x4, voxel to world in mm.
    """
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in shape[:3]], indexing="ij")).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    moved = np.linalg.solve(affine, other @ corners)
    return float(np.abs(moved - corners)[:3].max())


def _check_item(
    item: dict[str, Any],
    num_labels: int,
    instances: bool,
    expected_channels: int | None,
    on_nonfinite: NonFinite,
    resample_tilt: bool,
) -> tuple[list[Finding], _Label]:
    """Findings about a case, and what its label holds."""
    images = _channels(item)
    case_id = str(item.get("case_id", Path(str(images[0])).name))
    try:
        channels = [_load(str(path), True, on_nonfinite, resample_tilt) for path in images]
        label = _load(str(item["label"]), colour=False)
    except _Unreadable as error:
        return [Finding("error", case_id, str(error))], _Label(case_id)
    findings = [f for channel in channels for f in _check_image(case_id, channel)]
    if expected_channels is not None and len(images) != expected_channels:
        text = f"{images[0]}: the case has {len(images)} channels, but --in_channels is {expected_channels}."
        findings.append(Finding("error", case_id, text))
    for other in channels[1:]:
        findings += _check_channel(case_id, channels[0], other)
    findings += _check_same_grid(case_id, channels[0], label)
    findings += [Finding("warning", case_id, text) for text in label.warnings]
    values = np.unique(label.array)
    findings += _check_label(case_id, label.path, values, None if instances else num_labels)
    segments = label.volume.segments if label.volume else {}
    return findings, _Label(case_id, label.path, {int(value) for value in values}, segments)


def _channels(item: dict[str, Any]) -> Sequence[str | Path]:
    return item["image"] if isinstance(item["image"], list | tuple) else [item["image"]]


class _Unreadable(Exception):
    pass


def _load(path: str, colour: bool = True, on_nonfinite: NonFinite = "error", resample_tilt: bool = False) -> _Loaded:
    file = Path(path)
    if not file.exists() and "#" not in path:
        raise _Unreadable(f"{path}: doesn't exist; restore it or take the case out.")
    if file.is_file() and file.stat().st_size == 0:
        raise _Unreadable(f"{path}: is empty (0 bytes); restore it or take the case out.")
    if file.name.lower().endswith(IMAGE_SUFFIXES):
        return _load_image(file, colour)
    try:
        volume = read_reference(path, on_nonfinite, resample_tilt)
    except InputError as error:
        raise _Unreadable(str(error)) from None
    return _canonical(path, volume)


def _load_image(file: Path, colour: bool) -> _Loaded:
    try:
        warnings: list[str] = []
        array = settle_nonfinite(np.asarray(open_image(file, warnings)), file, "error", warnings)
    except InputError as error:
        raise _Unreadable(str(error)) from None
    if array.ndim == 3 and not colour:
        raise _Unreadable(f"{file}: is a colour image of shape {array.shape}; a label must be grey, one value a pixel.")
    if warnings and not colour:  # the reader of labels turns some of them
        raise _Unreadable(f"{file}: is a label with an orientation tag; save it without the tag.")
    array = array[..., 0] if array.ndim == 3 else array  # the last axis is colour
    return _Loaded(str(file), array, np.eye(4), warnings)


def _canonical(path: str, volume: Volume) -> _Loaded:
    """Axes turned to the closest of right, anterior, superior, as training does, so that flipped storage compares."""
    orientation = nib.orientations.io_orientation(volume.affine)
    turned = nib.orientations.apply_orientation(volume.array, orientation)
    to_stored = nib.orientations.inv_ornt_aff(orientation, volume.array.shape)
    return _Loaded(path, turned, volume.affine @ to_stored, volume.warnings, volume)


def _check_image(case_id: str, image: _Loaded) -> list[Finding]:
    findings = [Finding("warning", case_id, text) for text in image.warnings]
    if image.array.min() == image.array.max():
        findings.append(Finding("warning", case_id, f"{image.path}: every voxel has the value {image.array.min()}."))
    return findings


def _check_channel(case_id: str, first: _Loaded, other: _Loaded) -> list[Finding]:
    if first.volume is None or other.volume is None:
        return _check_same_grid(case_id, first, other)
    try:
        require_same_grid(first.volume, other.volume)
    except InputError as error:
        return [Finding("error", case_id, str(error))]
    return []


def _check_same_grid(case_id: str, image: _Loaded, other: _Loaded) -> list[Finding]:
    if image.array.shape != other.array.shape:
        return [
            Finding(
                "error",
                case_id,
                f"{other.path}: has shape {other.array.shape}, its image {image.path} has {image.array.shape} "
                "(axes turned to RAS); resample one onto the other.",
            )
        ]
    apart = corner_displacement(image.array.shape, image.affine, other.affine) if image.array.ndim == 3 else 0.0
    if apart <= WARN_DISPLACEMENT:
        return []
    text = f"{other.path}: lies up to {apart:.3g} voxels away from its image {image.path}"
    if apart > MAX_DISPLACEMENT:
        return [Finding("error", case_id, f"{text}; correct the affine of one of them.")]
    return [Finding("warning", case_id, f"{text}.")]


def _check_label(case_id: str, path: str, values: np.ndarray, num_labels: int | None) -> list[Finding]:
    fractions = values[values != np.round(values)]
    if fractions.size:
        text = f"{path}: label values must be whole numbers, found {float(fractions[0])!r}; round them."
        return [Finding("error", case_id, text)]
    negative = [int(v) for v in values if v < 0]
    if negative:
        text = f"{path}: holds negative label values {negative[:8]}; use 0, 1, 2, ..."
        return [Finding("error", case_id, text)]
    undeclared = [int(v) for v in values if num_labels is not None and v > num_labels]
    if undeclared:
        return [
            Finding(
                "error",
                case_id,
                f"{path}: holds label values {undeclared[:8]}, but {num_labels} labels are declared (values 0 "
                f"to {num_labels}); list every class in --labels or correct the file.",
            )
        ]
    if not values.any():
        return [Finding("warning", case_id, f"{path}: is empty, no voxel is labelled.")]
    return []


def _check_names(labels: Iterable[_Label], names: Mapping[int, str]) -> list[Finding]:
    """Where the names that a file gives its values aren't those of the data set, or of the cases before."""
    known = {value: (name, "in the data set") for value, name in names.items()}
    findings = []
    for label in labels:
        for value, name in label.segments.items():
            if UNNAMED.fullmatch(name.strip()):
                continue
            expected, where = known.setdefault(value, (name, f"in {label.path}"))
            if name.strip().casefold() != expected.strip().casefold():
                text = f"{label.path}: calls the value {value} {name!r}, which is {expected!r} {where}; compare both."
                findings.append(Finding("warning", label.case_id, text))
    return findings
