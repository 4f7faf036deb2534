"""The bar over a whole training, on a terminal: time left, loss, Dice of each class now and at its best."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine, Events
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from ulite_monai.training.budget import in_words
from ulite_monai.training.checkpoints import CheckpointHandler, class_dice
from ulite_monai.training.distributed import is_first
from ulite_monai.training.keep_time import KeepTime

__all__ = ["ShowBar"]

MOST_NAMES = 4  # classes that are shown by their names


class ShowBar:
    """Handler of a trainer that shows a bar where a person watches; what is logged goes above it.

    Args:
        evaluator: the validation engine.
        checkpoints: know the best epoch.
        clock: knows the time left.
        labels: names of the classes.
        console: where to; None for the terminal.
    """

    def __init__(
        self,
        evaluator: Engine,
        checkpoints: CheckpointHandler,
        clock: KeepTime,
        labels: Sequence[str],
        console: Console | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.checkpoints = checkpoints
        self.clock = clock
        self.labels = labels
        self.console = console or Console()
        self.dice: list[float] = []
        self.live = Live(console=self.console, transient=True, refresh_per_second=2)
        self.redirected: list[tuple[logging.StreamHandler, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Follow the trainer `engine`."""
        if not (self.console.is_terminal and is_first()):
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._stop)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._stop_at)
        self.evaluator.add_event_handler(Events.COMPLETED, self._validated)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        bar = ProgressBar(total=state.max_epochs * state.epoch_length, completed=state.iteration)
        self.live.update(Group(bar, Text("\n".join(self.lines(engine)))))

    def lines(self, engine: Engine) -> list[str]:
        """What stands below the bar."""
        state: Any = engine.state
        parts = [f"epoch {state.epoch} of {state.max_epochs}"]
        if self.clock.left > 0:
            parts.append(f"{in_words(self.clock.left)} left")
        outputs = state.output[0] if isinstance(state.output, list) else state.output
        if outputs:
            parts.append(f"loss {float(outputs['loss']):.3f}")
        return [", ".join(parts), *([self._dice(self.checkpoints.best_dice)] if self.dice else [])]

    def _dice(self, best: Sequence[float]) -> str:
        pairs = dict(zip(self.labels, zip(self.dice, best or self.dice, strict=False), strict=False))
        if len(pairs) <= MOST_NAMES:
            return "Dice " + ", ".join(f"{name} {now:.3f} (best {top:.3f})" for name, (now, top) in pairs.items())
        known = [pair for pair in pairs.values() if pair[0] == pair[0]]
        mean = sum(now for now, _ in known) / max(1, len(known))
        worst = min(pairs, key=lambda name: pairs[name][0])
        return f"Dice {mean:.3f} (best {self.checkpoints.best:.3f}), lowest {worst} {pairs[worst][0]:.3f}"

    def _validated(self, engine: Engine) -> None:
        self.dice = class_dice(self.evaluator)

    def _start(self, engine: Engine) -> None:
        streams = (sys.stdout, sys.stderr)
        self.live.start()
        names = [None, *logging.root.manager.loggerDict]
        handlers = {handler for name in names for handler in logging.getLogger(name).handlers}
        for handler in handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
                self.redirected.append((handler, handler.setStream(sys.stdout)))

    def _stop(self, engine: Engine) -> None:
        self.live.stop()
        while self.redirected:
            handler, stream = self.redirected.pop()
            handler.setStream(stream)

    def _stop_at(self, engine: Engine, error: BaseException) -> None:
        self._stop(engine)
        raise error
