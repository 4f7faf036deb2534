"""How much memory a network takes for each voxel, and how much there is."""

from __future__ import annotations

import math
from typing import Any, Literal

import psutil
import torch

from ulite_monai.networks.ensemble import Ensemble, members_of
from ulite_monai.networks.ulite import ULite

__all__ = ["RunBy", "bytes_per_voxel", "free_memory"]

RunBy = Literal["eager", "fused", "openvino"]

# How often the features of all levels are in memory at the peak, by what runs the network. Measured on a CPU, 2D and
# 3D, first widths 8 to 32, two to five levels: 1.8 to 4.2, 1.2 to 3.2, and 1.1 to 1.6 times. Window after window, what
# PyTorch's heap holds unused between its tensors comes on top.
COPIES: dict[RunBy, float] = {"eager": 5.0, "fused": 5.0, "openvino": 1.75}
# OpenVINO holds the logits of a network of many classes as the head's output, in the caller's order of axes, cut to
# size, and as NumPy's array: 4.7 times at the peak for 104 classes.
COPIES_OF_LOGITS = 3
# A member of an ensemble computes where the one before it did, mostly. Two to four members took 0.38 to 0.53 of one's
# memory each on top in OpenVINO, 0.05 to 0.1 in PyTorch; the margin of COPIES covers the rest.
OF_A_FURTHER_MEMBER = 0.5
# Of networks that can't be asked. MONAI's, at 96 voxels an axis in PyTorch: UNet 281, SegResNet 447, BasicUNet 1059,
# SwinUNETR 1277; a margin for what wasn't tried.
UNKNOWN_NETWORK = 4096
LARGEST_SHARE = 16 * 2**30


def bytes_per_voxel(network: Any, run_by: RunBy = "eager") -> int:
    """Memory that `network` takes at the peak of a forward pass without gradients, for each voxel of its input.

    Args:
        network: a ``ULite``, what ``compile_network`` made of one, a wrapper around it, or an ``Ensemble`` of such; of
            any other network nothing is known, and 4 KiB are assumed.
        run_by: what will run it, if it is of ``ULite`` alone: PyTorch as it is, or once fused, or OpenVINO.
    """
    if isinstance(network, ULite):
        return _bytes_per_voxel(network, run_by)
    if isinstance(network, Ensemble):
        each = [bytes_per_voxel(member, run_by) for member in members_of(network)]
        return math.ceil(max(each) + OF_A_FURTHER_MEMBER * (sum(each) - max(each)))
    known = getattr(network, "bytes_per_voxel", None)
    if known is not None:
        return int(known)
    wrapped = getattr(network, "module", None)  # of DistributedDataParallel or averaged weights
    return UNKNOWN_NETWORK if wrapped is None else bytes_per_voxel(wrapped)


def _bytes_per_voxel(network: ULite, run_by: RunBy) -> int:
    voxels = 1 / math.prod(network.stem_stride)
    logits: Any = network.head.out_channels * (COPIES_OF_LOGITS if run_by == "openvino" else 1)
    channels: Any = (
        network.stem.in_channels + logits + (0 if len(network.encoder) else voxels * network.stem.out_channels)
    )
    block: Any
    for block in network.encoder:
        channels += voxels * (block.pw.in_channels + block.pw.out_channels)
        voxels /= math.prod(block.stride)
    return math.ceil(4 * COPIES[run_by] * channels)


def free_memory(device: torch.device) -> int:
    """Bytes that a device has for the next tensor; for others than CUDA GPUs, those of the main memory.

    What this process holds counts as free: it keeps the memory of one volume for the next. Of the main memory 16 GiB
    count at most: the limit of a container or a batch job isn't asked for.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return min(LARGEST_SHARE, int(psutil.virtual_memory().available) + psutil.Process().memory_info().rss)
