"""Pictures of a training as it goes: its curve, and a case that validates with its reference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ulite_monai.reports.curve import write_curve
from ulite_monai.reports.preview import write_preview
from ulite_monai.training.distributed import is_first

__all__ = ["DrawPictures"]

SHARE = 0.01  # of the time, at most


class DrawPictures:
    """Handler of a trainer that renews `curve.png` beside the curve, and `validation.png` of the first validated case.

    Args:
        evaluator: the validation engine.
        labels: names of the classes.
        curve: the training's CSV file; None draws nothing. Attach this handler after what writes it.
    """

    def __init__(self, evaluator: Engine, labels: Sequence[str], curve: Path | None) -> None:
        self.evaluator = evaluator
        self.labels = labels
        self.curve = curve
        self.case: tuple[Any, Any] | None = None
        self.next = 0.0

    def attach(self, engine: Engine) -> None:
        """Draw after the validations of the trainer `engine`, if not too often, and at its end."""
        if self.curve is None or not is_first():
            return
        self.evaluator.add_event_handler(Events.ITERATION_COMPLETED, self._keep)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._draw)

    def _keep(self, engine: Engine) -> None:
        state: Any = engine.state
        if state.iteration % state.epoch_length == 1 % state.epoch_length:
            self.case = state.batch[0], state.output[0]

    def __call__(self, engine: Engine) -> None:
        started = time.monotonic()
        if started >= self.next and (self.case is not None or self.next == 0):
            self._draw()
            took = time.monotonic() - started
            self.next = time.monotonic() + took / SHARE

    def _draw(self) -> None:
        if self.curve is None or not self.curve.is_file():
            return
        write_curve(self.curve, self.curve.with_name("curve.png"))
        if self.case is not None:
            data, output = self.case
            image = data["image"]
            pred, label = (
                np.asarray(torch.as_tensor(output[key])[0].cpu()).astype(np.int32) for key in ("pred", "label")
            )
            affine = np.asarray(image.affine.cpu()) if pred.ndim == 3 else np.eye(4)
            path, case_id = self.curve.with_name("validation.png"), str(data.get("case_id", ""))
            write_preview(_shown(image), pred, affine, self.labels, path, case_id, label)
        self.case = None


def _shown(image: torch.Tensor) -> np.ndarray:
    """What is drawn of a network's input: the first channel, or colours."""
    array = np.asarray(torch.as_tensor(image).cpu().float())
    if array.ndim == 3 and len(array) == 3:
        low, high = array.min(), array.max()
        return np.moveaxis(255 * (array - low) / max(high - low, 1e-6), 0, -1).astype(np.uint8)
    return array[0]
