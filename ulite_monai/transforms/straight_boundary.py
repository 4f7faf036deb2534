"""Two neighbouring classes parted by a plane, as an annotation protocol parts them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["StraightBoundaryd", "straight_boundary"]


class StraightBoundaryd(MapTransform):
    """`straight_boundary` of the logits of a network.

    Args:
        keys: logits `(classes, *spatial)`.
        classes: the class at the smaller indices of the axis, and the one at the larger.
        axis: the spatial axis that the plane is across.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.
    """

    def __init__(
        self, keys: KeysCollection, classes: tuple[int, int], axis: int, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.classes = classes
        self.axis = axis

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Any, Any]:
        """Replaces the logits."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = straight_boundary(changed[key], self.classes, self.axis)
        return changed


def straight_boundary(logits: torch.Tensor, classes: tuple[int, int], axis: int) -> torch.Tensor:
    """Logits whose largest class is never one of the two on the other one's side of a plane.

    The plane lies between two slices, where the voxels of either class contradict it least: the sum of the differences
    between their two logits, each on its side of the plane, is the largest. There the logits of the two are exchanged
    in voxels that lean to the wrong one, so what belongs to neither stays as it was.

    Args:
        logits: shape `(classes, *spatial)`.
        classes: the class at the smaller indices of the axis, and the one at the larger.
        axis: the spatial axis that the plane is across.

    Returns:
        Logits of the same shape.
    """
    smaller, larger = classes
    leans = torch.stack([_lean(one, smaller, larger) for one in logits.unbind(axis + 1)])
    before = torch.cat([leans.new_zeros(1), leans.cumsum(0)])
    plane = int((before[-1] - 2 * before).argmax())
    parted = logits.clone()
    slices = parted.movedim(axis + 1, 1)
    for side, own, other in ((slices[:, :plane], smaller, larger), (slices[:, plane:], larger, smaller)):
        high, low = torch.maximum(side[own], side[other]), torch.minimum(side[own], side[other])
        side[own], side[other] = high, low
    return parted


def _lean(logits: torch.Tensor, smaller: int, larger: int) -> torch.Tensor:
    """How much a slice's voxels of either class are of the larger rather than of the smaller."""
    winner = logits.argmax(0)
    either = (winner == smaller) | (winner == larger)
    return torch.where(either, logits[larger] - logits[smaller], 0.0).sum(dtype=torch.float64)
