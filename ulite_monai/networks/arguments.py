"""Checks of constructor arguments that say which argument is wrong, its value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

__all__ = ["per_axis", "per_level", "positive_int", "probability"]


def positive_int(name: str, value: object) -> int:
    """``value`` as an int, or a ValueError that names the argument."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must hold whole numbers of at least 1, got {value!r}.")
    return int(value)


def per_axis(name: str, value: int | Sequence[int], spatial_dims: int, odd: bool = False) -> tuple[int, ...]:
    """One positive whole number per spatial axis, from one for all or from one per axis."""
    values = (value,) * spatial_dims if isinstance(value, Integral) else value
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != spatial_dims:
        raise ValueError(f"{name} must be a number or {spatial_dims} of them (one per axis), got {value!r}.")
    checked = tuple(positive_int(name, v) for v in values)
    if odd and any(v % 2 == 0 for v in checked):
        raise ValueError(f"{name} must be odd, got {value!r}.")
    return checked


def per_level(
    name: str, value: int | Sequence[int | Sequence[int]], levels: int, spatial_dims: int, odd: bool = False
) -> list[tuple[int, ...]]:
    """For each level one positive whole number per axis, from one number for all or from an entry per level."""
    entries = (int(value),) * levels if isinstance(value, Integral) else value
    if isinstance(entries, str) or not isinstance(entries, Sequence) or len(entries) != levels:
        raise ValueError(f"{name} must be a number or one entry for each of the {levels} levels, got {value!r}.")
    return [per_axis(name, entry, spatial_dims, odd) for entry in entries]  # type: ignore[arg-type]


def probability(name: str, value: tuple | str | float) -> None:
    """Accepts what MONAI takes for dropout; a plain number must lie in [0, 1)."""
    if isinstance(value, int | float) and not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}.")
