"""The network and its patches for a working grid: strides, kernels and widths by axis and level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["Grid", "network_of", "patch_of", "shown"]

MOST_CELLS = {2: 16_384, 3: 65_536}  # of the finest grid of a network, in a patch: about a second a step in 3D
LEAST = 64  # voxels of a patch along an axis, where the volume has so many
COARSEST = 4  # cells, above which an axis is pooled once more
ALIKE = 2.0  # times the finest spacing, below which axes are treated alike (nnU-Net)
WIDTHS = (32, 64, 128, 256, 256, 256)
PAPER = (16, 32, 64, 128, 256, 512)
IMAGE_PATCH, IMAGE_BATCH = 256, 4


@dataclass(frozen=True)
class Grid:
    """The grid to work on.

    Attributes:
        spacing: mm along each axis; 1 for images.
        thick: the axis of thick slices, or None.
        flat: whether a patch is one slice.
    """

    spacing: np.ndarray
    thick: int | None
    flat: bool

    @property
    def is_image(self) -> bool:
        return len(self.spacing) == 2

    @property
    def stem_stride(self) -> list[int]:
        """2 along the axes whose spacing is about the finest, 1 along others; 1 for images, as in the paper."""
        if self.is_image:
            return [1, 1]
        return [2 if alike else 1 for alike in self.alike(self.spacing)]

    def alike(self, spacing: np.ndarray) -> list[bool]:
        """Whether a spacing along an axis is about the finest, and slices follow one another along it."""
        compared = np.where([self.flat and axis == self.thick for axis in range(len(spacing))], np.inf, spacing)
        return [bool(step < ALIKE * compared.min()) for step in compared]

    @property
    def voxels_a_cell(self) -> int:
        """Of the finest grid of the network."""
        return math.prod(self.stem_stride)

    @property
    def most_cells(self) -> int:
        """In a patch."""
        return IMAGE_PATCH**2 if self.is_image else MOST_CELLS[2 if self.flat else 3]


def patch_of(grid: Grid, size: np.ndarray, wanted: np.ndarray) -> tuple[list[int], int, str]:
    """Patch and batch size, and the reason.

    Args:
        grid: to work on.
        size: voxels of the median case.
        wanted: voxels that show a structure and what is around it.
    """
    if grid.is_image:
        patch = [min(IMAGE_PATCH, 32 * math.ceil(max(size) / 32))] * 2  # square, for quarter turns
        batch = int(np.clip(IMAGE_BATCH * IMAGE_PATCH**2 // math.prod(patch), 2, 16))
        return patch, batch, f"the median image has {_by(size)} pixels"
    steps = np.array([4 if axis == grid.thick else 8 for axis in range(3)])
    whole = steps * np.ceil(1.1 * size / steps)
    patch = np.minimum(whole, steps * np.ceil(np.maximum(wanted, LEAST * grid.spacing.min() / grid.spacing) / steps))
    if grid.flat:
        assert grid.thick is not None
        patch[grid.thick] = 1
    reason = f"the median case has {_by(size)} voxels, a structure with its surroundings {_by(wanted)}"
    if (patch == whole).all():
        reason = f"they hold the median case, {_by(size)} voxels, whole"
    while math.prod(patch) / grid.voxels_a_cell > grid.most_cells:
        longest = int(np.argmax(np.where(patch > steps, patch / wanted.clip(1), 0)))
        patch[longest] -= steps[longest]
        reason = (
            f"as much of a structure ({_by(wanted)} voxels with its surroundings) as a step of about a second allows"
        )
    batch = 8 if grid.flat else 2
    return [int(side) for side in patch], batch, reason


def network_of(grid: Grid, patch: Sequence[int]) -> dict[str, Any]:
    """Arguments of `ULite` for patches of a size."""
    if grid.is_image:
        levels = max(1, min(5, int(math.log2(max(patch) / 8))))
        return {} if levels == 5 else {"features": list(PAPER[: levels + 1])}
    stem = grid.stem_stride
    cells, spacing = np.ceil(np.asarray(patch) / stem), grid.spacing * stem
    strides: list[list[int]] = []
    kernels = []
    while len(strides) < 2 * len(WIDTHS) - 2:
        alike = grid.alike(spacing)
        kernel = [7 if near and side > 1 else 3 if side > 1 else 1 for near, side in zip(alike, cells, strict=True)]
        stride = [2 if near and side > COARSEST else 1 for near, side in zip(alike, cells, strict=True)]
        if max(stride) == 1 and strides:
            break
        kernels += [kernel, kernel]
        strides += [[1, 1, 1], stride]
        cells, spacing = np.ceil(cells / stride), spacing * stride
    features = [WIDTHS[0], *(width for pair in pairwise(WIDTHS[: len(strides) // 2 + 1]) for width in pair)]
    arguments: dict[str, Any] = {"features": features, "strides": _short(strides), "stem_stride": _short(stem)}
    if any(min(kernel) < 7 for kernel in kernels):
        arguments["kernel_size"] = kernels
        arguments["stem_kernel_size"] = [4 if step == 2 else 1 if grid.flat else 3 for step in stem]
    return arguments


def _short(values: list[Any]) -> Any:
    """One number for equal ones."""
    inner = [_short(value) if isinstance(value, list) else value for value in values]
    return inner[0] if all(value == inner[0] for value in inner) and not isinstance(inner[0], list) else inner


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, np.ndarray | list | tuple):
        return " x ".join(shown(one) for one in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _by(values: Any) -> str:
    return " x ".join(f"{value:.0f}" for value in values)
