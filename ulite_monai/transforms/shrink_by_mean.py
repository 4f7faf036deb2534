"""Coarser voxels that hold the mean of the fine ones: no aliasing, little noise, and fast."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, SpatialResample

__all__ = ["ShrinkByMeand"]


class ShrinkByMeand(MapTransform, InvertibleTransform):
    """Averages whole blocks of voxels, as many along each axis as make no voxel larger than a spacing.

    MONAI's `Spacingd` interpolates between the nearest voxels of a fine grid, whose noise so stays. After this one it
    has little left to do. A block at the far end that isn't whole is the mean of what there is.

    Args:
        keys: images `(channels, i, j, k)`, MetaTensors.
        spacing: mm that the voxels may reach.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.
    """

    def __init__(self, keys: KeysCollection, spacing: float, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacing = spacing

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The images on their coarser grids, float32, with the affines of these."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = self._shrunk(changed[key])
        return changed

    def _shrunk(self, image: MetaTensor) -> MetaTensor:
        sides = image.affine[:3, :3].norm(dim=0)
        blocks = [
            max(1, min(int(self.spacing / side + 1e-3), size))
            for side, size in zip(sides.tolist(), image.shape[1:], strict=True)
        ]
        means = F.avg_pool3d(image.as_tensor()[None].float(), blocks, ceil_mode=True, count_include_pad=False)[0]
        to_fine = torch.eye(4, dtype=torch.float64)
        for axis, block in enumerate(blocks):
            to_fine[axis, axis], to_fine[axis, 3] = block, (block - 1) / 2
        coarse = MetaTensor(means, meta=image.meta, applied_operations=image.applied_operations)
        coarse.affine = image.affine.double() @ to_fine
        self.push_transform(coarse, orig_size=image.shape[1:], extra_info={"affine": image.affine.clone()})
        return coarse

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Interpolated to the fine grids."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            done = self.pop_transform(changed[key])
            fine = SpatialResample(mode="bilinear", padding_mode="border")
            with fine.trace_transform(False):
                changed[key] = fine(changed[key], done["extra_info"]["affine"], done["orig_size"])
        return changed
