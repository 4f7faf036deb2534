"""One pass where it fits, the same result from windows where it doesn't."""

import pytest
import torch

from ulite_monai.errors import InputError
from ulite_monai.inferers import VolumeInferer
from ulite_monai.networks import ULite


class Watched(torch.nn.Module):
    """A network that remembers the sizes it was given."""

    def __init__(self, network):
        super().__init__()
        self.network, self.sizes = network, []

    def forward(self, x):
        self.sizes.append(tuple(x.shape[2:]))
        return self.network(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Watched(ULite(3, 1, 2, features=(4, 8), kernel_size=3, stem_kernel_size=3).eval())


IMAGE = torch.randn(1, 1, 40, 37, 33, generator=torch.Generator().manual_seed(0))


def test_one_pass_when_it_fits(network):
    with torch.no_grad():
        found = VolumeInferer((16, 16, 16))(IMAGE, network)
        assert network.sizes == [(40, 37, 33)]
        assert torch.equal(found, network(IMAGE))


def test_windows_when_it_does_not(network):
    inferer = VolumeInferer((24, 24, 24), overlap=0.5, max_memory=10 * 2**20, bytes_per_voxel=1024, mode="constant")
    local = torch.nn.Conv3d(1, 2, 1)  # sees one voxel, so that windows change nothing
    with torch.no_grad():
        found = inferer(IMAGE, network)
        network.network = local
        torch.testing.assert_close(inferer(IMAGE, network), local(IMAGE))
    assert set(network.sizes) == {(24, 24, 24)} and len(network.sizes) > 16
    assert found.shape == (1, 2, *IMAGE.shape[2:]) and found.isfinite().all()


def test_a_limit_just_large_enough(network):
    size = 40 * 37 * 33 * 1024
    with torch.no_grad():
        VolumeInferer((24, 24, 24), max_memory=size)(IMAGE, network)
        assert network.sizes == [(40, 37, 33)]
        VolumeInferer((24, 24, 24), max_memory=size - 1)(IMAGE, network)
    assert (24, 24, 24) in network.sizes


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 2])
def test_overlap_out_of_range(overlap):
    with pytest.raises(InputError, match=f"overlap.*{overlap}"):
        VolumeInferer((8, 8, 8), overlap=overlap)
