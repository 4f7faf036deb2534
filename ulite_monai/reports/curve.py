"""The curve of a training: loss and Dice over its epochs."""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from ulite_monai.io.atomic import atomic_path

__all__ = ["curve_figure", "write_curve"]

MOST_LINES = 12  # classes; of more, their mean is drawn alone


def curve_figure(loss: Mapping[int, float], dice: Mapping[str, Mapping[int, float]]) -> Figure:
    """Loss at the left, Dice at the right.

    Args:
        loss: by epoch.
        dice: by class and epoch, of the epochs that were validated.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(list(loss), list(loss.values()), color="tab:grey")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    for name, values in dice.items():
        right.plot(list(values), list(values.values()), label=name, marker="." if len(values) < 30 else "")
    right.set(xlabel="epoch", ylabel="validation Dice")
    if any(dice.values()):
        right.legend()
    right.grid(alpha=0.3)
    return figure


def write_curve(curve: Path, path: Path) -> None:
    """Draw what a training wrote to `curve.csv`, a row an epoch, as PNG; nothing where there is no row yet.

    Raises:
        InputError: When the system refuses to write.
    """
    with curve.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    loss = {int(row["epoch"]): float(row["loss"]) for row in rows}
    names = [name for name in (rows[0] if rows else {}) if name.startswith("dice ")]
    dice = {
        name.removeprefix("dice "): {int(row["epoch"]): float(row[name]) for row in rows if row[name]} for name in names
    }
    if len(dice) > MOST_LINES:
        dice = {f"mean of {len(dice)} classes": _mean(dice)}
    with atomic_path(path) as temporary:
        curve_figure(loss, dice).savefig(temporary, dpi=100, format="png", metadata={"Software": None})


def _mean(dice: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    """Of the classes that were in a case, by epoch."""
    means: dict[int, float] = {}
    for epoch in sorted({epoch for values in dice.values() for epoch in values}):
        known = [values[epoch] for values in dice.values() if not math.isnan(values.get(epoch, math.nan))]
        means |= {epoch: statistics.fmean(known)} if known else {}
    return means
