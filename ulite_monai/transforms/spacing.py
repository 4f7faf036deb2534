"""Resampling as MONAI's, in half the memory, that leaves what it wasn't asked to touch alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import Spacingd

from ulite_monai.errors import InputError

__all__ = ["SpacingOfKeysd"]


class SpacingOfKeysd(Spacingd):
    """MONAI's `Spacingd` that sees the entries of `keys` alone and computes in float32.

    MONAI's default is float64, for which a large volume and its mask take twice the time and memory on their way to
    another grid and back; in float32 a position is off by less than 1e-4 voxels. The affines stay float64.

    MONAI 1.6 takes every entry whose name starts with `image_` for a dictionary of the image's metadata and fails on
    a string, such as the `image_path` that MONAI Label puts beside each image.

    Args:
        keys: entries to resample.
        pixdim: size of a voxel along each axis in mm.
        kwargs: further arguments of MONAI's `Spacingd`.

    Raises:
        InputError: When `pixdim` isn't three numbers above 0.
    """

    def __init__(self, keys: KeysCollection, pixdim: Sequence[float], **kwargs: Any) -> None:
        if isinstance(pixdim, str) or len(pixdim) != 3 or not all(size > 0 for size in pixdim):
            raise InputError(f"spacing must be three sizes above 0 in mm, got {pixdim!r}.")
        super().__init__(keys, pixdim, **({"dtype": torch.float32} | kwargs))

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The entries of `keys` resampled, all others as they are."""
        return dict(data) | super().__call__({key: data[key] for key in self.keys if key in data}, lazy)
