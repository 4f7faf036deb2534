"""ULite: the paper's network, any size, any option, and everything PyTorch does with a module."""

import copy
import json
import pickle

import pytest
import torch
from monai.networks.utils import eval_mode

from benchmarks.literal import LiteralULite
from ulite_monai.networks import ULite

SMALL = (8, 16, 24)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def randomize(network, seed=0):
    """Norms as after a training: nothing is 1 or 0 any more."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network


@pytest.mark.parametrize(("arguments", "expected"), [((2, 3, 1), 878_417), ((2, 1, 1), 876_849), ((3, 1, 3), 891_059)])
def test_parameter_counts_of_the_paper(arguments, expected):
    assert parameters(ULite(*arguments)) == expected


@pytest.mark.parametrize(
    ("dims", "options"),
    [
        (2, {}),
        (3, {"features": SMALL, "strides": [1, (1, 2, 3)], "kernel_size": (3, 5, 7), "stem_kernel_size": 3}),
        (3, {"features": (8,), "stem_stride": (1, 2, 2)}),
    ],
)
def test_the_structure_makes_a_network_for_the_same_weights(dims, options):
    network = randomize(ULite(dims, 1, 2, **options)).eval()
    other = ULite(dims, 1, 2, **json.loads(json.dumps(network.structure))).eval()
    other.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, *(17, 12, 10)[:dims])
    with torch.no_grad():
        assert torch.equal(other(image), network(image))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=str)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("dims", "channels", "shape", "features"),
    [
        (2, 3, (2, 3, 64, 96), (16, 32, 64, 128, 256, 512)),
        (2, 1, (2, 1, 64, 64), SMALL),
        (3, 1, (2, 1, 32, 48, 32), (16, 32, 64, 128, 256)),
    ],
)
def test_equals_the_papers_formula(dims, channels, shape, features, training, dtype, tolerance):
    torch.manual_seed(0)
    network = randomize(ULite(dims, channels, 2, features=features)).to(dtype).train(training)
    literal = LiteralULite(copy.deepcopy(network)).train(training)
    x = torch.randn(shape, dtype=dtype)
    expected, found = literal(x), network(x)
    scale = expected.abs().max().item()
    assert scale > 0.1
    torch.testing.assert_close(found, expected, atol=tolerance * max(scale, 1), rtol=0)
    if training:
        for name, value in literal.network.state_dict().items():
            if "running" in name:
                torch.testing.assert_close(network.state_dict()[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("dims", "shape"), [(2, (2, 1, 32, 48)), (3, (2, 1, 16, 24, 16))])
def test_gradients_equal_those_of_the_papers_formula(dims, shape):
    torch.manual_seed(0)
    network = randomize(ULite(dims, 1, 2, features=SMALL)).double().train()
    literal = LiteralULite(copy.deepcopy(network)).train()
    x = torch.randn(shape, dtype=torch.float64)
    weight = torch.randn(shape[0], 2, *shape[2:], dtype=torch.float64)
    (network(x) * weight).sum().backward()
    (literal(x) * weight).sum().backward()
    for (name, ours), theirs in zip(network.named_parameters(), literal.network.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-8, rtol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize(
    "size", [(35, 51, 37), (1, 64, 64), (7, 5, 3), (1, 1, 1), (519, 161), (1, 1), (64, 1)], ids=str
)
@pytest.mark.parametrize("options", [{}, {"stem_stride": 2}, {"strides": 3}], ids=str)
def test_any_size_gives_its_own(size, options):
    network = ULite(len(size), 1, 2, features=SMALL, **options).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, *size)).shape == (1, 2, *size)


OPTIONS = [
    {"features": (8,)},
    {"features": (8, 12, 20, 33), "strides": [(2, 2, 1), 2, (1, 3, 2)]},
    {"kernel_size": (3, 5, 1), "stem_kernel_size": 3},
    {"kernel_size": [(7, 7, 3), (7, 7, 1), (5, 5, 5)], "features": (8, 12, 20, 32)},
    {"stem_stride": (2, 2, 1)},
    {"stem_stride": 3},
    {"stem_stride": 2, "stem_kernel_size": 6},
    {"act": ("leakyrelu", {"negative_slope": 0.1}), "norm": ("instance", {"affine": True})},
    {"act": "PRELU", "norm": ("group", {"num_groups": 2}), "dropout": ("alphadropout", {"p": 0.2})},
]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_train_and_script(options):
    torch.manual_seed(0)
    network = ULite(3, 2, 3, **{"features": SMALL, **options})
    x = torch.randn(2, 2, 17, 18, 19)
    network(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with eval_mode(network):
        scripted = torch.jit.script(network)
        torch.testing.assert_close(scripted(x), network(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spatial_dims": 1}, ["spatial_dims", "2 or 3", "1"]),
        ({"in_channels": 0}, ["in_channels", "0", "at least 1"]),
        ({"out_channels": 1.5}, ["out_channels", "1.5"]),
        ({"features": ()}, ["features", "at least one"]),
        ({"features": (8, 2)}, ["features", "at least 4", "(8, 2)"]),
        ({"features": (8, -16)}, ["features", "-16"]),
        ({"strides": (2, 2, 2)}, ["strides", "2 levels", "(2, 2, 2)"]),
        ({"strides": 0}, ["strides", "0"]),
        ({"kernel_size": 4}, ["kernel_size", "odd", "4"]),
        ({"kernel_size": (7, 7)}, ["kernel_size", "3", "(7, 7)"]),
        ({"kernel_size": [(7, 7, 7)]}, ["kernel_size", "levels", "[(7, 7, 7)]"]),
        ({"stem_stride": 2, "stem_kernel_size": 3}, ["stem_kernel_size", "even number", "3"]),
        ({"stem_kernel_size": "7"}, ["stem_kernel_size", "'7'"]),
        ({"dropout": 1.0}, ["dropout", "1.0"]),
        ({"features": None}, ["features", "None"]),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(options, words):
    with pytest.raises(ValueError) as raised:
        ULite(**{"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "features": SMALL, **options})
    for word in words:
        assert word in str(raised.value)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return randomize(ULite(3, 1, 2, features=SMALL)).eval()


@pytest.fixture
def image():
    return torch.randn(1, 1, 13, 18, 22, generator=torch.Generator().manual_seed(1))


def test_trace(network, image):
    with torch.no_grad():
        traced = torch.jit.trace(network, image)
        torch.testing.assert_close(traced(image), network(image))


def test_script_saves_and_loads(network, image, tmp_path):
    torch.jit.script(network).save(tmp_path / "network.ts")
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(tmp_path / "network.ts")(image), network(image))


def test_pickle_and_deepcopy(network, image):
    with torch.no_grad():
        expected = network(image)
        assert torch.equal(pickle.loads(pickle.dumps(network))(image), expected)
        assert torch.equal(copy.deepcopy(network)(image), expected)


def test_channels_last_gives_the_same_in_its_own_format(network, image):
    with torch.no_grad():
        expected = network(image)
        found = network.to(memory_format=torch.channels_last_3d)(image.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(found, expected)
    assert expected.is_contiguous()


@pytest.mark.parametrize("training", [False, True])
def test_bfloat16_autocast(network, image, training):
    network.train(training)
    expected = network(image)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(image)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()
    found.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("training", [False, True])
def test_bfloat16_weights_take_float32_images_under_autocast(training):
    network = ULite(2, 1, 2, features=SMALL).to(torch.bfloat16).train(training)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.randn(2, 1, 16, 20)).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_compile(network, image, training):
    network.train(training)
    expected = copy.deepcopy(network)(image)
    torch.testing.assert_close(torch.compile(copy.deepcopy(network))(image), expected, atol=1e-4, rtol=1e-4)


def train_a_little(seed):
    torch.manual_seed(seed)
    network = ULite(3, 1, 2, features=SMALL, dropout=0.1)
    optimizer = torch.optim.AdamW(network.parameters())
    for _ in range(3):
        loss = network(torch.randn(2, 1, 16, 17, 12)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


def test_training_is_bit_deterministic_for_a_seed():
    first, second, other = train_a_little(3), train_a_little(3), train_a_little(4)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("dims", [2, 3])
def test_deterministic_training_and_equal_logits_on_cuda(dims):
    torch.use_deterministic_algorithms(True, warn_only=True)  # of max-pooling, whose windows don't overlap here
    try:
        torch.manual_seed(0)
        network = ULite(dims, 1, 2, features=SMALL).cuda()
        x = torch.randn(2, 1, *(33, 34, 20)[:dims], device="cuda")
        gradients = []
        for _ in range(2):
            network.zero_grad()
            network(x).square().mean().backward()
            gradients.append([p.grad.clone() for p in network.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    finally:
        torch.use_deterministic_algorithms(False)
    network.eval()
    torch.testing.assert_close(network(x).cpu(), network.cpu()(x.cpu()), atol=1e-3, rtol=1e-3)
