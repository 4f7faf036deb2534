"""Which label gets which line, and what the legend says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ulite_monai.io.coding import COLOURS

__all__ = ["OTHERS", "Entry", "LineStyle", "legend_entries", "line_styles"]


@dataclass(frozen=True)
class LineStyle:
    """A line.

    Attributes:
        colour: as #RRGGBB.
        dashes: lengths of dashes and gaps, in the line's widths; none for a solid line.
        width: in points.
    """

    colour: str
    dashes: tuple[float, ...] = ()
    width: float = 1.6

    @property
    def pattern(self) -> Literal["solid"] | tuple[int, tuple[float, ...]]:
        """The dashes as matplotlib takes them."""
        return (0, self.dashes) if self.dashes else "solid"


# The legend's text, and its line: None where no such line is drawn.
Entry: TypeAlias = tuple[str, LineStyle | None]

SOLID, DASHED, DOTTED = (), (3.5, 1.5), (1.0, 1.0)
STYLES = [LineStyle(colour, dashes) for dashes in (SOLID, DASHED, DOTTED) for colour in COLOURS]
OTHERS = LineStyle("#C8C8C8", width=0.8)


def line_styles(labels: Sequence[str], shown: np.ndarray) -> dict[int, LineStyle]:
    """The styles by label value: of every label, and so the same in all cases, or of the largest that are shown.

    Beyond 21 labels there is no telling lines apart; those without a style here are drawn as `OTHERS`.

    Args:
        labels: names of the classes, in the order of the label values 1, 2, ...
        shown: the label values of all pixels that are shown.
    """
    values = list(range(1, len(labels) + 1))
    if len(values) > len(STYLES):
        found, counts = np.unique(shown[shown > 0], return_counts=True)
        values = sorted(found[np.argsort(-counts, kind="stable")][: len(STYLES)].tolist())
    return dict(zip(values, STYLES, strict=False))


def legend_entries(
    labels: Sequence[str], mask: np.ndarray, shown: np.ndarray, styles: Mapping[int, LineStyle]
) -> list[Entry]:
    """What the legend says: of labels that aren't drawn, why; of those without a style, how many they are.

    Args:
        labels: names of the classes, in the order of the label values 1, 2, ...
        mask: the whole label map.
        shown: the label values of all pixels that are shown.
        styles: what `line_styles` gave.
    """
    drawn = set(np.unique(shown[shown > 0]).tolist())
    entries: list[Entry] = []
    for value, style in styles.items():
        name = labels[value - 1] if value <= len(labels) else f"label {value}"
        if value in drawn:
            entries.append((name, style))
        else:
            entries.append((f"{name}: {'not in these planes' if (mask == value).any() else 'none'}", None))
    if others := len(drawn - set(styles)):
        entries.append((f"{others} more label{'s' * (others > 1)}", OTHERS))
    return entries
