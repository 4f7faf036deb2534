"""One plane on a sheet: the image, the outlines, and what tells directions and lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ulite_monai.reports.legend import OTHERS, LineStyle
from ulite_monai.reports.planes import Plane
from ulite_monai.reports.sheet import BACKGROUND, FAINT, TEXT, Sheet
from ulite_monai.reports.window import windowed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ABOVE", "BELOW", "draw_plane"]

# In the sheet's pixels.
ABOVE, BELOW = 44, 46  # what stands above and below the image
NAME, LETTER, BAR = 30, 12, 30  # their distances from it
LONGEST_BAR = 110

INSIDE = 0.65  # 0.5 is the label's border; a little within, lines of neighbours don't cover each other


def draw_plane(
    sheet: Sheet,
    plane: Plane,
    corner: tuple[float, float],
    scale: float,
    window: tuple[float, float],
    styles: Mapping[int, LineStyle],
) -> None:
    """Draw a plane.

    Args:
        sheet: to draw on.
        plane: what to draw.
        corner: the image's upper left corner on the sheet, x and y.
        scale: sheet pixels per unit of the plane.
        window: the intensities of black and white.
        styles: the labels' lines.
    """
    (left, top), (width, height) = corner, (scale * plane.width, scale * plane.height)
    axes = sheet.axes(left, top, width, height)
    axes.imshow(windowed(plane.image, window), cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="bilinear")
    for value in np.unique(plane.mask[plane.mask > 0]).tolist():
        _draw_outline(axes, plane.mask == value, styles.get(value, OTHERS))
    if plane.frame is not None:
        _draw_frame(axes, plane.frame)
    rows, columns = plane.mask.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    sheet.write(left, top - NAME, plane.name, color=FAINT)
    _write_letters(sheet, plane.letters, left, top, left + width, top + height)
    _draw_scale_bar(sheet, left, top + height + BAR, scale, plane.unit)


def _draw_outline(axes: Axes, inside: np.ndarray, style: LineStyle) -> None:
    from matplotlib.patheffects import withStroke

    rows, columns = inside.shape
    # The border closes the outlines of labels that touch the image's edge.
    outline = axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        np.pad(inside, 1).astype(np.float64),
        levels=[INSIDE],
        colors=style.colour,
        linewidths=style.width,
        linestyles=[style.pattern],
    )
    outline.set_path_effects([withStroke(linewidth=style.width + 1, foreground=BACKGROUND)])


def _draw_frame(axes: Axes, frame: tuple[int, int, int, int]) -> None:
    from matplotlib.patheffects import withStroke

    left, top, right, bottom = (edge - 0.5 for edge in frame)
    (line,) = axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=TEXT, linewidth=1)
    line.set_path_effects([withStroke(linewidth=2.5, foreground=BACKGROUND)])


def _write_letters(
    sheet: Sheet, letters: tuple[str, str, str, str], left: float, top: float, right: float, bottom: float
) -> None:
    at_left, at_right, at_top, at_bottom = letters
    middle, centre = (top + bottom) / 2, (left + right) / 2
    sheet.write(left - LETTER / 2, middle, at_left, ha="right", weight="bold")
    sheet.write(right + LETTER / 2, middle, at_right, ha="left", weight="bold")
    sheet.write(centre, top - LETTER, at_top, ha="center", weight="bold")
    sheet.write(centre, bottom + LETTER, at_bottom, ha="center", weight="bold")


def _draw_scale_bar(sheet: Sheet, left: float, y: float, scale: float, unit: str) -> None:
    length = _round_length(LONGEST_BAR / scale)
    right = left + length * scale
    sheet.rule(left, right, y, LineStyle(TEXT, width=2))
    sheet.write(right + 6, y, f"{length:g} {unit}", fontsize=8, color=FAINT)


def _round_length(longest: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... that is no longer."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest)
