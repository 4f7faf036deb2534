"""Training on several GPUs, or processes, started by `torchrun`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ulite_monai.errors import InputError

__all__ = ["average_over_processes", "from_first", "is_first", "join", "leave", "require_enough", "wrap"]


def join() -> torch.device:
    """Join the processes that `torchrun` started: by NCCL where there are GPUs, else by gloo.

    Returns:
        The GPU of this process, or the CPU.

    Raises:
        InputError: When `torchrun` didn't start this process.
    """
    if "LOCAL_RANK" not in os.environ:
        raise InputError(
            "multi_gpu_train.json needs torchrun: torchrun --nproc_per_node=GPUS -m monai.bundle run training ..."
        )
    # Imported later, by DistributedDataParallel, this module would hold the group as a default of its functions.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def wrap(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on its device, with gradients averaged over all processes.

    On GPUs batch norms are computed over all processes, too. PyTorch has no such batch norm for a CPU: there each
    process normalises by its own cases and keeps its own statistics, of which `average_over_processes` makes one.
    """
    network = network.to(device)
    if device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return DistributedDataParallel(network, device_ids=[device.index])
    return DistributedDataParallel(network)


def average_over_processes(tensors: Iterable[torch.Tensor]) -> None:
    """Replace tensors of floats by their mean over all processes, in place; alone, a process changes nothing."""
    if dist.is_initialized():
        for tensor in tensors:
            if tensor.is_floating_point():
                dist.all_reduce(tensor)
                tensor /= dist.get_world_size()


def from_first(value: Any) -> Any:
    """The first process's value, in all of them: what depends on a clock."""
    if not dist.is_initialized():
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return not dist.is_initialized() or dist.get_rank() == 0


def require_enough(*parts: Sequence[Any]) -> None:
    """Check that every process gets a case of each part.

    Raises:
        InputError: When there are more processes than cases.
    """
    processes, fewest = dist.get_world_size(), min(len(part) for part in parts)
    if fewest < processes:
        raise InputError(
            f"{processes} processes can't share {fewest} cases, as few as train or validate; start fewer by "
            "--nproc_per_node, or give --num_folds a smaller number."
        )


def leave(network: DistributedDataParallel) -> None:
    """Leave the group of processes when all have come here, and end the threads that communicated for it.

    A thread of gloo's that lets go of its last tensor while the interpreter ends aborts the process
    (pytorch/pytorch#190489). The threads end with the last reference to the group.

    Args:
        network: what `wrap` made, which holds the group; it can't be trained any more.
    """
    dist.barrier(device_ids=[torch.cuda.current_device()] if torch.cuda.is_available() else None)
    for holder in ("reducer", "logger", "process_group"):
        delattr(network, holder)
    dist.destroy_process_group()
