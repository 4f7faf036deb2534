"""One picture a case, by which a person can judge the mask at a glance."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.coding import COLOURS
from ulite_monai.io.grids import voxels_within
from ulite_monai.reports.planes import Plane, volume_planes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["grey_window", "preview_figure", "write_preview"]

BACKGROUND, TEXT, FAINT = "#141414", "#F2F2F2", "#A8A8A8"
Grid: TypeAlias = tuple[np.ndarray, Sequence[int]]  # affine and shape
Style: TypeAlias = tuple[str, Any, float]  # a line's colour, pattern and width
STYLES: list[Style] = [(colour, pattern, 1.6) for pattern in ("solid", "dashed", "dotted") for colour in COLOURS]
OTHERS: Style = ("#C8C8C8", "solid", 0.8)  # beyond 21 labels lines can't be distinguished
NO_LINE: Style = (FAINT, "none", 0)

# In the picture's pixels.
DPI, WIDTH, MARGIN, GAP = 100, 1200, 40, 56
HEADER, ABOVE, BELOW, FOOTER = 44, 44, 46, 34
LEGEND_LINE, LEGEND_SWATCH, LEGEND_LETTER = 22, 60, 8
PLANE_HEIGHT, OVERVIEW_HEIGHT, IMAGE_HEIGHT = 420, 240, 560  # of a row's tallest plane
NARROWEST, LONGEST_BAR = 150, 110  # a plane's place holds its name and its scale bar

MAGNIFICATION = 1.5  # a close-up that enlarges less isn't worth its place
LEAST_CONTRAST = 0.2  # of the whole range, beside an even tissue's
INSIDE = 0.65  # 0.5 is the label's border; a little within, lines of neighbours don't cover each other
NOTHING_FOUND = "nothing found: the mask is empty"
RESEARCH_ONLY = "Research use only. Not for diagnosis or treatment."


def write_preview(
    image: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    labels: Sequence[str],
    path: str | Path,
    title: str = "",
    reference: np.ndarray | None = None,
    boxes: Sequence[Grid] = (),
) -> None:
    """Draw the mask's outlines on the image and write them as PNG, the same bytes for the same input.

    A volume is shown in three planes at the mask's centre of mass (where little lies there, at the nearest plane
    that holds more), in the radiological convention and in true proportion; a mask that is small in it is shown once
    more, enlarged. A sheared grid is drawn as if its axes were perpendicular. A 2D image is shown as it is.

    Args:
        image: intensities, shape (i, j, k); or a 2D image, shape (x, y), or (x, y, 3) in colour, uint8.
        mask: label map of integers >= 0, shape (i, j, k) or (x, y).
        affine: 4x4, voxel indices to RAS mm. Not used in 2D.
        labels: names of the classes, in the order of the label values 1, 2, ...
        path: `.png`; replaced if it exists, never half written.
        title: the case's id. The picture says nothing else of the case's origin.
        reference: label map of the mask's shape, drawn below it in the same planes; None for no comparison.
        boxes: grids within a volume, each an affine (4x4, to RAS mm) and a shape: their sides are drawn in the whole
            planes, and what the mask holds in each is shown in a row of its own.

    Raises:
        InputError: When the system refuses to write.
        ValueError: When image, mask and reference don't have the same shape.
    """
    masks = {"": mask} if reference is None else {"predicted: ": mask, "reference: ": reference}
    if boxes:
        figure = _figure(_rows_of_boxes(image, mask, affine, labels, boxes), masks, [*labels, "box"], title)
    else:
        figure = preview_figure(image, masks, affine, labels, title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})


def preview_figure(
    image: np.ndarray, masks: Mapping[str, np.ndarray], affine: np.ndarray, labels: Sequence[str], title: str = ""
) -> Figure:
    """The picture that `write_preview` writes, of masks below each other; their names stand before the planes'."""
    for mask in masks.values():
        if image.shape[: mask.ndim] != mask.shape:
            raise ValueError(f"the image has shape {image.shape}, its mask {mask.shape}.")
    return _figure(_rows(image, masks, affine), masks, labels, title)


def _figure(rows: Sequence[_Row], masks: Mapping[str, np.ndarray], labels: Sequence[str], title: str) -> Figure:
    from matplotlib.figure import Figure  # never pyplot, which keeps figures and isn't made for threads

    window = grey_window([plane for row in rows if not row.framed for plane in row.planes])
    shown = np.concatenate([plane.mask.ravel() for row in rows for plane in row.planes])
    styles = _styles(labels, shown)
    legend = _legend(labels, masks.values(), set(np.unique(shown[shown > 0]).tolist()), styles)
    longest = max((len(text) for text, _ in legend), default=0)
    columns = (WIDTH - 2 * MARGIN) // (LEGEND_SWATCH + LEGEND_LETTER * longest)

    heights = [HEADER, *(row.height for row in rows), LEGEND_LINE * math.ceil(len(legend) / columns), FOOTER]
    figure = Figure(figsize=(WIDTH / DPI, math.ceil(sum(heights)) / DPI), dpi=DPI, facecolor=BACKGROUND)
    parts = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights, hspace=0)
    header, *panels, key, footer = parts.flat
    remark = "" if any(mask.any() for mask in masks.values()) else NOTHING_FOUND
    _write_line(header, _shortened(title, 72), remark, size=12, weight="bold", color=TEXT)
    for panel, row in zip(panels, rows, strict=True):
        _draw_row(panel, row, window, styles)
    _draw_legend(key, legend, columns)
    _write_line(footer, RESEARCH_ONLY, "black {:.4g}, white {:.4g}".format(*window), size=8, color=FAINT)
    return figure


@dataclass(frozen=True)
class _Row:
    """Planes side by side at the same scale; `framed` are the close-ups whose place is shown in them."""

    name: str
    planes: Sequence[Plane]
    highest: float
    framed: Sequence[Plane] = ()

    @property
    def tallest(self) -> float:
        return max(plane.size[1] for plane in self.planes)

    @property
    def places(self) -> list[float]:
        return [max(plane.size[0], NARROWEST / self.highest * self.tallest) for plane in self.planes]

    @property
    def scale(self) -> float:
        """The picture's pixels a unit of the planes."""
        room = WIDTH - 2 * MARGIN - GAP * (len(self.planes) - 1)
        return min(room / sum(self.places), self.highest / self.tallest)

    @property
    def height(self) -> float:
        return ABOVE + self.scale * self.tallest + BELOW


def _rows(image: np.ndarray, masks: Mapping[str, np.ndarray], affine: np.ndarray) -> list[_Row]:
    """A row for each mask, close up if that enlarges by enough; before them the whole planes."""
    found = np.logical_or.reduce(list(masks.values()))
    rows: list[_Row] = []
    for name, mask in masks.items():
        if mask.ndim == 2:
            (width, height), turned = mask.shape, image.swapaxes(0, 1)
            plane = Plane(f"{width} x {height} pixels", turned, mask.T, (0, width, height, 0))
            rows.append(_Row(name, [plane], IMAGE_HEIGHT))
            continue
        whole, close_up = (_Row(name, planes, PLANE_HEIGHT) for planes in volume_planes(image, mask, affine, found))
        enlarged = close_up.scale >= MAGNIFICATION * whole.scale
        if enlarged and not rows:
            rows.append(_Row(name, whole.planes, OVERVIEW_HEIGHT, close_up.planes))
        rows.append(close_up if enlarged else whole)
    return rows


def _rows_of_boxes(
    image: np.ndarray, mask: np.ndarray, affine: np.ndarray, labels: Sequence[str], boxes: Sequence[Grid]
) -> list[_Row]:
    """The whole planes with the boxes alone, then a row close up for each box, with what the mask holds in it."""
    inside = [voxels_within(affine, mask.shape, *box) for box in boxes]
    outlines = np.logical_or.reduce(inside) * np.uint8(len(labels) + 1)
    whole, _ = volume_planes(image, outlines, affine, mask)
    rows = [_Row("", whole, OVERVIEW_HEIGHT)]
    for box in inside:
        _, close_up = volume_planes(image, mask, affine, np.where(box, mask, 0) if mask[box].any() else box)
        rows.append(_Row(_common_word(labels, mask[box]), close_up, PLANE_HEIGHT))
    return rows


def _common_word(labels: Sequence[str], values: np.ndarray) -> str:
    """The first word of the labels that are there, if they share it: a row's name."""
    words = {labels[value - 1].partition(" ")[0] for value in np.unique(values[values > 0]).tolist()}
    return f"{words.pop()}: " if len(words) == 1 else ""


def grey_window(planes: Sequence[Plane]) -> tuple[float, float]:
    """The intensities that become black and white, the same in all planes.

    Robust percentiles, narrowed to the labelled tissue's own range and as much on both sides: in a CT, air and bone
    would leave an organ and its neighbours the same grey. A photograph in colour is shown as it is.
    """
    if planes[0].image.ndim == 3:
        return 0.0, 255.0
    values = np.concatenate([plane.image.ravel() for plane in planes]).astype(np.float64)
    labelled = np.concatenate([plane.mask.ravel() > 0 for plane in planes])
    known = np.isfinite(values)
    low, high = np.percentile(values[known], (0.5, 99.5)) if known.any() else (0.0, 1.0)
    if (known & labelled).any():
        darkest, brightest = np.percentile(values[known & labelled], (5, 95))
        border = max(brightest - darkest, LEAST_CONTRAST * (high - low))
        low, high = max(low, darkest - border), min(high, brightest + border)
    return float(low), float(high if high > low else low + 1)


def _styles(labels: Sequence[str], shown: np.ndarray) -> dict[int, Style]:
    """The lines by label value: of every label, and so the same in all cases, or of the largest that are shown."""
    if len(labels) <= len(STYLES):
        return dict(zip(range(1, len(labels) + 1), STYLES, strict=False))
    values, counts = np.unique(shown[shown > 0], return_counts=True)
    largest = values[np.argsort(-counts, kind="stable")][: len(STYLES)]
    return dict(zip(sorted(largest.tolist()), STYLES, strict=False))


def _legend(
    labels: Sequence[str], masks: Collection[np.ndarray], drawn: set[int], styles: Mapping[int, Style]
) -> list[tuple[str, Style]]:
    """Texts and lines: of labels that aren't drawn, why; of those without a line of their own, how many."""
    legend = []
    for value, style in styles.items():
        name = _shortened(labels[value - 1] if value <= len(labels) else f"label {value}", 60)
        if value not in drawn:
            elsewhere = any((mask == value).any() for mask in masks)
            name, style = f"{name}: {'not in these planes' if elsewhere else 'none'}", NO_LINE
        legend.append((name, style))
    if others := len(drawn - set(styles)):
        legend.append((f"{others} more label{'s' * (others > 1)}", OTHERS))
    return legend


def _draw_row(panel: SubFigure, row: _Row, window: tuple[float, float], styles: Mapping[int, Style]) -> None:
    left = (WIDTH - row.scale * sum(row.places) - GAP * (len(row.planes) - 1)) / 2
    for plane, place in zip(row.planes, row.places, strict=True):
        width, height = (row.scale * length for length in plane.size)
        box = (left / WIDTH, 1 - (ABOVE + height) / row.height, width / WIDTH, height / row.height)
        axes = panel.add_axes(box, xlim=plane.extent[:2], ylim=plane.extent[2:], autoscale_on=False)
        axes.set_axis_off()
        _draw_plane(axes, plane, window, styles)
        _annotate(axes, plane, row.name + plane.name, 1 / row.scale)
        left += row.scale * place + GAP
    for axes, plane in zip(panel.axes, row.framed, strict=False):
        left, right, bottom, top = plane.extent
        corners = [left, right, right, left, left], [top, top, bottom, bottom, top]
        axes.plot(*corners, color=TEXT, linewidth=1, path_effects=_dark_rim(2.5))


def _draw_plane(axes: Axes, plane: Plane, window: tuple[float, float], styles: Mapping[int, Style]) -> None:
    axes.imshow(plane.image, cmap="gray", vmin=window[0], vmax=window[1], extent=plane.extent)
    (rows, columns), (left, _, _, top) = plane.mask.shape, plane.extent
    # A border of one pixel closes the outlines of labels that touch the image's edge.
    x = left + (np.arange(-1, columns + 1) + 0.5) * plane.size[0] / columns
    y = top + (np.arange(-1, rows + 1) + 0.5) * plane.size[1] / rows
    for value in np.unique(plane.mask[plane.mask > 0]).tolist():
        colour, pattern, width = styles.get(value, OTHERS)
        inside = np.pad(plane.mask == value, 1).astype(np.float64)
        outline = axes.contour(x, y, inside, [INSIDE], colors=colour, linestyles=pattern, linewidths=width)
        outline.set_path_effects(_dark_rim(width + 1))


def _annotate(axes: Axes, plane: Plane, name: str, pixel: float) -> None:
    """Write name, scale bar and directions around a plane; `pixel` is the length of one of the picture's."""
    left, right, bottom, top = plane.extent
    power = 10.0 ** math.floor(math.log10(LONGEST_BAR * pixel))
    length = max(step * power for step in (1, 2, 5) if step * power <= LONGEST_BAR * pixel)
    bar = bottom + 30 * pixel
    axes.plot([left, left + length], [bar, bar], color=TEXT, linewidth=2, solid_capstyle="butt", clip_on=False)
    unit = "mm" if plane.letters else "px"
    axes.text(left + length + 6 * pixel, bar, f"{length:g} {unit}", color=FAINT, size=8, va="center")
    axes.text(left, top - 30 * pixel, name, color=FAINT, size=9.5, va="center")
    middle, centre = (left + right) / 2, (top + bottom) / 2
    gap = 12 * pixel
    edges = ((left - gap, centre), (right + gap, centre), (middle, top - gap), (middle, bottom + gap))
    for letters, (x, y) in zip(plane.letters, edges, strict=False):
        axes.text(x, y, letters, color=TEXT, size=9.5, weight="bold", ha="center", va="center")


def _dark_rim(width: float) -> list[Any]:
    """What makes a line stand out on any grey."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground=BACKGROUND)]


def _draw_legend(part: SubFigure, legend: Sequence[tuple[str, Style]], columns: int) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, linestyle=pattern, linewidth=width) for _, (colour, pattern, width) in legend]
    place = ((MARGIN - 12) / WIDTH, 0.5)  # matplotlib leaves a border of 12 pixels
    drawn = part.legend(lines, [" "] * len(lines), loc="center left", bbox_to_anchor=place, ncols=columns)
    drawn.set_frame_on(False)
    for text, (label, style) in zip(drawn.get_texts(), legend, strict=True):
        # Written afterwards: matplotlib leaves out labels that start with _, and takes $ for a formula's start.
        text.set(text=label, color=FAINT if style == NO_LINE else TEXT, size=9.5, parse_math=False)


def _write_line(part: SubFigure, left: str, right: str, **look: Any) -> None:
    for x, text, aligned in ((MARGIN / WIDTH, left, "left"), (1 - MARGIN / WIDTH, right, "right")):
        part.text(x, 0.5, text, ha=aligned, va="center", parse_math=False, **look)


def _shortened(text: str, longest: int) -> str:
    half = longest // 2
    return text if len(text) <= longest else f"{text[: half - 1]}…{text[-half:]}"
