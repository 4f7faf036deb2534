"""The places in a head: from probabilities that are known, and from the shipped locator in every orientation."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ulite_monai.io.volume import Volume
from ulite_monai.prediction.locate import head_places, locate
from ulite_monai.prediction.read_case import Refused
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.transforms import HeadClassesd, LoadVolumed, SynthesizeFromLabelsd

AFFINE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.diag([4.0, 4.0, 4.0]), [-80, -90, -70])
SHAPE = (40, 44, 40)
GRID = np.moveaxis(np.indices(SHAPE), 0, -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
MIDDLE = GRID[20, 22, 20]
LEFT, RIGHT = np.add(MIDDLE, (-26, -3.3, -9)), np.add(MIDDLE, (25.2, -4, -8))


def ball(centre, radius):
    """Probability of a ball with a soft border."""
    return 1 / (1 + np.exp(np.linalg.norm(GRID - centre, axis=-1) - radius))


def probabilities(left=LEFT, right=RIGHT, space=70.0, sure=1.0):
    found = np.stack([sure * ball(left, 14), sure * ball(right, 14)])
    rest = np.maximum(ball(MIDDLE, space) - found.sum(0), 0)
    return np.stack([1 - found.sum(0) - rest, *found, rest])


def test_the_centres_are_found_between_the_voxels():
    places = head_places(probabilities(), AFFINE)
    assert np.abs(places.left - LEFT).max() < 0.3 and np.abs(places.right - RIGHT).max() < 0.3
    assert places.confidence > 0.95 and not places.warnings
    assert places.intracranial_ml == pytest.approx(4 / 3 * np.pi * 70**3 / 1000, rel=0.01)


def test_what_little_is_elsewhere_does_not_pull_a_centre_but_lowers_the_confidence():
    found = probabilities()
    found[1] += 0.3 * ball(np.add(MIDDLE, (30, 40, 40)), 14)
    places = head_places(found, AFFINE)
    assert np.abs(places.left - LEFT).max() < 0.3
    assert 0.65 < places.confidence < 0.9


def test_a_cut_space_is_told():
    within = GRID[..., 2] < MIDDLE[2] + 20
    places = head_places(probabilities(), AFFINE, within)
    assert "the field of view cuts" in places.warnings[0]
    assert places.intracranial_ml < 0.8 * head_places(probabilities(), AFFINE).intracranial_ml


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (probabilities(space=20), "shows no head"),
        (probabilities(sure=0.3), "isn't to be seen"),
        (probabilities(right=np.add(LEFT, (20, 0, 0))), "20 mm apart"),
    ],
    ids=["little space", "faint", "too near"],
)
def test_what_is_no_head_is_refused(found, words):
    with pytest.raises(Refused, match=words):
        head_places(found, AFFINE)


@pytest.fixture(scope="module")
def locator():
    return Segmenter("head_locator", device="cpu", overrides={"engine": "torch"})


@pytest.fixture(scope="module")
def head(shared_data):
    """A synthetic head at 4 mm of a label map that training held out, and the true centres."""
    item = {"label": str(shared_data / "brain_label_maps" / "training_seg_03.nii.gz"), "seed": 5}
    item = HeadClassesd("label", radius=14.0)(LoadVolumed("label")(item))
    made = SynthesizeFromLabelsd("label", spacing=4.0, size=(48, 60, 60), empty_share=0, t1_share=1, deform=0.3)(item)
    affine = made["image"].affine.numpy()
    truth = [np.argwhere(made["label"][0].numpy() == n).mean(0) @ affine[:3, :3].T + affine[:3, 3] for n in (1, 2)]
    return Volume(made["image"][0].numpy(), affine, Path("head")), truth


def turned(volume, order, flips):
    """The same head, its voxels stored in another order."""
    turn = np.stack([order, flips], axis=1).astype(float)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.array.shape)
    return Volume(nib.orientations.apply_orientation(volume.array, turn).copy(), affine, volume.source)


@pytest.mark.slow
def test_a_head_is_found_at_the_same_place_in_every_orientation(locator, head):
    volume, truth = head
    expected = locate(volume, locator)
    assert np.linalg.norm(expected.left - truth[0]) < 10 and np.linalg.norm(expected.right - truth[1]) < 10
    for order, flips in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        places = locate(turned(volume, order, flips), locator)
        assert np.linalg.norm(places.left - expected.left) < 2, (order, flips)
        assert np.linalg.norm(places.right - expected.right) < 2, (order, flips)
        assert places.intracranial_ml == pytest.approx(expected.intracranial_ml, rel=0.02)


def test_mirrored_voxels_under_the_same_header_exchange_the_sides(locator, head):
    volume, _ = head
    mirrored = Volume(volume.array[::-1].copy(), volume.affine, volume.source)
    before, after = locate(volume, locator), locate(mirrored, locator)
    ends = 2 * volume.affine[0, 3] + (volume.array.shape[0] - 1) * volume.affine[0, 0]
    for found, other in ((after.left, before.right), (after.right, before.left)):
        assert np.linalg.norm(found - (ends - other[0], *other[1:])) < 0.1


def test_noise_is_refused(locator):
    noise = np.random.default_rng(0).random((64, 64, 64), np.float32)
    with pytest.raises(Refused):
        locate(Volume(noise, np.diag([3.0, 3, 3, 1]), Path("noise")), locator)
