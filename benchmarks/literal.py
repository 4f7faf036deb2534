"""The formula of U-Lite's paper (arXiv 2306.16103), written out with torch.nn.functional and nothing rearranged.

It reads the parameters of a `ULite` with the paper's arguments (any width, 2D or 3D) and serves as the reference of
the tests and the baseline of the benchmarks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ulite_monai.networks import ULite


class LiteralULite(nn.Module):
    """The literal formulation of `network`, sharing its parameters and running statistics."""

    def __init__(self, network: ULite) -> None:
        super().__init__()
        self.network = network
        self.conv = F.conv3d if network.spatial_dims == 3 else F.conv2d
        self.pool = F.max_pool3d if network.spatial_dims == 3 else F.max_pool2d

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        net = self.network
        x = self.conv(x, net.stem.weight, net.stem.bias, padding="same")
        skips = []
        for level in net.encoder:
            skip = self.batch_norm(self.axial(x, level.dw), level.norm)
            skips.append(skip)
            x = F.gelu(self.pool(self.conv(skip, level.pw.weight, level.pw.bias), 2))
        b = net.bottleneck
        x = self.conv(x, b.pw1.weight, b.pw1.bias)
        x = torch.cat([x, *(self.axial(x, dw) for dw in b.dws)], dim=1)
        x = F.gelu(self.conv(self.batch_norm(x, b.norm), b.pw2.weight, b.pw2.bias))
        for level in net.decoder:
            x = torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], dim=1)
            x = self.batch_norm(self.conv(x, level.pw.weight, level.pw.bias), level.norm)
            x = F.gelu(self.conv(self.axial(x, level.dw), level.pw2.weight, level.pw2.bias))
        return self.conv(x, net.head.weight, net.head.bias)

    def axial(self, x: torch.Tensor, dw: nn.Module) -> torch.Tensor:
        out = x
        for conv in dw.convs:
            out = out + self.conv(x, conv.weight, conv.bias, padding="same", dilation=conv.dilation, groups=x.shape[1])
        return out

    def batch_norm(self, x: torch.Tensor, bn: nn.Module) -> torch.Tensor:
        return F.batch_norm(
            x, bn.running_mean, bn.running_var, bn.weight, bn.bias, training=self.training, momentum=bn.momentum
        )
