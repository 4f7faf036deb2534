"""What of a volume is worth a network's time."""

from __future__ import annotations

import torch

__all__ = ["above_background"]


def above_background(image: torch.Tensor) -> torch.Tensor:
    """Where a volume isn't at its minimum, for MONAI's `CropForegroundd`; everywhere in a constant one.

    Args:
        image: shape (channels, i, j, k). Scaling and shifting it changes nothing, so this may come after the
            normalisation, whose mean and deviation must be those of the whole volume as in training.

    Returns:
        Boolean, of the same shape.
    """
    lowest = image.amin(dim=tuple(range(1, image.ndim)), keepdim=True)
    above = image > lowest
    return above if above.any() else torch.ones_like(above)
