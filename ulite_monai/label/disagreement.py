"""How far a network contradicts itself: its masks with some of its features dropped at random, compared."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules.dropout import _DropoutNd

from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.metrics import overlaps

__all__ = ["DROPOUT", "PASSES", "dropout_passes", "mean_disagreement", "segmenter_with_dropout"]

# `benchmarks/uncertainty.py` compares: of what was tried, this finds bad masks best.
DROPOUT, PASSES = 0.1, 8


def segmenter_with_dropout(
    bundle: Path | str, weights: Path | str | None, device: str = "auto", rate: float = DROPOUT
) -> Segmenter:
    """A bundle whose network drops features when it runs for `dropout_passes`.

    Raises:
        InputError: When the bundle's network takes no `dropout`, or the weights can't be used.
    """
    overrides = {"network_def#dropout": rate, "engine": "torch"}
    segmenter = Segmenter(bundle, weights, device, overrides=overrides)
    network = segmenter.trained.eval()
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.train()
    return segmenter


@torch.inference_mode()
def dropout_passes(
    segmenter: Segmenter, item: Mapping[str, Any], passes: int = PASSES, seconds: float = math.inf
) -> torch.Tensor:
    """The classes' probabilities in several passes, shape (passes, classes, *spatial), on the network's grid.

    Args:
        segmenter: of `segmenter_with_dropout`.
        item: an entry of a data list, with `image`.
        passes: how many; the same features are dropped for every image.
        seconds: no further window is computed after these; the passes that are whole by then, at least two, do.

    Raises:
        TimeoutError: When two passes take longer.
    """
    end = time.monotonic() + seconds
    image = segmenter.preprocessing(dict(item))["image"].as_tensor()[None].to(segmenter.device)
    network = segmenter.trained.to(segmenter.device)

    def in_time(window: torch.Tensor) -> torch.Tensor:
        if time.monotonic() > end:
            raise TimeoutError(f"two passes take longer than {seconds:g} s")
        return network(window)

    done: list[torch.Tensor] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            while len(done) < passes:
                done.append(segmenter.inferer(image, in_time).float().softmax(1).cpu())
        except TimeoutError:
            if len(done) < 2:
                raise
    return torch.cat(done)


def mean_disagreement(masks: Sequence[np.ndarray], classes: int) -> float:
    """One minus the mean Dice coefficient over all pairs of label maps and classes; 1 where every map is empty."""
    dice = [one for a, b in itertools.combinations(masks, 2) for one in overlaps(a, b, classes)]
    return 1 - statistics.fmean(dice or [0.0])
