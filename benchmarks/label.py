"""Seconds for a segmentation over HTTP: this project's MONAI Label app against MONAI Label's own with MONAI's UNet.

    ULITE_LABEL_PYTHON=label-env/bin/python python -m benchmarks.label shared/data/Task04_Hippocampus

Both servers run at once on one machine and get their requests in turn. The UNet (4.8 million parameters) has random
weights, which cost as much, and a window of just the volume's size, rounded up to the multiple of 16 that it needs, so
that both networks see the same voxels once. The environment needs what MONAI Label's sample app needs beside:
`pip install scikit-image shapely && pip install --no-deps torchvision==0.15.2`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests
import torch
from monai.networks.nets import UNet

from ulite_monai.bundles import find_bundle

ROOT = Path(__file__).resolve().parents[1]
PYTHON = os.environ.get("ULITE_LABEL_PYTHON", sys.executable)
UNET = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
}
CUBE = 96


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="Task04_Hippocampus")
    parser.add_argument("--requests", type=int, default=20, help="warm requests to each server")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ulite-benchmark") as folder:
        studies = make_studies(Path(folder), arguments.dataset)
        print(f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}")
        print("| volume | app | cold, s | warm, s | |\n|---|---|---|---|---|")
        for name in ("case", "cube"):
            compare(name, Path(folder) / name, studies, arguments.requests)


def make_studies(folder: Path, dataset: Path) -> Path:
    """A folder with a hippocampus volume, and a cube of its values repeated."""
    case = nib.load(sorted((dataset / "imagesTr").glob("hippocampus_*.nii.gz"))[0])
    array = np.asarray(case.dataobj)
    cube = np.pad(array, [(0, CUBE - n) for n in array.shape], mode="wrap")
    (folder / "studies").mkdir()
    nib.save(case, folder / "studies" / "case.nii.gz")
    nib.save(nib.Nifti1Image(cube, case.affine), folder / "studies" / "cube.nii.gz")
    return folder / "studies"


def compare(image: str, folder: Path, studies: Path, number: int) -> None:
    """Two rows of the table."""
    folder.mkdir()
    shape = nib.load(studies / f"{image}.nii.gz").shape
    ours = [PYTHON, "-c", "from ulite_monai.cli import main; main()", "serve", "--work", str(folder / "work")]
    apps = {"ours, U-Lite": (ours, "hippocampus"), "monaibundle, UNet": (stock(folder, shape), "unet")}
    servers = {app: Server(command, model, folder, studies) for app, (command, model) in apps.items()}
    try:
        cold = {app: server.seconds(image) for app, server in servers.items()}
        warm: dict[str, list[float]] = {app: [] for app in servers}
        for _ in range(number):
            for app, server in servers.items():
                warm[app].append(server.seconds(image))
    finally:
        for server in servers.values():
            server.stop()
    medians = {app: statistics.median(times) for app, times in warm.items()}
    slowest = medians["monaibundle, UNet"]
    for app in servers:
        print(
            f"| {image}, {'x'.join(map(str, shape))} | {app} | {cold[app]:.2f} | {medians[app]:.3f} | "
            f"{slowest / medians[app]:.1f}x |",
            flush=True,
        )


def stock(folder: Path, shape: tuple[int, ...]) -> list[str]:
    """The command that starts the sample app with a bundle of MONAI's UNet."""
    run = [PYTHON, "-W", "ignore", "-m", "monailabel.main"]
    download = [*run, "apps", "--download", "--name", "monaibundle", "--output", str(folder)]
    subprocess.run(download, check=True, capture_output=True, env=environment())
    app = folder / "monaibundle"
    bundle = app / "model" / "unet"
    shutil.copytree(find_bundle("hippocampus"), bundle, ignore=shutil.ignore_patterns("runs"))
    file = bundle / "configs" / "inference.json"
    config = json.loads(file.read_text())
    config["network_def"] = {"_target_": "UNet", **UNET}
    config["roi_size"] = [-(-n // 16) * 16 for n in shape]
    config["inferer"] = {"_target_": "SlidingWindowInferer", "roi_size": "@roi_size", "overlap": 0.5}
    file.write_text(json.dumps(config))
    torch.save(UNet(**UNET).state_dict(), bundle / "models" / "model.pt")
    options = ["--conf", "models", "unet", "--conf", "zoo_source", "local", "--conf", "sam2", "false"]
    return [*run, "start_server", "--app", str(app), "--host", "127.0.0.1", *options]


def environment() -> dict[str, str]:
    """With this checkout importable."""
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


class Server:
    """A server that has started."""

    def __init__(self, command: list[str], model: str, folder: Path, studies: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url, self.model = f"http://127.0.0.1:{port}", model
        copy = shutil.copytree(studies, folder / f"studies_{model}")
        with (folder / f"{model}.log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--studies", str(copy), "--port", str(port)],
                env=environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                if requests.get(f"{self.url}/info/", timeout=30).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.2)
            if self.process.poll() is not None:
                break
        raise SystemExit((folder / f"{model}.log").read_text()[-2000:])

    def seconds(self, image: str) -> float:
        """How long one request takes."""
        params: dict[str, Any] = {"result_dtype": "uint8", "result_extension": ".nii.gz", "force": True}
        started = time.perf_counter()
        answer = requests.post(
            f"{self.url}/infer/{self.model}",
            params={"image": image, "output": "image"},
            data={"params": json.dumps(params)},
            timeout=600,
        )
        answer.raise_for_status()
        return time.perf_counter() - started

    def stop(self) -> None:
        """End it and what it started."""
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=30)


if __name__ == "__main__":
    main()
