"""How the process gets its memory, which decides much of a training step's time on a CPU."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next tensor instead of giving it back to the kernel.

    PyTorch's CPU allocator maps large tensors anew each time, and the kernel then clears every page again: a third
    to two thirds of a training step in 3D (see benchmarks/network.py). The price is that the process keeps its peak
    memory. For the process that trains or segments; don't call it in somebody else's.

    Returns:
        Whether the setting took effect; it exists on Linux with glibc only.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library, such as musl
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
