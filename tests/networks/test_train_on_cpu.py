"""The arrangement for training on a CPU: the same numbers, names and weights as without it."""

import copy

import pytest
import torch

from ulite_monai.networks import ULite, fuse
from ulite_monai.networks.blocks import AxialDepthwise
from ulite_monai.networks.train_on_cpu import SHORT_ROW, arrange, restore

SMALL = (8, 16, 24)


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


@pytest.mark.slow
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
    expected = gradients(block, image, upstream, False)
    found = gradients(arrange(block), image, upstream, bfloat16)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine - theirs).abs().max() <= allowed * theirs.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("dims", "options"),
    [
        (2, {}),
        (3, {"stem_stride": 2, "strides": [1, (1, 2, 3)], "kernel_size": (3, 5, 1)}),
        (3, {"kernel_size": [(7, 7, 3), (7, 7, 1), (5, 5, 5)], "features": (8, 12, 20, 32)}),
        (3, {"act": "PRELU", "norm": "instance", "features": (8, 12, 20, 32)}),
    ],
)
def test_logits_and_gradients_are_those_of_the_network(dims, options, training):
    torch.manual_seed(0)
    network = ULite(dims, 2, 3, **{"features": SMALL, **options}).double().train(training)
    arranged = arrange(copy.deepcopy(network))
    image = torch.randn(2, 2, *(33, 30, 29)[:dims], dtype=torch.float64)
    upstream = torch.randn(2, 3, *image.shape[2:], dtype=torch.float64)
    logits = [one(image) for one in (network, arranged, copy.deepcopy(arranged))]
    for found in logits[1:]:
        torch.testing.assert_close(found, logits[0])
    (logits[0] * upstream).sum().backward()
    (logits[1] * upstream).sum().backward()
    largest = max(p.grad.abs().max() for p in network.parameters())
    for (name, ours), theirs in zip(arranged.named_parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-12 * largest, rtol=1e-9, msg=name)


def test_it_changes_no_weight_and_can_be_undone():
    network = ULite(3, 1, 2, features=SMALL).eval()
    before, structure = copy.deepcopy(network.state_dict()), repr(network)
    arranged = arrange(network)
    assert arranged is network and repr(network) != structure
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert repr(fuse(network)) == repr(fuse(restore(copy.deepcopy(network))))
    assert repr(restore(network)) == structure
    torch.jit.script(network)


def test_other_networks_stay_as_they_are():
    other = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1))
    assert arrange(other) is other and other[0].dilation == (1, 1)
    elsewhere = ULite(2, 1, 2, features=SMALL).to("meta")
    assert repr(arrange(elsewhere)) == repr(ULite(2, 1, 2, features=SMALL))


@pytest.mark.slow
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("dims", "size"), [(2, (320, 320)), (3, (40, 56, 40))])
def test_gradients_in_bfloat16_hold_nothing_of_what_memory_held(dims, size, weights):
    """Rows of 40 voxels, and of 5x7, at the bottleneck, where the gradients of dilated kernels were garbage."""
    torch.manual_seed(0)
    exact = ULite(dims, 1, 2, features=(8, 16, 32, 64)).train()
    image = torch.randn(2, 1, *size)
    gradients = []
    for network, dtype in ((exact, torch.float32), (arrange(copy.deepcopy(exact)).to(weights), weights)):
        with torch.autocast("cpu", torch.bfloat16, enabled=network is not exact and weights == torch.float32):
            logits = network(image.to(dtype)).float()
        for power in range(8, 22):  # freed memory that is handed out again
            [torch.full((2**power,), torch.nan) for _ in range(4)]
        logits.square().mean().backward()
        gradients.append([conv.weight.grad.clone() for dw in network.bottleneck.dws for conv in dw.convs])
    for expected, found in zip(*gradients, strict=True):
        assert (found - expected).abs().max() < 0.1 * expected.abs().max()
