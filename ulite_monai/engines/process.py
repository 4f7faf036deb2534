"""The process that trains or segments: its device, errors, memory and randomness."""

from __future__ import annotations

import atexit
import gc
import os
import sys

import torch
from monai.utils import set_determinism

from ulite_monai.engines.allocator import keep_freed_memory
from ulite_monai.engines.command_line import require_known_ids
from ulite_monai.engines.quiet import silence_noise
from ulite_monai.errors import InputError, report_input_errors_in_one_line

__all__ = ["choose_device", "cores", "is_true", "prepare_process", "trains_faster_in_half"]


def choose_device(name: str = "auto") -> torch.device:
    """The device to compute on: the named one, or for "auto" CUDA, else MPS, else the CPU.

    In a process of `torchrun`, "auto" is the GPU of the process's local rank, or the CPU.

    Raises:
        InputError: When the named device isn't there.
    """
    if str(name) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {name!r} can't be used ({reason}); give auto, cpu, cuda, cuda:N or mps.") from None
    return device


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trains_faster_in_half(device: torch.device | str) -> bool:
    """Whether 16-bit floats speed up a training: on CUDA GPUs, and on CPUs that multiply bfloat16 themselves."""
    kind = torch.device(device).type
    if kind == "cpu":
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # others emulate it, slower than float32
        return any(getattr(torch.cpu, name, lambda: False)() for name in names)
    return kind == "cuda"


def prepare_process(device: torch.device | str, seed: int) -> None:
    """What comes before the rest of a run: errors in one line, the device checked, memory kept, everything seeded.

    Before the process ends, its objects are hidden from the garbage collector, which would look at all of them several
    times, and read back from the disk what was swapped out.

    Args:
        device: what the run will compute on.
        seed: of the initial weights, and of everything random before the first epoch.

    Raises:
        InputError: When the device isn't there, or the command line gives an id that no configuration has.
    """
    report_input_errors_in_one_line()
    silence_noise()
    atexit.register(gc.freeze)
    require_known_ids(sys.argv[1:])
    choose_device(str(device))
    keep_freed_memory()
    set_determinism(seed)


def is_true(value: bool | str | int) -> bool:
    """A flag as given in JSON or on the command line, where `true` is a word and `True` isn't.

    Raises:
        InputError: When it is neither true nor false.
    """
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    text = str(value).lower()
    if text not in known:
        raise InputError(f"a flag must be true or false, got {value!r}.")
    return known[text]
