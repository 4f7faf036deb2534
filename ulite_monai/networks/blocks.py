"""Building blocks of U-Lite, for 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer, get_dropout_layer, get_norm_layer
from torch import nn

from ulite_monai.networks.resampling import max_pool, upsample_nearest

__all__ = ["AxialDepthwise", "Bottleneck", "DecoderBlock", "EncoderBlock"]


# Voxels, below which a depthwise convolution along a row costs less than rows that are planes of their own: 1.6 against
# 6.1 ms, forward and backward in bfloat16, for 70 rows of 5 voxels and 192 channels; 3.8 against 1.3 ms for 280 of 10
# and 96 channels.
SHORT_ROW = 8


class AxialDepthwise(nn.Module):
    """The input plus one 1D depthwise convolution along each axis of it (axial depthwise convolution).

    Args:
        spatial_dims: 2 or 3.
        channels: channels of input and output.
        kernel_size: odd kernel size, one per axis.
        dilation: dilation of every kernel. Defaults to 1.
    """

    def __init__(self, spatial_dims: int, channels: int, kernel_size: Sequence[int], dilation: int = 1) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.dilation = dilation
        self.convs = nn.ModuleList()
        for axis, size in enumerate(kernel_size):
            kernel = [1] * spatial_dims
            padding = [0] * spatial_dims
            kernel[axis] = size
            padding[axis] = dilation * (size // 2)
            self.convs.append(
                Conv[Conv.CONV, spatial_dims](
                    channels, channels, tuple(kernel), padding=tuple(padding), dilation=dilation, groups=channels
                )
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape ``(batch, channels, *spatial)`` in and out."""
        if not torch.jit.is_scripting():
            if self.dilation > 1 and x.device.type == "cpu" and _in_bfloat16(x):
                return self._forward_in_float32(x)
            if self._trains_on_a_cpu(x):
                return self._forward_on_planes(x)
        out = x
        for conv in self.convs:
            out = out + conv(x)
        return out

    @torch.jit.unused
    def _trains_on_a_cpu(self, x: torch.Tensor) -> bool:
        return self.training and x.device.type == "cpu" and torch.is_grad_enabled()

    @torch.jit.unused
    def _forward_in_float32(self, x: torch.Tensor) -> torch.Tensor:
        # On a CPU that computes in bfloat16, PyTorch 2.13's gradient of a dilated depthwise convolution in 2D is
        # whatever the memory held before, where rows have 29 voxels or more. These convolutions are on the coarsest
        # grid alone, so float32 costs next to nothing.
        convs: list[Any] = list(self.convs)
        own = convs[0].weight.dtype
        x = x.to(torch.promote_types(own, torch.float32))
        with torch.autocast("cpu", enabled=False):
            if self._trains_on_a_cpu(x):
                return self._forward_on_planes(x).to(own)
            out = x
            for conv in convs:
                out = out + conv._conv_forward(x, conv.weight.to(x.dtype), conv.bias.to(x.dtype))
            return out.to(own)

    @torch.jit.unused
    def _forward_on_planes(self, x: torch.Tensor) -> torch.Tensor:
        # PyTorch has fast CPU gradients for depthwise convolutions along the first axis of planes only. Channels-last,
        # a stack of planes whose first axis is any given one is the same memory: the axes after it are one axis, of
        # one voxel after the last. Rows of a few voxels would be too many planes, so they stay the second axis.
        shape, channels = list(x.shape[2:]), x.shape[1]
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


@torch.jit.unused
def _in_bfloat16(x: torch.Tensor) -> bool:
    return x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")


class EncoderBlock(nn.Module):
    """Axial depthwise convolution and norm (the skip), then pointwise convolution, max-pooling and activation."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stride: Sequence[int],
        kernel_size: Sequence[int],
        act: tuple | str,
        norm: tuple | str,
    ) -> None:
        super().__init__()
        self.stride = [int(s) for s in stride]
        self.dw = AxialDepthwise(spatial_dims, in_channels, kernel_size)
        self.norm = get_norm_layer(norm, spatial_dims, in_channels)
        self.pw = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, 1)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the coarse features and the skip."""
        skip = self.norm(self.dw(x))
        return self.act(max_pool(self.pw(skip), self.stride)), skip


class Bottleneck(nn.Module):
    """Axial depthwise convolutions of several dilations on a quarter of the channels, side by side."""

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        kernel_size: Sequence[int],
        dilations: Sequence[int],
        act: tuple | str,
        norm: tuple | str,
        dropout: tuple | str | float,
    ) -> None:
        super().__init__()
        width = channels // 4
        joined = width * (1 + len(dilations))
        self.pw1 = Conv[Conv.CONV, spatial_dims](channels, width, 1)
        self.dws = nn.ModuleList(AxialDepthwise(spatial_dims, width, kernel_size, d) for d in dilations)
        self.norm = get_norm_layer(norm, spatial_dims, joined)
        self.pw2 = Conv[Conv.CONV, spatial_dims](joined, channels, 1)
        self.act = get_act_layer(act)
        self.dropout = make_dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pw1(x)
        branches = [x]
        for dw in self.dws:
            branches.append(dw(x))
        return self.dropout(self.act(self.pw2(self.norm(torch.cat(branches, dim=1)))))


class DecoderBlock(nn.Module):
    """Upsampling, merging with the skip, norm, axial depthwise and pointwise convolution, activation.

    The paper upsamples, concatenates the skip and applies one pointwise convolution. That convolution is a sum of one
    over the upsampled channels and one over the skip's, and the first commutes with nearest upsampling: it runs on
    the coarse grid here, and the concatenated tensor never exists. The result and the parameters are the same.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stride: Sequence[int],
        kernel_size: Sequence[int],
        act: tuple | str,
        norm: tuple | str,
        dropout: tuple | str | float,
    ) -> None:
        super().__init__()
        self.stride = [int(s) for s in stride]
        self.pw_coarse = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, 1, bias=False)
        self.pw_skip = Conv[Conv.CONV, spatial_dims](out_channels, out_channels, 1)
        init_as_one_convolution(self.pw_coarse, self.pw_skip)
        self.norm = get_norm_layer(norm, spatial_dims, out_channels)
        self.dw = AxialDepthwise(spatial_dims, out_channels, kernel_size)
        self.pw2 = Conv[Conv.CONV, spatial_dims](out_channels, out_channels, 1)
        self.act = get_act_layer(act)
        self.dropout = make_dropout(dropout)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        coarse = upsample_nearest(self.pw_coarse(x), self.stride, list(skip.shape[2:]))
        x = coarse + self.pw_skip(skip)
        return self.dropout(self.act(self.pw2(self.dw(self.norm(x)))))


def init_as_one_convolution(*convs: nn.Module) -> None:
    """Initialise parallel convolutions as PyTorch would the one over all their input channels (same fan-in)."""
    fan_in = sum(conv.weight[0].numel() for conv in convs)  # type: ignore[index, operator, union-attr, misc]
    bound = 1 / math.sqrt(fan_in)
    for conv in convs:
        for parameter in conv.parameters():
            nn.init.uniform_(parameter, -bound, bound)


def make_dropout(dropout: tuple | str | float) -> nn.Module:
    """MONAI's dropout layer, element-wise for a plain probability; none for 0."""
    return nn.Identity() if dropout == 0 else get_dropout_layer(dropout, dropout_dim=1)
