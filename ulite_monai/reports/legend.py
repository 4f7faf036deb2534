"""Which label gets which line, and what the legend says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["COLOURS", "LineStyle", "legend_entries", "line_styles", "other_style"]

# Okabe and Ito's colours, which colour-blind people tell apart; those that stand out on grey come first.
COLOURS = ("#E69F00", "#56B4E9", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#0072B2")
DASHES: tuple[tuple[float, ...], ...] = ((), (3.5, 1.5), (1, 1))  # on, off, in line widths; the first is solid
NAMED = len(COLOURS) * len(DASHES)


@dataclass(frozen=True)
class LineStyle:
    """A line: its colour, its dashes in line widths (none: solid), its width in points."""

    colour: str
    dashes: tuple[float, ...] = ()
    width: float = 1.6


other_style = LineStyle("#C8C8C8", width=0.8)


def line_styles(labels: Sequence[str], shown: np.ndarray) -> dict[int, LineStyle]:
    """The styles by label value: the same in every case; when there are too many labels, for the largest shown alone.

    All other labels get `other_style`.

    Args:
        labels: names of the classes, in the order of the label values 1, 2, ...
        shown: the label values of all pixels that are shown.
    """
    values = list(range(1, len(labels) + 1))
    if len(values) > NAMED:
        found, counts = np.unique(shown[shown > 0], return_counts=True)
        values = sorted(found[np.argsort(-counts, kind="stable")][:NAMED].tolist())
    return {value: LineStyle(COLOURS[n % len(COLOURS)], DASHES[n // len(COLOURS)]) for n, value in enumerate(values)}


def legend_entries(
    labels: Sequence[str], mask: np.ndarray, shown: np.ndarray, styles: dict[int, LineStyle]
) -> list[tuple[str, LineStyle | None]]:
    """Texts, each with its line; None where no such line is drawn, and the text says why.

    Args:
        labels: names of the classes, in the order of the label values 1, 2, ...
        mask: the whole label map.
        shown: the label values of all pixels that are shown.
        styles: what `line_styles` gave.
    """
    drawn = set(np.unique(shown).tolist()) - {0}
    entries: list[tuple[str, LineStyle | None]] = []
    for value, style in styles.items():
        name = labels[value - 1] if value <= len(labels) else f"label {value}"
        if value in drawn:
            entries.append((name, style))
        else:
            entries.append((f"{name}: {'not in these planes' if (mask == value).any() else 'none'}", None))
    if others := len(drawn - set(styles)):
        entries.append((f"{others} more label{'s' * (others > 1)}", other_style))
    return entries
