"""Labels as annotators save them, with the bundle's label values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ulite_monai.errors import InputError

__all__ = ["with_values_of"]


def with_values_of(
    labels: Mapping[str, int], array: np.ndarray, segments: Sequence[Mapping[str, Any]], source: Any
) -> np.ndarray:
    """The label map with the values that the bundle gives its classes.

    A viewer numbers the segments in its own order and sends their names beside.

    Args:
        labels: the bundle's classes and their values.
        array: label map.
        segments: `name` and `idx` (the value in `array`) of each segment, as a viewer sends them; others are ignored.
        source: names the label in an error.

    Raises:
        InputError: When a segment isn't one of the classes.
    """
    named = {int(one["idx"]): str(one["name"]) for one in segments if one.get("idx") and "name" in one}
    known = {name.casefold(): value for name, value in labels.items()}
    renamed = array.copy()
    for value, name in named.items():
        here = array == value
        if name.casefold() in known:
            renamed[here] = known[name.casefold()]
        elif here.any():
            raise InputError(f"{source}: has a segment {name!r}; the bundle's classes are {', '.join(labels)}.")
    return renamed
