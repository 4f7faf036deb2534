"""A case slice by slice, as a web page shows it: plain pictures, and the outlines of two masks as SVG paths."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np
from contourpy import contour_generator
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from PIL import Image

from ulite_monai.io.affine import spacing_of
from ulite_monai.reports.planes import PLANES, Plane, around, direction_letters
from ulite_monai.reports.preview import grey_window

__all__ = ["outline", "slice_stack"]

MOST_SLICES = 32
MOST_PIXELS = 400  # along a picture's longer side; a browser shows it at about this size
LOSSLESS = 64 * 64  # pixels; JPEG's blocks would be seen in a picture that is enlarged so much
THICK = 1.5  # times another axis' spacing: who cuts across another axis than the scanner did sees steps


def slice_stack(
    image: np.ndarray | None, mask: np.ndarray, reference: np.ndarray, affine: np.ndarray | None
) -> dict[str, Any]:
    """The slices through what two masks hold, close up, in the radiological convention and without resampling.

    They are cut across the axis whose voxels are thick, as the scanner did, else they are axial.

    Args:
        image: intensities, shape (i, j, k), or a 2D image, shape (x, y), or (x, y, 3) in colour, uint8; None where
            there is none to show.
        mask: label map of integers >= 0, shape (i, j, k) or (x, y).
        reference: label map of the mask's shape.
        affine: 4x4, voxel indices to RAS mm; not used in 2D.

    Returns:
        Plain values for JSON: `plane`; `letters` at the left, right, upper and lower edge (none in 2D); `size`
        (columns, rows) of a slice; `aspect`, width over height as it lies in space; `start`, the index of the slice
        where the masks differ most; `slices`, each with `name` (its index on the input's own axis), `image` (a data
        URI, or None) and `outlines` (`value`, `of` "mask" or "reference", and the `path` in half pixels).
    """
    if mask.ndim == 2:
        return _of_image(image, mask, reference)
    assert affine is not None
    turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPI"))
    to_input = inv_ornt_aff(turn, mask.shape)
    spacing, directions = np.array(spacing_of(affine @ to_input)), (affine @ to_input)[:3, :3].T
    mask, reference = (apply_orientation(volume, turn) for volume in (mask, reference))
    image = None if image is None else apply_orientation(image, turn)
    kind, across, column, row = _plane(spacing)
    held = (mask > 0) | (reference > 0)
    counts = [np.count_nonzero(held, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    box = [slice(*edges) for edges in around(counts, spacing)]
    box[across] = slice(None)
    wrong = np.count_nonzero(mask != reference, axis=(column, row))
    chosen = _chosen(counts[across], wrong)
    axis = int(np.abs(to_input[:3, across]).argmax())

    def section(volume: np.ndarray, n: int) -> np.ndarray:
        return np.moveaxis(volume[tuple(box)], across, 0)[n].T

    planes = [None if image is None else Plane("", section(image, n), section(held, n), (0, 1, 1, 0)) for n in chosen]
    window = None if image is None else grey_window([plane for plane in planes if plane is not None])
    slices = [
        _slice(
            f"{'ijk'[axis]} = {to_input[axis, across] * n + to_input[axis, 3]:.0f}",
            None if plane is None else plane.image,
            section(mask, n),
            section(reference, n),
            window,
        )
        for n, plane in zip(chosen, planes, strict=True)
    ]
    rows, columns = section(mask, 0).shape
    return {
        "plane": kind,
        "letters": [direction_letters(sign * directions[a]) for a in (column, row) for sign in (-1, 1)],
        "size": [columns, rows],
        "aspect": float(columns * spacing[column] / (rows * spacing[row])),
        "start": int(wrong[chosen].argmax()) if wrong.any() else len(chosen) // 2,
        "slices": slices,
    }


def _of_image(image: np.ndarray | None, mask: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """A 2D image, but for what lies far from a small structure."""
    held = (mask > 0) | (reference > 0)
    box = tuple(slice(*edges) for edges in around([held.sum(axis=1), held.sum(axis=0)], np.ones(2), margin=1.0))
    picture = None if image is None else image[box].swapaxes(0, 1)
    rows, columns = mask[box].T.shape
    slices = [_slice("", picture, mask[box].T, reference[box].T, None)]
    return {"plane": "", "letters": [], "size": [columns, rows], "aspect": columns / rows, "start": 0, "slices": slices}


def _plane(spacing: np.ndarray) -> tuple[str, int, int, int]:
    """Of PLANES, the one that the scanner cut, if its slices are thick; else the axial one."""
    thickest = int(spacing.argmax())
    thick = spacing[thickest] > THICK * np.sort(spacing)[1]
    return next(plane for plane in PLANES if plane[1] == (thickest if thick else 2))


def _chosen(counts: np.ndarray, wrong: np.ndarray) -> list[int]:
    """Evenly spaced slices from one before what is labelled to one after it, and the one where most is wrong."""
    held = np.flatnonzero(counts) if counts.any() else np.arange(counts.size)
    first, last = max(held[0] - 1, 0), min(held[-1] + 1, counts.size - 1)
    evenly = np.linspace(first, last, min(MOST_SLICES, last - first + 1)).round().astype(int)
    return sorted({*evenly.tolist(), int(wrong.argmax())} if wrong.any() else evenly.tolist())


def _slice(
    name: str,
    image: np.ndarray | None,
    mask: np.ndarray,
    reference: np.ndarray,
    window: tuple[float, float] | None,
) -> dict[str, Any]:
    outlines = [
        {"value": value, "of": of, "path": outline(labels == value)}
        for of, labels in (("mask", mask), ("reference", reference))
        for value in np.unique(labels[labels > 0]).tolist()
    ]
    return {"name": name, "image": None if image is None else _data_uri(image, window), "outlines": outlines}


def outline(mask: np.ndarray) -> str:
    """An SVG path around a mask, in half pixels from its upper left corner.

    Args:
        mask: boolean, shape (rows, columns).
    """
    # A border of one pixel closes the outlines of what touches the edge.
    lines = contour_generator(z=np.pad(mask, 1).astype(np.float64)).lines(0.5)
    return "".join(_path(np.rint(2 * np.asarray(line) - 1).astype(int)) for line in lines)


def _path(points: np.ndarray) -> str:
    steps = np.diff(points, axis=0)
    corners = np.flatnonzero(np.any(np.diff(steps, axis=0), axis=1)) + 1
    ends = points[[0, *corners, -1]]
    return f"M{ends[0, 0]} {ends[0, 1]}l" + " ".join(f"{x} {y}" for x, y in np.diff(ends, axis=0)) + "z"


def _data_uri(image: np.ndarray, window: tuple[float, float] | None) -> str:
    if image.ndim == 2 and window is not None:
        low, high = window
        finite = np.nan_to_num(image.astype(np.float64), nan=low, posinf=high, neginf=low)
        image = np.clip((finite - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    lossless = picture.width * picture.height <= LOSSLESS
    buffer = BytesIO()
    picture.save(buffer, **({"format": "PNG"} if lossless else {"format": "JPEG", "quality": 80, "optimize": True}))
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
