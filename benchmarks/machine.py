"""What a table says of the machine that it was measured on, and the memory of a process."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version

import torch

__all__ = ["copy_bandwidth", "cpu_features", "cpu_name", "machine", "peak_megabytes"]

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


def machine(threads: int | None = None) -> str:
    """The processor, the threads in use and the versions that matter, in one line."""
    threads = threads or torch.get_num_threads()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "openvino"))
    features = ", ".join(cpu_features()) or "unknown"
    return f"{platform.machine()}, {cpu_name()} ({features}), {os.cpu_count()} cores, {threads} threads; {versions}"


def cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def cpu_features() -> list[str]:
    """Instruction sets that decide how fast a CPU multiplies, as far as the system and ONEDNN_MAX_CPU_ISA say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next(line for line in file if line.startswith("flags")).split()
    except (OSError, StopIteration):
        flags = []
    limits = [f"{name}={value}" for name, value in os.environ.items() if name.endswith("MAX_CPU_ISA")]
    return [name for name in FEATURES if name in flags] + limits


def copy_bandwidth() -> float:
    """GiB/s read and written by copying 256 MiB, the best of five."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best / 2**30


def peak_megabytes() -> int:
    """Peak resident memory of this process, in MiB; 0 where it can't be read."""
    try:  # not getrusage, whose peak a process inherits from the one that started it
        with open("/proc/self/status", encoding="utf-8") as file:
            return int(next(line.split()[1] for line in file if line.startswith("VmHWM"))) // 1024
    except (OSError, StopIteration):
        return 0
