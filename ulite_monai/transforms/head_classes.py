"""What a locator is to find in a label map of a whole head: the two hippocampi and the intracranial space."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy import ndimage

from ulite_monai.errors import InputError
from ulite_monai.io.parts import largest_part

__all__ = ["HeadClassesd", "head_classes", "with_balls"]

LEFT, RIGHT, INTRACRANIAL = 1, 2, 3

HIPPOCAMPI = {17: LEFT, 53: RIGHT}
HINDBRAIN = (7, 8, 16, 46, 47)  # cerebellum and brain stem, whose lowest voxel is taken for the foramen magnum
VESSELS = (502, 514)  # arteries and veins, the sinuses of the dura among them
BEYOND_THE_BRAIN = 500  # and above: tissues outside of the brain and its fluid
COARSE = 2  # voxels that one voxel of the morphology measures, to save time
CLOSING = 3  # coarse voxels


class HeadClassesd(MapTransform):
    """`head_classes` of a label map, as an entry of its own; the map is kept, as int16.

    Args:
        keys: label maps `(1, i, j, k)`, in RAS order.
        class_key: entry for the classes, uint8, of the same shape and place.
        radius: mm of the balls that stand for the hippocampi; None for the hippocampi themselves.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.

    Raises:
        InputError: When a map lacks a hippocampus.
    """

    def __init__(
        self,
        keys: KeysCollection,
        class_key: str = "classes",
        radius: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.class_key = class_key
        self.radius = radius

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Any, Any]:
        """Adds the classes."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            labels = changed[key]
            whole = labels.as_subclass(torch.Tensor).to(torch.int16).contiguous()
            changed[key] = MetaTensor(whole, meta=labels.meta)
            classes = head_classes(whole[0].numpy())
            if missing := {number for number in (LEFT, RIGHT) if not (classes == number).any()}:
                raise InputError(
                    f"{labels.meta.get('filename_or_obj', 'a label map')}: has no voxel of "
                    f"{' and '.join(str(value) for value, n in HIPPOCAMPI.items() if n in missing)}, FreeSurfer's "
                    "values for the hippocampi; give label maps of whole heads."
                )
            if self.radius is not None:
                classes = with_balls(classes, self.radius, np.linalg.norm(labels.affine[:3, :3].numpy(), axis=0))
            changed[self.class_key] = MetaTensor(torch.from_numpy(classes)[None].contiguous(), meta=labels.meta)
        return changed


def head_classes(labels: np.ndarray) -> np.ndarray:
    """The classes of a label map with FreeSurfer's values: 1 left hippocampus, 2 right, 3 what else the skull encloses.

    That is the brain, its fluid and the vessels among them, down to the lowest voxel of cerebellum and brain stem.

    Args:
        labels: shape (i, j, k), in RAS order, about 1 mm; 500 and above is outside of the brain and its fluid.

    Returns:
        uint8 of the same shape.
    """
    inside = (labels > 0) & (labels < BEYOND_THE_BRAIN)
    lowest = np.flatnonzero(np.isin(labels, HINDBRAIN).any((0, 1)))
    if lowest.size:
        inside[:, :, : lowest[0]] = False
    coarse = _enclosed(inside[::COARSE, ::COARSE, ::COARSE])
    about, within = (_refined(mask, labels.shape) for mask in (ndimage.binary_dilation(coarse), coarse))
    space = (inside & about) | (np.isin(labels, (0, *VESSELS)) & within)
    classes = np.where(space, np.uint8(INTRACRANIAL), np.uint8(0))
    for value, number in HIPPOCAMPI.items():
        classes[labels == value] = number
    return classes


def with_balls(classes: np.ndarray, radius: float, spacing: Sequence[float]) -> np.ndarray:
    """The classes with a ball around the centre of each hippocampus in its place.

    A ball is found more easily than the thin bent thing in it, and its centre is where the hippocampus's is.

    Args:
        classes: shape (i, j, k), see `head_classes`; with voxels of both hippocampi.
        radius: mm.
        spacing: mm along i, j, k.

    Returns:
        uint8 of the same shape.
    """
    changed = np.where(classes > 0, np.uint8(INTRACRANIAL), np.uint8(0))
    for number in (LEFT, RIGHT):
        centre = np.argwhere(classes == number).mean(0)
        i, j, k = (
            ((np.arange(size) - middle) * step) ** 2
            for size, middle, step in zip(classes.shape, centre, spacing, strict=True)
        )
        changed[i[:, None, None] + j[:, None] + k < radius**2] = number
    return changed


def _refined(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    for axis, size in enumerate(shape):
        mask = np.repeat(mask, COARSE, axis).take(np.arange(size), axis)
    return mask


def _enclosed(inside: np.ndarray) -> np.ndarray:
    """The largest part of a mask, its gaps closed."""
    padded = np.pad(inside, CLOSING + 1)
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(padded, iterations=CLOSING))
    inner = slice(CLOSING + 1, -CLOSING - 1)
    return largest_part(closed)[inner, inner, inner]
