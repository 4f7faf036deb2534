"""Pooling and upsampling against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from ulite_monai.networks.resampling import _max_pool_by_pairs, max_pool, upsample_nearest

CASES = [((8, 12), (2, 2)), ((7, 5), (2, 3)), ((8, 6, 4), (2, 2, 2)), ((7, 5, 3), (2, 1, 4)), ((1, 1, 1), (2, 2, 2))]


@pytest.mark.parametrize(("size", "stride"), CASES)
def test_both_ways_of_pooling_agree_in_value_and_gradient(size, stride):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), requires_grad=True)
    native, pairs = max_pool(x, list(stride)), _max_pool_by_pairs(x, stride)
    assert native.shape[2:] == tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
    assert torch.equal(native, pairs)
    weight = torch.randn(native.shape)
    torch.testing.assert_close(torch.autograd.grad(native, x, weight)[0], torch.autograd.grad(pairs, x, weight)[0])


@pytest.mark.parametrize("stride", [(2, 2), (3, 5), (2, 3, 1), (7, 2, 6)])
def test_upsampling_repeats_and_its_gradient_sums(stride):
    size = (3, 4, 2)[: len(stride)]
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    up = upsample_nearest(x, list(stride), [n * s for n, s in zip(size, stride, strict=True)])
    expected = x
    for axis, step in enumerate(stride, start=2):
        expected = expected.repeat_interleave(step, dim=axis)
    assert torch.equal(up, expected)
    weight = torch.randn_like(up)
    torch.testing.assert_close(torch.autograd.grad(up, x, weight)[0], torch.autograd.grad(expected, x, weight)[0])


def test_upsampling_is_cut_to_the_skips_size():
    assert upsample_nearest(torch.ones(1, 1, 4, 3), [2, 2], [7, 5]).shape == (1, 1, 7, 5)


def test_a_pool_of_equal_values_shares_the_gradient_by_pairs():
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    _max_pool_by_pairs(x, (2, 2)).sum().backward()
    assert x.grad.sum() == 1 and F.relu(x.grad).equal(x.grad)
