"""Where the time of `ulite predict` goes: imports, weights, and what is done with each case.

    python -m benchmarks.stages [INPUT ...] [--size 512x512x300] [--threads 2]

INPUT is what `ulite predict` takes, of volumes (default: none); `--size` adds a CT-like volume of noise. Each is run in
a process of its own, one case after the other, with the hippocampus bundle. Prints seconds and shares.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ulite_monai.engines.lean_import import UNNEEDED_TO_PREDICT, left_out

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path)
    parser.add_argument("--size", nargs="*", default=["512x512x300"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--most", type=int, default=50, help="cases of each input")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(stages(options.run, options.most)))
        return
    from benchmarks.machine import machine  # here: they import torch, whose import is timed in the other process
    from benchmarks.predict import write_volume

    print(machine(options.threads))
    with tempfile.TemporaryDirectory() as folder:
        sizes = [write_volume(tuple(map(int, s.split("x"))), Path(folder) / f"{s}.nii.gz") for s in options.size]
        print_table({path.name: run(path, options) for path in [*options.inputs, *sizes]})


def run(path: Path, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.stages", "--run", str(path.resolve())]
    command += ["--most", str(options.most)]
    env = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def stages(path: Path, most: int) -> dict[str, float]:
    """Seconds of each stage, summed over the cases."""
    seconds: Counter[str] = Counter()

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[name] += time.perf_counter() - start

    with stage("imports"), left_out(UNNEEDED_TO_PREDICT):  # as `ulite predict` does
        import numpy as np
        import torch
        from monai.data import MetaTensor

        from ulite_monai.datasets.cases import find_cases
        from ulite_monai.engines.process import prepare_process
        from ulite_monai.io.write_nifti import write_label_map
        from ulite_monai.prediction import Segmenter
        from ulite_monai.prediction.read_case import read_case
    with stage("network and weights"):
        prepare_process("cpu", 0)
        segmenter = Segmenter("hippocampus", device="cpu")
    with stage("finding the cases"):
        cases = find_cases(path)[:most]
    with tempfile.TemporaryDirectory() as masks, torch.inference_mode():
        for case in cases:
            with stage("reading"):
                (volume,) = read_case(case, segmenter.metadata, force=True)
            data = case.item() | {"image": [volume]}
            with stage("orientation, spacing, intensities"):
                data = dict(segmenter.preprocessing(data))
            image = data["image"]
            with stage("network"):
                logits = segmenter.inferer(image.as_tensor()[None], segmenter.network)
            data["pred"] = MetaTensor(logits[0], meta=image.meta, applied_operations=image.applied_operations)
            with stage("back to the input's grid, argmax"):
                for step in segmenter.postprocessing:
                    data = step(data)
            with stage("writing"):
                mask = np.asarray(data["pred"][0].as_tensor()).astype(np.uint8)
                write_label_map(mask, volume, Path(masks) / f"{case.id}.nii.gz")
    return {"cases": len(cases)} | seconds


def print_table(found: dict[str, dict[str, float]]) -> None:
    counts = {name: of_stages.pop("cases") for name, of_stages in found.items()}
    print(f"\n| | {' | '.join(f'{name} ({counts[name]:.0f})' for name in found)} |")
    print("|---" * (len(found) + 1) + "|")
    totals = {name: sum(of_stages.values()) for name, of_stages in found.items()}
    for stage in next(iter(found.values())):
        cells = [f"{one[stage]:.2f} ({one[stage] / totals[name]:.0%})" for name, one in found.items()]
        print(f"| {stage} | {' | '.join(cells)} |")
    print(f"| all | {' | '.join(f'{total:.2f}' for total in totals.values())} |")


if __name__ == "__main__":
    main()
