"""Which score finds the cases that a network segments badly: a table of rank correlations with the true Dice.

    python -m benchmarks.uncertainty shared/data/Task04_Hippocampus --ckpt FOLD_0/model.pt

On the first 30 validation cases of fold 0, with weights that never saw them, compares the disagreement of flips with
the disagreement and the entropy (MONAI Label's measure) of passes with dropout. The server asks by the best of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.stats import spearmanr

from ulite_monai.bundles import find_bundle
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.volume import Volume
from ulite_monai.label.disagreement import PASSES, dropout_passes, mean_disagreement, segmenter_with_dropout
from ulite_monai.label.validation import mean_dice
from ulite_monai.prediction.segmenter import Segmenter

RATES = (0.05, 0.1, 0.2)

Score = Callable[[Path], float]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="Task04_Hippocampus")
    parser.add_argument("--cases", type=int, default=30)
    parser.add_argument("--ckpt", type=Path, help="weights of a training of fold 0", required=True)
    arguments = parser.parse_args()
    folds = json.loads((find_bundle("hippocampus") / "docs" / "folds.json").read_text())
    names = folds["validation"][0][: arguments.cases]
    segmenter = Segmenter("hippocampus", arguments.ckpt, device="cpu")
    images = {name: arguments.dataset / "imagesTr" / f"{name}.nii.gz" for name in names}
    items = [{"image": str(path), "label": str(arguments.dataset / "labelsTr" / path.name)} for path in images.values()]
    dice = [mean_dice(segmenter, [item]) for item in items]
    print(f"{len(names)} cases, mean Dice {statistics.fmean(dice):.4f}, {min(dice):.4f} to {max(dice):.4f}")
    print("| score | Spearman's rank correlation with 1 - Dice | p | seconds a case |\n|---|---|---|---|")
    scores: dict[str, Score] = {"disagreement of flips": lambda path: flip_disagreement(segmenter, read_volume(path))}
    for rate in RATES:
        dropping = segmenter_with_dropout("hippocampus", arguments.ckpt, "cpu", rate)
        for measure in (disagreement, entropy):
            name = f"{measure.__name__} of {PASSES} passes, dropout {rate}"
            scores[name] = partial(_of_passes, dropping, measure)
    for name, score in scores.items():
        started = time.perf_counter()
        found = [score(path) for path in images.values()]
        seconds = (time.perf_counter() - started) / len(found)
        rank = spearmanr(found, 1 - np.array(dice))
        print(f"| {name} | {rank.statistic:.3f} | {rank.pvalue:.4f} | {seconds:.2f} |", flush=True)


def _of_passes(segmenter: Segmenter, measure: Callable[[torch.Tensor], float], path: Path) -> float:
    return measure(dropout_passes(segmenter, {"image": [str(path)]}))


def flip_disagreement(segmenter: Segmenter, volume: Volume) -> float:
    """One minus the mean Dice of the masks of a volume and of its mirror images, over the bundle's `flip_axes`."""
    order = list(nib.orientations.io_orientation(volume.affine)[:, 0].astype(int))
    turns = [(), *((order.index(axis),) for axis in segmenter.settings["flip_axes"])]
    mirrored = [replace(volume, array=np.flip(volume.array, turn).copy()) for turn in turns]
    masks = [np.flip(segmenter({"image": [one]}).mask, turn) for one, turn in zip(mirrored, turns, strict=True)]
    return mean_disagreement(masks, len(segmenter.labels))


def disagreement(passes: torch.Tensor) -> float:
    """One minus the mean Dice over pairs of passes, of probabilities (passes, classes, *spatial)."""
    return mean_disagreement(list(passes.argmax(1).numpy()), passes.shape[1] - 1)


def entropy(passes: torch.Tensor) -> float:
    """The mean entropy of the averaged probabilities, over voxels where a pass sees a class."""
    mean = passes.mean(0)
    values = -(mean * mean.clamp_min(1e-8).log()).sum(0)
    return float(values[(passes.argmax(1) > 0).any(0)].mean())


if __name__ == "__main__":
    main()
