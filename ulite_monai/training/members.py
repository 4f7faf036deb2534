"""The loss of an ensemble in training: the mean of its members'."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["LossOfMembers"]


class LossOfMembers(nn.Module):
    """The mean of a loss over the members of an `Ensemble`, each against the label; of another network, the loss.

    Args:
        loss: takes logits ``(batch, classes, *spatial)`` and a label of the same shape.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """The loss of ``logits``, those of an `Ensemble` in training mode having the members as the second axis."""
        if logits.ndim == label.ndim:
            return self.loss(logits, label)
        return torch.stack([self.loss(one, label) for one in logits.unbind(1)]).mean()
