"""Pictures of the cases that an evaluation found worst, prediction above reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ulite_monai.io.cases import IMAGE_SUFFIXES
from ulite_monai.io.images import read_rgb
from ulite_monai.io.references import read_reference
from ulite_monai.reports.metrics import overlap
from ulite_monai.reports.preview import write_comparison

__all__ = ["PicturesOfWorst"]


@dataclass(frozen=True)
class _Compared:
    dice: float
    case_id: str
    image: str
    mask: np.ndarray
    reference: np.ndarray


class PicturesOfWorst:
    """Handler of an evaluator that draws the cases whose mean Dice over the labels is lowest.

    Args:
        output_dir: gets `worst_1_<case id>.png`, `worst_2_...`, the worst first; made if needed.
        labels: names of the classes, in the order of the label values 1, 2, ...
        count: how many cases; 0 for none.
    """

    def __init__(self, output_dir: str | Path, labels: Sequence[str], count: int = 3) -> None:
        self.output_dir = Path(output_dir)
        self.labels = labels
        self.count = count
        self.worst: list[_Compared] = []

    def attach(self, engine: Engine) -> None:
        """Follow the iterations of `engine`."""
        engine.add_event_handler(Events.STARTED, self.worst.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def __call__(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for data, output in zip(batch, outputs, strict=True):
            mask, reference = (
                torch.as_tensor(output[key][0]).cpu().numpy().astype(np.uint8) for key in ("pred", "label")
            )
            name = str(data["image"].meta["filename_or_obj"])
            case = _Compared(self._dice(mask, reference), str(data["case_id"]), name, mask, reference)
            self.worst = sorted([*self.worst, case], key=lambda one: one.dice)[: self.count]

    def write(self) -> None:
        """Draw the pictures."""
        for rank, case in enumerate(self.worst, start=1):
            path = self.output_dir / f"worst_{rank}_{case.case_id.replace('/', '_')}.png"
            image, affine = _read(case.image)
            write_comparison(image, case.mask, case.reference, affine, self.labels, path, case.case_id)

    def _dice(self, mask: np.ndarray, reference: np.ndarray) -> float:
        dice = [overlap(mask == value, reference == value) for value in range(1, len(self.labels) + 1)]
        known = [value for value in dice if value is not None]
        return sum(known) / len(known) if known else 1.0


def _read(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The untouched image, on the grid of its masks, and its affine."""
    if name.lower().endswith(IMAGE_SUFFIXES):
        return read_rgb(name), np.eye(4)
    volume = read_reference(name, on_nonfinite="replace")
    return volume.array, volume.affine
