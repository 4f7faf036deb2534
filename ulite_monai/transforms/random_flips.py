"""Flips along any of several axes, each by chance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import Flip, MapTransform, RandomizableTransform

__all__ = ["RandFlipsd"]


class RandFlipsd(RandomizableTransform, MapTransform):
    """Flips image and label along each of `axes` with probability `prob`, independently of the others.

    Args:
        keys: entries of shape (channels, *spatial), flipped alike.
        axes: spatial axes, from 0.
        prob: of a flip along an axis.
    """

    def __init__(self, keys: KeysCollection, axes: Sequence[int], prob: float = 0.5) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, 1.0)
        self.axes = tuple(axes)
        self.axis_prob = prob

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        chosen = [axis for axis in self.axes if self.R.random() < self.axis_prob]
        if not chosen:
            return dict(data)
        flip = Flip(chosen)
        return {name: flip(value) if name in self.keys else value for name, value in data.items()}
