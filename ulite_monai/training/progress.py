"""What a person watching a training sees: a progress bar, a line an epoch, and what to do with the result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events

from ulite_monai.training.checkpoints import KeepBestAndLast
from ulite_monai.training.distributed import is_first

__all__ = ["OnFirstRank", "PrintEpochs", "shared_handler"]

logger = logging.getLogger(__name__)


def shared_handler(handler: Any) -> Any:
    """The handler itself: MONAI's property check wants every entry of `train#handlers` to be a component."""
    return handler


class OnFirstRank:
    """A handler that exists in the first process of a distributed training only: one that prints or writes.

    Args:
        make: makes the handler, a configuration's `"_mode_": "callable"`.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def attach(self, engine: Engine) -> None:
        """Make the handler and attach it to `engine`, in the first process."""
        if is_first():
            self.make().attach(engine)


class PrintEpochs:
    """Handler of a trainer that logs one line an epoch: loss, Dice of each class, the best so far, seconds.

    Args:
        evaluator: the validation engine; its metric details hold Dice of shape (cases, classes).
        checkpoints: knows the best epoch; attach this handler after it.
        labels: names of the classes.
    """

    def __init__(self, evaluator: Engine, checkpoints: KeepBestAndLast, labels: Sequence[str]) -> None:
        self.evaluator = evaluator
        self.checkpoints = checkpoints
        self.labels = labels
        self.losses: list[float] = []
        self.started = time.perf_counter()

    def attach(self, engine: Engine) -> None:
        """Follow the epochs of `engine`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._add_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self.losses = []
        self.started = time.perf_counter()

    def _add_loss(self, engine: Engine) -> None:
        outputs: Any = engine.state.output
        output = outputs[0] if isinstance(outputs, list) else outputs
        self.losses.append(float(output["loss"]))

    def __call__(self, engine: Engine) -> None:
        seconds = time.perf_counter() - self.started
        line = f"epoch {engine.state.epoch}/{engine.state.max_epochs}: loss {sum(self.losses) / len(self.losses):.4f}"
        if self.evaluator.state.epoch == engine.state.epoch:
            line += (
                f", Dice {self._dice()} (best mean {self.checkpoints.best:.4f}, epoch {self.checkpoints.best_epoch})"
            )
        logger.info("%s, %.1f s", line, seconds)

    def _dice(self) -> str:
        state: Any = self.evaluator.state
        details = torch.as_tensor(state.metric_details[state.key_metric_name])
        means = details.reshape(-1, len(self.labels)).nanmean(dim=0)
        return " ".join(f"{name} {value:.4f}" for name, value in zip(self.labels, means.tolist(), strict=True))
