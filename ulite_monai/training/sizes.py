"""What depends on how large a data set's volumes are: where patches are cut, and how many cases memory holds."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ulite_monai.datasets.cases import first_image
from ulite_monai.engines.memory import free_memory
from ulite_monai.io.affine import voxel_volume
from ulite_monai.io.references import read_grid

__all__ = ["cache_rate", "cache_types", "caches_in_half", "foreground_share", "typical_voxels"]

logger = logging.getLogger(__name__)

LOOKED_AT = 12  # cases
LARGE = 4  # patches in a volume, from which on patches cut anywhere would mostly be background
FOREGROUND_SHARE = 1 / 3  # of nnU-Net: Isensee et al., Nature Methods 18:203, 2021
MEMORY_SHARE = 0.5  # of what is free, for cached cases; the rest is the network's


def typical_voxels(items: Sequence[Mapping[str, Any]], spacing: Sequence[float]) -> float:
    """Median number of voxels of a volume once it has the spacing to work at; 0 without items.

    Args:
        items: data list with `image` paths; a dozen evenly spread over it are looked at.
        spacing: mm along each axis.
    """
    step = max(1, math.ceil(len(items) / LOOKED_AT))
    return statistics.median([_cubic_mm(first_image(item)) for item in items[::step]] or [0.0]) / math.prod(spacing)


def foreground_share(items: Sequence[Mapping[str, Any]], spacing: Sequence[float], patch_size: Sequence[int]) -> float:
    """The share of patches that are cut around a labelled voxel: a third for large volumes, none for small ones.

    Args:
        items: data list of the training part.
        spacing: mm along each axis.
        patch_size: voxels along each axis.
    """
    return FOREGROUND_SHARE if typical_voxels(items, spacing) >= LARGE * math.prod(patch_size) else 0.0


def caches_in_half(items: Sequence[Mapping[str, Any]], spacing: Sequence[float], channels: int) -> bool:
    """Whether images are cached as 16-bit floats, because half of the free memory doesn't hold them as 32-bit ones.

    Args:
        items: data list of all that is cached.
        spacing: mm along each axis.
        channels: of an image.
    """
    return _needed(items, spacing, channels, half=False) > MEMORY_SHARE * free_memory(torch.device("cpu"))


def cache_rate(
    items: Sequence[Mapping[str, Any]], spacing: Sequence[float], channels: int, half: bool = False
) -> float:
    """The share of cases that half of the free memory holds, in hundredths, at most 1.

    Args:
        items: data list of all that is cached.
        spacing: mm along each axis.
        channels: of an image.
        half: whether images are cached as 16-bit floats.
    """
    needed, free = _needed(items, spacing, channels, half), free_memory(torch.device("cpu"))
    rate = 1.0 if needed <= MEMORY_SHARE * free else math.floor(100 * MEMORY_SHARE * free / needed) / 100
    if rate < 1:
        logger.info(
            "%d cases would take %.0f GB, %.0f GB are free: %.0f %% of them are kept in memory, the others are read in "
            "each epoch (--cache_rate, --num_workers).",
            *(len(items), needed / 1e9, free / 1e9, 100 * rate),
        )
    return rate


def cache_types(half: bool, labels: Sequence[str]) -> list[torch.dtype]:
    """The types in which images and labels are cached; an ignored voxel's value is one above the last class's."""
    return [torch.float16 if half else torch.float32, torch.uint8 if len(labels) < 255 else torch.int16]


def _needed(items: Sequence[Mapping[str, Any]], spacing: Sequence[float], channels: int, half: bool) -> float:
    """Bytes of all images and their labels, a byte a voxel."""
    return (channels * (2 if half else 4) + 1) * typical_voxels(items, spacing) * len(items)


def _cubic_mm(path: str) -> float:
    shape, affine, _ = read_grid(path)
    return math.prod(shape) * voxel_volume(affine)
