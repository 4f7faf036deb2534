"""The metric that chooses the best epoch: the evaluation's Dice."""

from __future__ import annotations

import math
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric

from ulite_monai.reports.metrics import overlap

__all__ = ["CaseDice"]


class CaseDice(CumulativeIterationMetric):
    """Dice of each case and class as an evaluation counts it, and its mean over the classes.

    A structure that is missed or invented counts as 0, one that neither label map holds doesn't count. (MONAI's
    `DiceMetric` leaves out the invented ones, or counts those that neither holds as 1.)

    Args:
        classes: label values are 1 to this many.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Of label maps `(batch, 1, *spatial)`: shape `(batch, classes)`, NaN where neither holds the class."""
        assert y is not None
        dice = [
            [overlap(found == value, true == value) for value in range(1, self.classes + 1)]
            for found, true in zip(y_pred, y, strict=True)
        ]
        return torch.tensor([[math.nan if one is None else one for one in case] for case in dice], device=y.device)

    def aggregate(self) -> torch.Tensor:
        """The mean over the classes of their means over the cases, as `reports.metrics.summarize` has it.

        A class that no case holds is left out; NaN where none is held.
        """
        return torch.as_tensor(self.get_buffer()).nanmean(dim=0).nanmean()
