"""From logits to labels on the input's grid, in the order that takes the least memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Invertd, InvertibleTransform, MapTransform
from monai.utils import convert_to_tensor, ensure_tuple_rep

from ulite_monai.transforms.argmax import ArgMaxd

__all__ = ["LabelsOnInputGridd"]

AT_A_TIME = 8  # classes that go back to the input's grid


class LabelsOnInputGridd(MapTransform):
    """Softmax, the inverse of the preprocessing, and the class with the largest probability.

    Where the preprocessing only turned, flipped and cropped the image, the class is taken first: the labels are the
    same, but where classes tie within rounding, and one channel goes back instead of one for each class. Where it
    resampled the image, the probabilities of all classes go back, because labels can't be interpolated.

    Args:
        keys: logits `(classes, *spatial)` on the grid of the preprocessed image; their own metadata may be missing.
        transform: the preprocessing.
        orig_keys: the preprocessed image.
        allow_missing_keys: don't raise when a key is missing. Defaults to False.
    """

    def __init__(
        self,
        keys: KeysCollection,
        transform: InvertibleTransform,
        orig_keys: KeysCollection,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.orig_keys = ensure_tuple_rep(orig_keys, len(self.keys))
        common: dict[str, Any] = {"device": "cpu", "allow_missing_keys": allow_missing_keys}
        self._labels_back = Invertd(keys, transform, orig_keys, nearest_interp=True, **common)
        self._probabilities_back = Invertd(keys, transform, orig_keys, nearest_interp=False, **common)
        self.argmax = ArgMaxd(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Any, Any]:
        """Replaces the logits by labels on the input's grid: float32, `(1, *spatial)`."""
        if not any(_resampled(data[key]) for key in self.orig_keys if key in data):
            return self._labels_back(self.argmax(self._with_metadata(data)))
        if all(len(data[key]) <= AT_A_TIME for key in self.key_iterator(dict(data))):
            return self.argmax(self.probabilities(data))
        return self._few_at_a_time(data)

    def probabilities(self, data: Mapping[Hashable, Any]) -> dict[Any, Any]:
        """Replaces the logits by the classes' probabilities on the input's grid: float32, `(classes, *spatial)`."""
        softened = self._with_metadata(data)
        for key in self.key_iterator(softened):
            softened[key] = torch.softmax(softened[key], dim=0)
        return self._probabilities_back(softened)

    def _few_at_a_time(self, data: Mapping[Hashable, Any]) -> dict[Any, Any]:
        """The same labels; the memory on the input's grid doesn't grow with the number of classes."""
        labelled = self._with_metadata(data)
        for key in self.key_iterator(labelled):
            for slab in labelled[key].as_tensor().split(16, dim=1):
                slab.copy_(torch.softmax(slab, dim=0))  # in place: a copy could be gigabytes
        highest: dict[Any, torch.Tensor] = {}
        found: dict[Any, Any] = {}
        for first in range(0, max(len(labelled[key]) for key in self.key_iterator(labelled)), AT_A_TIME):
            some = {
                **labelled,
                **{key: labelled[key][first : first + AT_A_TIME] for key in self.key_iterator(labelled)},
            }
            back = self._probabilities_back(some)
            for key in self.key_iterator(labelled):
                classes = back.pop(key)
                if key not in found:
                    found[key], highest[key] = classes[:1].clone().zero_(), classes[:1].as_tensor().clone()
                for number, values in enumerate(classes.as_tensor(), first):
                    found[key].as_tensor()[0].masked_fill_(values > highest[key][0], number)
                    torch.maximum(highest[key][0], values, out=highest[key][0])
                del classes, values
        return {**back, **found}

    def _with_metadata(self, data: Mapping[Hashable, Any]) -> dict[Any, Any]:
        """`Invertd` turns back what can hold metadata alone, which a compiled network's logits don't."""
        copied = dict(data)
        for key in self.key_iterator(copied):
            copied[key] = convert_to_tensor(copied[key], track_meta=True)
        return copied


def _resampled(image: MetaTensor) -> bool:
    """Whether the image's grid is another than the file's, turned, flipped or cropped."""
    if "original_affine" not in image.meta:
        return True
    original, affine = (np.asarray(a, dtype=np.float64) for a in (image.meta["original_affine"], image.affine))
    to_original = np.linalg.solve(original, affine)
    whole = np.round(to_original)
    steps = np.abs(whole[:-1, :-1])
    one_to_one = (steps.sum(axis=0) == 1).all() and (steps.sum(axis=1) == 1).all()
    return not (one_to_one and np.allclose(to_original, whole, rtol=0, atol=1e-5))
