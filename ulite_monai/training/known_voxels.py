"""Losses and voxels that nobody labelled."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

__all__ = ["KnownVoxels", "known_voxels"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def known_voxels(loss: Loss, ignore: int | None) -> Loss:
    """The loss itself, or `KnownVoxels` of it where a label value is to be ignored."""
    return loss if ignore is None else KnownVoxels(loss)


class KnownVoxels(nn.Module):
    """A loss over the voxels of a batch that are labelled, as if the others didn't exist.

    Args:
        loss: takes logits and one-hot targets, `(batch, classes, ...)`, and depends on no voxel's neighbours. It sees
            one sample with all labelled voxels of the batch.
    """

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of logits `(batch, classes, *spatial)`; `target` has one channel more, of voxels to leave out."""
        known = target[:, -1] == 0
        if not known.any():
            return logits.sum() * 0
        if known.all():
            return self.loss(logits, target[:, :-1])
        return self.loss(_voxels(logits, known), _voxels(target[:, :-1], known))


def _voxels(tensor: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Shape `(1, channels, voxels)`."""
    return tensor.movedim(1, 0)[:, known][None]
