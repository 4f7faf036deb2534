"""A page to draw on, measured in its own pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulite_monai.reports.legend import LineStyle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BACKGROUND", "FAINT", "TEXT", "Sheet"]

BACKGROUND, TEXT, FAINT = "#141414", "#F2F2F2", "#A8A8A8"
DPI = 100


class Sheet:
    """A dark page; x runs to the right and y downwards from its upper left corner.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
        self.page = self.figure.add_axes((0, 0, 1, 1), zorder=2)
        self.page.set(xlim=(0, width), ylim=(height, 0))
        self.page.set_axis_off()

    def write(self, x: float, y: float, text: str, **look: Any) -> None:
        """Write a line of text at half its height; `look` as matplotlib's `Text` takes it."""
        usual: dict[str, Any] = {"color": TEXT, "fontsize": 9.5, "va": "center", "family": "DejaVu Sans"}
        # Names from outside may hold a $, which would start a formula.
        self.page.text(x, y, text, parse_math=False, **(usual | look))

    def rule(self, left: float, right: float, y: float, style: LineStyle) -> None:
        """Draw a horizontal line."""
        (line,) = self.page.plot([left, right], [y, y], color=style.colour, linewidth=style.width)
        line.set(linestyle=style.pattern, solid_capstyle="butt")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without decoration that fill this rectangle."""
        bottom = self.height - top - height
        rectangle = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(rectangle)
        axes.set_axis_off()
        return axes
