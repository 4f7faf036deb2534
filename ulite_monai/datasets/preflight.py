"""Preflight: what is wrong with a labelled data set, found before hours of training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from ulite_monai.datasets.cases import first_image
from ulite_monai.datasets.labelled_set import UNNAMED
from ulite_monai.errors import InputError
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.dicom.read_seg import series_uid
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.finite import NonFinite, settle_nonfinite
from ulite_monai.io.grids import on_grid_of
from ulite_monai.io.images import image_size, is_image_file, open_image, read_label_image
from ulite_monai.io.read_volume import load_readers
from ulite_monai.io.references import header_grid, header_is_enough, read_reference, read_references, referred_file
from ulite_monai.io.volume import Volume, require_same_grid

__all__ = ["Finding", "check_items", "corner_displacement"]

WARN_DISPLACEMENT = 0.01
MAX_DISPLACEMENT = 0.5
FEW = 5  # cases, of which one alone may well have a class


@dataclass(frozen=True)
class Finding:
    """Something to know about a case: an `error` makes it unusable for training, a `warning` doesn't."""

    level: Literal["error", "warning"]
    case_id: str
    text: str


@dataclass(frozen=True)
class _Grid:
    """Where voxels lie: shape and affine once the axes are turned to the closest of right, anterior, superior."""

    path: str
    shape: tuple[int, ...]
    affine: np.ndarray
    is_image: bool = False


@dataclass(frozen=True)
class _Loaded:
    grid: _Grid
    array: np.ndarray  # turned as its grid is
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
    names: Mapping[int, str] | None,
    ignore: int | None = None,
    channels: int | None = None,
    on_nonfinite: NonFinite = "error",
    resample_tilt: bool = False,
    patch: Sequence[float] | None = None,
) -> list[Finding]:
    """Check the images and labels of a data list: all headers first, and the voxels if nothing is wrong with those.

    Args:
        items: entries with `image` (a path, or one per channel), `label` (a path) and, if known, `case_id`.
        names: of the classes by their label values; 3D Slicer's names in a label are compared with them. None where
            label values number objects of one class, so that any whole number is right.
        ignore: a label value that is right too, of voxels that don't count.
        channels: files that each image must consist of; None for any number that is the same for all.
        on_nonfinite: what is done about NaN and infinite voxels of images; "replace" makes them a warning.
        resample_tilt: whether tilted DICOM series are resampled; else they are an error.
        patch: of a training, mm (or pixels) along each axis; smaller cases are a warning.

    Returns:
        Findings in the order of the items; then those about all of them, about segments' names, and one for each
        class that no case holds, if all could be read.
    """
    counts = Counter(len(_channels(item)) for item in items)
    usual = max(counts, key=lambda number: counts[number], default=1)
    expected = (usual, f"most have {usual}") if channels is None else (channels, f"--in_channels is {channels}")
    load_readers(path for item in items for path in (*_channels(item), item["label"]))
    with ThreadPoolExecutor(max_workers=2) as pool:
        findings = [
            finding for found in pool.map(lambda item: _check_headers(item, expected), items) for finding in found
        ]
        kinds = {is_image_file(first_image(item)) for item in items}
        if len(kinds) > 1:
            findings.append(Finding("error", "", "some cases are 2D images, others volumes; separate them."))
        if findings:
            return findings
        checked = list(pool.map(lambda item: _check_voxels(item, names, ignore, on_nonfinite, resample_tilt), items))
    findings = [finding for one in checked for finding in one.findings]
    findings += _check_names(checked, names or {})
    if patch is not None:
        findings += _small(checked, patch)
    if names is None or any(finding.level == "error" for finding in findings):
        return findings
    holders = {value: [one.path for one in checked if value in one.values] for value in names}
    for value, paths in holders.items():
        if not paths or (len(paths) == 1 and len(checked) >= FEW):
            who = f"{paths[0]}: is the only label that holds" if paths else "no case holds"
            findings.append(Finding("warning", "", f"{who} the label value {value}, {names[value]}."))
    return findings


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


def _id(item: Mapping[str, Any]) -> str:
    return str(item.get("case_id", Path(first_image(item)).name))


def _check_headers(item: dict[str, Any], expected: tuple[int, str]) -> list[Finding]:
    """What can be told without the voxels: errors alone."""
    images, (number, why) = _channels(item), expected
    errors = []
    if len(images) != number:
        errors.append(f"{referred_file(str(images[0]))}: the case has {len(images)} channels, but {why}.")
    grids = []
    for path in (*map(str, images), str(item["label"])):
        try:
            grids.append(_header(path))
        except (_Unreadable, InputError) as error:
            errors.append(str(error))
            grids.append(None)
    first, *others = grids
    for other in others:
        if first is not None and other is not None:
            errors += [finding.text for finding in _check_same_grid("", first, other) if finding.level == "error"]
    return [Finding("error", _id(item), text) for text in dict.fromkeys(errors)]  # once for the channels of one file


def _header(path: str) -> _Grid | None:
    """The grid that a file's header states; None where the voxels must be read for it."""
    file = referred_file(path)
    if not file.exists() and "#" not in str(file):
        raise _Unreadable(f"{path}: doesn't exist; restore it or take the case out.")
    if file.is_file() and file.stat().st_size == 0:
        raise _Unreadable(f"{path}: is empty (0 bytes); restore it or take the case out.")
    if is_image_file(file):
        return _Grid(path, image_size(file), np.eye(4), is_image=True)
    if file.is_file() and header_is_enough(path):
        return _turned(path, *header_grid(path))
    return None


def _check_voxels(
    item: dict[str, Any],
    names: Mapping[int, str] | None,
    ignore: int | None,
    on_nonfinite: NonFinite,
    resample_tilt: bool,
) -> _Checked:
    case_id = _id(item)
    try:
        channels = _load([str(path) for path in _channels(item)], on_nonfinite, resample_tilt)
        label = _load_label(str(item["label"]), channels[0])
    except (_Unreadable, InputError) as error:
        return _Checked(case_id, [Finding("error", case_id, str(error))])
    findings = [finding for channel in channels for finding in _check_image(case_id, channel)]
    for other in channels[1:]:
        findings += _check_channel(case_id, channels[0], other)
    findings += _check_same_grid(case_id, channels[0].grid, label.grid)
    findings += [Finding("warning", case_id, text) for text in label.warnings]
    values = np.unique(label.array)
    findings += _check_label(case_id, label.grid.path, values, names, ignore)
    segments = label.volume.segments if label.volume else {}
    extent = np.asarray(channels[0].grid.shape) * _voxel_size(channels[0].grid)
    return _Checked(case_id, findings, label.grid.path, {int(value) for value in values}, segments, extent)


def _voxel_size(grid: _Grid) -> np.ndarray:
    return np.ones(len(grid.shape)) if grid.is_image else np.asarray(spacing_of(grid.affine))


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


def _load(paths: Sequence[str], on_nonfinite: NonFinite = "error", resample_tilt: bool = False) -> list[_Loaded]:
    if is_image_file(paths[0]):
        return [_load_image(path) for path in paths]
    volumes = read_references(paths, on_nonfinite, resample_tilt)
    return [_canonical(path, volume) for path, volume in zip(paths, volumes, strict=True)]


def _load_image(path: str) -> _Loaded:
    warnings: list[str] = []
    array = settle_nonfinite(np.asarray(open_image(path, warnings)), Path(path), "error", warnings)
    return _Loaded(_Grid(path, array.shape[1::-1], np.eye(4), is_image=True), array, warnings)


def _load_label(path: str, image: _Loaded) -> _Loaded:
    if is_image_file(path):
        array = read_label_image(path)
        return _Loaded(_Grid(path, array.shape, np.eye(4), is_image=True), array)
    label = read_reference(path)
    if label.drawn_on and image.volume is not None:
        source = image.volume.source
        if isinstance(source, DicomSeries) and series_uid(source) != label.drawn_on:
            raise _Unreadable(
                f"{path}: is a DICOM SEG of another series than its image {image.grid.path}; give the one that was "
                "drawn on it."
            )
        label.array, label.affine = on_grid_of(image.volume, label), image.volume.affine  # it leaves out empty slices
    return _canonical(path, label)


def _canonical(path: str, volume: Volume) -> _Loaded:
    """Axes turned to the closest of right, anterior, superior, as training does, so that flipped storage compares."""
    turned = nib.orientations.apply_orientation(volume.array, nib.orientations.io_orientation(volume.affine))
    return _Loaded(_turned(path, volume.array.shape, volume.affine), turned, volume.warnings, volume)


def _turned(path: str, shape: tuple[int, ...], affine: np.ndarray) -> _Grid:
    orientation = nib.orientations.io_orientation(affine)
    axes = np.argsort(orientation[:, 0])
    return _Grid(
        path, tuple(shape[int(axis)] for axis in axes), affine @ nib.orientations.inv_ornt_aff(orientation, shape)
    )


def _check_image(case_id: str, image: _Loaded) -> list[Finding]:
    findings = [Finding("warning", case_id, text) for text in image.warnings]
    path, shape = image.grid.path, image.grid.shape
    if image.volume is not None and 1 in shape:
        text = f"{path}: is a single slice, of shape {shape}; a network of volumes learns little of it."
        findings.append(Finding("warning", case_id, text))
    if image.array.min() == image.array.max():
        findings.append(Finding("warning", case_id, f"{path}: every voxel has the value {image.array.min()}."))
    return findings


def _check_channel(case_id: str, first: _Loaded, other: _Loaded) -> list[Finding]:
    if first.volume is None or other.volume is None:
        return _check_same_grid(case_id, first.grid, other.grid)
    try:
        require_same_grid(first.volume, other.volume)
    except InputError as error:
        return [Finding("error", case_id, str(error))]
    return []


def _check_same_grid(case_id: str, image: _Grid, other: _Grid) -> list[Finding]:
    if image.shape != other.shape:
        turned = "" if image.is_image else " (axes turned to RAS)"
        return [
            Finding(
                "error",
                case_id,
                f"{other.path}: has shape {other.shape}, its image {image.path} has {image.shape}{turned}; resample "
                "one onto the other.",
            )
        ]
    apart = 0.0 if image.is_image else corner_displacement(image.shape, image.affine, other.affine)
    if apart <= WARN_DISPLACEMENT:
        return []
    text = f"{other.path}: lies up to {apart:.3g} voxels away from its image {image.path}"
    if apart > MAX_DISPLACEMENT:
        return [Finding("error", case_id, f"{text}; correct the affine of one of them.")]
    return [Finding("warning", case_id, f"{text}.")]


def _check_label(
    case_id: str, path: str, values: np.ndarray, names: Mapping[int, str] | None, ignore: int | None
) -> list[Finding]:
    fractions = values[values != np.round(values)]
    if fractions.size:
        text = f"{path}: label values must be whole numbers, found {float(fractions[0])!r}; round them."
        return [Finding("error", case_id, text)]
    negative = [int(v) for v in values if v < 0]
    if negative:
        text = f"{path}: holds negative label values {negative[:8]}; use 0, 1, 2, ..."
        return [Finding("error", case_id, text)]
    unknown = [int(v) for v in values if names is not None and v not in (0, ignore, *names)]
    if unknown:
        known = ", ".join(f"{value} {name}" for value, name in [(0, "background"), *list((names or {}).items())[:8]])
        known += ", ..." if len(names or {}) > 8 else ""
        text = (
            f"{path}: holds label values {unknown[:8]}, which no class has (there are {known}); name every "
            "class in dataset.json, or by --labels, or correct the file."
        )
        return [Finding("error", case_id, text)]
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
