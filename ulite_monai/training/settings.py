"""Values of ids, checked before MONAI fails on them in words of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ulite_monai.errors import InputError

__all__ = ["require_settings"]


def require_settings(axes: int, per_axis: Mapping[str, Any], positive: Mapping[str, Any], flip_axes: Any) -> None:
    """Check what users often give: one number per axis, numbers above 0, axes to flip.

    Args:
        axes: of the images, 2 or 3.
        per_axis: values by id that must be a list of so many numbers above 0.
        positive: values by id that must be a number above 0.
        flip_axes: must be a list of axes, from 0.

    Raises:
        InputError: When one isn't; it names the id, what was given, and an example.
    """
    for name, value in per_axis.items():
        if not _is_list(value) or len(value) != axes or not all(_is_positive(one) for one in value):
            raise InputError(f'{name} must be {axes} numbers above 0, such as "{[1] * axes}", got {value!r}.')
    for name, value in positive.items():
        if not _is_positive(value):
            raise InputError(f"{name} must be a number above 0, got {value!r}.")
    if not _is_list(flip_axes) or any(isinstance(one, bool) or one not in range(axes) for one in flip_axes):
        raise InputError(f'flip_axes must be a list of axes from 0 to {axes - 1}, such as "[0]", got {flip_axes!r}.')


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
