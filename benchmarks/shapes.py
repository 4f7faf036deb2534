"""Memory and time of one process that segments many volumes, each of its own size.

    python -m benchmarks.shapes Task04_Hippocampus/imagesTr [--engine openvino] [--repeat 2]

The hippocampus bundle's network runs on noise of the sizes of all volumes in the folder (208 of 192 sizes in Task04),
in their order; `--repeat` makes as many rounds, each along other axes. Prints the resident memory and the median
milliseconds of a volume, after so many sizes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import nibabel as nib
import psutil
import torch
from monai.bundle import ConfigParser

from benchmarks.machine import machine
from ulite_monai.bundles import find_bundle
from ulite_monai.engines.compile import compile_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", default="openvino", choices=("openvino", "torch"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    print(machine(options.threads))
    shapes = [nib.load(path).shape for path in sorted(options.folder.glob("[!.]*.nii*"))]
    turned = [shape[turn % 3 :] + shape[: turn % 3] for turn in range(options.repeat) for shape in shapes]
    print(f"{len(turned)} volumes of {len(set(turned))} sizes\n")
    print("| sizes | resident, MiB | milliseconds |\n|---|---|---|")
    config = ConfigParser.load_config_file(find_bundle("hippocampus") / "configs" / "inference.json")
    network = ConfigParser(config).get_parsed_content("network_def").eval()
    compiled = compile_network(network, "cpu", options.engine, "float32", options.threads)
    sizes: set[tuple[int, ...]] = set()
    milliseconds = []
    for shape in turned:
        start = time.perf_counter()
        compiled(torch.randn(1, 1, *shape))
        milliseconds.append(1e3 * (time.perf_counter() - start))
        before = len(sizes)
        sizes.add(shape)
        if len(sizes) > before and len(sizes) in (1, 10, 40, 96, 192, 240, 288, 384):
            print(f"| {len(sizes)} | {resident()} | {statistics.median(milliseconds):.1f} |", flush=True)


def resident() -> int:
    return psutil.Process().memory_info().rss // 2**20


if __name__ == "__main__":
    main()
