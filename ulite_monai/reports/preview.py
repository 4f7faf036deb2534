"""One picture a case, by which a person can judge the mask at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulite_monai.io.atomic import atomic_path
from ulite_monai.reports.legend import Entry, legend_entries, line_styles
from ulite_monai.reports.plane_picture import ABOVE, BELOW, draw_plane
from ulite_monai.reports.planes import Plane, display_volume
from ulite_monai.reports.sheet import FAINT, TEXT, Sheet
from ulite_monai.reports.window import grey_window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["preview_figure", "write_comparison", "write_preview"]

# Lengths are in the picture's pixels.
WIDTH = 1200
MARGIN, GAP = 40, 56  # beside and between planes; both hold letters
ROW_HEIGHT, OVERVIEW_HEIGHT, IMAGE_HEIGHT = 420, 240, 560  # of the tallest plane
NARROWEST = 0.3  # of a row's widest plane: the place that a plane's name needs
HEADER, FOOTER = 44, 34
SWATCH, LETTER, LINE = 34, 7.6, 22  # the legend's
LONGEST_TITLE, LONGEST_LABEL = 72, 60  # letters

MAGNIFICATION = 1.5  # a close-up that enlarges less isn't worth its place
CLOSE_UP_MARGIN = 0.25  # of the mask's longest extent, so that what surrounds it can be seen

NOTHING_FOUND = "nothing found: the mask is empty"
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

    A volume is shown in three planes at the mask's centre of mass (where little lies there, at the nearest plane
    that holds more), in the radiological convention and in true proportion; a mask that is small in it is shown once
    more, enlarged. A sheared grid is drawn as if its axes were perpendicular. A 2D image is shown as it is.

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
    _write([preview_figure(image, mask, affine, labels, title)], path, in_colour=image.ndim > mask.ndim)


def write_comparison(
    image: np.ndarray,
    mask: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray,
    labels: Sequence[str],
    path: str | Path,
    title: str = "",
) -> None:
    """Draw a mask and, below it, the reference in the same planes, as `write_preview` draws one.

    Args:
        image: as for `write_preview`.
        mask: what was predicted.
        reference: what is held to be right; a label map of the mask's shape.
        affine: as for `write_preview`.
        labels: as for `write_preview`.
        path: `.png`; replaced if it exists, never half written.
        title: the case's id.

    Raises:
        InputError: When the system refuses to write.
        ValueError: When image, mask and reference don't have the same shape.
    """
    both = (mask > 0) | (reference > 0)
    drawn = [
        preview_figure(image, one, affine, labels, f"{title}: {name}", both)
        for one, name in ((mask, "predicted"), (reference, "reference"))
    ]
    _write(drawn, path, in_colour=image.ndim > mask.ndim)


def _write(figures: Sequence[Figure], path: str | Path, in_colour: bool) -> None:
    """The figures below each other, as one PNG."""
    from PIL import Image

    picture = Image.fromarray(np.vstack([_pixels(figure) for figure in figures]))
    if in_colour:  # a photograph takes three times the space
        picture = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def _pixels(figure: Figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def preview_figure(
    image: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray,
    labels: Sequence[str],
    title: str = "",
    centred_on: np.ndarray | None = None,
) -> Figure:
    """The picture that `write_preview` writes, from the same arguments; its planes are those of `centred_on`."""
    if image.shape[: mask.ndim] != mask.shape:
        raise ValueError(f"the image has shape {image.shape}, its mask {mask.shape}.")
    rows = _image_row(image, mask) if mask.ndim == 2 else _volume_rows(image, mask, affine, centred_on)
    window = grey_window(rows[-1].planes)
    shown = np.concatenate([plane.mask.ravel() for row in rows for plane in row.planes])
    styles = line_styles(labels, shown)
    legend = _in_lines(legend_entries(labels, mask, shown, styles))
    height = HEADER + sum(row.height for row in rows) + LINE * len(legend) + FOOTER

    sheet = Sheet(WIDTH, math.ceil(height))
    _write_header(sheet, title, "" if mask.any() else NOTHING_FOUND)
    top = float(HEADER)
    for row in rows:
        for plane, left in zip(row.planes, _lefts(row), strict=True):
            draw_plane(sheet, plane, (left, top + ABOVE), row.scale, window, styles)
        top += row.height
    _draw_legend(sheet, legend, top)
    _write_footer(sheet, window)
    return sheet.figure


def _image_row(image: np.ndarray, mask: np.ndarray) -> list[_Row]:
    columns, rows = mask.shape
    plane = Plane(f"{columns} x {rows} pixels", image.swapaxes(0, 1), mask.T, (1.0, 1.0), unit="px")
    return [_row([plane], IMAGE_HEIGHT)]


def _volume_rows(image: np.ndarray, mask: np.ndarray, affine: np.ndarray, centred_on: np.ndarray | None) -> list[_Row]:
    """The whole planes and, below, a close-up where it enlarges the mask by enough."""
    volume = display_volume(image, mask, affine, centred_on)
    box = volume.around_mask(CLOSE_UP_MARGIN)
    overview = _row(volume.planes(volume.whole), ROW_HEIGHT)
    close_up = _row(volume.planes(box), ROW_HEIGHT)
    if close_up.scale < MAGNIFICATION * overview.scale:
        return [overview]
    return [_row(volume.planes(volume.whole, frame=box), OVERVIEW_HEIGHT), close_up]


def _row(planes: list[Plane], height: float) -> _Row:
    """The planes as large as the picture's width and this height allow."""
    room = WIDTH - 2 * MARGIN - GAP * (len(planes) - 1)
    return _Row(planes, min(room / sum(_places(planes)), height / max(plane.height for plane in planes)))


def _places(planes: Sequence[Plane]) -> list[float]:
    """The width of each plane's place, in its unit."""
    narrowest = NARROWEST * max(plane.width for plane in planes)
    return [max(plane.width, narrowest) for plane in planes]


def _lefts(row: _Row) -> list[float]:
    """Where each plane begins, the row being centred."""
    steps = [row.scale * place + GAP for place in _places(row.planes)]
    first = (WIDTH - sum(steps) + GAP) / 2
    return [first + sum(steps[:n]) for n in range(len(steps))]


def _write_header(sheet: Sheet, title: str, remark: str) -> None:
    sheet.write(MARGIN, HEADER / 2, _shortened(title, LONGEST_TITLE), fontsize=12, weight="bold")
    sheet.write(WIDTH - MARGIN, HEADER / 2, remark, fontsize=12, ha="right")


def _write_footer(sheet: Sheet, window: tuple[float, float]) -> None:
    y = sheet.height - FOOTER / 2
    low, high = window
    sheet.write(MARGIN, y, RESEARCH_ONLY, fontsize=8, color=FAINT)
    sheet.write(WIDTH - MARGIN, y, f"black {low:.4g}, white {high:.4g}", fontsize=8, color=FAINT, ha="right")


def _in_lines(entries: Sequence[Entry]) -> list[Sequence[Entry]]:
    """The lines of the legend, each with as many entries as fit beside each other."""
    fit = max(1, int((WIDTH - 2 * MARGIN) // _column_width(entries)))
    return [entries[n : n + fit] for n in range(0, len(entries), fit)]


def _column_width(entries: Sequence[Entry]) -> float:
    longest = max((len(text) for text, _ in entries), default=0)
    return SWATCH + LETTER * (min(longest, LONGEST_LABEL) + 2)


def _draw_legend(sheet: Sheet, lines: Sequence[Sequence[Entry]], top: float) -> None:
    column_width = _column_width([entry for line in lines for entry in line])
    for row, line in enumerate(lines):
        y = top + (row + 0.5) * LINE
        for column, (text, style) in enumerate(line):
            x = MARGIN + column * column_width
            if style is not None:
                sheet.rule(x, x + SWATCH - 8, y, style)
            sheet.write(x + SWATCH, y, _shortened(text, LONGEST_LABEL), color=TEXT if style else FAINT)


def _shortened(text: str, longest: int) -> str:
    half = longest // 2
    return text if len(text) <= longest else f"{text[: half - 1]}…{text[-half:]}"
