"""A data set's label values as the numbers of classes that a network knows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from ulite_monai.io.label_values import class_numbers

__all__ = ["ClassNumbersd"]


class ClassNumbersd(MapTransform):
    """`class_numbers` of label maps.

    Args:
        keys: label maps `(1, *spatial)`.
        values: of the classes, in order; None where they are 1, 2, ...
        ignore: the value of voxels that don't count: they get one more than the last class. None without one.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.
    """

    def __init__(
        self,
        keys: KeysCollection,
        values: Sequence[int] | None = None,
        ignore: int | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = values
        self.ignore = ignore

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replaces each label map by its classes' numbers, of the same type."""
        numbered = dict(data)
        for key in self.key_iterator(numbered):
            label = numbered[key]
            source = getattr(label, "meta", {}).get("filename_or_obj", "the label")
            array = np.asarray(torch.as_tensor(label).cpu())
            numbers = class_numbers(array, self.values, self.ignore, source)
            if numbers is not array:
                numbered[key] = convert_to_dst_type(numbers, label)[0]
        return numbered
