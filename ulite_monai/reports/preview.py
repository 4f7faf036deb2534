"""One picture a case, by which a person can judge the mask at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ulite_monai.io.atomic import atomic_path
from ulite_monai.reports.legend import LineStyle, legend_entries, line_styles, other_style
from ulite_monai.reports.planes import Plane, display_volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["write_preview"]

# Lengths are in the picture's pixels, from its upper left corner.
WIDTH = 1200
MARGIN, GAP = 40, 56  # beside and between planes; both hold letters
ABOVE, BELOW = 44, 46  # a plane: its name and letter, its letter and scale bar
ROW_HEIGHT, OVERVIEW_HEIGHT, IMAGE_HEIGHT = 420, 240, 560
NARROWEST = 0.3  # of a row's widest plane: the place that a plane's name needs at least
HEADER, FOOTER = 44, 34
SWATCH, LEGEND_LINE, LEGEND_LETTER = 34, 22, 7.6
LONGEST_BAR = 110
DPI = 100

MAGNIFICATION = 1.5  # a close-up that enlarges less isn't worth its place
CLOSE_UP_MARGIN = 0.25  # of the mask's longest extent, so that what surrounds it can be seen
ALL_BUT_OUTLIERS, MOST_OF_A_TISSUE = (0.5, 99.5), (5, 95)  # percentiles
LEAST_CONTRAST = 0.2  # of the whole range, beside an even tissue's
SAMPLES = 1_000_000  # enough for percentiles

INSIDE = 0.65  # 0.5 is the label's border; a little within, lines of neighbours don't cover each other
BACKGROUND, TEXT, FAINT, ALERT = "#141414", "#F2F2F2", "#A8A8A8", "#FFFFFF"
RESEARCH_ONLY = "Research use only. Not for diagnosis or treatment."


@dataclass(frozen=True)
class _Row:
    """Planes side by side, all at `scale` picture pixels per mm."""

    planes: list[Plane]
    scale: float

    @property
    def height(self) -> float:
        return ABOVE + self.scale * max(plane.height for plane in self.planes) + BELOW


def write_preview(
    image: np.ndarray, mask: np.ndarray, affine: np.ndarray, labels: Sequence[str], path: str | Path, title: str = ""
) -> None:
    """Draw the mask's outlines on the image and write them as PNG, the same bytes for the same input.

    A volume is shown in three planes at the mask's centre of mass, in the radiological convention and in true
    proportion; a mask that is small in it is shown once more, enlarged. A sheared grid is drawn as if its axes were
    perpendicular. A 2D image is shown as it is.

    Args:
        image: intensities, shape (i, j, k); or a 2D image, shape (x, y), or (x, y, 3) in colour.
        mask: label map of integers >= 0, shape (i, j, k) or (x, y).
        affine: 4x4, voxel indices to RAS mm. Not used in 2D.
        labels: names of the classes, in the order of the label values 1, 2, ...
        path: `.png`; replaced if it exists, never half written.
        title: the case's id. It is all that the picture tells of the case's origin.

    Raises:
        InputError: When the system refuses to write.
        ValueError: When image and mask don't have the same shape.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(preview_figure(image, mask, affine, labels, title))
    canvas.draw()
    picture = Image.fromarray(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3]))
    if image.ndim > mask.ndim:  # in full colour, a photograph takes three times the space
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def preview_figure(
    image: np.ndarray, mask: np.ndarray, affine: np.ndarray, labels: Sequence[str], title: str = ""
) -> Figure:
    """The picture that `write_preview` writes, with the same arguments."""
    from matplotlib.figure import Figure

    if image.shape[: mask.ndim] != mask.shape:
        raise ValueError(f"the image has shape {image.shape}, its mask {mask.shape}.")
    rows = _image_row(image, mask) if mask.ndim == 2 else _volume_rows(image, mask, affine)
    shown = np.concatenate([plane.mask.ravel() for row in rows for plane in row.planes])
    styles = line_styles(labels, shown)
    legend = _in_columns(legend_entries(labels, mask, shown, styles))
    window = _window(rows[-1].planes)
    height = math.ceil(HEADER + sum(row.height for row in rows) + LEGEND_LINE * len(legend) + FOOTER)

    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=BACKGROUND)
    sheet = _sheet(figure, height)
    _draw_header(sheet, title, "" if mask.any() else "nothing found: the mask is empty")
    top = float(HEADER)
    for row in rows:
        _draw_row(sheet, row, top, window, styles)
        top += row.height
    _draw_legend(sheet, legend, top)
    _draw_footer(sheet, height - FOOTER / 2, window)
    return figure


def _image_row(image: np.ndarray, mask: np.ndarray) -> list[_Row]:
    columns, rows = mask.shape
    plane = Plane(f"{columns} x {rows} pixels", image.swapaxes(0, 1), mask.T, (1.0, 1.0), unit="px")
    return [_row([plane], IMAGE_HEIGHT)]


def _volume_rows(image: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> list[_Row]:
    """The whole planes and, below, a close-up where it enlarges the mask by enough."""
    volume = display_volume(image, mask, affine)
    box = volume.around_mask(CLOSE_UP_MARGIN)
    overview = _row(volume.planes(volume.whole), ROW_HEIGHT)
    close_up = _row(volume.planes(box), ROW_HEIGHT)
    if close_up.scale < MAGNIFICATION * overview.scale:
        return [overview]
    return [_row(volume.planes(volume.whole, frame=box), OVERVIEW_HEIGHT), close_up]


def _row(planes: list[Plane], height: float) -> _Row:
    room = WIDTH - 2 * MARGIN - GAP * (len(planes) - 1)
    return _Row(planes, min(room / sum(_places(planes)), height / max(plane.height for plane in planes)))


def _places(planes: Sequence[Plane]) -> list[float]:
    """The width of the place of each plane, in its unit."""
    narrowest = NARROWEST * max(plane.width for plane in planes)
    return [max(plane.width, narrowest) for plane in planes]


def _window(planes: Sequence[Plane]) -> tuple[float, float]:
    """The intensities that become black and white.

    Robust percentiles of the planes, narrowed to the labelled tissue's own range and as much on both sides: in a CT,
    air and bone would leave an organ and its neighbours the same grey. A photograph is shown as it is.
    """
    if planes[0].image.ndim == 3 and planes[0].image.dtype == np.uint8:
        return 0.0, 255.0
    low, high = _percentiles([plane.image for plane in planes], ALL_BUT_OUTLIERS) or (0.0, 1.0)
    inside = _percentiles([plane.image[plane.mask > 0] for plane in planes], MOST_OF_A_TISSUE)
    if inside is not None:
        border = max(inside[1] - inside[0], LEAST_CONTRAST * (high - low))
        low, high = max(low, inside[0] - border), min(high, inside[1] + border)
    return low, high if high > low else low + 1


def _percentiles(parts: Sequence[np.ndarray], percentiles: tuple[float, float]) -> tuple[float, float] | None:
    values = np.concatenate([part[np.isfinite(part)].ravel() for part in parts])
    if values.size == 0:
        return None
    low, high = np.percentile(values[:: values.size // SAMPLES + 1], percentiles)
    return float(low), float(high)


def _windowed(image: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """From 0 to 1; what is not a number is black."""
    low, high = window
    return np.nan_to_num((np.clip(image.astype(np.float64), low, high) - low) / (high - low))


def _sheet(figure: Figure, height: int) -> Axes:
    """Axes all over the figure whose coordinates are its pixels, for everything around the planes."""
    sheet = figure.add_axes((0, 0, 1, 1), zorder=2)
    sheet.set(xlim=(0, WIDTH), ylim=(height, 0))
    sheet.set_axis_off()
    return sheet


def _write(sheet: Axes, x: float, y: float, text: str, **style: Any) -> None:
    # Names from outside may hold a $, which would start a formula.
    look: dict[str, Any] = {"color": TEXT, "fontsize": 9.5, "va": "center", "family": "DejaVu Sans"}
    sheet.text(x, y, text, parse_math=False, **(look | style))


def _shortened(text: str, longest: int) -> str:
    half = longest // 2
    return text if len(text) <= longest else f"{text[: half - 1]}…{text[-half:]}"


def _draw_header(sheet: Axes, title: str, remark: str) -> None:
    _write(sheet, MARGIN, HEADER / 2, _shortened(title, 72), fontsize=12, weight="bold")
    _write(sheet, WIDTH - MARGIN, HEADER / 2, remark, fontsize=12, color=ALERT, ha="right")


def _draw_footer(sheet: Axes, y: float, window: tuple[float, float]) -> None:
    low, high = window
    _write(sheet, MARGIN, y, RESEARCH_ONLY, fontsize=8, color=FAINT)
    _write(sheet, WIDTH - MARGIN, y, f"black {low:.4g}, white {high:.4g}", fontsize=8, color=FAINT, ha="right")


def _draw_row(sheet: Axes, row: _Row, top: float, window: tuple[float, float], styles: dict[int, LineStyle]) -> None:
    places = [row.scale * place for place in _places(row.planes)]
    left = (WIDTH - sum(places) - GAP * (len(places) - 1)) / 2
    for plane, place in zip(row.planes, places, strict=True):
        _draw_plane(sheet, plane, (left, top + ABOVE), row.scale, window, styles)
        left += place + GAP


def _draw_plane(
    sheet: Axes,
    plane: Plane,
    corner: tuple[float, float],
    scale: float,
    window: tuple[float, float],
    styles: dict[int, LineStyle],
) -> None:
    (left, top), (width, height) = corner, (scale * plane.width, scale * plane.height)
    _draw_picture(_axes_at(sheet, left, top, width, height), plane, window, styles)
    _write(sheet, left, top - 30, plane.name, color=FAINT)
    _draw_letters(sheet, plane.letters, left, top, width, height)
    _draw_scale_bar(sheet, left, top + height + 30, scale, plane.unit)


def _axes_at(sheet: Axes, left: float, top: float, width: float, height: float) -> Axes:
    whole = sheet.get_ylim()[0]
    axes = sheet.figure.add_axes((left / WIDTH, 1 - (top + height) / whole, width / WIDTH, height / whole))
    axes.set_axis_off()
    return axes


def _draw_picture(axes: Axes, plane: Plane, window: tuple[float, float], styles: dict[int, LineStyle]) -> None:
    pixels = _windowed(plane.image, window)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="bilinear")
    for value in np.unique(plane.mask[plane.mask > 0]).tolist():
        _draw_outline(axes, plane.mask == value, styles.get(value, other_style))
    rows, columns = plane.mask.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    if plane.frame is not None:
        _draw_frame(axes, plane.frame)


def _draw_outline(axes: Axes, inside: np.ndarray, style: LineStyle) -> None:
    from matplotlib.patheffects import withStroke

    rows, columns = inside.shape
    # The border closes the outlines of labels that touch the picture's edge.
    outline = axes.contour(
        np.arange(-1, columns + 1),
        np.arange(-1, rows + 1),
        np.pad(inside, 1).astype(np.float64),
        levels=[INSIDE],
        colors=style.colour,
        linewidths=style.width,
        linestyles=[(0, style.dashes) if style.dashes else "solid"],
    )
    outline.set_path_effects([withStroke(linewidth=style.width + 1, foreground=BACKGROUND)])


def _draw_frame(axes: Axes, frame: tuple[int, int, int, int]) -> None:
    from matplotlib.patheffects import withStroke

    left, top, right, bottom = (edge - 0.5 for edge in frame)
    (line,) = axes.plot([left, right, right, left, left], [top, top, bottom, bottom, top], color=TEXT, linewidth=1)
    line.set_path_effects([withStroke(linewidth=2.5, foreground=BACKGROUND)])


def _draw_letters(
    sheet: Axes, letters: tuple[str, str, str, str], left: float, top: float, width: float, height: float
) -> None:
    at_left, at_right, at_top, at_bottom = letters
    middle, centre = top + height / 2, left + width / 2
    _write(sheet, left - 5, middle, at_left, ha="right", weight="bold")
    _write(sheet, left + width + 5, middle, at_right, ha="left", weight="bold")
    _write(sheet, centre, top - 11, at_top, ha="center", weight="bold")
    _write(sheet, centre, top + height + 13, at_bottom, ha="center", weight="bold")


def _draw_scale_bar(sheet: Axes, left: float, y: float, scale: float, unit: str) -> None:
    length = _round_length(LONGEST_BAR / scale)
    right = left + length * scale
    sheet.plot([left, right], [y, y], color=TEXT, linewidth=2, solid_capstyle="butt")
    _write(sheet, right + 6, y, f"{length:g} {unit}", fontsize=8, color=FAINT)


def _round_length(longest: float) -> float:
    """The largest of 1, 2, 5, 10, 20, ... that is no longer."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest)


def _in_columns(entries: list[tuple[str, LineStyle | None]]) -> list[list[tuple[str, LineStyle | None]]]:
    """The lines of the legend, each with as many entries as fit beside each other."""
    fit = max(1, int((WIDTH - 2 * MARGIN) // _column_width(entries)))
    return [entries[n : n + fit] for n in range(0, len(entries), fit)]


def _column_width(entries: Sequence[tuple[str, LineStyle | None]]) -> float:
    longest = max((len(text) for text, _ in entries), default=0)
    return SWATCH + LEGEND_LETTER * min(longest, 60) + 16


def _draw_legend(sheet: Axes, lines: list[list[tuple[str, LineStyle | None]]], top: float) -> None:
    column_width = _column_width([entry for line in lines for entry in line])
    for row, line in enumerate(lines):
        for column, (text, style) in enumerate(line):
            x, y = MARGIN + column * column_width, top + (row + 0.5) * LEGEND_LINE
            if style is not None:
                dashes = (0, style.dashes) if style.dashes else "solid"
                sheet.plot([x, x + SWATCH - 10], [y, y], color=style.colour, linewidth=2, linestyle=dashes)
            _write(sheet, x + SWATCH, y, _shortened(text, 60), color=FAINT if style is None else TEXT)
