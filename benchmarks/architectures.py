"""Networks, and recipes, trained for the same CPU time on fold 0 of a data set: Dice against seconds.

    python -m benchmarks.architectures train --dataset_dir DIR --out arch.csv    # every network, 12 minutes each
    python -m benchmarks.architectures train --dataset_dir DIR --out arch.csv --only "stem 3" "MONAI's UNet"
    python -m benchmarks.architectures time --out arch.csv    # on a quiet machine
    python -m benchmarks.architectures plot --out arch.csv --picture arch.png
    python -m benchmarks.architectures train --dataset_dir DIR --out recipes.csv --only "batch 2" "learning rate 0.003"

What a variant doesn't name is the hippocampus bundle's: preprocessing, augmentation, loss, optimizer, the shape of the
learning rate, averaging, bfloat16 where the CPU has it. A variant is trained until the process has used the given CPU
time, in one thread; other work on the machine slows it down (56 to 64 epochs of the recipes in 12 minutes).
Rows are added to the CSV file as they are made; a variant that is there is left alone.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.inferers import SlidingWindowInferer
from monai.networks import nets
from torch import nn

from benchmarks.turns import seconds_in_openvino
from ulite_monai.engines.process import prepare_process
from ulite_monai.inferers import VolumeInferer
from ulite_monai.networks import ULite
from ulite_monai.reports.metrics import overlap
from ulite_monai.training import MixedPrecisionInferer

ULITE: dict[str, Any] = {"features": (16, 32, 64, 128, 256)}
WIDE = (32, 64, 128, 256, 512)
TWO_BLOCKS = (32, 32, 64, 64, 128, 128, 256)  # a level of stride 1 is one more block at the resolution before
# What differs from U-Lite of five levels in patches of 40x56x40, four to a batch.
NETWORKS: dict[str, dict[str, Any]] = {
    "ulite": {},
    "paper": {"features": (16, 32, 64, 128, 256, 512)},
    "stem 3": {"stem_kernel_size": 3},
    "stem 3, first width 8": {"stem_kernel_size": 3, "features": (8, 32, 64, 128, 256)},
    "stem 3, wide": {"stem_kernel_size": 3, "features": WIDE},
    "stride 2, wide": {"stem_stride": 2, "features": WIDE},
    "stride 2, first width 48": {"stem_stride": 2, "features": (48, 96, 192, 384)},
    "stride 2, 2 blocks a level": {"stem_stride": 2, "features": TWO_BLOCKS, "strides": (1, 2) * 3},
    "instance norm": {"norm": "instance"},
    "patch 32x48x32": {"patch_size": (32, 48, 32)},
    "MONAI's UNet": {"patch_size": (48, 64, 48)},
}
# What differs from the configuration, for the network that the recipe was chosen with.
AFFINE = "augmentation#4#"
RECIPES: dict[str, dict[str, Any]] = {
    "batch 2": {},
    "batch 1": {"batch_size": 1},
    "batch 4": {"batch_size": 4},
    "learning rate 0.003": {"learning_rate": 0.003},
    "learning rate 0.012": {"learning_rate": 0.012},
    "affine of 30 %": {AFFINE + "prob": 0.3},
    "stronger affine": {
        AFFINE + "prob": 1.0,
        AFFINE + "rotate_range": [0.5] * 3,
        AFFINE + "scale_range": [0.35] * 3,
        AFFINE + "shear_range": [0.15] * 6,
    },
    "Dice without background": {"loss#include_background": False},
}
# Deeper networks in the configuration as it is; the first is the one that the bundle ships.
DEEPER: dict[str, dict[str, Any]] = {
    "2 blocks a level, 32 to 256": {"features": TWO_BLOCKS, "strides": (1, 2) * 3},
    "2, 3, 4 blocks, 32 to 256": {
        "features": (32, 32, 64, 64, 64, 128, 128, 128, 128, 256),
        "strides": (1, 2, 1, 1, 2, 1, 1, 1, 2),
    },
    "1, 2, 2 blocks, 48 to 384": {"features": (48, 96, 96, 192, 192, 384), "strides": (2, 1, 2, 1, 2)},
    "3 blocks a level, 24 to 192": {
        "features": (24, 24, 24, 48, 48, 48, 96, 96, 96, 192),
        "strides": (1, 1, 2) * 3,
    },
    "2 blocks a level, 32 to 384": {"features": (32, 32, 96, 96, 192, 192, 384), "strides": (1, 2) * 3},
}
STRIDED = NETWORKS["stride 2, first width 48"]
VARIANTS = {name: {"batch_size": 4} | ULITE | options for name, options in NETWORKS.items()} | {
    name: STRIDED | options for name, options in (RECIPES | DEEPER).items()
}
OF_THE_NETWORK = ("features", "norm", "stem_kernel_size", "stem_stride", "strides")
COLUMNS = ("variant", "parameters", "epochs", "steps", "cpu_minutes", "dice_anterior", "dice_posterior", "seconds_96")


def make_network(variant: str) -> nn.Module:
    """The variant's network, with random weights that depend on torch's seed."""
    common = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}
    if variant == "MONAI's UNet":
        return nets.UNet(**common, channels=(16, 32, 64, 128, 256), strides=(2,) * 4, num_res_units=2, norm="BATCH")
    return ULite(**common, **{k: v for k, v in VARIANTS[variant].items() if k in OF_THE_NETWORK})


def train(variant: str, dataset_dir: str, minutes: float, bundle: Path) -> dict[str, Any]:
    """Train a variant for some CPU minutes; its row of the table."""
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.json"))
    overrides = {k: v for k, v in VARIANTS[variant].items() if k not in OF_THE_NETWORK}
    parser.update({"bundle_root": str(bundle), "dataset_dir": dataset_dir, "device": "cpu", **overrides})
    seed = parser.get_parsed_content("seed")
    prepare_process("cpu", seed)
    network = make_network(variant)
    parser["network"] = network
    loader, loss, optimizer, average, schedule, amp = (
        parser.get_parsed_content(name)
        for name in ("train#dataloader", "loss", "optimizer", "average", "lr_scheduler", "amp")
    )
    inferer = MixedPrecisionInferer(amp)
    clock, used, steps, epochs = time.process_time(), 0.0, 0, 0.0
    torch.manual_seed(seed)
    while used < 1:
        network.train()
        for batch in loader:
            used = (time.process_time() - clock) / (60 * minutes)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * schedule.lr_lambda(int(min(used, 1) * schedule.t_total))
            value = loss(inferer(batch["image"], network), batch["label"])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            average.update()
            steps += 1
            if used >= 1:
                break
        epochs = steps / len(loader)
        print(f"{variant}: epoch {epochs:.1f}, loss {value.item():.4f}, {used:.0%}", flush=True)
    dice = evaluate(average.model, parser, isinstance(network, ULite))
    return {
        "variant": variant,
        "parameters": sum(p.numel() for p in network.parameters()),
        "epochs": round(epochs, 1),
        "steps": steps,
        "cpu_minutes": minutes,
        "dice_anterior": f"{dice[0]:.4f}",
        "dice_posterior": f"{dice[1]:.4f}",
    }


@torch.no_grad()
def evaluate(network: nn.Module, parser: ConfigParser, any_size: bool) -> list[float]:
    """Mean Dice of each label on the validation cases; a network that can't take any size gets its patch."""
    patch = parser.get_parsed_content("patch_size")
    inferer = VolumeInferer(patch) if any_size else SlidingWindowInferer(patch, overlap=0.5, mode="gaussian")
    cases = []
    for case in parser.get_parsed_content("validate#dataset"):
        mask = inferer(case["image"].as_tensor()[None], network)[0].argmax(0).numpy()
        label = case["label"][0].numpy()
        cases.append([overlap(mask == value, label == value) or 0.0 for value in (1, 2)])
    return [statistics.fmean(values) for values in zip(*cases, strict=True)]


def plot(rows: list[dict[str, Any]], picture: Path) -> None:
    """Mean Dice against seconds, a point a variant."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        dice = (float(row["dice_anterior"]) + float(row["dice_posterior"])) / 2
        theirs = row["variant"] == "MONAI's UNet"
        axes.plot(float(row["seconds_96"]), dice, "s" if theirs else "o", color="tab:orange" if theirs else "tab:blue")
        axes.annotate(row["variant"], (float(row["seconds_96"]), dice), (5, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="seconds for 96x96x96 in OpenVINO", ylabel="mean Dice, fold 0")
    axes.set_title(f"{float(rows[0]['cpu_minutes']):g} minutes of one core of training each", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    figure.savefig(picture, dpi=120)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of the table so far."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """All rows, in the order of the variants."""
    order = list(VARIANTS)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: order.index(row["variant"])))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("train", "time", "plot"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dataset_dir")
    parser.add_argument("--bundle", type=Path, default=Path("bundle"))
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(NETWORKS))
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--picture", type=Path, default=Path("architectures.png"))
    options = parser.parse_args()
    if options.do == "train":
        torch.set_num_threads(1)
        for variant in options.only:
            if all(row["variant"] != variant for row in read(options.out)):
                row = train(variant, options.dataset_dir, options.minutes, options.bundle)
                write([*read(options.out), row], options.out)
    elif options.do == "time":
        rows = read(options.out)
        networks = {row["variant"]: make_network(row["variant"]) for row in rows}
        measured = seconds_in_openvino(networks, torch.randn(1, 1, 96, 96, 96), options.rounds)
        write([row | {"seconds_96": f"{measured[row['variant']]:.4f}"} for row in rows], options.out)
    else:
        plot(read(options.out), options.picture)
    for row in read(options.out):
        print(" | ".join(str(row[name]) for name in COLUMNS))


if __name__ == "__main__":
    main()
