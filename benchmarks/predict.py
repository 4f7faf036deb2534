"""Whole files in to masks out: `ulite predict`, a plain MONAI pipeline, and nnU-Net's predictor, interleaved.

    python -m benchmarks.predict [--rounds 3] [--nnunet PYTHON] [--sizes 256x256x150 512x512x300]

Each run is a process of its own, imports included, on two threads or as many as `--threads` says. The pipeline is
that of MONAI's spleen bundle, with as many classes as ours (two and the background): UNet, windows of 96 voxels,
overlap 0.5, in PyTorch. nnU-Net runs where PYTHON is an interpreter that has nnunetv2 (its own environment:
`pip install torch==2.13.0 nnunetv2`), with the plan that its planner makes for the volume, random weights and no
mirroring; for volumes above `--whole` voxels a few of its tiles are timed and the rest are extrapolated from them,
which the table says.
"""

from __future__ import annotations

import argparse
import json
import math
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
LABEL = {
    "ulite": "`ulite predict`",
    "plain": "plain MONAI pipeline",
    "nnunet": "nnU-Net v2",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sizes", nargs="+", default=["256x256x150", "512x512x300"])
    parser.add_argument("--nnunet", help="the interpreter of an environment with nnunetv2")
    parser.add_argument("--whole", type=int, default=20_000_000, help="voxels up to which nnU-Net runs all tiles")
    parser.add_argument("--tiles", type=int, default=3, help="tiles that are timed of larger volumes")
    parser.add_argument("--run", nargs=3, metavar=("METHOD", "IMAGE", "MASK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        method, image, mask = options.run[0], *map(Path, options.run[1:])
        print(json.dumps(run_plain(image, mask) if method == "plain" else run_ulite(image, mask)))
        return
    print(f"{machine(options.threads)}; {options.rounds} rounds, medians; copying: {copy_bandwidth():.1f} GiB/s")
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            print_table(size, Path(folder), options)


def print_table(size: str, folder: Path, options: argparse.Namespace) -> None:
    image = write_volume(tuple(map(int, size.split("x"))), folder / f"{size}.nii.gz")
    methods = ["ulite", "plain", *(["nnunet"] if options.nnunet else [])]
    if options.nnunet:
        command = [options.nnunet, str(ROOT / "benchmarks/nnunet_predict.py"), "plan", str(image), str(folder / size)]
        subprocess.run(command, check=True, capture_output=True)
    found: dict[str, list[dict]] = {method: [] for method in methods}
    for _ in range(options.rounds):
        for method in methods:
            found[method].append(run(method, image, folder, options))
    seconds = {method: [one["seconds"] for one in found[method]] for method in methods}
    print(f"\n{size} voxels of 1 mm\n\n| | seconds | times ours | peak memory, MiB |\n|---|---|---|---|")
    for method in methods:
        ratio = statistics.median(a / b for a, b in zip(seconds[method], seconds["ulite"], strict=True))
        peak = statistics.median(one["peak"] for one in found[method])
        label = LABEL[method] + found[method][0].get("note", "")
        print(f"| {label} | {statistics.median(seconds[method]):.1f} | {ratio:.2f} | {peak:.0f} |", flush=True)


def write_volume(shape: tuple[int, ...], path: Path) -> Path:
    """A noisy cylinder in air, in whole Hounsfield units."""
    random = np.random.default_rng(0)
    i, j = (np.linspace(-1, 1, n)[:, None] for n in shape[:2])
    inside = (i / 0.8) ** 2 + (j.T / 0.6) ** 2 < 1
    values = np.where(inside, 40, -1000)[..., None] + random.normal(0, 20, shape)
    nib.save(nib.Nifti1Image(values.astype(np.int16), np.diag([-1, -1, 1, 1])), path)
    return path


def run(method: str, image: Path, folder: Path, options: argparse.Namespace) -> dict:
    """Seconds, peak memory in MiB, and a note, of one process."""
    mask = folder / "mask.nii.gz"
    mask.unlink(missing_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.predict", "--run", method, str(image), str(mask)]
    partly = False
    if method == "nnunet":
        plan = str(image).removesuffix(".nii.gz")
        command = [options.nnunet, str(ROOT / "benchmarks/nnunet_predict.py"), "predict", plan, str(image), str(mask)]
        partly = math.prod(nib.load(image).shape) > options.whole
        command += ["--tiles", str(options.tiles)] if partly else []
    threads = str(options.threads)
    env = os.environ | {"OMP_NUM_THREADS": threads, "nnUNet_def_n_proc": threads, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    if nib.load(mask).shape != nib.load(image).shape:
        raise RuntimeError(f"{method} wrote no mask of the image's shape")
    report = json.loads(done.stdout.splitlines()[-1])
    note = ""
    if partly:
        seconds += (report["tiles"] - report["run"]) * report["tile_seconds"]
        note = f" (extrapolated from {report['run']} of {report['tiles']} tiles)"
    return {"seconds": seconds, "peak": report["peak"], "note": note}


def run_ulite(source: Path | str, output: Path | str, *settings: str) -> dict:
    from ulite_monai.cli import app

    more = [f"--set={setting}" for setting in settings]
    app(["predict", "-i", str(source), "-o", str(output), "--force", *more], standalone_mode=False)
    return {"peak": peak_megabytes()}


def run_plain(image: Path, mask: Path) -> dict:
    import torch
    from monai import transforms
    from monai.inferers import SlidingWindowInferer
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    network = UNet(3, 1, 3, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2, norm="batch")
    preprocessing = transforms.Compose(
        [
            transforms.LoadImaged("image"),
            transforms.EnsureChannelFirstd("image"),
            transforms.Orientationd("image", axcodes="RAS"),
            transforms.Spacingd("image", pixdim=(1.0, 1.0, 1.0), mode="bilinear"),
            transforms.ScaleIntensityRanged("image", a_min=-57, a_max=164, b_min=0, b_max=1, clip=True),
        ]
    )
    name = mask.name.removesuffix(".nii.gz")
    postprocessing = transforms.Compose(
        [
            transforms.Activationsd("pred", softmax=True),
            transforms.Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False),
            transforms.AsDiscreted("pred", argmax=True),
            transforms.SaveImaged("pred", output_dir=mask.parent, separate_folder=False, print_log=False),
        ]
    )
    data = preprocessing({"image": str(image)})
    inferer = SlidingWindowInferer((96, 96, 96), sw_batch_size=4, overlap=0.5)
    with torch.inference_mode():
        data["pred"] = inferer(data["image"][None], network.eval())[0]
    postprocessing(data)
    written = mask.with_name(f"{image.name.removesuffix('.nii.gz')}_trans.nii.gz")
    written.rename(mask.with_name(f"{name}.nii.gz"))
    return {"peak": peak_megabytes()}


if __name__ == "__main__":
    main()
