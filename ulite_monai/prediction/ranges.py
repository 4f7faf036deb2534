"""Whether a volume is of the kind that a bundle was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nibabel as nib
import numpy as np

from ulite_monai.io.affine import spacing_of

__all__ = ["is_head", "outside_ranges"]


def outside_ranges(shape: Sequence[int], affine: np.ndarray, modality: str, metadata: Mapping[str, Any]) -> str | None:
    """Why a volume lies outside the ranges that a bundle's metadata states, in one clause; None if it doesn't.

    Args:
        shape: (i, j, k).
        affine: 4x4, voxel to RAS mm.
        modality: DICOM's ("MR", "CT"), "" where unknown.
        metadata: may hold `input_ranges` with `extent_mm` (a (least, most) pair for right-left, anterior-posterior,
            superior-inferior), `spacing_mm` (one pair for all axes) and `modality` (a list).
    """
    ranges = metadata.get("input_ranges", {})
    allowed = ranges.get("modality", [])
    if modality and allowed and modality not in allowed:
        return f"its modality is {modality}, the bundle is for {', '.join(allowed)}"
    extent, spacing = _extent(shape, affine)
    if "spacing_mm" in ranges:
        low, high = ranges["spacing_mm"]
        if spacing.min() < low or spacing.max() > high:
            return f"its voxels measure {_by(spacing)} mm, the bundle is for {low:g} to {high:g} mm"
    for axis, size, (low, high) in zip(AXES, extent, ranges.get("extent_mm", []), strict=False):
        if not low <= size <= high:
            return f"it extends over {size:.0f} mm from {axis}, the bundle is for {low:g} to {high:g} mm"
    return None


def is_head(shape: Sequence[int], affine: np.ndarray, heads: Mapping[str, Any]) -> bool:
    """Whether a volume is as large as whole heads are.

    Args:
        shape: (i, j, k).
        affine: 4x4, voxel to RAS mm.
        heads: what a bundle's metadata says of whole heads, with `input_ranges`; empty where it isn't for them.
    """
    pairs = heads.get("input_ranges", {}).get("extent_mm", [])
    extent, _ = _extent(shape, affine)
    return bool(pairs) and all(low <= size <= high for size, (low, high) in zip(extent, pairs, strict=True))


def _extent(shape: Sequence[int], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Extent and spacing in mm from right to left, front to back, head to foot."""
    order = np.argsort(nib.orientations.io_orientation(affine)[:, 0])
    spacing = np.asarray(spacing_of(affine))[order]
    return np.asarray(shape)[order] * spacing, spacing


AXES = ("right to left", "front to back", "head to foot")


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
