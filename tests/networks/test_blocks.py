"""Depthwise convolutions seen as planes while training on a CPU: the same numbers as the plain formula."""

import pytest
import torch

from ulite_monai.networks.blocks import SHORT_ROW, AxialDepthwise


def gradients(block, image, upstream, bfloat16):
    """Output, and gradients of the input and the kernels, with freed memory full of NaN in between."""
    block.zero_grad()
    image = image.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        out = block(image)
    for power in range(6, 18):
        [torch.full((2**power,), torch.nan) for _ in range(3)]
    out.float().backward(upstream)
    return [out.detach().float(), image.grad, *(conv.weight.grad.clone() for conv in block.convs)]


@pytest.mark.parametrize(("bfloat16", "allowed"), [(False, 1e-4), (True, 0.03)])
@pytest.mark.parametrize("row", [1, 2, SHORT_ROW - 1, SHORT_ROW, 17, 29, 64, 129])
@pytest.mark.parametrize("before", [(5,), (4, 3)])
@pytest.mark.parametrize(("channels", "kernel", "dilation"), [(3, 3, 1), (16, 7, 1), (20, 5, 1), (8, 3, 2)])
def test_training_computes_what_the_formula_says(before, row, channels, kernel, dilation, bfloat16, allowed):
    torch.manual_seed(0)
    dims = len(before) + 1
    block = AxialDepthwise(dims, channels, [kernel] * dims, dilation)
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
    image = torch.randn(2, channels, *before, row).contiguous(memory_format=layout)
    upstream = torch.randn(image.shape)
    expected = gradients(block.eval(), image, upstream, False)
    found = gradients(block.train(), image, upstream, bfloat16)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).abs().max() <= allowed * theirs.abs().max()
