"""Mixed precision on a CPU: bfloat16 inside, float32 outside, and nothing changed where it is off."""

import pytest
import torch

from ulite_monai.engines.process import trains_faster_in_half
from ulite_monai.networks import ULite
from ulite_monai.training import MixedPrecisionInferer


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ULite(2, 1, 2, features=(8, 16, 32)).train()


IMAGE = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_logits_and_gradients_are_float32_and_computed_in_bfloat16(network):
    inside = []
    network.register_forward_hook(lambda module, inputs, output: inside.append(output.dtype))
    logits = MixedPrecisionInferer()(IMAGE, network)
    logits.square().mean().backward()
    assert inside == [torch.bfloat16] and logits.dtype == torch.float32
    assert {p.grad.dtype for p in network.parameters() if p.grad is not None} == {torch.float32}
    full = network(IMAGE)
    assert 0 < (logits - full).abs().max() < 0.05 * full.abs().max()


def test_without_it_the_logits_are_the_networks(network):
    assert torch.equal(MixedPrecisionInferer(amp=False)(IMAGE, network), network(IMAGE))


@pytest.mark.parametrize(("flags", "faster"), [((True, False), True), ((False, True), True), ((False, False), False)])
def test_a_cpu_needs_bfloat16_instructions(monkeypatch, flags, faster):
    for name, flag in zip(("_is_avx512_bf16_supported", "_is_amx_tile_supported"), flags, strict=True):
        monkeypatch.setattr(torch.cpu, name, lambda flag=flag: flag, raising=False)
    assert trains_faster_in_half("cpu") is faster
    assert trains_faster_in_half("cuda:0") and not trains_faster_in_half("mps")
