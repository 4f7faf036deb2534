"""Pictures of the cases that an evaluation found worst, prediction above reference, and their slices."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.images import is_image_file, read_rgb
from ulite_monai.io.references import read_reference
from ulite_monai.io.write_nifti import smallest_label_dtype
from ulite_monai.reports.metrics import LabelMetrics
from ulite_monai.reports.preview import write_preview
from ulite_monai.reports.slices import slice_stack

__all__ = ["SLICES", "WorstCases"]

SLICES = "worst_cases.json"


@dataclass(frozen=True)
class _Case:
    dice: float
    id: str
    image: str | None
    mask: np.ndarray
    reference: np.ndarray
    affine: np.ndarray | None


class WorstCases:
    """Keeps the cases whose mean Dice over the labels is lowest.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.cases: list[_Case] = []

    def add(
        self,
        rows: Sequence[LabelMetrics],
        image: str | None,
        mask: np.ndarray,
        reference: np.ndarray,
        affine: np.ndarray | None,
    ) -> None:
        """Keep a case if it is among the worst.

        Args:
            rows: the metrics of each of its labels.
            image: names the file or the DICOM series, as `read_reference` takes it; None where there is none.
            mask: label map on the image's grid.
            reference: what is held to be right, of the mask's shape.
            affine: 4x4, voxel indices to RAS mm; not used in 2D.
        """
        dice = statistics.fmean([row.dice for row in rows if row.dice is not None] or [1.0])
        if len(self.cases) == self.count and (not self.count or dice >= self.cases[-1].dice):
            return
        copies = [m.astype(smallest_label_dtype(m)) for m in (mask, reference)]
        case = _Case(dice, rows[0].case_id, image, copies[0], copies[1], affine)
        self.cases = sorted([*self.cases, case], key=lambda one: one.dice)[: self.count]

    def draw(self, folder: Path, labels: Sequence[str]) -> None:
        """Write `worst_1_<case id>.png`, `worst_2_...`, the worst first, and their slices in `worst_cases.json`.

        None where none were to be kept: pictures of an earlier evaluation stay.

        Args:
            folder: made if needed.
            labels: names of the classes, in the order of the label values 1, 2, ...
        """
        if not self.count:
            return
        stacks: list[dict[str, Any]] = []
        for rank, case in enumerate(self.cases, start=1):
            image = _read(case.image, case.mask)
            shown = np.zeros(case.mask.shape) if image is None else image
            affine = np.eye(4) if case.affine is None else case.affine
            path = folder / f"worst_{rank}_{case.id.replace('/', '_')}.png"
            write_preview(shown, case.mask, affine, labels, path, case.id, case.reference)
            stacks.append({"case": case.id, **slice_stack(image, case.mask, case.reference, affine)})
        with atomic_path(folder / SLICES) as temporary:
            temporary.write_text(json.dumps(stacks), encoding="utf-8")


def _read(name: str | None, mask: np.ndarray) -> np.ndarray | None:
    """The untouched image, if it can still be read on the mask's grid."""
    try:
        if name is None:
            return None
        if is_image_file(name):
            image = read_rgb(name)
        else:
            # A tilted series has a mask to draw only where it was resampled for the network, too.
            image = read_reference(name, on_nonfinite="replace", resample_tilt=True).array
    except InputError:
        return None
    return image if image.shape[: mask.ndim] == mask.shape else None
