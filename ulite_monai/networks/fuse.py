"""U-Lite for inference: the same outputs from fewer and cheaper operations."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeGuard, overload

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from ulite_monai.networks.blocks import AxialDepthwise, Bottleneck, DecoderBlock, EncoderBlock, cut
from ulite_monai.networks.ensemble import Ensemble
from ulite_monai.networks.train_on_cpu import restore
from ulite_monai.networks.transposed import ConvolvedTranspose
from ulite_monai.networks.ulite import ULite

__all__ = ["FusedULite", "fuse"]

# Axes whose 1D kernels join in one cross-shaped kernel: fewer passes over memory for more multiplications. It pays for
# two of three axes and not for two of two. Which two makes no difference in OpenVINO. On one thread, PyTorch's fast
# convolutions take only kernels that are wider than a voxel along one of the last two axes.
_JOINED_AXES = {2: ((0,), (1,)), 3: ((0, 2), (1,))}


@overload
def fuse(network: ULite) -> FusedULite: ...


@overload
def fuse(network: Ensemble) -> Ensemble: ...


def fuse(network: ULite | Ensemble) -> FusedULite | Ensemble:
    """The network for inference that gives the same logits as ``network`` in evaluation mode, only faster.

    The identity of each axial depthwise convolution and the batch norms around it are folded into its kernels, and
    dropout is gone. A norm that depends on the input (instance, group, layer) stays. The transposed convolution that
    is the head of a strided stem is computed as a convolution.

    Args:
        network: any ``ULite``, or an ``Ensemble`` of such, whose members are fused; it stays as it is.

    Returns:
        A network that takes ``(batch, in_channels, *spatial)`` of any size and returns contiguous logits
        ``(batch, out_channels, *spatial)``, on the device and of the dtype of the weights. It can be scripted,
        traced and exported with a dynamic batch and dynamic sizes.

    Raises:
        TypeError: When ``network``, or a member of it, is neither of them.
    """
    if isinstance(network, Ensemble):
        return Ensemble([fuse(member) for member in network.members]).eval()  # type: ignore[call-overload]
    if not isinstance(network, ULite):
        raise TypeError(f"network must be a ULite, got {type(network).__name__}.")
    dtype = network.stem.weight.dtype
    # The memory of the weights decides that of the features: an image of one channel has no channels-last of its own.
    layout = torch.channels_last_3d if network.spatial_dims == 3 else torch.channels_last
    with torch.no_grad():
        fused = FusedULite(restore(copy.deepcopy(network)).double())
    return fused.eval().requires_grad_(False).to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]


class FusedULite(nn.Module):
    """What ``fuse`` returns; it takes over, and changes, the modules of ``network``."""

    def __init__(self, network: ULite) -> None:
        super().__init__()
        self.spatial_dims = network.spatial_dims
        self.stem_stride = list(network.stem_stride)
        self.stem_padding = list(network.stem.padding)
        self.stem = network.stem
        # PyTorch 2.13 computes a channels-last convolution wrongly where the kernel is wider than a one-channel image
        # and pads it (a case that pytorch/pytorch#82060 left); padded beforehand it is right, and OpenVINO joins the
        # two again.
        self.stem.padding = (0,) * network.spatial_dims
        self.encoder = nn.ModuleList(_EncoderBlock(block) for block in network.encoder)  # type: ignore[arg-type]
        self.bottleneck = _Bottleneck(network.bottleneck)
        self.decoder = nn.ModuleList(_DecoderBlock(block) for block in network.decoder)  # type: ignore[arg-type]
        self.head = ConvolvedTranspose(network.head) if max(network.stem_stride) > 1 else network.head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, out_channels, *spatial)`` of images ``(batch, in_channels, *spatial)``."""
        size = list(x.shape[2:])
        x = self.stem(_pad(x, self.stem_padding, self.stem_stride))
        skips: list[torch.Tensor] = []
        for block in self.encoder:
            x, skip = block(x)
            skips.append(skip)
        x = self.bottleneck(x)
        for block in self.decoder:
            x = block(x, skips.pop())
        return cut(self.head(x), size).contiguous()


class _EncoderBlock(nn.Module):
    def __init__(self, block: EncoderBlock) -> None:
        super().__init__()
        self.stride = list(block.stride)
        self.dw = _Depthwise(block.dw, block.norm)
        self.norm = _without_batch_norm(block.norm)
        self.pw = block.pw
        self.pool = block.pool
        self.act = block.act

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        skip = self.norm(self.dw(x))
        return self.act(self.pool(self.pw(skip))), skip


class _Bottleneck(nn.Module):
    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        scale, shift = _affine(block.norm)
        self.pw1 = block.pw1
        self.dws = nn.ModuleList(_Depthwise(dw) for dw in block.dws)  # type: ignore[arg-type]
        self.norm = _without_batch_norm(block.norm)
        self.pw2 = _scale_inputs(block.pw2, scale, shift)
        self.act = block.act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pw1(x)
        branches = [x]
        for dw in self.dws:
            branches.append(dw(x))
        return self.act(self.pw2(self.norm(torch.cat(branches, dim=1))))


class _DecoderBlock(nn.Module):
    """Its first pointwise convolution is a sum of one of the coarse features, which upsampling doesn't change, and one
    of the skip: the concatenation isn't made, and most of the multiplications are done on the coarse grid.
    """

    def __init__(self, block: DecoderBlock) -> None:
        super().__init__()
        scale, shift = _affine(block.norm)
        pw = _scale_outputs(block.pw, scale, shift)
        of_skip = pw.out_channels
        self.up = block.up
        self.pw_coarse = _of_inputs(pw, slice(None, -of_skip), bias=False)
        self.pw_skip = _of_inputs(pw, slice(-of_skip, None), bias=True)
        self.norm = _without_batch_norm(block.norm)
        self.dw = _Depthwise(block.dw)
        self.pw2 = block.pw2
        self.act = block.act

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = cut(self.up(self.pw_coarse(x)), list(skip.shape[2:])) + self.pw_skip(skip)
        return self.act(self.pw2(self.dw(self.norm(x))))


class _Depthwise(nn.Module):
    """An axial depthwise convolution, its identity and the batch norm after it, as a sum of two convolutions."""

    def __init__(self, dw: AxialDepthwise, norm: nn.Module | None = None) -> None:
        super().__init__()
        scale, shift = _affine(norm)
        self.first, self.second = (_joined(dw, axes) for axes in _JOINED_AXES[dw.spatial_dims])
        _add_identity(self.first)
        _scale_outputs(self.first, scale, shift)
        _scale_outputs(self.second, scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x) + self.second(x)


def _joined(dw: AxialDepthwise, axes: tuple[int, ...]) -> _ConvNd:
    """The sum of the convolutions along `axes` as one convolution."""
    convs: list[_ConvNd] = [dw.convs[axis] for axis in axes]  # type: ignore[misc]
    size = [max(sizes) for sizes in zip(*(conv.kernel_size for conv in convs), strict=True)]
    padding = [max(sizes) for sizes in zip(*(conv.padding for conv in convs), strict=True)]
    channels = convs[0].out_channels
    joined = Conv[Conv.CONV, dw.spatial_dims](
        channels, channels, tuple(size), padding=tuple(padding), dilation=convs[0].dilation, groups=channels
    )
    joined.weight = nn.Parameter(torch.stack([_centred(conv.weight, size) for conv in convs]).sum(0))
    joined.bias = nn.Parameter(torch.stack([conv.bias for conv in convs]).sum(0))  # type: ignore[misc]
    return joined


def _centred(weight: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """`weight` with zeros around it, up to a kernel of `size`."""
    padding = [(large - small) // 2 for large, small in zip(size, weight.shape[2:], strict=True)]
    return F.pad(weight, [p for p in reversed(padding) for _ in range(2)])


def _add_identity(conv: _ConvNd) -> None:
    one = torch.ones_like(conv.weight.flatten(2)[..., :1]).reshape(-1, 1, *[1] * len(conv.kernel_size))
    conv.weight += _centred(one, conv.kernel_size)


def _without_batch_norm(norm: nn.Module) -> nn.Module:
    return nn.Identity() if _is_foldable(norm) else norm


def _is_foldable(norm: nn.Module | None) -> TypeGuard[_BatchNorm]:
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


def _affine(norm: nn.Module | None) -> tuple[torch.Tensor | float, torch.Tensor | float]:
    """Scale and shift that a batch norm applies to each channel; 1 and 0, which change nothing, for other norms."""
    if not _is_foldable(norm):
        return 1.0, 0.0
    scale = torch.rsqrt(norm.running_var + norm.eps)  # type: ignore[operator, arg-type]
    if norm.affine:
        scale = scale * norm.weight
    shift = -norm.running_mean * scale  # type: ignore[operator]
    return scale, shift + norm.bias if norm.affine else shift


def _scale_outputs(conv: _ConvNd, scale: torch.Tensor | float, shift: torch.Tensor | float = 0.0) -> _ConvNd:
    """`conv`, then `scale` and `shift`, one each per output channel."""
    conv.weight.copy_((conv.weight.transpose(0, -1) * scale).transpose(0, -1))
    if conv.bias is not None:
        conv.bias.copy_(conv.bias * scale + shift)
    return conv


def _of_inputs(conv: _ConvNd, channels: slice, bias: bool) -> _ConvNd:
    """The part of a pointwise convolution that takes some of its input channels."""
    weight = conv.weight[:, channels].clone()
    part = Conv[Conv.CONV, len(conv.kernel_size)](weight.shape[1], weight.shape[0], 1, bias=bias)
    part.weight = nn.Parameter(weight)
    if bias:
        part.bias = conv.bias
    return part


def _scale_inputs(conv: _ConvNd, scale: torch.Tensor | float, shift: torch.Tensor | float) -> _ConvNd:
    """`scale` and `shift`, one each per input channel, then the pointwise `conv`."""
    conv.bias += (conv.weight.flatten(1) * shift).sum(1)  # type: ignore[operator]
    conv.weight.copy_((conv.weight.transpose(1, -1) * scale).transpose(1, -1))
    return conv


def _pad(x: torch.Tensor, margin: list[int], stride: list[int]) -> torch.Tensor:
    """Zeros around `x`: the margin on both sides of each axis, and at its end what a multiple of the stride lacks."""
    padding: list[int] = []
    for i in range(len(stride)):
        axis = len(stride) - 1 - i
        padding.append(margin[axis])
        padding.append(margin[axis] + (-x.shape[axis + 2] % stride[axis] if stride[axis] > 1 else 0))
    return F.pad(x, padding)
