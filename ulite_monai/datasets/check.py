"""The preflight of a labelled data set, with a table of its cases."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from ulite_monai.datasets.cases import Case, case_items, find_labelled_cases, first_image
from ulite_monai.datasets.class_names import declared_names, named_classes
from ulite_monai.datasets.preflight import Finding, check_items
from ulite_monai.errors import InputError
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.images import is_image_file, open_image
from ulite_monai.io.references import read_reference

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
    """All cases, and all that was found."""

    rows: list[CheckedCase]
    findings: list[Finding]


def check_dataset(dataset_dir: str | Path, num_labels: int | None = None) -> CheckReport:
    """Check every case of a labelled data set.

    Args:
        dataset_dir: as `find_labelled_cases` takes it.
        num_labels: classes beside the background; None for those that a training finds: what `dataset.json` declares,
            or the label values. In masks of 2D images any value is right, as to their training.

    Raises:
        InputError: When there is no such data set, or an image has no label.
    """
    cases = find_labelled_cases(dataset_dir)
    items = case_items(cases)
    images = is_image_file(first_image(items[0]))
    findings = _of_all(cases)
    if num_labels is None and not images:
        try:
            num_labels = len(named_classes(dataset_dir, [item["label"] for item in items]))
        except InputError as error:
            findings.append(Finding("error", "", str(error)))
    patch = PATCHES[2 if images else 3]
    findings = check_items(items, num_labels or 0, not num_labels, patch=patch, names=_names(dataset_dir)) + findings
    broken = {f.case_id for f in findings if f.level == "error"}
    read = {case.id: _read(case) for case in cases if case.id not in broken}
    findings += _spacing_outliers(read) + _duplicates(cases)
    counts = {case.id: sum(f.case_id == case.id for f in findings) for case in cases}
    rows = [
        CheckedCase(case.id, *read[case.id], findings=counts[case.id])
        if case.id in read
        else CheckedCase(case.id, findings=counts[case.id])
        for case in cases
    ]
    return CheckReport(rows, findings)


def _names(dataset_dir: str | Path) -> dict[int, str]:
    try:
        return declared_names(dataset_dir)
    except InputError:  # reported with the classes
        return {}


def _of_all(cases: Sequence[Case]) -> list[Finding]:
    """What a training with the default ids wouldn't take of the data set as a whole."""
    channels, count, findings = len(cases[0].image), len(cases), []
    if channels > 1:
        findings.append(
            Finding("warning", "", f"its images have {channels} channels: train with --in_channels {channels}.")
        )
    if count < FOLDS:
        remedy = f"--num_folds {count}" if count > 1 else "--fold all"
        findings.append(
            Finding("warning", "", f"{count} cases can't be split into {FOLDS} folds: train with {remedy}.")
        )
    return findings


def _read(case: Case) -> tuple[tuple[int, ...], tuple[float, ...], str, tuple[tuple[int, int], ...]]:
    if case.is_image:
        picture, mask = open_image(case.image[0]), open_image(str(case.label))
        return picture.size, (), "", _label_voxels(np.asarray(mask))
    image, label = read_reference(str(case.image[0])), read_reference(str(case.label))
    voxels = _label_voxels(label.array)
    axes = "".join(str(axis) for axis in nib.orientations.aff2axcodes(image.affine))
    return image.array.shape, spacing_of(image.affine), axes, voxels


def _label_voxels(label: np.ndarray) -> tuple[tuple[int, int], ...]:
    values, counts = np.unique(label, return_counts=True)
    return tuple((int(v), int(n)) for v, n in zip(values, counts, strict=True) if v != 0)


def _spacing_outliers(read: dict[str, tuple]) -> list[Finding]:
    spacings = {name: np.sort(grid[1]) for name, grid in read.items() if grid[1]}
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


def _duplicates(cases: Sequence[Case]) -> list[Finding]:
    same: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if all(path.is_file() for path in case.image):
            same[_hash(case.image)].append(case.id)
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
