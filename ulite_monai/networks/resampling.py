"""Max-pooling and nearest upsampling that are fast on a CPU and deterministic on a GPU, for any size."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

__all__ = ["max_pool", "upsample_nearest"]


def max_pool(x: torch.Tensor, stride: list[int]) -> torch.Tensor:
    """Maximum over blocks of ``stride`` voxels; the last block of an axis may be smaller.

    Args:
        x: shape ``(batch, channels, *spatial)``, floating point.
        stride: block size, one per spatial axis.

    Returns:
        Shape ``(batch, channels, *ceil(spatial / stride))``.
    """
    if not torch.jit.is_scripting():
        if x.requires_grad and x.device.type != "cpu":
            return _max_pool_by_pairs(x, stride)
    if len(stride) == 3:
        return F.max_pool3d(x, stride, stride, ceil_mode=True)
    return F.max_pool2d(x, stride, stride, ceil_mode=True)


@torch.jit.unused
def _max_pool_by_pairs(x: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:
    # The gradient of PyTorch's pooling is non-deterministic on CUDA; that of torch.maximum is not.
    for axis, step in enumerate(stride, start=2):
        missing = -x.shape[axis] % step
        if missing:
            padding = [0] * (2 * (x.ndim - axis))
            padding[-1] = missing
            x = F.pad(x, padding, value=-math.inf)
        x = functools.reduce(torch.maximum, _interleaved(x, axis, step))
    return x


def upsample_nearest(x: torch.Tensor, stride: list[int], size: list[int]) -> torch.Tensor:
    """Repeat each voxel ``stride`` times along each axis, then cut to ``size``: the inverse grid of ``max_pool``.

    Args:
        x: shape ``(batch, channels, *spatial)``, floating point.
        stride: repetitions, one per spatial axis.
        size: spatial size of the result, at most ``spatial * stride``.

    Returns:
        Shape ``(batch, channels, *size)``.
    """
    if torch.jit.is_scripting():
        x = _repeat(x, stride)
    elif x.requires_grad:
        x = _Repeat.apply(x, stride)  # type: ignore[no-untyped-call]
    else:
        x = _repeat(x, stride)
    for axis in range(len(size)):
        if x.shape[axis + 2] != size[axis]:
            x = x.narrow(axis + 2, 0, size[axis])
    return x


def _repeat(x: torch.Tensor, stride: list[int]) -> torch.Tensor:
    return F.interpolate(x, scale_factor=[float(s) for s in stride], mode="nearest")


class _Repeat(torch.autograd.Function):
    """Nearest upsampling whose gradient, the sum over each block, is deterministic on CUDA and fast on a CPU."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, stride: Sequence[int]) -> torch.Tensor:  # type: ignore[no-untyped-def]
        ctx.stride = tuple(stride)
        return _repeat(x, list(stride))

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[no-untyped-def, override]
        for axis, step in enumerate(ctx.stride, start=2):
            grad = functools.reduce(torch.add, _interleaved(grad, axis, step))
        return grad, None


def _interleaved(x: torch.Tensor, axis: int, step: int) -> tuple[torch.Tensor, ...]:
    """Views of every `step`-th entry along `axis`, one per offset."""
    return x.unflatten(axis, (-1, step)).unbind(axis + 1)
