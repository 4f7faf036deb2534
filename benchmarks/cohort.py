"""A cohort by parts and by Dask workers that are killed at random: what is lost, and what the splitting costs.

    python -m benchmarks.cohort [--cases 2000] [--workers 4] [--every 20] [--shape 35x50x36] [--seed 0]
                                [--what losses rates]

First made volumes are segmented by so many processes of `ulite predict --part K/N --resume`, and then on so many Dask
workers; meanwhile one of them, drawn at random, is killed every so many seconds (0: none is), and starts again. It says
which cases are lost or recorded twice, and whether all masks are those of the other way. Then it compares the rates of
one process with two threads, two parts and two Dask workers with one thread each, in cases a second, from the tenth
part of the cases on, so that no start counts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.machine import machine
from ulite_monai.prediction import Part, PredictOptions, Segmenter, merge_parts, predict_cases
from ulite_monai.prediction.dask_runner import DaskRunner
from ulite_monai.prediction.runners import in_threads

COMMAND = [sys.executable, "-W", "ignore", "-c", "from ulite_monai.cli import main; main()", "predict"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--every", type=float, default=20, help="seconds from one kill to the next")
    parser.add_argument("--shape", default="35x50x36")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--what", nargs="+", choices=["losses", "rates"], default=["losses", "rates"])
    parser.add_argument("--rate", nargs=3, metavar=("WAY", "INPUT", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rate:
        print(json.dumps(rate(*options.rate)))
        return
    print(f"{machine()}; {options.cases} cases of {options.shape}, {options.workers} workers, seed {options.seed}")
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_volumes(folder / "in", options.cases, [int(n) for n in options.shape.split("x")])
        if "losses" in options.what:
            find_losses(folder, options)
        if "rates" in options.what:
            compare_rates(folder)


def find_losses(folder: Path, options: argparse.Namespace) -> None:
    """Segment by parts and on Dask while processes are killed, and print what became of the cases."""
    records = []
    for way, run in (("parts", run_parts), ("dask", run_on_dask)):
        started = time.perf_counter()
        kills = run(folder / "in", folder / way, options.workers, options.every)
        seconds = time.perf_counter() - started
        records.append(json.loads((folder / way / "predictions.json").read_text()))
        verdict = what_became(records[-1], folder / way, options.cases)
        print(f"{way}: {kills} killed, {seconds:.0f} s; {verdict}", flush=True)
    masks = [{name: state for name, state in one["files"].items() if name.endswith(".nii.gz")} for one in records]
    print(f"masks of both ways are {'equal' if masks[0] == masks[1] else 'DIFFERENT'}", flush=True)


def make_volumes(folder: Path, number: int, shape: Sequence[int]) -> None:
    """A bright ellipsoid in noise, each at another place."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    grid = np.indices(shape)
    for n in range(number):
        centre = [size * noise.uniform(0.4, 0.6) for size in shape]
        far = sum(((axis - at) / (size / 4)) ** 2 for axis, at, size in zip(grid, centre, shape, strict=True))
        image = noise.normal(100, 10, shape) + 60 * (far < 1)
        nib.save(nib.Nifti1Image(image.astype(np.int16), np.eye(4)), folder / f"case_{n:05d}.nii.gz")


def run_parts(source: Path, output: Path, workers: int, every: float) -> int:
    """Segment by parts, each started again until it ends with exit code 0; how many were killed."""

    def start(number: int) -> subprocess.Popen[bytes]:
        more = ["--threads", "1", "--resume", "--part", f"{number}/{workers}"]
        return subprocess.Popen([*COMMAND, "-i", source, "-o", output, *more], stdout=subprocess.DEVNULL)

    running = {number: start(number) for number in range(1, workers + 1)}
    with killing(lambda: [one.pid for one in list(running.values()) if one.poll() is None], every) as kills:
        while running:
            for number, process in list(running.items()):
                code = process.poll()
                if code == 0:
                    del running[number]
                elif code is not None:
                    running[number] = start(number)
            time.sleep(0.1)
    missing = merge_parts(output).missing
    if missing:
        print("\n".join(missing))
    return len(kills)


def run_on_dask(source: Path, output: Path, workers: int, every: float) -> int:
    """Segment on a local Dask cluster; how many workers were killed."""
    import dask

    dask.config.set({"logging.distributed": "error"})  # before it is imported
    from distributed import LocalCluster

    with LocalCluster(workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        runner = DaskRunner(cluster.scheduler_address, overrides={"threads": 1})

        def pids() -> list[int]:
            return [worker.pid for worker in list(cluster.workers.values()) if worker.pid and worker.is_alive()]

        with killing(pids, every) as kills:
            predict_cases(source, output, Segmenter(), PredictOptions(), run=runner)
    return len(kills)


@contextmanager
def killing(pids: Callable[[], list[int]], every: float) -> Iterator[list[int]]:
    """Meanwhile a process drawn at random is killed, now and again."""
    kills: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while every and not over.wait(every * random.uniform(0.5, 1.5)):
            alive = pids()
            if alive:
                kills.append(random.choice(alive))
                os.kill(kills[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield kills
    finally:
        over.set()
        thread.join()


def what_became(record: dict[str, Any], folder: Path, number: int) -> str:
    """What became of the cases, by the record and by what lies there."""
    recorded = Counter(case["id"] for case in record["cases"])
    done = {case["id"] for case in record["cases"] if case["status"] in ("done", "empty", "skipped")}
    there = {path.name.removesuffix(".nii.gz") for path in folder.glob("case_*.nii.gz")}
    twice = sum(count > 1 for count in recorded.values())
    return f"{len(done & there)} of {number} done, {number - len(done & there)} lost, {twice} recorded twice"


def compare_rates(folder: Path) -> None:
    """Print the rates of the three ways to use two cores."""
    rates: dict[str, float] = {}
    for way, parts in (("one process", ["one"]), ("two parts", ["1/2", "2/2"]), ("two Dask workers", ["dask"])):
        output = folder / f"rate of {way}"
        command = [sys.executable, "-m", "benchmarks.cohort", "--rate"]
        children = [
            subprocess.Popen([*command, part, folder / "in", output], stdout=subprocess.PIPE, text=True)
            for part in parts
        ]
        rates[way] = sum(json.loads(child.communicate()[0].splitlines()[-1]) for child in children)
    for way, cases_a_second in rates.items():
        print(f"{way}: {cases_a_second:.2f} cases/s, {cases_a_second / rates['one process']:.0%} of one process")


def rate(way: str, source: str, output: str) -> float:
    """Cases a second from the tenth part of them on."""
    times: list[float] = []
    runner = DaskRunner("local:2", overrides={"threads": 1}) if way == "dask" else in_threads
    part = Part.of_text(way, {}) if "/" in way else None
    segmenter = Segmenter(overrides={"threads": 2 if way == "one" else 1})
    options = PredictOptions(part=part, jobs=2 if way == "one" else 1)
    predict_cases(source, output, segmenter, options, lambda *_: times.append(time.perf_counter()), runner)
    first = max(2, len(times) // 10)
    return (len(times) - first) / (times[-1] - times[first - 1])


if __name__ == "__main__":
    main()
