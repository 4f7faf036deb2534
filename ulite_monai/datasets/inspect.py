"""What lies at a path, and whether it can be segmented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib

from ulite_monai.datasets.cases import Case, find_cases_and_others, with_channels
from ulite_monai.errors import reason
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.images import open_image
from ulite_monai.io.references import read_references

__all__ = ["Inspected", "Inspection", "inspect_path"]


@dataclass(frozen=True)
class Inspected:
    """One case as a person wants to see it.

    Attributes:
        id: the case's.
        modality, description: of a DICOM series, else "".
        size: voxels along i, j, k, or pixels; empty when it can't be read.
        spacing: in mm.
        orientation: where i, j, k lead, such as "RAS".
        problem: why it can't be used; None if it can.
        notes: what is odd about it.
    """

    id: str
    modality: str = ""
    description: str = ""
    size: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    orientation: str = ""
    problem: str | None = None
    notes: tuple[str, ...] = ()

    def cells(self) -> list[str]:
        """The attributes as texts, the verdict last."""
        verdict = "usable" if self.problem is None else "refused"
        size, spacing = "x".join(map(str, self.size)), "x".join(f"{s:.4g}" for s in self.spacing)
        return [self.id, self.modality, self.description, size, spacing, self.orientation, verdict]


@dataclass(frozen=True)
class Inspection:
    """All cases at a path, and how many files of a DICOM tree are none, by reason."""

    rows: list[Inspected]
    passed_over: Mapping[str, int] = field(default_factory=dict)


def inspect_path(path: str | Path) -> Inspection:
    """Look at every case at `path`; files are read whole, so that damaged ones are found.

    Raises:
        InputError: When nothing is there.
    """
    cases, others = find_cases_and_others(path)
    series = any(case.series is not None for case in cases)
    return Inspection([_inspect(case) for case in cases], others if series else {})


def _inspect(case: Case) -> Inspected:
    series = case.series
    if series is not None:
        shown = (series.modality, series.description, series.shape, series.spacing or (), series.orientation or "")
        return Inspected(case.id, *shown, problem=series.problem, notes=series.notes)
    try:
        if case.is_image:
            return _inspect_image(case)
        case = with_channels(case, timed=False)
        volumes = read_references(case.channels, "replace")
    except Exception as error:  # whatever one file provokes, the others are listed
        return Inspected(case.id, problem=_problem(case, error))
    first = volumes[0]
    axes = "".join(str(axis) for axis in nib.orientations.aff2axcodes(first.affine))
    stacked = [f"holds {case.stacked} channels, for a bundle that takes so many."] if case.stacked > 1 else []
    notes = (*stacked, *(warning for volume in volumes for warning in volume.warnings))
    return Inspected(case.id, "", "", first.array.shape, spacing_of(first.affine), axes, notes=notes)


def _problem(case: Case, error: Exception) -> str:
    why = reason(error)
    return why if str(case.image[0]) in why else f"{case.image[0]}: {why}"


def _inspect_image(case: Case) -> Inspected:
    notes: list[str] = []
    image = open_image(case.image[0], notes)
    return Inspected(case.id, "", f"{image.mode} image", image.size, notes=tuple(notes))
