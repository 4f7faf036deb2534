"""Pictures of the cases that an evaluation found worst, prediction above reference."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulite_monai.io.images import is_image_file, read_rgb
from ulite_monai.io.references import read_reference
from ulite_monai.io.write_nifti import smallest_label_dtype
from ulite_monai.reports.metrics import LabelMetrics
from ulite_monai.reports.preview import write_preview

__all__ = ["WorstCases"]


@dataclass(frozen=True)
class _Case:
    dice: float
    id: str
    image: str
    mask: np.ndarray
    reference: np.ndarray


class WorstCases:
    """Keeps the cases whose mean Dice over the labels is lowest.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.cases: list[_Case] = []

    def add(self, rows: Sequence[LabelMetrics], image: str, mask: np.ndarray, reference: np.ndarray) -> None:
        """Keep a case if it is among the worst.

        Args:
            rows: the metrics of each of its labels.
            image: names the file or the DICOM series, as `read_reference` takes it.
            mask: label map on the image's grid.
            reference: what is held to be right, of the mask's shape.
        """
        dice = statistics.fmean([row.dice for row in rows if row.dice is not None] or [1.0])
        case = _Case(dice, rows[0].case_id, image, *(m.astype(smallest_label_dtype(m)) for m in (mask, reference)))
        self.cases = sorted([*self.cases, case], key=lambda one: one.dice)[: self.count]

    def draw(self, folder: Path, labels: Sequence[str]) -> None:
        """Write `worst_1_<case id>.png`, `worst_2_...`, the worst first.

        Args:
            folder: made if needed.
            labels: names of the classes, in the order of the label values 1, 2, ...
        """
        for rank, case in enumerate(self.cases, start=1):
            path = folder / f"worst_{rank}_{case.id.replace('/', '_')}.png"
            image, affine = _read(case.image)
            write_preview(image, case.mask, affine, labels, path, case.id, case.reference)


def _read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The untouched image, on the grid of its masks, and its affine."""
    if is_image_file(name):
        return read_rgb(name), np.eye(4)
    # A tilted series has a mask to draw only where it was resampled for the network, too.
    volume = read_reference(name, on_nonfinite="replace", resample_tilt=True)
    return volume.array, volume.affine
