"""Draws the curve of a training from what it printed: `python benchmarks/curve.py training.log curve.png`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from matplotlib.figure import Figure

EPOCH = re.compile(r"epoch (\d+)/\d+: loss ([\d.]+)(?:, Dice ((?:\S+ [\d.]+ ?)+))?")


def read(log: str) -> tuple[dict[int, float], dict[str, dict[int, float]]]:
    """The loss of each epoch, and each label's Dice; a resumed training's later line counts."""
    loss: dict[int, float] = {}
    dice: dict[str, dict[int, float]] = {}
    for epoch, value, labels in EPOCH.findall(log):
        loss[int(epoch)] = float(value)
        words = labels.split()
        for name, one in zip(words[::2], words[1::2], strict=True):
            dice.setdefault(name, {})[int(epoch)] = float(one)
    return loss, dice


def draw(loss: dict[int, float], dice: dict[str, dict[int, float]]) -> Figure:
    """Loss at the left, Dice at the right, over epochs."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(list(loss), list(loss.values()), color="tab:grey")
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    for name, values in dice.items():
        right.plot(list(values), list(values.values()), label=name)
    right.set(xlabel="epoch", ylabel="validation Dice", ylim=(0.7, 1.0))
    right.legend()
    right.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    draw(*read(source.read_text(encoding="utf-8"))).savefig(target, dpi=100)
