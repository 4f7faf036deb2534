"""Forward, and forward + backward, of ULite: the paper's formula, what oneDNN and torch.compile make of the network as
it is, and what ``ulite_monai.networks.train_on_cpu.arrange`` makes of it, interleaved in one process.

    python -m benchmarks.network [--rounds 5] [--allocator keep|default] [--threads N] [--dims 2 3] [--only arranged]

Every variant runs once a round, so that a drift of the machine's speed meets all alike; the table gives medians, and
the median over rounds of the ratio to the literal formulation with contiguous tensors. Peak memory is measured for
each variant in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.literal import LiteralULite
from benchmarks.machine import copy_bandwidth, machine, peak_megabytes
from ulite_monai.engines.allocator import keep_freed_memory
from ulite_monai.networks import ULite
from ulite_monai.networks.train_on_cpu import arrange

SHAPES = {2: (8, 3, 256, 256), 3: (2, 1, 48, 64, 48)}
FEATURES = {2: (16, 32, 64, 128, 256, 512), 3: (16, 32, 64, 128, 256)}
VARIANTS = [
    (name, layout, precision)
    for precision in ("float32", "bfloat16")
    for name in ("literal", "ULite", "compiled", "arranged")
    for layout in ("contiguous", "channels-last")
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--allocator", choices=("keep", "default"), default="keep")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 3], choices=(2, 3))
    parser.add_argument("--only", nargs="+", help="of literal, ULite, compiled, arranged; default: all")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.allocator == "keep":
        keep_freed_memory()
    if options.peak_of is not None:
        print_own_peak(options.dims[0], VARIANTS[options.peak_of])
        return
    print(f"{machine(options.threads)}; allocator: {options.allocator}, {options.rounds} rounds, medians; ", end="")
    print(f"copying: {copy_bandwidth():.1f} GiB/s")
    for dims in options.dims:
        print_table(dims, options)


def print_table(dims: int, options: argparse.Namespace) -> None:
    variants = [variant for variant in VARIANTS if not options.only or variant[0] in options.only]
    runs = {variant: (training_step(dims, variant), forward(dims, variant)) for variant in variants}
    seconds: dict[tuple, tuple[list[float], list[float]]] = {variant: ([], []) for variant in variants}
    for number in range(options.rounds + 1):
        for variant, functions in runs.items():
            for kind, function in enumerate(functions):
                taken = timed(function)
                if number > 0:  # the first round warms up
                    seconds[variant][kind].append(taken)
    base = seconds[variants[0]]
    print(f"\n{dims}D, {'x'.join(map(str, SHAPES[dims]))}, features {FEATURES[dims]}\n")
    print("| formulation | memory format | precision | training step, s | ratio | forward, s | ratio | peak, MB |")
    print("|---|---|---|---|---|---|---|---|")
    for variant in variants:
        step, run = seconds[variant]
        cells = [
            f"{statistics.median(step):.3f}",
            ratio(base[0], step),
            f"{statistics.median(run):.3f}",
            ratio(base[1], run),
        ]
        print("| " + " | ".join([*variant, *cells, peak(dims, VARIANTS.index(variant), options)]) + " |", flush=True)


def ratio(base: list[float], other: list[float]) -> str:
    return f"{statistics.median(b / o for b, o in zip(base, other, strict=True)):.2f}x"


def timed(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def make(dims: int, variant: tuple[str, str, str]) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    name, layout, _ = variant
    network: nn.Module = ULite(dims, SHAPES[dims][1], 3, features=FEATURES[dims])
    if name == "literal":
        network = LiteralULite(network)  # type: ignore[arg-type]
    x = torch.randn(SHAPES[dims])
    if layout == "channels-last":
        memory_format = torch.channels_last_3d if dims == 3 else torch.channels_last
        network, x = network.to(memory_format=memory_format), x.to(memory_format=memory_format)
    if name == "compiled":
        network = torch.compile(network)  # type: ignore[assignment]
    return arrange(network) if name == "arranged" else network, x


def training_step(dims: int, variant: tuple[str, str, str]) -> Callable[[], None]:
    network, x = make(dims, variant)
    network.train()
    target = torch.randn(x.shape[0], 3, *x.shape[2:])

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=variant[2] == "bfloat16"):
            logits = network(x)
        (logits.float() - target).square().mean().backward()
        network.zero_grad(set_to_none=True)

    return step


def forward(dims: int, variant: tuple[str, str, str]) -> Callable[[], None]:
    network, x = make(dims, variant)
    network.eval()

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=variant[2] == "bfloat16"):
            network(x)

    return run


def peak(dims: int, index: int, options: argparse.Namespace) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.network", "--peak-of", str(index)]
    command += ["--dims", str(dims), "--threads", str(options.threads), "--allocator", options.allocator]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def print_own_peak(dims: int, variant: tuple[str, str, str]) -> None:
    step = training_step(dims, variant)
    for _ in range(2):
        step()
    print(peak_megabytes())


if __name__ == "__main__":
    main()
