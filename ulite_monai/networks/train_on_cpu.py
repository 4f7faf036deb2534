"""U-Lite as a CPU trains it fast: the same weights, names, outputs and gradients from other operations.

PyTorch has fast CPU gradients for depthwise convolutions along the first axis of channels-last planes only, and its
gradient of nearest upsampling is slow. ``benchmarks/network.py`` compares with what oneDNN and ``torch.compile`` make
of the network as it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from ulite_monai.networks.blocks import AxialDepthwise, DecoderBlock, cut
from ulite_monai.networks.ulite import ULite

__all__ = ["arrange", "dilate_pointwise", "restore"]

Network = TypeVar("Network", bound=nn.Module)
# Voxels, below which a depthwise convolution along a row costs less than rows that are planes of their own.
SHORT_ROW = 8


def arrange(network: Network) -> Network:
    """Let a ``ULite`` whose weights are on a CPU compute by the operations below; any other network stays as it is.

    Args:
        network: changed in place. A deep copy is arranged as it is; for TorchScript, ``restore`` it first.

    Returns:
        ``network``.
    """
    if all(parameter.device.type == "cpu" for parameter in network.parameters()):
        for module in network.modules():
            module.__class__ = _ARRANGED.get(type(module), type(module))
            if isinstance(module, ULite):
                dilate_pointwise(module)
    return network


def restore(network: Network) -> Network:
    """Undo ``arrange``, in place, and return ``network``."""
    plain = {arranged: plain for plain, arranged in _ARRANGED.items()}
    for module in network.modules():
        module.__class__ = plain.get(type(module), type(module))
        if isinstance(module, ULite):
            dilate_pointwise(module, 1)
    return network


def dilate_pointwise(network: nn.Module, dilation: int = 2) -> None:
    """Mark pointwise convolutions as dilated, which changes nothing of a single voxel but who computes it.

    On one CPU thread PyTorch computes them by a way of its own, which copies channels-last features to and fro, unless
    they are dilated; then oneDNN does, as it does on several threads.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1}:
            module.dilation = (dilation,) * len(module.kernel_size)


class _OnPlanes(AxialDepthwise):
    """Every convolution runs along the first axis of a stack of planes.

    Channels-last, such a stack is the same memory for any axis: the axes after it are one axis, of one voxel after the
    last. Rows of a few voxels would be too many planes, so they stay the second axis.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.dilation > 1 and _in_bfloat16(x):
            # PyTorch 2.13's gradient of a dilated depthwise convolution in bfloat16 is whatever the memory held before,
            # where rows have 29 voxels or more; no issue of PyTorch was found that reports it. These convolutions are
            # on the coarsest grid alone, so float32 costs next to nothing.
            own = next(self.parameters()).dtype
            with torch.autocast("cpu", enabled=False):
                return self._on_planes(x.to(torch.promote_types(own, torch.float32))).to(own)
        return self._on_planes(x)

    def _on_planes(self, x: torch.Tensor) -> torch.Tensor:
        shape, channels = x.shape[2:], x.shape[1]
        last = self.spatial_dims - 1
        planes = x.permute(0, *range(2, x.ndim), 1).contiguous()
        out = planes
        convs: list[Any] = list(self.convs)
        for axis, conv in enumerate(convs):
            size, reach = conv.kernel_size[axis], conv.padding[axis]
            along_rows = axis == last and shape[axis] < SHORT_ROW
            first = last - 1 if along_rows else axis
            view = planes.reshape(-1, shape[first], math.prod(shape[first + 1 :]), channels)
            filtered = F.conv2d(
                view.permute(0, 3, 1, 2),
                conv.weight.to(x.dtype).reshape((channels, 1, 1, size) if along_rows else (channels, 1, size, 1)),
                conv.bias.to(x.dtype),
                padding=(0, reach) if along_rows else (reach, 0),
                dilation=self.dilation,
                groups=channels,
            )
            out = out + filtered.permute(0, 2, 3, 1).reshape(planes.shape)
        return out.permute(0, x.ndim - 1, *range(1, x.ndim - 1))


class _OnTheCoarseGrid(DecoderBlock):
    """The first pointwise convolution is a sum of one of the coarse features, which upsampling doesn't change, and one
    of the skip: the concatenation isn't made, and most of the multiplications are done on the coarse grid.
    """

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        convolve = F.conv3d if x.ndim == 5 else F.conv2d
        of_coarse, of_skip = self.pw.weight.split([x.shape[1], skip.shape[1]], dim=1)
        coarse = _Repeat.apply(convolve(x, of_coarse), self.stride)  # type: ignore[no-untyped-call]
        x = cut(coarse, list(skip.shape[2:])) + convolve(skip, of_skip, self.pw.bias)
        return self.dropout(self.act(self.pw2(self.dw(self.norm(x)))))


class _Repeat(torch.autograd.Function):
    """Nearest upsampling whose gradient, the sum over each block, is fast."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:  # type: ignore[no-untyped-def]
        ctx.stride = tuple(stride)
        return F.interpolate(x, scale_factor=[float(step) for step in stride], mode="nearest")

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[no-untyped-def, override]
        for axis, step in enumerate(ctx.stride, start=2):
            grad = functools.reduce(torch.add, grad.unflatten(axis, (-1, step)).unbind(axis + 1))
        return grad, None


_ARRANGED: dict[type, type] = {AxialDepthwise: _OnPlanes, DecoderBlock: _OnTheCoarseGrid}


def _in_bfloat16(x: torch.Tensor) -> bool:
    return x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
