"""A training that ends on time with its schedule complete, also where the machine turns slower or faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from ulite_monai.training.budget import epochs_left
from ulite_monai.training.distributed import from_first

__all__ = ["KeepTime"]


class KeepTime:
    """Handler of a trainer that plans the number of epochs again at the end of each, by how long the last ones took.

    The learning rate's schedule is stretched or shortened with it. Attach it between validation and checkpoints, whose
    `last.ckpt` keeps its state: a training that is resumed has what is left of its time.

    Args:
        hours: there are; None for the trainer's number of epochs, whatever they take.
        scheduler: of the learning rate; its `t_total` is the number of steps, as MONAI's `WarmupCosineSchedule` has it.
        evaluator: validates.
        val_interval: epochs between validations.
        reserve: hours of them that aren't training.
        clock: gives seconds.
    """

    def __init__(
        self,
        hours: float | None,
        scheduler: Any,
        evaluator: Engine,
        val_interval: int,
        reserve: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = None if hours is None else 3600 * (hours - reserve)
        self.scheduler = scheduler
        self.evaluator = evaluator
        self.val_interval = val_interval
        self.clock = clock
        self.started = clock()
        self.before = 0.0  # seconds of the runs that this one resumes
        self.epoch = 0.0  # seconds of one, without its validation
        self.validation = 0.0
        self.trainer: Engine | None = None

    def attach(self, engine: Engine) -> None:
        """Follow the epochs of the trainer `engine`, and its evaluator's."""
        self.trainer = engine
        engine.add_event_handler(Events.STARTED, self._mark)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        self.evaluator.add_event_handler(Events.STARTED, self._start_validation)
        self.evaluator.add_event_handler(Events.COMPLETED, self._end_validation)

    @property
    def spent(self) -> float:
        """Seconds that training has taken, also before it was resumed."""
        return self.before + self.clock() - self.started

    @property
    def left(self) -> float:
        """Seconds that are left, by the clock or, without hours, by what the epochs took."""
        if self.seconds is not None:
            return self.seconds - self.spent
        state: Any = self.trainer.state if self.trainer else None
        return (state.max_epochs - state.epoch) * (self.epoch + self.validation / self.val_interval) if state else 0.0

    def __call__(self, engine: Engine) -> None:
        now = self.clock()
        took = now - self.marked - self.validated
        self.epoch = took if not self.epoch else (self.epoch + took) / 2
        self._mark()
        state: Any = engine.state
        if self.seconds is not None and state.epoch < state.max_epochs:
            self._set_epochs(self._total(state.epoch))

    def state_dict(self) -> dict[str, Any]:
        """What a resumption needs."""
        assert self.trainer is not None
        state: Any = self.trainer.state
        seconds = {"spent": self.spent, "epoch": self.epoch, "validation": self.validation}
        return seconds | {"done": state.epoch, "epochs": state.max_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what is left of the time; where hours are given, with as many epochs as fit."""
        self.before, self.epoch, self.validation = state["spent"], state["epoch"], state["validation"]
        self.started = self.clock()
        if self.seconds is not None:
            fits_another = self.left > self.epoch
            self._set_epochs(self._total(state["done"]) if fits_another else state["epochs"])

    def _total(self, done: int) -> int:
        left = epochs_left(self.left, self.epoch, self.validation, self.val_interval)
        return int(from_first(done + left))

    def _set_epochs(self, epochs: int) -> None:
        assert self.trainer is not None
        state: Any = self.trainer.state
        state.max_epochs = epochs
        if hasattr(self.scheduler, "t_total"):
            self.scheduler.t_total = epochs * state.epoch_length

    def _mark(self) -> None:
        self.marked, self.validated = self.clock(), 0.0

    def _start_validation(self) -> None:
        self.validation_started = self.clock()

    def _end_validation(self) -> None:
        self.validated = self.validation = self.clock() - self.validation_started
