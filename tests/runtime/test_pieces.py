"""Batches in pieces: as many images as fit, in their order, and only where that changes nothing."""

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
    x, seen = torch.randn(5, 2, 3, 4), []
    doubled = in_pieces(lambda piece: seen.append(piece.shape[0]) or 2 * piece[:, :1], x, voxels)
    assert seen == sizes and torch.equal(doubled, 2 * x[:, :1])


def test_pieces_are_equal_where_they_can_be():
    seen = []
    for batch in (6, 7, 8, 9):
        in_pieces(lambda piece: seen.append(piece.shape[0]) or piece, torch.zeros(batch, 1, 2, 2), 4 * 4)
    assert seen == [3, 3, 4, 3, 4, 4, 3, 3, 3]


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
