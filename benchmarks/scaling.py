"""Seconds and peak memory of `ulite predict` against voxels and against cases.

    python -m benchmarks.scaling [--sizes 64 128 256 512] [--cases 1 10 100] [--max-memory 2e9] [--rounds 3]

Cubes of noise in files of their own, the hippocampus bundle, and its limit on the network's memory, or another one,
beyond which it runs in windows. Each run is a process of its own, imports included; the cases are cubes of 64 voxels.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.machine import copy_bandwidth, machine
from benchmarks.predict import run_ulite

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128, 192, 256, 384, 512])
    parser.add_argument("--cases", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--max-memory", type=float, help="default: the bundle's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--run", nargs="+", metavar="IMAGES MASKS LIMIT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(run_ulite(*options.run)["peak"])
        return
    print(f"{machine(options.threads)}; {options.rounds} rounds, medians; copying: {copy_bandwidth():.1f} GiB/s")
    with tempfile.TemporaryDirectory() as folder:
        series = {f"{size}x{size}x{size}": write_cubes(Path(folder), size, 1) for size in options.sizes}
        print_table("voxels", series, options)
        many = {f"{count} of 64x64x64": write_cubes(Path(folder), 64, count) for count in options.cases}
        print_table("cases", many, options)


def write_cubes(folder: Path, size: int, count: int) -> Path:
    images = folder / f"{count}_of_{size}"
    images.mkdir(exist_ok=True)
    for number in range(count):
        values = np.random.default_rng(number).normal(100, 30, (size,) * 3).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.eye(4)), images / f"case_{number:03d}.nii.gz")
    return images


def print_table(what: str, series: dict[str, Path], options: argparse.Namespace) -> None:
    found: dict[str, list[dict]] = {label: [] for label in series}
    for _ in range(options.rounds):
        for label, images in series.items():
            found[label].append(run(images, options))
    print(f"\n| {what} | seconds | peak memory, MiB | how |")
    print("|---|---|---|---|")
    for label in found:
        seconds, peak = (statistics.median(one[key] for one in found[label]) for key in ("seconds", "peak"))
        print(f"| {label} | {seconds:.1f} | {peak:.0f} | {found[label][0]['how']} |", flush=True)


def run(images: Path, options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as masks:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scaling", "--run", str(images), masks]
        command += [f"max_memory={options.max_memory}"] if options.max_memory else []
        env = os.environ | {"OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": str(ROOT)}
        start = time.perf_counter()
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - start
        cases = json.loads((Path(masks) / "predictions.json").read_text())["cases"]
    return {"seconds": seconds, "peak": int(done.stdout.splitlines()[-1]), "how": cases[0]["inference"]}


if __name__ == "__main__":
    main()
