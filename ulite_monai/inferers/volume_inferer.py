"""The whole volume in one pass when it fits, windows when it doesn't."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import psutil
import torch
from monai.inferers import SlidingWindowInfererAdapt

from ulite_monai.errors import InputError

__all__ = ["VolumeInferer"]

logger = logging.getLogger(__name__)


class VolumeInferer(SlidingWindowInfererAdapt):
    """MONAI's sliding-window inferer that needs no windows for a volume whose activations fit the memory.

    A fully convolutional network gives the same mask without windows, faster, and without their borders. One pass is
    made when voxels times `bytes_per_voxel` is at most `max_memory`; otherwise Gaussian-weighted windows of
    `roi_size` run, stitched where memory is left (MONAI's behaviour).

    Args:
        roi_size: window size, one number per axis.
        sw_batch_size: windows in a batch.
        overlap: overlap of neighbouring windows, in [0, 1).
        bytes_per_voxel: memory that the network needs at its peak for a voxel of the input.
        max_memory: bytes that one pass may take; None for half of what is free when it runs.
        kwargs: further arguments of MONAI's `SlidingWindowInferer`.

    Raises:
        InputError: When `overlap` is out of range.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        sw_batch_size: int = 1,
        overlap: float = 0.5,
        bytes_per_voxel: int = 1024,
        max_memory: int | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= overlap < 1:
            raise InputError(f"overlap must be at least 0 and below 1, got {overlap!r}.")
        super().__init__(roi_size, sw_batch_size=sw_batch_size, overlap=overlap, **({"mode": "gaussian"} | kwargs))
        self.bytes_per_voxel = bytes_per_voxel
        self.max_memory = max_memory

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Logits `(batch, classes, *spatial)` of images `(batch, channels, *spatial)`."""
        needed = math.prod(inputs.shape[2:]) * inputs.shape[0] * self.bytes_per_voxel
        allowed = free_memory(inputs.device) // 2 if self.max_memory is None else self.max_memory
        if needed <= allowed:
            return network(inputs, *args, **kwargs)
        logger.info(
            "windows of %s: one pass over %s would need %.1f GB, %.1f GB may be used.",
            self.roi_size,
            tuple(inputs.shape[2:]),
            needed / 1e9,
            allowed / 1e9,
        )
        return super().__call__(inputs, network, *args, **kwargs)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device; for others than CUDA GPUs, the main memory's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
