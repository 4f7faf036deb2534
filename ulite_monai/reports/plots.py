"""The plots of a report, as SVG for a web page, in its own colour of text, each dot a link to its case."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from ulite_monai.io.coding import COLOURS
from ulite_monai.reports.metrics import LabelMetrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["agreement_plot", "colour_of", "curve_plots", "distribution_plot", "volume_plot"]

INK = "#010203"  # stands for the page's colour of text while matplotlib draws
LOOK: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "svg.fonttype": "none",
    "svg.hashsalt": "ulite",
    "font.size": 9,
    "text.parse_math": False,  # names may hold $
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH = 4.6  # inches, of the narrowest column that still holds a class's name beside the dots
MOST_LINKS = 1000  # dots; more are drawn as a picture, so that the page stays small
LONGEST = 26  # letters of a name beside an axis
UNKNOWN = (None, "", "nan")  # cells of a curve
FAULT = "x"  # the mark of a structure that was missed or invented


def colour_of(number: int) -> str:
    """The colour of the class with this number, counted from 0; with many classes, colours come again."""
    return COLOURS[number % len(COLOURS)]


def distribution_plot(
    rows: Sequence[LabelMetrics], labels: Sequence[str], metric: str, name: str, best: float | None = None
) -> str:
    """A line a class with a dot for each case, the quartiles as a bar and the median as a stroke.

    Args:
        rows: of all cases.
        labels: names of the classes, from above to below.
        metric: attribute of `LabelMetrics`.
        name: of the metric, with its unit, below the axis.
        best: the end of the axis, for metrics that have one.
    """
    with _look() as figure:
        figure.set_size_inches(WIDTH, 0.75 + 0.34 * len(labels))
        axes = figure.add_subplot()
        drawn = [(n, row, getattr(row, metric)) for n, row in enumerate(rows) if getattr(row, metric) is not None]
        linked = len(drawn) <= MOST_LINKS
        for place, label in enumerate(labels):
            dots = [(n, row, value) for n, row, value in drawn if row.label == label]
            values = np.array([value for _, _, value in dots])
            if values.size:
                low, middle, high = np.percentile(values, (25, 50, 75))
                axes.plot([low, high], [place, place], color=colour_of(place), lw=11, alpha=0.3, solid_capstyle="butt")
                axes.plot([middle, middle], [place - 0.3, place + 0.3], color=INK, lw=1.6)
            for mark in ("o", FAULT):
                some = [dot for dot in dots if (dot[1].status == "both") == (mark == "o")]
                # Golden steps spread the dots of equal values evenly.
                heights = [place + 0.5 * ((k * 0.618034) % 1 - 0.5) for k in range(len(some))]
                _dots(axes, [dot[2] for dot in some], heights, mark, colour_of(place), [d[0] for d in some], linked)
        axes.set_yticks(range(len(labels)), [_shortened(label) for label in labels])
        axes.set_ylim(len(labels) - 0.5, -0.5)
        if best is not None:
            axes.set_xlim(right=best + 0.01)
        axes.set_xlabel(name)
        axes.grid(axis="x", alpha=0.15, color=INK)
        medians = _medians(rows, labels, metric)
        return _svg(figure, f"{name} of each case by class. Medians: {medians}", rows)


def volume_plot(rows: Sequence[LabelMetrics], label: str, colour: str) -> str:
    """The volumes of a class against the reference's, with the line on which both are equal."""
    with _look() as figure:
        axes, known = _volume_axes(figure, rows, label)
        x, y = [row.reference_ml or 0 for _, row in known], [row.volume_ml or 0 for _, row in known]
        ends = [min([*x, *y], default=0), max([*x, *y], default=1)]
        axes.plot(ends, ends, color=INK, lw=1, alpha=0.6)
        _dots(axes, x, y, "o", colour, [n for n, _ in known], len(known) <= MOST_LINKS)
        axes.set(xlabel="reference, mL", ylabel="mask, mL")
        return _svg(figure, f"{label}: volume of the mask against the reference's, of {len(known)} cases", rows)


def agreement_plot(rows: Sequence[LabelMetrics], label: str, colour: str, agreement: Mapping[str, Any] | None) -> str:
    """The plot of Bland and Altman: each case's difference over the mean of both, with bias and limits of agreement."""
    with _look() as figure:
        axes, known = _volume_axes(figure, rows, label)
        x = [((row.volume_ml or 0) + (row.reference_ml or 0)) / 2 for _, row in known]
        _dots(
            axes, x, [row.difference_ml for _, row in known], "o", colour, [n for n, _ in known], len(x) <= MOST_LINKS
        )
        axes.axhline(0, color=INK, lw=0.8, alpha=0.4)
        words = ""
        if agreement is not None:
            for name, pattern in (("bias", "solid"), ("lower", "dashed"), ("upper", "dashed")):
                axes.axhline(agreement[name], color=INK, lw=1.2, linestyle=pattern)
                end = (1.01, agreement[name])
                axes.annotate(f"{agreement[name]:+.3g}", end, xycoords=("axes fraction", "data"), va="center")
            words = "; bias {bias:+.3g} mL, limits of agreement {lower:+.3g} to {upper:+.3g} mL".format(**agreement)
        axes.set(xlabel="mean of both, mL", ylabel="mask - reference, mL")
        return _svg(figure, f"{label}: Bland-Altman plot of {len(known)} cases{words}", rows)


def curve_plots(curve: Sequence[Mapping[str, str]]) -> list[str]:
    """The loss of each epoch, and the Dice of those that were validated, as `curve.csv` has them.

    Args:
        curve: its rows; columns `epoch`, `loss`, and `dice <class>`.
    """
    names = [name for name in curve[0] if name.startswith("dice ")][: len(COLOURS)]
    dice = {name: (_shortened(name.removeprefix("dice ")), colour_of(n)) for n, name in enumerate(names)}
    return [_curve(curve, {"loss": ("", INK)}, "loss"), *([_curve(curve, dice, "Dice, validation")] if names else [])]


def _curve(curve: Sequence[Mapping[str, str]], columns: Mapping[str, tuple[str, str]], name: str) -> str:
    with _look() as figure:
        figure.set_size_inches(WIDTH, 3)
        axes = figure.add_subplot(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.15, color=INK)
        ends = []
        for column, (label, colour) in columns.items():
            points = [(float(row["epoch"]), float(row[column])) for row in curve if row.get(column) not in UNKNOWN]
            x, y = [point[0] for point in points], [point[1] for point in points]
            axes.plot(x, y, color=colour, lw=1.4, marker="." if len(points) < 30 else "")[0].set_label(label or "_")
            ends += [f"{label or name} {y[-1]:.3g}"] if y else []
        if any(label for label, _ in columns.values()):
            axes.legend(frameon=False)
        return _svg(figure, f"{name} over {len(curve)} epochs; at the end {', '.join(ends) or 'unknown'}", [])


def _volume_axes(
    figure: Figure, rows: Sequence[LabelMetrics], label: str
) -> tuple[Axes, list[tuple[int, LabelMetrics]]]:
    figure.set_size_inches(WIDTH, 3.1)
    axes = figure.add_subplot()
    axes.set_title(_shortened(label), fontsize=10, loc="left")
    axes.grid(alpha=0.15, color=INK)
    known = [(n, row) for n, row in enumerate(rows) if row.label == label and row.status != "absent"]
    return axes, [(n, row) for n, row in known if row.difference_ml is not None]


def _dots(
    axes: Axes, x: Sequence[Any], y: Sequence[Any], mark: str, colour: str, numbers: Sequence[int], linked: bool
) -> None:
    look: dict[str, Any] = {"edgecolors": INK, "linewidths": 0.4} if mark == "o" else {"linewidths": 1.5}
    dots = axes.scatter(x, y, s=20, marker=mark, color=colour, zorder=3, rasterized=not linked, **look)
    if linked:
        dots.set_urls([f"row:{number}" for number in numbers])


def _medians(rows: Sequence[LabelMetrics], labels: Sequence[str], metric: str) -> str:
    values = {name: [getattr(row, metric) for row in rows if row.label == name] for name in labels}
    known = {name: [value for value in some if value is not None] for name, some in values.items()}
    return "; ".join(f"{name} {np.median(some):.3g}" for name, some in known.items() if some) or "none"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


@contextmanager
def _look() -> Iterator[Figure]:
    """A figure with the report's look; matplotlib's settings are those of before afterwards."""
    import matplotlib
    from matplotlib.figure import Figure  # never pyplot, which keeps figures

    with matplotlib.rc_context(LOOK):
        yield Figure(layout="constrained")


def _svg(figure: Figure, words: str, rows: Sequence[LabelMetrics]) -> str:
    """The figure as it stands in a page: its ids its own, its words in the page's font and colour."""
    buffer = StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would be the whole page's
    own = f"p{crc32(text.encode())}-"
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}", text)
    text = re.sub(r"<a [^>]*\"row:(\d+)\"[^>]*>", lambda found: _link(int(found[1]), rows[int(found[1])]), text)
    opening = f'<svg role="img" aria-label="{escape(words)}" '
    return opening + re.sub(r'^<svg |(?<=[ "\n])(width|height)="[^"]*pt"', "", text, count=3)


def _link(number: int, row: LabelMetrics) -> str:
    found = f"Dice {row.dice:.3f}" if row.status == "both" else row.status
    return f'<a href="#row-{number}"><title>{escape(f"{row.case_id}, {row.label}: {found}")}</title>'
