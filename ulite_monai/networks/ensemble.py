"""Several networks as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ulite_monai.networks.ulite import ULite

__all__ = ["Ensemble", "channels_and_dims", "is_ulite", "members_of", "normalises_over_the_batch"]


class Ensemble(nn.Module):
    """The mean of the logits of several networks, such as those of the folds of a cross-validation.

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
        """Logits ``(batch, out_channels, *spatial)`` of images ``(batch, in_channels, *spatial)``."""
        each = [member(x) for member in self.members]
        total = each[0]
        for logits in each[1:]:
            total = total + logits
        return total / len(each)


def members_of(network: nn.Module) -> list[nn.Module]:
    """The networks whose logits ``network`` averages, those of ensembles within it too; itself if it is none."""
    if not isinstance(network, Ensemble):
        return [network]
    return [one for member in network.members for one in members_of(member)]


def channels_and_dims(network: nn.Module) -> tuple[int, int]:
    """The channels of the input and the spatial dimensions of a ``ULite``, fused or not, or of an ensemble of such."""
    one: Any = members_of(network)[0]
    return one.stem.in_channels, one.spatial_dims


def is_ulite(network: nn.Module) -> TypeGuard[ULite | Ensemble]:
    """Whether ``network`` is a ``ULite``, or an ensemble of nothing else."""
    return all(isinstance(member, ULite) for member in members_of(network))


def normalises_over_the_batch(network: nn.Module) -> bool:
    """Whether the logits of an image depend on what else is in its batch, in evaluation mode too."""
    return any(isinstance(module, _BatchNorm) and module.running_mean is None for module in network.modules())
