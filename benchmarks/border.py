"""Whether a structure at the border of large volumes is learnt as well as the same one in their middle.

Trains on 15 synthetic volumes of eight patches, each with a dark ball cut by a face and a bright one inside, and prints
the best epoch's Dice of either on the three that validate: `nice -n 19 python -m benchmarks.border`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

SIZE, PATCH, RADIUS = 64, 32, 7
BUNDLE = Path(__file__).resolve().parents[1] / "bundle"


def main() -> None:
    """Make the volumes, train, and print what the training printed of its best epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="of another checkout, say")
    options, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(15):
            write_case(Path(folder), number)
        command = [sys.executable, "-m", "monai.bundle", "run", "training", "--bundle_root", str(options.bundle)]
        command += ["--config_file", str(options.bundle / "configs" / "train.json"), "--dataset_dir", folder]
        command += ["--output_dir", f"{folder}/run", "--labels", "['border','middle']", "--flip_axes", "[0,1,2]"]
        command += ["--patch_size", str([PATCH] * 3), "--epochs", str(options.epochs), "--cache_rate", "1.0", *more]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(options.bundle.parent)}
        done = subprocess.run(command, env=environment, text=True, capture_output=True)
    epochs = re.findall(r"epoch (\d+)/\d+: .*?Dice border ([\d.]+) middle ([\d.]+) \(best mean ([\d.]+)", done.stdout)
    if done.returncode or not epochs:
        sys.exit(done.stdout + done.stderr)
    epoch, border, middle, _ = max(epochs, key=lambda one: float(one[1]) + float(one[2]))
    print(f"epoch {epoch}: Dice at the border {border}, in the middle {middle}")


def write_case(folder: Path, number: int) -> None:
    """A noisy volume, 1 mm: label 1 is a dark ball whose centre lies near a face, 2 a bright one in the middle."""
    random = np.random.default_rng(number)
    border, middle = random.uniform(0.25, 0.75, (2, 3)) * SIZE
    border[number % 3] = 2 if number % 2 else SIZE - 3
    grid = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"), axis=-1)
    image, label = random.normal(0, 1, [SIZE] * 3), np.zeros([SIZE] * 3, np.uint8)
    for value, centre, brightness in ((1, border, -1.5), (2, middle, 1.5)):
        ball = ((grid - centre) ** 2).sum(-1) < RADIUS**2
        image[ball] += brightness
        label[ball] = value
    for name, array in (("imagesTr", image.astype(np.float32)), ("labelsTr", label)):
        (folder / name).mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / name / f"case_{number:02d}.nii.gz")


if __name__ == "__main__":
    main()
