"""A data set's label values and the numbers 1, 2, ... of its classes, which a network knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.write_nifti import smallest_label_dtype

__all__ = ["class_numbers", "with_label_values"]


def class_numbers(
    labels: np.ndarray, values: Sequence[int] | None, ignore: int | None = None, source: object = "the label"
) -> np.ndarray:
    """The number of each voxel's class: 1 for the first of `values`, and so on; one more than the last to ignore.

    Args:
        labels: whole numbers >= 0.
        values: of the classes; None where they are their numbers, and none is to be ignored.
        ignore: the value of voxels that don't count; None without one.
        source: what a message calls the labels.

    Returns:
        Of the shape of `labels`; they themselves where nothing changes.

    Raises:
        InputError: When a voxel has another value.
    """
    if values is None or (ignore is None and list(values) == list(range(1, len(values) + 1))):
        return labels
    known = [0, *values, *([] if ignore is None else [ignore])]
    table = np.full(max(int(labels.max(initial=0)), *known) + 1, -1, dtype=np.int32)
    table[known] = range(len(known))
    numbers = table[labels.astype(np.int64, copy=False)]
    if numbers.min(initial=0) < 0:
        raise InputError(f"{source}: holds the value {int(labels[numbers < 0][0])}, which is no class's.")
    return numbers.astype(smallest_label_dtype(numbers))


def with_label_values(numbers: np.ndarray, values: Sequence[int] | None) -> np.ndarray:
    """The inverse of `class_numbers`: a label map that holds `values`, in the smallest type for them.

    Args:
        numbers: whole numbers 0 to the number of classes.
        values: of the classes; None where they are their numbers.
    """
    if values is None:
        return numbers.astype(smallest_label_dtype(numbers))
    table = np.asarray([0, *values])
    return table.astype(smallest_label_dtype(table))[numbers.astype(np.intp, copy=False)]
