"""The fused network gives the logits of the network it was made from, for every option and size."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets import UNet
from torch import nn

from ulite_monai.networks import ULite
from ulite_monai.networks.fuse import fuse

NORMS = ["BATCH", ("BATCH", {"affine": False}), "INSTANCE", ("GROUP", {"num_groups": 2}), ""]
FOLDABLE = ["BATCH", ("BATCH", {"affine": False, "eps": 0.1}), ""]


def trained_like(network: ULite, seed: int = 0) -> ULite:
    """Away from the initial weights, where a batch norm does nothing."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.3, 3, generator=generator)
            if module.affine:
                module.weight.data.uniform_(-1.5, 1.5, generator=generator)
                module.bias.data.normal_(generator=generator)
    return network.eval()


@st.composite
def networks(draw: st.DrawFn) -> ULite:
    dims = draw(st.integers(2, 3))
    per_axis = lambda values: st.one_of(values, st.tuples(*[values] * dims))  # noqa: E731
    levels = draw(st.integers(1, 3))
    strides = draw(
        st.one_of(st.integers(1, 3), st.lists(per_axis(st.integers(1, 4)), min_size=levels, max_size=levels))
    )
    odd = st.sampled_from([1, 3, 5, 7])
    torch.manual_seed(draw(st.integers(0, 99)))
    network = ULite(
        spatial_dims=dims,
        in_channels=draw(st.integers(1, 3)),
        out_channels=draw(st.integers(1, 3)),
        features=[2 * f for f in draw(st.lists(st.integers(2, 6), min_size=levels + 1, max_size=levels + 1))],
        strides=strides,
        kernel_size=draw(
            st.one_of(per_axis(odd), st.lists(st.tuples(*[odd] * dims), min_size=levels, max_size=levels))
        ),
        stem_stride=draw(per_axis(st.sampled_from([1, 2, 4]))),
        act=draw(st.sampled_from(["GELU", "RELU", "PRELU", ("LEAKYRELU", {"negative_slope": 0.1})])),
        norm=draw(st.sampled_from(NORMS)),
        dropout=draw(st.sampled_from([0.0, 0.3])),
    )
    return trained_like(network)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(network=networks(), data=st.data())
def test_same_logits_for_every_option_and_size(network: ULite, data: st.DataObject) -> None:
    sizes = st.integers(1, 23)
    if any(isinstance(module, nn.InstanceNorm2d | nn.InstanceNorm3d | nn.GroupNorm) for module in network.modules()):
        network, sizes = (
            network.double(),
            st.integers(18, 23),
        )  # where one voxel is normalized, rounding is all there is
    shape = data.draw(st.tuples(*[sizes] * network.spatial_dims))
    x = torch.randn(2, network.stem.in_channels, *shape, dtype=network.stem.weight.dtype)
    with torch.no_grad():
        try:
            expected = network(x)
        except ValueError as error:  # PyTorch's instance norm of a single voxel
            assert "spatial element" in str(error)
            return
        torch.testing.assert_close(fuse(network)(x), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_papers_network_within_a_ten_thousandth(dims: int) -> None:
    network = trained_like(ULite(dims, 3, 2))
    x = torch.randn(1, 3, *(45, 38, 33)[:dims])
    with torch.no_grad():
        assert (fuse(network)(x) - network(x)).abs().max() <= 1e-4


@pytest.mark.parametrize("norm", FOLDABLE)
def test_batch_norms_identity_and_dropout_are_gone(norm: str | tuple) -> None:
    fused = fuse(ULite(3, 1, 2, features=(4, 8, 16), norm=norm, dropout=0.2))
    left = [type(module).__name__ for module in fused.modules()]
    assert not [name for name in left if "Norm" in name or "Dropout" in name]


@pytest.mark.parametrize("norm", ["INSTANCE", ("GROUP", {"num_groups": 2}), ("BATCH", {"track_running_stats": False})])
def test_a_norm_of_the_input_stays(norm: str | tuple) -> None:
    fused = fuse(ULite(2, 1, 2, features=(4, 8, 16), norm=norm))
    assert sum("Norm" in type(module).__name__ for module in fused.modules()) == 5


def test_the_original_is_untouched() -> None:
    network = trained_like(ULite(2, 1, 2, features=(4, 8))).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fuse(network)
    assert network.training and all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_features_are_channels_last_though_the_image_has_one_channel() -> None:
    fused = fuse(ULite(3, 1, 2, features=(4, 8)))
    features = fused.stem(torch.randn(1, 1, 8, 8, 8))
    assert features.is_contiguous(memory_format=torch.channels_last_3d)


def test_scripted_and_traced_networks_take_other_sizes() -> None:
    fused = fuse(trained_like(ULite(3, 1, 2, features=(4, 8, 16), stem_stride=(1, 2, 2))))
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        traced = torch.jit.trace(fused, torch.randn(1, 1, 8, 8, 8))
    x = torch.randn(2, 1, 13, 7, 5)
    torch.testing.assert_close(traced(x), fused(x))
    torch.testing.assert_close(torch.jit.script(fused)(x), fused(x))


def test_other_networks_are_refused() -> None:
    with pytest.raises(TypeError, match="network must be a ULite, got UNet"):
        fuse(UNet(2, 1, 1, channels=(4, 8), strides=(2,)))


def test_same_labels_on_a_real_volume(shared_data: Path) -> None:
    path = min((shared_data / "Task04_Hippocampus").glob("imagesTr/hippocampus_*.nii.gz"))
    image = np.asarray(nib.load(path).dataobj, dtype=np.float32)
    x = torch.from_numpy((image - image.mean()) / image.std())[None, None]
    torch.manual_seed(0)
    network = trained_like(ULite(3, 1, 3, features=(16, 32, 64, 128, 256)))
    with torch.no_grad():
        network.head.bias -= network(x).mean((0, 2, 3, 4))  # or one label takes all
        labels = network(x).argmax(1)
        assert len(labels.unique()) > 1
        assert torch.equal(fuse(network)(x).argmax(1), labels)
