"""Several networks as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import nn

from ulite_monai.networks.arguments import positive_int
from ulite_monai.networks.ulite import ULite

__all__ = ["Ensemble", "is_ulite", "members_of", "ulite_ensemble"]


class Ensemble(nn.Module):
    """The mean of the logits of several networks, such as those of the folds of a cross-validation.

    In training mode, the logits of each: members that are trained by the loss of their mean learn to lean on each
    other, and are worth less together than members that are trained by the mean of their losses.

    Args:
        members: networks of the same input and output.

    Raises:
        ValueError: When there is no member.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs at least one member.")
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, out_channels, *spatial)`` of images ``(batch, in_channels, *spatial)``.

        In training mode ``(batch, members, out_channels, *spatial)``.
        """
        each: list[torch.Tensor] = []
        for member in self.members:
            each.append(member(x))
        if self.training:
            return torch.stack(each, dim=1)
        mean = each[0]
        for logits in each[1:]:
            mean = mean + logits
        return mean / len(each)


def members_of(network: nn.Module) -> list[nn.Module]:
    """The networks whose logits ``network`` averages, those of ensembles within it too; itself if it is none."""
    if not isinstance(network, Ensemble):
        return [network]
    return [one for member in network.members for one in members_of(member)]


def is_ulite(network: nn.Module) -> TypeGuard[ULite | Ensemble]:
    """Whether ``network`` is a ``ULite``, or an ensemble of nothing else."""
    return all(isinstance(member, ULite) for member in members_of(network))


def ulite_ensemble(members: int, **options: Any) -> ULite | Ensemble:
    """An ensemble of ``members`` networks that differ in their initial weights.

    Args:
        members: how many; 1 is a plain ``ULite``.
        options: arguments of each ``ULite``.

    Raises:
        ValueError: When an argument is out of its range.
    """
    positive_int("members", members)
    networks = [ULite(**options) for _ in range(members)]
    return networks[0] if members == 1 else Ensemble(networks)
