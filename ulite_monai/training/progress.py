"""What a training tells: a line an epoch, and its curve."""

from __future__ import annotations

import csv
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ulite_monai.io.atomic import atomic_path
from ulite_monai.training.checkpoints import CheckpointHandler, class_dice
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
        curve: a CSV file that gets a row an epoch; None for none.
    """

    def __init__(
        self, evaluator: Engine, checkpoints: CheckpointHandler, labels: Sequence[str], curve: str | Path | None = None
    ) -> None:
        self.evaluator = evaluator
        self.checkpoints = checkpoints
        self.labels = labels
        self.curve = None if curve is None else Path(curve)
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.started = time.perf_counter()

    def attach(self, engine: Engine) -> None:
        """Follow the epochs of `engine`, in the first process."""
        if not is_first():
            return
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
        epoch, last = engine.state.epoch, engine.state.max_epochs or 0
        self.seconds.append(time.perf_counter() - self.started)
        loss, dice = sum(self.losses) / len(self.losses), self._dice(epoch)
        line = f"epoch {epoch}/{last}: loss {loss:.4f}"
        if dice:
            best = f"best mean {self.checkpoints.best:.4f}, epoch {self.checkpoints.best_epoch}"
            line += f", Dice {' '.join(f'{name} {value:.4f}' for name, value in dice.items())} ({best})"
        left = statistics.median(self.seconds) * (last - epoch)
        logger.info("%s, %.1f s%s", line, self.seconds[-1], f", about {_duration(left)} left" if left else "")
        if self.curve is not None:
            self._add_row(
                self.curve, {"epoch": epoch, "loss": loss, **{f"dice {name}": one for name, one in dice.items()}}
            )

    def _dice(self, epoch: int) -> dict[str, float]:
        """Dice of each class, if this epoch was validated."""
        validated = self.evaluator.state.epoch == epoch
        return dict(zip(self.labels, class_dice(self.evaluator), strict=True)) if validated else {}

    def _add_row(self, path: Path, row: dict[str, Any]) -> None:
        """After the rows of the epochs before; a resumed run may have lost those after its last checkpoint."""
        former = []
        names = ["epoch", "loss", *(f"dice {label}" for label in self.labels)]
        if path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                if reader.fieldnames == names:  # else somebody's editor has changed it
                    former = [line for line in reader if line["epoch"].isdigit() and int(line["epoch"]) < row["epoch"]]
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows([*former, {name: _rounded(value) for name, value in row.items()}])


def _rounded(value: float) -> float:
    return round(value, 4)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
