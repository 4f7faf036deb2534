"""Batches in pieces: as many images as fit, in their order, and only where that changes nothing."""

from unittest.mock import Mock

import pytest
import torch

from ulite_monai.networks import ULite
from ulite_monai.runtime import pieces
from ulite_monai.runtime.engines import compile_network
from ulite_monai.runtime.pieces import in_pieces, voxels_at_once


@pytest.mark.parametrize(
    ("voxels", "sizes"), [(None, [5]), (1, [1] * 5), (35, [1] * 5), (48, [4, 1]), (60, [5]), (10**9, [5])]
)
def test_pieces_have_at_most_so_many_voxels_and_keep_the_order(voxels, sizes):
    x = torch.randn(5, 2, 3, 4)
    pieces = in_pieces(x, voxels)
    assert [piece.shape[0] for piece in pieces] == sizes and torch.equal(torch.cat(pieces), x)


@pytest.mark.parametrize(
    ("batch", "sizes", "equal"), [(6, [3, 3], 3), (7, [4, 3], 1), (8, [4, 4], 4), (9, [3, 3, 3], 3), (11, [4, 4, 3], 1)]
)
def test_pieces_are_equal_where_they_can_be_or_have_to_be(batch, sizes, equal):
    x = torch.zeros(batch, 1, 2, 2)
    assert [piece.shape[0] for piece in in_pieces(x, 4 * 4)] == sizes
    assert [piece.shape[0] for piece in in_pieces(x, 4 * 4, equal=True)] == [equal] * (batch // equal)


def test_the_papers_network_takes_two_images_of_its_size_in_openvino():
    network = ULite(2, 3, 1)
    assert 2 * 256**2 <= voxels_at_once(network, "cpu", "openvino") < 3 * 256**2
    assert voxels_at_once(network, "cuda", "fused") is None
    assert voxels_at_once(torch.nn.Conv2d(1, 1, 1), "cpu", "openvino") is None


def test_a_norm_over_the_batch_needs_the_whole_batch():
    assert voxels_at_once(ULite(2, 1, 1, norm=("BATCH", {"track_running_stats": False})), "cpu", "fused") is None
    assert voxels_at_once(ULite(2, 1, 1, norm="INSTANCE"), "cpu", "fused") is not None


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("dims", [2, 3])
def test_engines_give_the_networks_logits_in_pieces(engine, dims, monkeypatch):
    if engine == "openvino":
        pytest.importorskip("openvino")
    monkeypatch.setattr(pieces, "ACTIVATIONS", 0)
    torch.manual_seed(0)
    network = ULite(dims, 1, 2, features=(4, 8, 16)).eval()
    compiled = compile_network(network, "cpu", engine)
    x = torch.randn(5, 1, *(11, 16, 9)[:dims])
    with torch.no_grad():
        assert (compiled(x) - network(x)).abs().max() <= 1e-4
    assert compiled.voxels_at_once == 1


def test_openvino_computes_a_batch_side_by_side_and_keeps_the_order(monkeypatch):
    """At least as many images as threads: a piece each. Fewer: all threads compute each image."""
    pytest.importorskip("openvino")
    monkeypatch.setattr("ulite_monai.runtime.openvino_engine.CALLS_BEFORE_A_MODEL_OF_ITS_OWN", 2)
    torch.manual_seed(0)
    network = ULite(2, 1, 2, features=(4, 8, 16)).eval()
    compiled = compile_network(network, "cpu", "openvino", threads=2)
    if compiled.threads == 1:
        pytest.skip("one core")
    monkeypatch.setattr(compiled, "voxels_at_once", 2 * 3 * 17 * 16)
    streams, asked = compiled._side_by_side, []
    for_input = streams.for_input
    monkeypatch.setattr(streams, "for_input", lambda piece: asked.append(piece.shape[0]) or for_input(piece))
    for batch in (1, 2, 3, 4, 6, 6, 12, 8, 7, 5):
        x = torch.randn(batch, 1, 17, 16)
        with torch.no_grad():
            assert (compiled(x) - network(x)).abs().max() <= 1e-4
    assert asked == [1, 1, 2, 3, 3, 3, 2, 1, 1]
    assert compiled.threads == len(streams.any_shape.requests) == len(streams.own.requests) == 2
    assert streams.own_shape == (1, 1, 17, 16)
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(type(streams.own), "_logits", Mock(side_effect=KeyboardInterrupt))
        compiled(torch.randn(7, 1, 517, 516))
    compiled.release_memory()
    with torch.no_grad():
        assert (compiled(x) - network(x)).abs().max() <= 1e-4
