"""U-Lite and two of MONAI's networks on nuclei, each trained by the nuclei bundle's own configuration.

    python -m benchmarks.nuclei train --dataset_dir DIR --work WORK    # hours of one core; run it again to go on
    python -m benchmarks.nuclei table --work WORK                      # on a quiet machine: it times, too

The three differ in the network alone: split, seed, augmentation, loss and optimizer are the bundle's. MONAI's networks
are validated in windows of the training crops' size, because `UNet` can't take every size of image; U-Lite in one pass,
as it is used.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch
from monai.bundle import ConfigParser

from benchmarks.machine import machine
from benchmarks.turns import seconds_in_openvino
from ulite_monai.engines.process import prepare_process
from ulite_monai.engines.weights import load_network
from ulite_monai.reports.metrics import summarize
from ulite_monai.reports.metrics_csv import read_metrics

BUNDLE = Path(__file__).resolve().parents[1] / "examples" / "nuclei_bundle"
BUNDLE_COMMAND = (sys.executable, "-m", "monai.bundle")
IN_2D = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1}
WINDOWS = {"_target_": "SlidingWindowInferer", "roi_size": "@patch_size", "overlap": 0.25, "mode": "gaussian"}
UNET = {"_target_": "UNet", "channels": [16, 32, 64, 128, 256], "strides": [2] * 4, "num_res_units": 2, "norm": "batch"}
NETWORKS: dict[str, dict[str, Any]] = {
    "U-Lite": {},
    "MONAI's UNet": {"network_def": UNET | IN_2D, "validate#inferer": WINDOWS},
    "MONAI's BasicUNet": {"network_def": {"_target_": "BasicUNet"} | IN_2D, "validate#inferer": WINDOWS},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("train", "table"))
    parser.add_argument("--dataset_dir")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if options.do == "train":
        for name in options.only:
            lengths = ["--epochs", str(options.epochs), "--batch_size", str(options.batch_size)]
            train(name, options.work / folder_of(name), options.dataset_dir, lengths)
    else:
        print_table([name for name in options.only if (options.work / folder_of(name)).exists()], options)


def folder_of(name: str) -> str:
    return name.split()[-1].lower()


def configs(name: str, folder: Path, *more: str) -> str:
    """The bundle's configuration files and one of what this network needs otherwise, as MONAI's command takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.json").write_text(json.dumps(NETWORKS[name]))
    files = [str(BUNDLE / "configs" / file) for file in ("train.json", *more)]
    return str([*files, str(folder / "network.json")])


def train(name: str, folder: Path, dataset_dir: str, lengths: list[str]) -> None:
    """Train, or go on with it, in one thread, and evaluate; `cpu.json` holds the CPU seconds so far."""
    common = ["--bundle_root", str(BUNDLE), "--dataset_dir", dataset_dir, "--device", "cpu"]
    train_files, evaluate_files = configs(name, folder), configs(name, folder, "evaluate.json")
    resume = ["--resume", "True"] if (folder / "last.ckpt").exists() else []
    training = ["run", "training", "--config_file", train_files, *common, "--output_dir", str(folder)]
    counted([*training, *lengths, *resume], folder / "cpu.json")
    evaluation = ["run", "--config_file", evaluate_files, *common, "--output_dir", str(folder / "evaluation")]
    subprocess.run([*BUNDLE_COMMAND, *evaluation, "--ckpt", str(folder / "model.pt")], check=True)


def counted(arguments: list[str], record: Path) -> None:
    """Run a bundle's command and add the CPU seconds that it uses to those in `record`."""
    before = json.loads(record.read_text()) if record.exists() else 0.0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*BUNDLE_COMMAND, *arguments], env=environment)
    used = 0.0
    while process.poll() is None:
        try:
            times = psutil.Process(process.pid).cpu_times()
        except psutil.NoSuchProcess:
            break
        used = times.user + times.system
        record.write_text(json.dumps(before + used))
        time.sleep(1)
    if process.wait():
        raise SystemExit(f"{' '.join(arguments[:3])} failed with exit code {process.returncode}.")


def networks(names: list[str], options: argparse.Namespace) -> dict[str, torch.nn.Module]:
    found = {}
    for name in names:
        folder = options.work / folder_of(name)
        parser = ConfigParser()
        parser.read_config([BUNDLE / "configs" / "train.json", folder / "network.json"])
        network = parser.get_parsed_content("network_def")
        load_network(network, folder / "model.pt")
        found[name] = network
    return found


def print_table(names: list[str], options: argparse.Namespace) -> None:
    prepare_process("cpu", 0)
    found = networks(names, options)
    taken = seconds_in_openvino(found, torch.rand(1, 3, 256, 256), options.rounds)
    print(f"{machine()}\n")
    print("| network | parameters | Dice | IoU | CPU minutes of training | ms for 256x256 in OpenVINO |")
    print("|---|---|---|---|---|---|")
    for name, network in found.items():
        folder = options.work / folder_of(name)
        rows = read_metrics(folder / "evaluation" / "metrics.csv")
        means = summarize(rows, ["nucleus"])["labels"]["nucleus"]
        minutes = json.loads((folder / "cpu.json").read_text()) / 60
        parameters = sum(p.numel() for p in network.parameters())
        scores = f"{means['dice']['mean']:.4f} | {means['iou']['mean']:.4f}"
        print(f"| {name} | {parameters:,} | {scores} | {minutes:.0f} | {1000 * taken[name]:.1f} |")


if __name__ == "__main__":
    main()
