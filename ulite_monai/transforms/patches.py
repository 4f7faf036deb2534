"""Patches of training cases in which no voxel is rarer because it lies at the border of its volume."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Pad, Randomizable, SpatialCrop
from scipy.ndimage import find_objects, maximum_filter1d

__all__ = ["PatchStartsd", "RandPatchd"]

CORE = (
    0.7  # of a patch, along each axis; a voxel at a face of its volume is in (1 + CORE) / 2 as many patches as others
)
MOST_STARTS = 10_000  # of a class in a case, drawn at random


class PatchStartsd(MapTransform):
    """Find where patches may start so that their core, the middle part, holds a voxel of each class.

    Args:
        keys: label map, `(1, *spatial)`.
        patch_size: voxels along each axis.
        num_classes: label values are 1 to this many.
        starts_key: entry for the starts; see `RandPatchd`.
    """

    def __init__(
        self, keys: KeysCollection, patch_size: Sequence[int], num_classes: int, starts_key: str = "patch_starts"
    ) -> None:
        super().__init__(keys)
        self.core = [max(1, math.ceil(CORE * size)) for size in patch_size]
        self.before = [(size - core) // 2 for size, core in zip(patch_size, self.core, strict=True)]
        self.num_classes = num_classes
        self.starts_key = starts_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Adds the starts: for each class that the label holds, int32 of shape `(starts, axes)`."""
        found = dict(data)
        for key in self.key_iterator(found):
            label = np.asarray(torch.as_tensor(found[key])[0].cpu()).astype(np.int32)
            boxes = find_objects(label, max_label=self.num_classes)
            found[self.starts_key] = [
                self._starts(label[box] == value, [part.start for part in box])
                for value, box in enumerate(boxes, start=1)
                if box is not None
            ]
        return found

    def _starts(self, mask: np.ndarray, corner: Sequence[int]) -> np.ndarray:
        """Starts of patches whose core touches a mask that lies at `corner` of the volume."""
        cores = np.pad(mask, [(size - 1, 0) for size in self.core]).astype(np.uint8)
        for axis, size in enumerate(self.core):
            cores = maximum_filter1d(cores, size, axis, mode="constant", origin=-(size // 2))
        places = np.flatnonzero(cores)
        if len(places) > MOST_STARTS:
            places = np.random.default_rng(0).choice(places, MOST_STARTS)
        shift = np.asarray(corner) - (np.asarray(self.core) - 1) - self.before
        return (np.stack(np.unravel_index(places, cores.shape), axis=-1) + shift).astype(np.int32)


class RandPatchd(Randomizable, MapTransform):
    """Cut a patch, with a margin around it for a rotation, say; what lies outside the volume is 0.

    Without `foreground_share` the patch is any of those that touch the volume, moved inside: the middle of a volume
    that is hardly larger than a patch is in each of them, and its border as often as a border can be. Otherwise patches
    reach beyond the volume, so that a voxel at its border is in at least 0.8 times as many as one inside, and that
    share of them has a voxel of a class, each class in turn, in its core (see `PatchStartsd`).
    An axis that a patch holds whole is held whole.

    Args:
        keys: images and label maps of one grid, `(channels, *spatial)`.
        patch_size: voxels along each axis.
        margin: size of what is cut, as a multiple of the patch, one for all axes or one per axis.
        foreground_share: share of patches that are cut around a class, 0 to 1.
        starts_key: entry with what `PatchStartsd` found; it is taken out.
    """

    def __init__(
        self,
        keys: KeysCollection,
        patch_size: Sequence[int],
        margin: float | Sequence[float] = 1.0,
        foreground_share: float = 0.0,
        starts_key: str = "patch_starts",
    ) -> None:
        super().__init__(keys)
        self.patch_size = np.asarray(patch_size)
        # Of the patch's parity: so the patch is the middle of what is cut, to the voxel.
        self.around = np.maximum(0, np.ceil((np.asarray(margin) - 1) * self.patch_size / 2)).astype(int)
        self.foreground_share = foreground_share
        self.starts_key = starts_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replaces the entries by float32 tensors of the patch's size and the margin's, on one place."""
        cut = dict(data)
        starts = cut.pop(self.starts_key, [])
        shape = np.asarray(cut[self.first_key(cut)].shape[1:])
        start = self._start(shape, starts) - self.around
        end = start + self.patch_size + 2 * self.around
        crop = SpatialCrop(roi_start=np.clip(start, 0, shape), roi_end=np.clip(end, 0, shape))
        outside = zip(np.maximum(0, -start), np.maximum(0, end - shape), strict=True)
        pad = Pad(to_pad=[(0, 0), *((int(b), int(a)) for b, a in outside)])  # type: ignore[arg-type]
        for key in self.key_iterator(cut):
            cut[key] = pad(crop(cut[key])).float()
        return cut

    def _start(self, shape: np.ndarray, starts: Sequence[np.ndarray]) -> np.ndarray:
        room = shape - self.patch_size
        if self.foreground_share and starts and self.R.random() < self.foreground_share:
            of_class = starts[self.R.randint(len(starts))]
            start = of_class[self.R.randint(len(of_class))]
        elif self.foreground_share:
            beyond = np.ceil((1 + CORE) * self.patch_size / 2).astype(int) - 1
            start = self.R.randint(-beyond, room + beyond + 1)
        else:
            start = np.clip(self.R.randint(1 - self.patch_size, shape), 0, np.maximum(room, 0))
        return np.where(room <= 0, -(-room // 2), start)
