"""How good a bundle's weights are on labelled cases, measured on the cases' own grids."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ulite_monai.io.images import is_image_file
from ulite_monai.io.label_values import class_numbers
from ulite_monai.io.read_volume import read_volume
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.metrics import overlaps

__all__ = ["mean_dice"]


def mean_dice(segmenter: Segmenter, items: Sequence[Mapping[str, Any]]) -> float | None:
    """The mean over cases and classes of the Dice coefficient; classes that neither mask holds are left out.

    Args:
        segmenter: the bundle with the weights to measure.
        items: entries with `image` and `label` paths on one grid.

    Returns:
        The mean; None without cases, or where no case holds any class.
    """
    classes, values = len(segmenter.labels), segmenter.label_values
    dice = [
        one
        for item in items
        for one in overlaps(
            class_numbers(segmenter({"image": [item["image"]]}).mask, values),
            _label(item["label"], classes, values),
            classes,
        )
    ]
    return statistics.fmean(dice) if dice else None


def _label(path: str, classes: int, values: Sequence[int] | None) -> np.ndarray:
    """The classes' numbers."""
    if not is_image_file(path):
        return class_numbers(np.asarray(read_volume(path).array), values, source=path)
    with Image.open(path) as image:
        array = np.asarray(image).T
    return array > 0 if classes == 1 else class_numbers(array, values, source=path)  # one class may number its objects
