"""Weights in the authors' naming give the authors' outputs."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from ulite_monai.networks import ULite, load_author_checkpoint

WIDTHS = (16, 32, 64, 128, 256, 512)


def author_state():
    """A random state dict with the names and shapes of the authors' implementation."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def conv(name, out, inputs, *kernel):
        state[f"{name}.weight"] = torch.randn(out, inputs, *kernel, generator=generator) / (inputs * kernel[0]) ** 0.5
        state[f"{name}.bias"] = torch.randn(out, generator=generator) * 0.1

    def axial(name, width, size):
        conv(f"{name}.dw_h", width, 1, size, 1)
        conv(f"{name}.dw_w", width, 1, 1, size)

    def norm(name, width):
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{part}"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv_in", 16, 3, 7, 7)
    for level, (narrow, wide) in enumerate(itertools.pairwise(WIDTHS), start=1):
        axial(f"e{level}.dw", narrow, 7)
        norm(f"e{level}.bn", narrow)
        conv(f"e{level}.pw", wide, narrow, 1, 1)
        conv(f"d{level}.pw", narrow, wide + narrow, 1, 1)
        norm(f"d{level}.bn", narrow)
        axial(f"d{level}.dw", narrow, 7)
        conv(f"d{level}.pw2", narrow, narrow, 1, 1)
    conv("b5.pw1", 128, 512, 1, 1)
    for branch in (1, 2, 3):
        axial(f"b5.dw{branch}", 128, 3)
    norm("b5.bn", 512)
    conv("b5.pw2", 512, 512, 1, 1)
    conv("conv_out", 1, 16, 1, 1)
    return {name: value.double() if value.is_floating_point() else value for name, value in state.items()}


def author_forward(state, x):
    """The authors' network, from the paper's description and the names of its weights."""

    def conv(name, x, **options):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding="same", **options)

    def axial(name, x, dilation=1):
        options = {"groups": x.shape[1], "dilation": dilation}
        return x + conv(f"{name}.dw_h", x, **options) + conv(f"{name}.dw_w", x, **options)

    def norm(name, x):
        parts = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts)

    x = conv("conv_in", x)
    skips = {}
    for level in range(1, 6):
        skips[level] = norm(f"e{level}.bn", axial(f"e{level}.dw", x))
        x = F.gelu(F.max_pool2d(conv(f"e{level}.pw", skips[level]), 2))
    x = conv("b5.pw1", x)
    x = torch.cat([x, *(axial(f"b5.dw{d}", x, d) for d in (1, 2, 3))], dim=1)
    x = F.gelu(conv("b5.pw2", norm("b5.bn", x)))
    for level in range(5, 0, -1):
        x = torch.cat([F.interpolate(x, scale_factor=2), skips[level]], dim=1)
        x = F.gelu(conv(f"d{level}.pw2", axial(f"d{level}.dw", norm(f"d{level}.bn", conv(f"d{level}.pw", x)))))
    return conv("conv_out", x)


@pytest.fixture(scope="module")
def state():
    return author_state()


def saved(state, path, lightning):
    content = {"state_dict": {f"model.{n}": t for n, t in state.items()}, "epoch": 3} if lightning else state
    torch.save(content, path)
    return path


@pytest.mark.parametrize("form", ["dict", "file", "lightning"])
def test_outputs_equal_the_authors(state, form, tmp_path):
    network = ULite(2, 3, 1).double().eval()  # random weights let float32's rounding grow
    source = state if form == "dict" else saved(state, tmp_path / "their.ckpt", form == "lightning")
    load_author_checkpoint(network, source)
    x = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), author_forward(state, x), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("e3.dw.dw_w.bias"), "e3.dw.dw_w.bias"),
        (lambda s: s.update({"e9.pw.weight": torch.zeros(1)}), "e9.pw.weight"),
        (lambda s: s.update({"conv_out.weight": torch.zeros(2, 16, 1, 1)}), "conv_out.weight"),
        (lambda s: s.update({"d2.pw.weight": torch.zeros(32, 95, 1, 1)}), "d2.pw.weight"),
        (lambda s: s.update({"d2.pw.weight": [0.0]}), "d2.pw.weight is a list"),
    ],
    ids=["missing", "extra", "shape", "shape of a joint convolution", "no tensor"],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(state, change, named):
    network = ULite(2, 3, 1)
    before = network.stem.weight.clone()
    broken = dict(state)
    change(broken)
    with pytest.raises(ValueError, match=named.replace(".", r"\.")):
        load_author_checkpoint(network, broken)
    assert torch.equal(network.stem.weight, before)


def test_a_file_that_holds_no_state_dict_is_named(tmp_path):
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ValueError, match="holds a list, not a state dict"):
        load_author_checkpoint(ULite(2, 3, 1), tmp_path / "list.ckpt")


def test_a_volumes_network_is_refused(state):
    with pytest.raises(ValueError, match="spatial_dims=3"):
        load_author_checkpoint(ULite(3, 3, 1), state)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        load_author_checkpoint(ULite(2, 3, 1), tmp_path / "evil.ckpt")
    assert not (tmp_path / "evil").exists()
