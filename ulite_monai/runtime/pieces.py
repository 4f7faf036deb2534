"""A batch of images in pieces that a CPU's caches hold better than the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ulite_monai.networks.ensemble import is_ulite
from ulite_monai.runtime.memory import RunBy, bytes_per_voxel

__all__ = ["in_pieces", "together", "voxels_at_once"]

# Of a network's activations, as they are estimated. Eight images of 256x256 on two cores with 32 MiB of cache, in
# milliseconds, by images in a piece (1, 2, 4, 8), one piece after the other: OpenVINO 86, 87, 97, 101; bfloat16 55, 54,
# 53, 50; PyTorch, fused, 147, 137, 142, 238. MONAI's UNet, which halves the image first, in OpenVINO: 105, 94, 87, 84.
# So it is done for U-Lite alone.
ACTIVATIONS = 96 * 2**20


def voxels_at_once(network: nn.Module, device: torch.device | str, run_by: RunBy) -> int | None:
    """How many voxels of a batch the network had better take at a time; None for all of them.

    Args:
        network: a ``ULite`` on a CPU, or an ensemble of such, is given pieces, unless it normalises over the batch.
        device: where it runs.
        run_by: what will run it.
    """
    over_the_batch = any(isinstance(m, _BatchNorm) and m.running_mean is None for m in network.modules())
    if not is_ulite(network) or torch.device(device).type != "cpu" or over_the_batch:
        return None
    return max(1, ACTIVATIONS // bytes_per_voxel(network, run_by))


def in_pieces(x: torch.Tensor, voxels: int | None, equal: bool = False) -> tuple[torch.Tensor, ...]:
    """`x`, (batch, channels, *spatial), as batches of as many whole images as have `voxels`, at least one image each.

    Args:
        x: images.
        voxels: of a piece, all its images together; None for everything in one piece.
        equal: whether all pieces have as many images. Otherwise they have where that takes no more than twice as many,
            because OpenVINO is fastest for a shape that it saw.
    """
    batch = x.shape[0]
    images = batch if voxels is None else max(1, voxels // math.prod(x.shape[2:]))
    if batch <= images:
        return (x,)
    fewest = 1 if equal else (images + 1) // 2
    return x.split(next((size for size in range(images, fewest - 1, -1) if batch % size == 0), images))


def together(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """What was computed in pieces, as one batch; a single piece as it is, because a copy of it may be gigabytes."""
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces))
