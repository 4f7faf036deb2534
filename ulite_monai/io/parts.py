"""Connected parts of a mask."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["largest_part"]


def largest_part(mask: np.ndarray) -> np.ndarray:
    """The largest of the parts whose voxels share faces, the first of equal ones; bool, empty where the mask is.

    Args:
        mask: bool, of any shape.
    """
    parts, count = ndimage.label(mask)
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax() if count else np.zeros(mask.shape, bool)
