"""NaN and infinite voxels, and such as no image holds: refused, or replaced and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ulite_monai.errors import InputError

__all__ = ["NonFinite", "settle_nonfinite", "warn_of_lost_steps"]

NonFinite = Literal["error", "replace"]

LARGEST = 1e18  # squares fit 32-bit floats; beyond are fill values such as -3.4e38, which ruin mean and deviation
FEW_STEPS = 256  # what an 8-bit image has
UNUSABLE = f"NaN, infinite or beyond {LARGEST:g}"


def settle_nonfinite(array: np.ndarray, name: str | Path, on_nonfinite: NonFinite, warnings: list[str]) -> np.ndarray:
    """The array without NaN, infinite values, and values beyond 1e18.

    Args:
        array: any shape, any real type.
        name: what to call it in messages.
        on_nonfinite: "error" refuses them; "replace" puts the finite minimum there and adds a warning.
        warnings: where the warning goes.

    Raises:
        InputError: When there are some and `on_nonfinite` is "error", or when there is nothing else.
    """
    if array.dtype.kind != "f" and array.dtype.itemsize < 8:
        return array
    finite = _usable(array)
    count = int(finite.size - np.count_nonzero(finite))
    if count == 0:
        return array
    if count == array.size:
        raise InputError(f"{name}: all {count:,} voxels are {UNUSABLE}; export it again.")
    if on_nonfinite == "error":
        raise InputError(f"{name}: {count:,} of {array.size:,} voxels are {UNUSABLE}; replace them by numbers.")
    lowest = array[finite].min()
    warnings.append(f"{name}: {count:,} voxels were {UNUSABLE} and were taken as the minimum, {lowest:g}.")
    return np.where(finite, array, lowest)


def warn_of_lost_steps(array: np.ndarray, slope: float | None, name: str | Path, warnings: list[str]) -> None:
    """Warn of a signal on so large an offset that 32-bit floats, in which networks compute, swallow it.

    Args:
        array: any shape, finite values.
        slope: by which stored numbers were multiplied; None where they are the values themselves.
        name: what to call it in messages.
        warnings: where the warning goes.
    """
    if array.size == 0 or (slope is None and np.can_cast(array.dtype, np.float32)):
        return
    low, high = float(array.min()), float(array.max())
    step = float(np.spacing(np.float32(max(abs(low), abs(high)))))
    if 0 < high - low < FEW_STEPS * step or (low == high and abs(slope or step) < step):
        warnings.append(
            f"{name}: its values run from {low!r} to {high!r}, where 32-bit floats lie {step:g} apart, so little of "
            "the signal is left; subtract the offset before."
        )


def _usable(array: np.ndarray) -> np.ndarray:
    if array.dtype.itemsize < 4:
        return np.isfinite(array)
    return (array > -LARGEST) & (array < LARGEST)  # NaN is neither
