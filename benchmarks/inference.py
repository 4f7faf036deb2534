"""Forward times of U-Lite and of MONAI's networks, in PyTorch and in OpenVINO, interleaved in one run.

    python -m benchmarks.inference                                    # everything: takes long
    python -m benchmarks.inference --inputs 3d-96 --only ULite UNet   # these networks alone
    python -m benchmarks.inference --memory                           # peak memory too, a process per row

Every round runs each row once, so that whatever disturbs the machine disturbs all rows. Times are medians over the
rounds; "faster" is the median over the rounds of the first row's time by the row's own.

A row of OpenVINO has met the shape before. What a single new volume gets are the first and the second call of a network
that was compiled but hasn't met its shape. The images of a batch go through every network in the same way: in OpenVINO
each thread computes an image of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from monai.networks import nets
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.literal import LiteralULite
from benchmarks.machine import copy_bandwidth, machine, peak_megabytes
from ulite_monai.bundles import find_bundle
from ulite_monai.engines.compile import compile_network
from ulite_monai.networks import ULite

INPUTS = {
    "2d-256": (8, 3, 256, 256),
    "2d-512": (1, 3, 512, 512),
    "3d-96": (1, 1, 96, 96, 96),
    "3d-160": (1, 1, 160, 160, 160),
}
CHANNELS = (16, 32, 64, 128, 256)
NNUNET = (32, 64, 128, 256, 320)
SHIPPED = "hippocampus bundle"  # in 3D alone


def make_network(name: str, dims: int, channels: int) -> nn.Module:
    """A network with random weights and 2 output channels, in evaluation mode."""
    torch.manual_seed(0)
    common = {"spatial_dims": dims, "in_channels": channels, "out_channels": 2}
    makers: dict[str, Callable[[], nn.Module]] = {
        "ULite": lambda: ULite(**common),
        SHIPPED: lambda: ULite(**common, **shipped_options()),
        "UNet": lambda: nets.UNet(**common, channels=CHANNELS, strides=(2,) * 4, num_res_units=2, norm="BATCH"),
        "BasicUNet": lambda: nets.BasicUNet(**common),
        "SegResNet": lambda: nets.SegResNet(**common, init_filters=16),
        "DynUNet": lambda: nets.DynUNet(
            **common, kernel_size=[3] * 5, strides=[1, 2, 2, 2, 2], upsample_kernel_size=[2] * 4, filters=NNUNET
        ),
        "AttentionUnet": lambda: nets.AttentionUnet(**common, channels=CHANNELS, strides=(2,) * 4),
        "SwinUNETR": lambda: nets.SwinUNETR(**common, feature_size=24),
    }
    return makers[name]().eval().requires_grad_(False)


def shipped_options() -> dict[str, Any]:
    """What the hippocampus bundle's network has otherwise than `ULite` by default."""
    definition = json.loads((find_bundle("hippocampus") / "configs" / "inference.json").read_text())["network_def"]
    return {name: value for name, value in definition.items() if name in ("features", "strides", "stem_stride")}


OTHERS = ("UNet", "BasicUNet", "SegResNet", "DynUNet", "AttentionUnet", "SwinUNETR")
LITERAL_ROWS = ("literal", "literal channels-last", "literal channels-last, bfloat16")
FIRST, SECOND = "OpenVINO, first call", "OpenVINO, second call"
FAST_ROWS = ("eager", "fused", FIRST, SECOND, "OpenVINO", "OpenVINO bfloat16")
ROWS = [
    *(("ULite", how) for how in (*LITERAL_ROWS, *FAST_ROWS)),
    *((SHIPPED, how) for how in FAST_ROWS),
    *((name, how) for name in OTHERS for how in ("eager", "OpenVINO")),
]


def make_row(name: str, how: str, shape: tuple[int, ...], threads: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network `name` run in the way `how`, warmed up unless it is its first call that counts."""
    network: nn.Module = make_network(name, len(shape) - 2, shape[1])
    layout = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    if how.startswith("literal"):
        network = LiteralULite(network)  # type: ignore[arg-type]
    if "channels-last" in how:
        network = network.to(memory_format=layout)  # type: ignore[call-overload]
    if how == "fused":
        network = compile_network(network, "cpu", "torch", "float32", threads)
    if how.startswith("OpenVINO"):
        network = compile_network(network, "cpu", "openvino", "bfloat16" if "bfloat16" in how else "float32", threads)
    run = in_bfloat16(network) if how.startswith("literal") and how.endswith("bfloat16") else network
    if how != FIRST:
        with torch.inference_mode():
            run(torch.randn(*shape))
    return run


def in_bfloat16(network: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    def run(image: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(image)

    return run


def seconds(run: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor) -> float:
    time.sleep(0.05)  # until the threads of another row's engine have stopped spinning
    start = time.perf_counter()
    with torch.inference_mode():
        run(image)
    return time.perf_counter() - start


def peak_memory(name: str, how: str, shape: tuple[int, ...], threads: int) -> float:
    """Peak resident memory of a process that builds the row and runs it once, in GiB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory_here, (name, how, shape, threads))


def _peak_memory_here(name: str, how: str, shape: tuple[int, ...], threads: int) -> float:
    torch.set_num_threads(threads)
    make_row(name, how, shape, threads)
    return peak_megabytes() / 1024


def count(name: str, shape: tuple[int, ...]) -> tuple[int, float]:
    """Parameters, and multiply-accumulate operations of one forward pass."""
    network = make_network(name, len(shape) - 2, shape[1])
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(shape))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2


def print_table(label: str, rows: list[tuple[str, str]], args: argparse.Namespace) -> None:
    shape = INPUTS[label]
    image = torch.randn(*shape)
    runs = {row: make_row(*row, shape, args.threads) for row in rows}
    times: dict[tuple[str, str], list[float]] = {row: [] for row in rows}
    for _ in range(args.rounds):
        for row in rows:
            if row[1] == FIRST:
                runs[row] = runs[row[0], SECOND] = make_row(*row, shape, args.threads)
            times[row].append(seconds(runs[row], image))
    runs.clear()
    counts = {name: count(name, shape) for name, _ in rows}
    print(f"\n{' x '.join(map(str, shape))}; {args.rounds} rounds; copying: {copy_bandwidth():.1f} GiB/s\n")
    print("| network | run by | parameters | GMAC | ms | faster |" + (" peak GiB |" if args.memory else ""))
    print("|---|---|---|---|---|---|" + ("---|" if args.memory else ""))
    for name, how in rows:
        parameters, macs = counts[name]
        own = times[name, how]
        ratio = statistics.median(first / mine for first, mine in zip(times[rows[0]], own, strict=True))
        milliseconds = 1e3 * statistics.median(own)
        line = f"| {name} | {how} | {parameters:,} | {macs / 1e9:.2f} | {milliseconds:.1f} | {ratio:.2f}x |"
        print(line + (f" {peak_memory(name, how, shape, args.threads):.2f} |" if args.memory else ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument(
        "--only", nargs="+", choices=("ULite", SHIPPED, *OTHERS), default=["ULite", SHIPPED, *OTHERS], help="networks"
    )
    parser.add_argument("--how", nargs="+", choices=sorted({how for _, how in ROWS}), help="rows; default: all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", action="store_true", help="measure the peak memory of each row too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [row for row in ROWS if row[0] in args.only and (not args.how or row[1] in args.how)]
    print(machine(args.threads))
    for label in args.inputs:
        print_table(label, [row for row in rows if row[0] != SHIPPED or label.startswith("3d")], args)


if __name__ == "__main__":
    main()
