"""Resampling that leaves what it wasn't asked to touch alone."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.transforms import Spacingd

__all__ = ["SpacingOfKeysd"]


class SpacingOfKeysd(Spacingd):
    """MONAI's `Spacingd` that sees the entries of `keys` alone.

    MONAI 1.6 takes every entry whose name starts with `image_` for a dictionary of the image's metadata and fails on
    a string, such as the `image_path` that MONAI Label puts beside each image.
    """

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The entries of `keys` resampled, all others as they are."""
        return dict(data) | super().__call__({key: data[key] for key in self.keys if key in data}, lazy)
