"""What of a volume is worth a network's time."""

from __future__ import annotations

import torch

__all__ = ["above_background"]

EMPTY = 0.25  # share of zeros


def above_background(image: torch.Tensor) -> torch.Tensor:
    """Where a volume isn't background, for MONAI's `CropForegroundd`; everywhere in a constant one.

    Background is what lies at the minimum. Where a quarter of a channel is exactly 0, as what is left out of a
    normalisation within the rest is, it is 0.

    Args:
        image: shape (channels, i, j, k). Scaling and shifting it changes nothing, so this may come after the
            normalisation, whose mean and deviation must be those of the whole volume as in training.

    Returns:
        Boolean, of the same shape.
    """
    axes = tuple(range(1, image.ndim))
    lowest = image.amin(dim=axes, keepdim=True)
    of_zeros = (image == 0).float().mean(dim=axes, keepdim=True) >= EMPTY
    above = torch.where(of_zeros, image != 0, image > lowest)
    return above if above.any() else torch.ones_like(above)
