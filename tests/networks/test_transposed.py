"""A transposed convolution as a convolution."""

import pytest
import torch

from ulite_monai.networks.transposed import ConvolvedTranspose

CASES = [  # kernel and stride, each axis; size of the input
    ((4, 4, 4), (2, 2, 2), (5, 1, 7)),
    ((2, 2, 2), (2, 2, 2), (3, 4, 1)),
    ((8, 8, 8), (4, 4, 4), (2, 3, 4)),
    ((7, 5, 9), (3, 3, 3), (2, 3, 1)),
    ((7, 6, 3), (1, 2, 3), (4, 5, 6)),
    ((4, 7), (2, 1), (9, 8)),
    ((10, 6), (2, 4), (6, 5)),
]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "size"), CASES)
def test_it_gives_what_the_transposed_convolution_gives(kernel, stride, size, bias):
    torch.manual_seed(0)
    convs = {2: torch.nn.ConvTranspose2d, 3: torch.nn.ConvTranspose3d}
    padding = [(k - s) // 2 for k, s in zip(kernel, stride, strict=True)]
    conv = convs[len(kernel)](5, 3, kernel, stride, padding, bias=bias).double()
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ConvolvedTranspose(conv)(x), conv(x), atol=1e-12, rtol=1e-12)
