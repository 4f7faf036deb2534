"""U-Lite, a segmentation network of fewer than a million parameters, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn

from ulite_monai.networks.arguments import per_axis, per_level, positive_int, probability
from ulite_monai.networks.blocks import Bottleneck, DecoderBlock, EncoderBlock, cut

__all__ = ["ULite"]


class ULite(nn.Module):
    """U-Lite, based on:

    Dinh et al., "1M parameters are enough? A lightweight CNN-based model for medical image segmentation",
    APSIPA 2023, https://arxiv.org/abs/2306.16103.

    A U-Net of axial depthwise and pointwise convolutions. The defaults are the paper's network: 878,417 parameters
    in 2D with 3 input channels and 1 output channel. Every input of at least one voxel an axis gives logits of its
    own size; nothing need be a multiple of the strides.

    ``ulite_monai.networks.fuse`` makes it fast for inference, and
    ``ulite_monai.networks.train_on_cpu.arrange`` for training on a CPU.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output, without an activation.
        features: channels after the stem and after each level; one more than there are levels. The last must be at
            least 4. Defaults to ``(16, 32, 64, 128, 256, 512)``.
        strides: pooling of each level: one number, or one entry per level that is a number or one per axis.
            Defaults to 2.
        kernel_size: odd size of the axial depthwise kernels: a number, one per axis, or for each level a list of one
            per axis. Defaults to 7.
        stem_kernel_size: size of the first convolution, a number or one per axis, at least ``stem_stride`` and
            differing from it by an even number. Defaults to 7, or to twice ``stem_stride`` (one more for an odd
            one) where that is above 1.
        stem_stride: stride of the first convolution, a number or one per axis. Above 1 the head is the transposed
            convolution of the same kernel and stride. Defaults to 1.
        act: activation, as MONAI takes it. Defaults to "GELU".
        norm: normalization, as MONAI takes it. Defaults to "BATCH".
        dropout: dropout after the bottleneck and each decoder level, as MONAI takes it. Defaults to 0.0, none.

    Attributes:
        structure: the arguments that another network needs to take the weights of this one and compute the same:
            ``features``, ``strides``, ``kernel_size``, ``stem_kernel_size``, ``stem_stride``, written out.

    Raises:
        ValueError: When an argument is out of its range; the message names it.

    Example::

        >>> network = ULite(spatial_dims=3, in_channels=1, out_channels=3, features=(16, 32, 64, 128, 256))
        >>> network(torch.zeros(1, 1, 35, 51, 37)).shape
        torch.Size([1, 3, 35, 51, 37])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = (16, 32, 64, 128, 256, 512),
        strides: int | Sequence[int | Sequence[int]] = 2,
        kernel_size: int | Sequence[int] | Sequence[Sequence[int]] = 7,
        stem_kernel_size: int | Sequence[int] | None = None,
        stem_stride: int | Sequence[int] = 1,
        act: tuple | str = "GELU",
        norm: tuple | str = "BATCH",
        dropout: tuple | str | float = 0.0,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims!r}.")
        positive_int("in_channels", in_channels)
        positive_int("out_channels", out_channels)
        widths = _check_features(features)
        level_strides = per_level("strides", strides, len(widths) - 1, spatial_dims)
        kernels = _kernels(kernel_size, len(widths) - 1, spatial_dims)
        stem_step = per_axis("stem_stride", stem_stride, spatial_dims)
        stem_kernel = _stem_kernel(stem_kernel_size, stem_step, spatial_dims)
        probability("dropout", dropout)

        self.spatial_dims = spatial_dims
        self.structure: dict[str, Any] = {
            "features": list(widths),
            "strides": [list(stride) for stride in level_strides],
            "kernel_size": [list(kernel) for kernel in kernels],
            "stem_kernel_size": list(stem_kernel),
            "stem_stride": list(stem_step),
        }
        self.stem_stride = list(stem_step)
        stem_padding = tuple((k - s) // 2 for k, s in zip(stem_kernel, stem_step, strict=True))
        self.stem = Conv[Conv.CONV, spatial_dims](
            in_channels, widths[0], stem_kernel, stride=stem_step, padding=stem_padding
        )
        levels = list(zip(widths[:-1], widths[1:], level_strides, kernels, strict=True))
        self.encoder = nn.ModuleList(
            EncoderBlock(spatial_dims, narrow, wide, stride, kernel, act, norm)
            for narrow, wide, stride, kernel in levels
        )
        self.bottleneck = Bottleneck(
            spatial_dims, widths[-1], [3] * spatial_dims, (1, 2, 3), act=act, norm=norm, dropout=dropout
        )
        self.decoder = nn.ModuleList(
            DecoderBlock(spatial_dims, wide, narrow, stride, kernel, act, norm, dropout)
            for narrow, wide, stride, kernel in reversed(levels)
        )
        if max(stem_step) == 1:
            self.head = Conv[Conv.CONV, spatial_dims](widths[0], out_channels, 1)
        else:
            self.head = Conv[Conv.CONVTRANS, spatial_dims](
                widths[0], out_channels, stem_kernel, stride=stem_step, padding=stem_padding
            )

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The coarsest features of ``x``, and the skips from fine to coarse."""
        x = self.stem(_pad_to_multiple(x, self.stem_stride))
        skips: list[torch.Tensor] = []
        for block in self.encoder:
            x, skip = block(x)
            skips.append(skip)
        return x, skips

    def decode(self, x: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """Logits from what ``encode`` gave, on the stem's grid multiplied by its stride."""
        x = self.bottleneck(x)
        for level, block in enumerate(self.decoder):
            x = block(x, skips[len(skips) - 1 - level])
        return self.head(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, out_channels, *spatial)`` of images ``(batch, in_channels, *spatial)``."""
        coarse, skips = self.encode(x)
        return cut(self.decode(coarse, skips), list(x.shape[2:]))


def _pad_to_multiple(x: torch.Tensor, stride: list[int]) -> torch.Tensor:
    padding: list[int] = []
    for i in range(len(stride)):
        axis = len(stride) - 1 - i
        padding.append(0)
        padding.append(-x.shape[axis + 2] % stride[axis])
    return F.pad(x, padding) if max(padding) > 0 else x


def _check_features(features: Sequence[int]) -> tuple[int, ...]:
    if isinstance(features, str) or not isinstance(features, Sequence) or len(features) == 0:
        raise ValueError(f"features must be a sequence of at least one channel count, got {features!r}.")
    for width in features:
        positive_int("features", width)
    if features[-1] < 4:
        raise ValueError(f"The last of features must be at least 4 (the bottleneck uses a quarter), got {features!r}.")
    return tuple(features)


def _kernels(
    size: int | Sequence[int] | Sequence[Sequence[int]], levels: int, spatial_dims: int
) -> list[tuple[int, ...]]:
    of_levels = not isinstance(size, int | str) and all(isinstance(entry, Sequence) for entry in size)
    kernels = size if of_levels else [per_axis("kernel_size", size, spatial_dims, odd=True)] * levels  # type: ignore[arg-type]
    return per_level("kernel_size", kernels, levels, spatial_dims, odd=True)  # type: ignore[arg-type]


def _stem_kernel(size: int | Sequence[int] | None, stride: tuple[int, ...], spatial_dims: int) -> tuple[int, ...]:
    if size is None:
        return tuple(2 * s + s % 2 if s > 1 else 7 for s in stride) if max(stride) > 1 else (7,) * spatial_dims
    kernel = per_axis("stem_kernel_size", size, spatial_dims)
    for k, s in zip(kernel, stride, strict=True):
        if k < s or (k - s) % 2:
            raise ValueError(
                f"stem_kernel_size must be at least stem_stride and differ from it by an even number, "
                f"got stem_kernel_size {size!r} with stem_stride {stride!r}."
            )
    return kernel
