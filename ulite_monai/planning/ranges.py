"""The ranges that a trained network is for: those of its training volumes, with some room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np

from ulite_monai.datasets.cases import first_image
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.references import header_is_enough, read_grid

__all__ = ["training_ranges"]

ROOM = 2.0  # a volume may be half as large as the smallest that was trained on, or twice as large as the largest
LOOKED_AT = 24  # volumes of formats that have to be read whole to know their grid


def training_ranges(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The `input_ranges` of a bundle's metadata, as `ulite_monai.prediction.ranges` takes them.

    Args:
        items: data list of the training part, of volumes.

    Returns:
        `extent_mm`, a (least, most) pair for right-left, front-back and head-foot; `spacing_mm`, one pair for all
        axes; and `modality`, where DICOM says it of every volume that was looked at.
    """
    grids = [_grid(path) for path in _evenly(items)]
    spacings = np.array([spacing for _, spacing, _ in grids])
    extents = np.array([extent for extent, _, _ in grids])
    pairs = [_with_room(low, high) for low, high in zip(extents.min(0), extents.max(0), strict=True)]
    ranges: dict[str, Any] = {"spacing_mm": _with_room(spacings.min(), spacings.max()), "extent_mm": pairs}
    modalities = sorted({modality for _, _, modality in grids})
    return {"modality": modalities, **ranges} if all(modalities) else ranges


def _evenly(items: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    paths = [first_image(item) for item in items]
    quick = [path for path in paths if header_is_enough(path)]
    slow = [path for path in paths if not header_is_enough(path)]
    return [*quick, *slow[:: max(1, -(-len(slow) // LOOKED_AT))]]


def _grid(path: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Extent in mm along right-left, front-back and head-foot, spacing along the same, and DICOM's modality or ""."""
    shape, affine, modality = read_grid(path)
    order = np.argsort(nib.orientations.io_orientation(affine)[:, 0])
    spacing = np.asarray(spacing_of(affine))[order]
    return np.asarray(shape)[order] * spacing, spacing, modality


def _with_room(low: float, high: float) -> list[float]:
    return [float(f"{low / ROOM:.3g}"), float(f"{high * ROOM:.3g}")]
