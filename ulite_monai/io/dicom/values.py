"""Values of DICOM attributes, where absent and damaged ones count as none."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["comparable", "encoding", "numbers", "text", "value", "whole"]


def value(dataset: Any, keyword: str) -> Any:
    """The attribute's value, or None."""
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts when asked, and damaged bytes may raise anything
        return None


def encoding(dataset: Any) -> tuple[bool, bool]:
    """(implicit VR, little endian), as the file was read."""
    if hasattr(dataset, "original_encoding"):
        return dataset.original_encoding
    return dataset.read_implicit_vr, dataset.read_little_endian  # pydicom 2


def text(dataset: Any, keyword: str) -> str:
    """The attribute as text without spaces around it, or ""."""
    return str(value(dataset, keyword) or "").strip()


def whole(dataset: Any, keyword: str) -> int | None:
    """The attribute as a whole number, or None."""
    try:
        return int(value(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return None


def numbers(given: Any, count: int) -> np.ndarray | None:
    """`count` finite numbers as float64, or None."""
    try:
        found = np.atleast_1d(np.asarray(given, dtype=np.float64))
    except (TypeError, ValueError):
        return None
    return found if found.shape == (count,) and np.isfinite(found).all() else None


def comparable(given: Any) -> float | str | None:
    """A number where it is one (so that 2 comes before 10), else text; None stays None."""
    if given is None:
        return None
    number = numbers(given, 1)
    return str(given) if number is None else float(number[0])
