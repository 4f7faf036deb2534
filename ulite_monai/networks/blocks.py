"""Building blocks of U-Lite, for 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_act_layer, get_dropout_layer, get_norm_layer
from torch import nn

__all__ = ["AxialDepthwise", "Bottleneck", "DecoderBlock", "EncoderBlock", "cut"]


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
        out = x
        for conv in self.convs:
            out = out + conv(x)
        return out


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
        self.pool = Pool[Pool.MAX, spatial_dims](tuple(self.stride), ceil_mode=True)
        self.act = get_act_layer(act)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the coarse features and the skip."""
        skip = self.norm(self.dw(x))
        return self.act(self.pool(self.pw(skip))), skip


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
        self.dropout = get_dropout_layer(dropout, dropout_dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape ``(batch, channels, *spatial)`` in and out."""
        x = self.pw1(x)
        branches = [x]
        for dw in self.dws:
            branches.append(dw(x))
        return self.dropout(self.act(self.pw2(self.norm(torch.cat(branches, dim=1)))))


class DecoderBlock(nn.Module):
    """Upsampling, concatenation with the skip, pointwise, norm, axial depthwise and pointwise convolution, activation.

    The upsampled features are cut to the skip's size, where the encoder's pooling rounded it up.
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
        self.up = nn.Upsample(scale_factor=tuple(float(s) for s in stride), mode="nearest")
        self.pw = Conv[Conv.CONV, spatial_dims](in_channels + out_channels, out_channels, 1)
        self.norm = get_norm_layer(norm, spatial_dims, out_channels)
        self.dw = AxialDepthwise(spatial_dims, out_channels, kernel_size)
        self.pw2 = Conv[Conv.CONV, spatial_dims](out_channels, out_channels, 1)
        self.act = get_act_layer(act)
        self.dropout = get_dropout_layer(dropout, dropout_dim=1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Coarse features and the skip, in that order of channels, to features of the skip's shape."""
        x = self.pw(torch.cat([cut(self.up(x), list(skip.shape[2:])), skip], dim=1))
        return self.dropout(self.act(self.pw2(self.dw(self.norm(x)))))


def cut(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    """The first ``size`` voxels of each spatial axis."""
    # Without a condition on the shape: a trace or an export would keep only the branch that its example took.
    for axis in range(len(size)):
        x = x.narrow(axis + 2, 0, size[axis])
    return x
