"""One pass where it fits, the same result from windows where it doesn't."""

import pytest
import torch

from ulite_monai.errors import InputError
from ulite_monai.inferers import VolumeInferer
from ulite_monai.networks import ULite


class Watched(torch.nn.Module):
    """A network that remembers the shapes it was given, and says that a voxel takes it 1 KiB."""

    bytes_per_voxel = 1024

    def __init__(self, network):
        super().__init__()
        self.network, self.shapes = network, []

    def forward(self, x):
        self.shapes.append((len(x), *x.shape[2:]))
        return self.network(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Watched(ULite(3, 1, 2, features=(4, 8), kernel_size=3, stem_kernel_size=3).eval())


@pytest.fixture
def network_of_images():
    torch.manual_seed(0)
    return Watched(ULite(2, 1, 2, features=(4, 8), kernel_size=3, stem_kernel_size=3).eval())


IMAGE = torch.randn(1, 1, 40, 37, 33, generator=torch.Generator().manual_seed(0))
WHOLE = 40 * 37 * 33 * 1024


def test_one_pass_when_it_fits(network):
    inferer = VolumeInferer((16, 16, 16))
    with torch.no_grad():
        found = inferer(IMAGE, network)
        assert network.shapes == [(1, 40, 37, 33)] and inferer.last_run == "one pass"
        assert torch.equal(found, network(IMAGE))


def test_windows_when_it_does_not(network):
    inferer = VolumeInferer((24, 24, 24), overlap=0.5, max_memory=10 * 2**20, mode="constant")
    local = torch.nn.Conv3d(1, 2, 1)  # sees one voxel, so that windows change nothing
    with torch.no_grad():
        found = inferer(IMAGE, network)
        network.network = local
        torch.testing.assert_close(inferer(IMAGE, network), local(IMAGE))
    assert set(network.shapes) == {(1, 24, 24, 24)} and len(network.shapes) > 16
    assert found.shape == (1, 2, *IMAGE.shape[2:]) and found.isfinite().all()
    assert inferer.last_run == "windows of 24x24x24"


@pytest.mark.parametrize(
    ("voxels", "window"),
    [
        (40 * 37 * 33, (40, 37, 33)),
        (40 * 37 * 33 - 1, (24, 37, 33)),
        (20 * 37 * 33, (19, 37, 33)),
        (16 * 37 * 22, (24, 23, 21)),
        (16 * 16 * 17, (16, 16, 17)),
        (1, (16, 16, 16)),
    ],
)
def test_windows_are_those_that_fit_and_compute_least(network, voxels, window):
    with torch.no_grad():
        VolumeInferer((16, 16, 16), max_memory=voxels * 1024)(IMAGE, network)
    assert set(network.shapes) == {(1, *window)}


def test_a_window_is_never_wider_than_the_image(network):
    """MONAI would fill up a short axis with zeros to the size of the window."""
    thin = IMAGE[..., :7]
    with torch.no_grad():
        VolumeInferer((16, 16, 16), max_memory=16 * 16 * 8 * 1024)(thin, network)
        VolumeInferer((16, 16, 0), max_memory=16 * 16 * 8 * 1024)(thin, network)
    assert set(network.shapes) == {(1, 16, 18, 7)}


@pytest.mark.parametrize(("limit", "window", "steps"), [(96 * 16, 96, (0, 88, 176)), (34 * 16, 32, (0, 24, 48))])
def test_larger_windows_have_no_more_voxels_in_common(limit, window, steps):
    """Eight of sixteen, so eight of ninety-six."""
    starts = []
    image = torch.arange(272.0).repeat(1, 1, 16, 1)

    def network(x):
        starts.append(int(x[0, 0, 0, 0]))
        return x.clone()

    network.bytes_per_voxel = 1024
    found = VolumeInferer((16, 16), max_memory=limit * 1024)(image, network)
    assert tuple(starts[:3]) == steps and starts[-1] == 272 - window
    torch.testing.assert_close(found, image)


def test_windows_that_may_not_grow(network):
    inferer = VolumeInferer((16, 16, 40), grow_windows=False)
    with torch.no_grad():
        inferer(IMAGE, network)
        assert set(network.shapes) == {(1, 16, 16, 33)} and inferer.last_run == "windows of 16x16x33"
        inferer(IMAGE[:, :, :16, :9], network)
    assert network.shapes[-1] == (1, 16, 9, 33) and inferer.last_run == "one pass"


def test_a_batch_of_windows_fits_too(network):
    with torch.no_grad():
        VolumeInferer((16, 16, 16), sw_batch_size=2, max_memory=20 * 37 * 33 * 1024)(IMAGE, network)
    assert {shape for shape in network.shapes if shape[0] == 2} == {(2, 24, 23, 21)}  # half of 20 x 37 x 33


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("limit", [1, WHOLE - 1])
def test_windows_are_counted(network, overlap, batch, limit):
    seen = []
    inferer = VolumeInferer((16, 20, 33), batch, overlap, max_memory=limit)
    inferer.on_window = lambda *counts: seen.append(counts)
    with torch.no_grad():
        inferer(IMAGE, network)
    assert seen == [(number, len(network.shapes)) for number in range(1, len(network.shapes) + 1)]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_network_of_images_runs_over_the_slices_of_a_volume(network_of_images, axis, batch):
    inferer = VolumeInferer((16, 16), sw_batch_size=batch, slice_axis=axis)
    two = torch.cat([IMAGE, 2 * IMAGE])
    with torch.no_grad():
        found = inferer(two, network_of_images)
        expected = torch.stack([network_of_images.network(s) for s in two.unbind(axis + 2 if axis >= 0 else -1)])
    torch.testing.assert_close(found, expected.movedim(0, axis + 2 if axis >= 0 else -1), rtol=1e-5, atol=1e-6)
    assert {shape[0] for shape in network_of_images.shapes} - {2} == ({1} if batch == 1 else {4})
    assert inferer.last_run == "slices, one pass each"


def test_slices_that_do_not_fit_run_in_windows(network_of_images):
    local = Watched(torch.nn.Conv2d(1, 2, 1))
    inferer = VolumeInferer((16, 16), max_memory=16 * 20 * 1024)
    with torch.no_grad():
        found = inferer(IMAGE, local)
        expected = torch.nn.functional.conv3d(IMAGE, local.network.weight[..., None], local.network.bias)
    torch.testing.assert_close(found, expected)
    assert set(local.shapes) == {(1, 16, 18)} and inferer.last_run == "slices, windows of 16x18 each"


def test_the_estimate_is_the_networks_own():
    network = ULite(3, 1, 2, features=(4, 8), kernel_size=3, stem_kernel_size=3).eval()
    inferer = VolumeInferer((16, 16, 16), max_memory=WHOLE)
    with torch.no_grad():
        inferer(IMAGE, network)
        assert inferer.last_run == "one pass"
        inferer(IMAGE, lambda x: network(x))  # of which nothing is known
    assert inferer.last_run == "windows of 24x23x21"  # of a quarter of the voxels


@pytest.mark.parametrize(
    ("argument", "value"),
    [("overlap", -0.1), ("overlap", 1.0), ("overlap", 2), ("max_memory", 0), ("max_memory", "8GB"), ("max_memory", -1)],
)
def test_bad_arguments(argument, value):
    with pytest.raises(InputError, match=f"{argument}.*{value}"):
        VolumeInferer((8, 8, 8), **{argument: value})
