"""The validation that chooses the best epoch: when, on which cases, and by the evaluation's Dice."""

from __future__ import annotations

import math
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.handlers import ValidationHandler
from monai.metrics import CumulativeIterationMetric

from ulite_monai.reports.metrics import overlap

__all__ = ["CaseDice", "ValidateEpochs", "evenly"]


def evenly(cases: int, count: int | None) -> list[int]:
    """So many indices of cases, spread evenly over them; all of them for None.

    Args:
        cases: there are.
        count: that are wanted, at least 1.
    """
    wanted = cases if count is None else min(count, cases)
    return [number * cases // wanted for number in range(wanted)]


class ValidateEpochs(ValidationHandler):
    """MONAI's `ValidationHandler`, that validates the first and the last epoch, too.

    The first shows a person early what to expect; the last has the schedule's end.

    Args:
        validator: the validation engine.
        interval: epochs between validations.
    """

    def __init__(self, validator: Any, interval: int) -> None:
        super().__init__(interval, validator)

    def attach(self, engine: Engine) -> None:
        """Validate when an epoch of the trainer `engine` is over."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=self._is_due), self)

    def _is_due(self, engine: Engine, epoch: int) -> bool:
        return epoch == 1 or epoch % self.interval == 0 or epoch == engine.state.max_epochs


class CaseDice(CumulativeIterationMetric):
    """Dice of each case and class as an evaluation counts it, and its mean over the classes.

    A structure that is missed or invented counts as 0, one that neither label map holds doesn't count. (MONAI's
    `DiceMetric` leaves out the invented ones, or counts those that neither holds as 1.)

    Args:
        classes: label values are 1 to this many; voxels that have a larger one in `y` don't count.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Of label maps `(batch, 1, *spatial)`: shape `(batch, classes)`, NaN where neither holds the class."""
        assert y is not None
        known = y <= self.classes
        dice = [
            [overlap((found == value) & counts, true == value) for value in range(1, self.classes + 1)]
            for found, true, counts in zip(y_pred, y, known, strict=True)
        ]
        return torch.tensor([[math.nan if one is None else one for one in case] for case in dice], device=y.device)

    def aggregate(self) -> torch.Tensor:
        """The mean over the classes of their means over the cases, as `reports.metrics.summarize` has it.

        A class that no case holds is left out; NaN where none is held.
        """
        return torch.as_tensor(self.get_buffer()).nanmean(dim=0).nanmean()
