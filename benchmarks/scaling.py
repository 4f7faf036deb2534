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

from benchmarks.machine import copy_bandwidth, machine, peak_megabytes

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128, 192, 256, 384, 512])
    parser.add_argument("--cases", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--max-memory", type=float, help="default: the bundle's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--run", nargs=3, metavar=("IMAGES", "MASKS", "LIMIT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_here(*options.run)
        return
    print(f"{machine(options.threads)}; {options.rounds} rounds, medians; copying: {copy_bandwidth():.1f} GiB/s")
    with tempfile.TemporaryDirectory() as folder:
        series = [(f"{size}x{size}x{size}", 1, write_cubes(Path(folder), size, 1)) for size in options.sizes]
        print_table("voxels", series, options)
        many = [(f"{count} of 64x64x64", count, write_cubes(Path(folder), 64, count)) for count in options.cases]
        print_table("cases", many, options)


def write_cubes(folder: Path, size: int, count: int) -> Path:
    images = folder / f"{count}_of_{size}"
    images.mkdir(exist_ok=True)
    for number in range(count):
        values = np.random.default_rng(number).normal(100, 30, (size,) * 3).astype(np.int16)
        nib.save(nib.Nifti1Image(values, np.eye(4)), images / f"case_{number:03d}.nii.gz")
    return images


def print_table(what: str, series: list[tuple[str, int, Path]], options: argparse.Namespace) -> None:
    found: dict[str, list[dict]] = {label: [] for label, _, _ in series}
    for _ in range(options.rounds):
        for label, _, images in series:
            found[label].append(run(images, options))
    print(f"\n| {what} | seconds | of these in cases | seconds a case | peak memory, MiB | how |")
    print("|---|---|---|---|---|---|")
    for label, count, _ in series:
        total, cases, peak = (statistics.median(one[k] for one in found[label]) for k in ("seconds", "cases", "peak"))
        how = found[label][0]["how"]
        print(f"| {label} | {total:.1f} | {cases:.2f} | {cases / count:.3f} | {peak:.0f} | {how} |", flush=True)


def run(images: Path, options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as masks:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scaling", "--run", str(images), masks]
        env = os.environ | {"OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": str(ROOT)}
        start = time.perf_counter()
        command.append(str(int(options.max_memory or 0)))
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
        return {"seconds": time.perf_counter() - start} | json.loads(done.stdout.splitlines()[-1])


def run_here(images: str, masks: str, limit: str) -> None:
    from ulite_monai.prediction import PredictOptions, Segmenter, predict_cases
    from ulite_monai.runtime.allocator import keep_freed_memory

    keep_freed_memory()
    segmenter = Segmenter("hippocampus", device="cpu", overrides={"max_memory": int(limit)} if int(limit) else {})
    start = time.perf_counter()
    results = predict_cases(images, masks, segmenter, PredictOptions(force=True, jobs=2))
    seconds = time.perf_counter() - start
    if not all(result.status in ("done", "empty") for result in results):
        raise RuntimeError(f"not all cases were done: {[result.message for result in results]}")
    print(json.dumps({"cases": seconds, "peak": peak_megabytes(), "how": results[0].inference}))


if __name__ == "__main__":
    main()
