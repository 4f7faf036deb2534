"""Two neighbouring classes split by a plane, as an annotation protocol splits them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from ulite_monai.errors import InputError

__all__ = ["StraightBoundaryd", "straight_boundary"]

SLICES = 32  # at a time, or a large volume takes ten bytes a voxel more


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
        """Changes the logits in place."""
        same = dict(data)
        for key in self.key_iterator(same):
            straight_boundary(same[key], self.classes, self.axis)
        return same


@torch.inference_mode()
def straight_boundary(logits: torch.Tensor, classes: tuple[int, int], axis: int) -> None:
    """Change logits so that neither of two classes is the largest on the other one's side of a plane.

    The plane lies between two slices, where the voxels of either class contradict it least: the sum of the differences
    between their two logits, each on its side of the plane, is the largest. There the logits of the two are exchanged
    in voxels that lean to the wrong one, so what belongs to neither stays as it was.

    Args:
        logits: shape `(classes, *spatial)`; changed in place, because a copy of them may be gigabytes.
        classes: the class at the smaller indices of the axis, and the one at the larger.
        axis: the spatial axis that the plane is across.

    Raises:
        InputError: When there is no such class.
    """
    smaller, larger = classes
    if max(classes) >= len(logits):
        raise InputError(
            f"straight_boundary splits the classes {smaller} and {larger}, and there are {len(logits) - 1} labels; "
            "set it to false."
        )
    values = logits.as_subclass(torch.Tensor)
    leans = torch.cat([_leans(slab, smaller, larger, axis) for slab in values.split(SLICES, axis + 1)])
    before = torch.cat([leans.new_zeros(1), leans.cumsum(0)])
    plane = int((before[-1] - 2 * before).argmax())
    slices = values.movedim(axis + 1, 1)
    for side, own, other in ((slices[:, :plane], smaller, larger), (slices[:, plane:], larger, smaller)):
        for slab in side.split(SLICES, 1):
            high, low = torch.maximum(slab[own], slab[other]), torch.minimum(slab[own], slab[other])
            slab[own], slab[other] = high, low


def _leans(logits: torch.Tensor, smaller: int, larger: int, axis: int) -> torch.Tensor:
    """How much the voxels of either class lean to the larger rather than to the smaller, summed over each slice."""
    lean = logits[larger] - logits[smaller]
    higher = torch.maximum(logits[larger], logits[smaller])
    for other in range(len(logits)):
        if other not in (smaller, larger):
            lean.masked_fill_(logits[other] >= higher, 0.0)
    wide = torch.float32 if lean.device.type == "mps" else torch.float64  # which has no more
    others = [number for number in range(lean.ndim + 1) if number != axis]
    return lean.unsqueeze(-1).sum(others, dtype=wide).cpu().double()
