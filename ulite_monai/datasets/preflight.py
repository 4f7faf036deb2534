"""Preflight: what is wrong with a labelled data set, found before hours of training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from ulite_monai.datasets.cases import first_image
from ulite_monai.errors import InputError
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.finite import NonFinite, settle_nonfinite
from ulite_monai.io.images import is_image_file, open_image
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
class _Checked:
    case_id: str
    findings: list[Finding]
    path: str = ""  # of its label
    values: set[int] = field(default_factory=set)
    segments: Mapping[int, str] = field(default_factory=dict)
    extent: np.ndarray | None = None  # mm along right, anterior, superior, or pixels


def check_items(
    items: Sequence[dict[str, Any]],
    num_labels: int,
    instances: bool = False,
    channels: int | None = None,
    on_nonfinite: NonFinite = "error",
    resample_tilt: bool = False,
    patch: Sequence[float] | None = None,
    names: Mapping[int, str] | None = None,
) -> list[Finding]:
    """Check the images and labels of a data list.

    Args:
        items: entries with `image` (a path, or one per channel), `label` (a path) and, if known, `case_id`.
        num_labels: number of classes beside the background; label values are 0 to `num_labels`.
        instances: whether the label values number objects of one class, so that any whole number is right.
        channels: files that each image must consist of; None for any number that is the same for all.
        on_nonfinite: what is done about NaN and infinite voxels of images; "replace" makes them a warning.
        resample_tilt: whether tilted DICOM series are resampled; else they are an error.
        patch: of a training, mm (or pixels) along each axis; smaller cases are a warning.
        names: of the label values, with which those that 3D Slicer wrote into a label are compared; the values
            without one must have the same name in all cases.

    Returns:
        Findings in the order of the items; then those about all of them, about segments' names, and one for each
        label value that no case holds, if all could be read.
    """
    kinds = {is_image_file(first_image(item)) for item in items}
    counts = Counter(len(_channels(item)) for item in items)
    usual = max(counts, key=lambda number: counts[number], default=1)
    expected = (usual, f"most have {usual}") if channels is None else (channels, f"--in_channels is {channels}")

    def check(item: dict[str, Any]) -> _Checked:
        return _check_item(item, num_labels, instances, expected, on_nonfinite, resample_tilt)

    load_readers(path for item in items for path in (*_channels(item), item["label"]))
    with ThreadPoolExecutor(max_workers=2) as pool:
        checked = list(pool.map(check, items))
    findings = [finding for one in checked for finding in one.findings]
    findings += _check_names(checked, names or {})
    if len(kinds) > 1:
        findings.append(Finding("error", "", "some cases are 2D images, others volumes; separate them."))
    elif patch is not None:
        findings += _small(checked, patch)
    if instances or any(finding.level == "error" for finding in findings):
        return findings
    found = set().union(*(one.values for one in checked))
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
    expected: tuple[int, str],
    on_nonfinite: NonFinite,
    resample_tilt: bool,
) -> _Checked:
    images = _channels(item)
    case_id = str(item.get("case_id", Path(str(images[0])).name))
    try:
        channels = [_load(str(path), True, on_nonfinite, resample_tilt) for path in images]
        label = _load(str(item["label"]), colour=False)
    except _Unreadable as error:
        return _Checked(case_id, [Finding("error", case_id, str(error))])
    findings = [f for channel in channels for f in _check_image(case_id, channel)]
    number, why = expected
    if len(images) != number:
        findings.append(Finding("error", case_id, f"{images[0]}: the case has {len(images)} channels, but {why}."))
    for other in channels[1:]:
        findings += _check_channel(case_id, channels[0], other)
    findings += _check_same_grid(case_id, channels[0], label)
    findings += [Finding("warning", case_id, text) for text in label.warnings]
    values = np.unique(label.array)
    findings += _check_label(case_id, label.path, values, None if instances else num_labels)
    segments = label.volume.segments if label.volume else {}
    extent = np.asarray(channels[0].array.shape) * _voxel_size(channels[0])
    return _Checked(case_id, findings, label.path, {int(value) for value in values}, segments, extent)


def _voxel_size(image: _Loaded) -> np.ndarray:
    return np.asarray(spacing_of(image.affine)) if image.volume else np.ones(image.array.ndim)


def _small(checked: Sequence[_Checked], patch: Sequence[float]) -> list[Finding]:
    small = [one for one in checked if one.extent is not None and (np.round(one.extent) < np.round(patch)).any()]
    if not small:
        return []
    first = f"{small[0].case_id} measures {_by(small[0].extent)}"
    text = f"{len(small)} of {len(checked)} cases are smaller than a patch of {_by(patch)} and are padded: {first}."
    return [Finding("warning", "", text)]


def _by(values: Any) -> str:
    return " x ".join(f"{value:.3g}" for value in values)


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
    if is_image_file(file):
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
    if image.volume is not None and 1 in image.array.shape:
        text = (
            f"{image.path}: is a single slice, of shape {image.array.shape}; a network of volumes learns little of it."
        )
        findings.append(Finding("warning", case_id, text))
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


def _check_names(labels: Iterable[_Checked], names: Mapping[int, str]) -> list[Finding]:
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
