"""The preflight of a labelled data set, with a table of its cases."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ulite_monai.datasets.cases import first_image
from ulite_monai.datasets.labelled_set import LabelledSet, read_labelled_set
from ulite_monai.datasets.preflight import Finding, check_items
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.images import image_size, is_image_file, read_label_image
from ulite_monai.io.references import header_grid, header_is_enough, read_reference, referred_file

__all__ = ["CheckReport", "CheckedCase", "check_dataset"]

MOST_LABELS = 12  # in a cell of the table
PATCHES = {2: (256, 256), 3: (40, 56, 40)}  # by default, of the bundle of images and that of volumes at 1 mm
FOLDS = 5  # by default
SPACING_OUTLIER = 1.5  # times the median, or less than the median divided by it


@dataclass(frozen=True)
class CheckedCase:
    """One case of a data set: its grid, and the voxels of each label value."""

    id: str
    size: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""
    label_voxels: tuple[tuple[int, int], ...] = ()
    findings: int = 0

    def cells(self) -> list[str]:
        """The attributes as texts."""
        labels = " ".join(f"{value}:{count}" for value, count in self.label_voxels[:MOST_LABELS])
        labels += f" and {len(self.label_voxels) - MOST_LABELS} more" if len(self.label_voxels) > MOST_LABELS else ""
        size, spacing = "x".join(map(str, self.size)), "x".join(f"{s:.4g}" for s in self.spacing)
        return [self.id, size, spacing, self.orientation, labels, str(self.findings or "")]


@dataclass(frozen=True)
class CheckReport:
    """What there is, all cases, and all that was found."""

    summary: list[tuple[str, str]]
    rows: list[CheckedCase]
    findings: list[Finding]


def check_dataset(dataset: str | Path, num_labels: int | None = None, group: str | None = None) -> CheckReport:
    """Check every case of a labelled data set.

    Args:
        dataset: as `read_labelled_set` takes it.
        num_labels: classes beside the background, with the values 1, 2, ...; None for those that the data set says or
            holds.
        group: as `read_labelled_set` takes it.

    Raises:
        InputError: When there is no such data set, a file is missing, or it contradicts itself.
    """
    data_set = read_labelled_set(dataset, group)
    names: dict[int, str] | None = dict(zip(data_set.values, data_set.names, strict=True))
    if num_labels is not None:
        names = {value: f"class_{value}" for value in range(1, num_labels + 1)}
    elif data_set.instances:
        names = None
    images = is_image_file(first_image(data_set.items[0]))
    findings = check_items(data_set.items, names, data_set.ignore, patch=PATCHES[2 if images else 3])
    findings += _of_all(data_set)
    broken = {finding.case_id for finding in findings if finding.level == "error"}
    # Where headers are wrong, no voxels were read, and the table is without them.
    read = {} if broken else {item["case_id"]: _read(item) for item in data_set.items}
    if not broken:
        findings += _spacing_outliers(read) + _duplicates(data_set)
    counts = Counter(finding.case_id for finding in findings)
    rows = [
        replace(read.get(item["case_id"], CheckedCase(item["case_id"])), findings=counts[item["case_id"]])
        for item in data_set.items
    ]
    return CheckReport(_summary(data_set), rows, findings)


def _summary(data_set: LabelledSet) -> list[tuple[str, str]]:
    """What there is, in a few lines of a name and a text."""
    groups = len(data_set.groups)
    classes = zip(data_set.values, data_set.names, strict=True)
    named = ", ".join(f"{value} {name}" for value, name in classes)
    return [
        ("layout", data_set.layout),
        ("cases", f"{len(data_set.items)}" + (f" in {groups} groups" if groups < len(data_set.items) else "")),
        ("channels", ", ".join(data_set.channels) + (f" ({data_set.modality})" if data_set.modality else "")),
        ("classes", "objects of one class, numbered" if data_set.instances else named),
        *([("ignored value", str(data_set.ignore))] if data_set.ignore is not None else []),
    ]


def _of_all(data_set: LabelledSet) -> list[Finding]:
    """What a training with the default ids wouldn't take of the data set as a whole."""
    channels, count, findings = len(data_set.channels), len(data_set.groups), []
    if channels > 1:
        findings.append(
            Finding("warning", "", f"its images have {channels} channels: train with --in_channels {channels}.")
        )
    if count < FOLDS and not any("fold" in item for item in data_set.items):
        what = "groups of cases" if count < len(data_set.items) else "cases"
        remedy = f"--num_folds {count}" if count > 1 else "--fold all"
        findings.append(
            Finding("warning", "", f"{count} {what} can't be split into {FOLDS} folds: train with {remedy}.")
        )
    return findings


def _read(item: Mapping[str, Any]) -> CheckedCase:
    image, label = first_image(item), str(item["label"])
    if is_image_file(image):
        return CheckedCase(item["case_id"], image_size(image), label_voxels=_label_voxels(read_label_image(label)))
    if header_is_enough(image):
        shape, affine = header_grid(image)
    else:
        volume = read_reference(image)
        shape, affine = volume.array.shape, volume.affine
    axes = "".join(str(axis) for axis in nib.orientations.aff2axcodes(affine))
    return CheckedCase(item["case_id"], shape, spacing_of(affine), axes, _label_voxels(read_reference(label).array))


def _label_voxels(label: np.ndarray) -> tuple[tuple[int, int], ...]:
    values, counts = np.unique(label, return_counts=True)
    return tuple((int(v), int(n)) for v, n in zip(values, counts, strict=True) if v != 0)


def _spacing_outliers(read: Mapping[str, CheckedCase]) -> list[Finding]:
    spacings = {name: np.sort(case.spacing) for name, case in read.items() if case.spacing}
    if not spacings:
        return []
    median = np.median(list(spacings.values()), axis=0)
    return [
        Finding(
            "warning",
            name,
            f"{name}: its voxels measure {_by(spacing)} mm, the data set's median is {_by(median)} mm.",
        )
        for name, spacing in spacings.items()
        if (np.maximum(spacing / median, median / spacing) > SPACING_OUTLIER).any()
    ]


def _duplicates(data_set: LabelledSet) -> list[Finding]:
    same: dict[str, list[str]] = defaultdict(list)
    for item in data_set.items:
        references = item["image"] if isinstance(item["image"], list) else [item["image"]]
        paths = list(dict.fromkeys(referred_file(reference) for reference in references))
        if all(path.is_file() for path in paths):
            same[_hash(paths)].append(item["case_id"])
    return [
        Finding("warning", ids[0], f"{', '.join(ids)}: their images are the same file, byte by byte.")
        for ids in same.values()
        if len(ids) > 1
    ]


def _hash(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
