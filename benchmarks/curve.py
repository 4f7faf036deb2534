"""Draws the curve of a training from what it printed: `python benchmarks/curve.py training.log curve.png`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ulite_monai.reports.curve import curve_figure

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


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    curve_figure(*read(source.read_text(encoding="utf-8"))).savefig(target, dpi=100)
