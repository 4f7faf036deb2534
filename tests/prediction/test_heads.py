"""Whole heads: boxes that find their place, masks on any grid, and what is said of a head that can't be relied on."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ulite_monai.io.affine import voxel_volume
from ulite_monai.io.volume import Volume
from ulite_monai.prediction import HeadCascade
from ulite_monai.prediction.locate import HeadPlaces
from ulite_monai.prediction.segmenter import Segmentation

PITCH = -24.0
CASCADE = HeadCascade("locator.json", "locator.pt", (36, 50, 38), (0, 0, 0), PITCH, "right", (2.0, 5.0), 2.0)
LEFT, RIGHT = np.array([-27.0, -5.0, -12.0]), np.array([26.0, -3.0, -10.0])
RADII = {"left": (7.0, 19.0, 6.0), "right": (6.0, 17.0, 5.5)}
GRIDS = {
    "1 mm": np.diag([1.0, 1, 1]),
    "anisotropic": np.diag([-0.9, 1.1, 2.0])[:, [1, 2, 0]],
    "sheared": np.array([[1.2, 0.2, 0], [0, 1.2, 0.1], [0, 0, 1.2]]),
}


def head(grid, pose=None, shift=(0, 0, 0)):
    """A volume with two ellipsoids, 100 in the front half and -100 in the back one; the left one is the larger.

    Args:
        grid: 3x3, of its affine.
        pose: how the head is held, a rotation.
        shift: mm of the field of view.
    """
    pose = np.eye(3) if pose is None else pose
    size = np.ceil(np.abs(np.linalg.inv(grid)) @ [110, 90, 80]).astype(int)
    affine = nib.affines.from_matvec(grid, np.add(shift, -grid @ ((size - 1) / 2)))
    places = nib.affines.apply_affine(affine, np.moveaxis(np.indices(size), 0, -1)) @ pose  # in the head's own axes
    tilt = nib.quaternions.angle_axis2mat(np.radians(PITCH), [1, 0, 0])
    image = np.zeros(size, np.float32)
    for side, centre in (("left", LEFT), ("right", RIGHT)):
        along = (places - centre) @ tilt
        inside = ((along / RADII[side]) ** 2).sum(-1) < 1
        image[inside] = np.where((places - centre)[inside][:, 1] > 0, 100, -100)
    return Volume(image, affine, Path("head"))


class KnownAnswer:
    """A network that reads the classes off the grey values, and keeps what it was shown."""

    def __init__(self):
        self.settings, self.labels, self.shown = {"spacing": [1.0, 1.0, 1.0]}, ["anterior", "posterior"], []

    def __call__(self, item, with_probabilities):
        (volume,) = item["image"]
        self.shown.append(volume)
        anterior, posterior = (np.clip(sign * volume.array / 100, 0, 1) for sign in (1, -1))
        probabilities = np.stack([1 - anterior - posterior, anterior, posterior]).astype(np.float32)
        return Segmentation(probabilities.argmax(0), {}, probabilities)


def segment(volume, pose=None, error=(5, -6, 4), probabilities=False, cascade=CASCADE, network=None):
    """Segment a head whose locator errs by so many mm."""
    pose = np.eye(3) if pose is None else pose
    places = HeadPlaces(pose @ LEFT + error, pose @ RIGHT - error, 1500.0, 0.9, ["the locator's."])
    return cascade.segment(volume, network or KnownAnswer(), probabilities, places)


def expected(side):
    return 4 / 3 * np.pi * np.prod(RADII[side]) / 1000


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("degrees", [0, 25])
def test_both_sides_are_found_however_the_head_lies_and_is_stored(grid, degrees):
    pose = nib.quaternions.angle_axis2mat(np.radians(degrees), [0.8, -0.4, 0.5])
    volume = head(grid, pose)
    found = segment(volume, pose)
    assert found.labels == ["left anterior", "left posterior", "right anterior", "right posterior"]
    assert found.mask.shape == volume.array.shape and found.mask.dtype == np.uint8
    ml = np.bincount(found.mask.ravel(), minlength=5)[1:] * voxel_volume(volume.affine) / 1000
    for side, parts in (("left", ml[:2]), ("right", ml[2:])):
        assert parts.sum() == pytest.approx(expected(side), rel=0.06)
        assert parts[0] == pytest.approx(parts[1], rel=0.12)
    truth = np.select([volume.array > 0, volume.array < 0], [1, 2])
    right = nib.affines.apply_affine(volume.affine, np.moveaxis(np.indices(truth.shape), 0, -1)) @ pose[:, 0] > 0
    truth = np.where((truth > 0) & right, truth + 2, truth)
    for value in range(1, 5):
        both = (truth == value) & (found.mask == value)
        assert 2 * both.sum() / ((truth == value).sum() + (found.mask == value).sum()) > 0.9
    for box, place, sign in zip(found.boxes, (LEFT, RIGHT), (1, -1), strict=True):
        assert np.linalg.norm(box.corners.mean(0) - pose @ place) < 1.0
        assert np.abs(box.affine[:3, :3] @ np.diag([sign, 1, 1]) - pose).max() < 0.1
    assert found.warnings == ["the locator's."] and found.intracranial_ml == 1500.0


def test_the_network_sees_boxes_of_its_own_grid_and_the_right_side_mirrored():
    network = KnownAnswer()
    volume = head(GRIDS["1 mm"])
    segment(volume, network=network)
    assert {shown.array.shape for shown in network.shown} == {(36, 50, 38)}
    assert all(np.allclose(shown.affine, np.eye(4)) for shown in network.shown)


def test_mirrored_voxels_exchange_the_sides():
    volume = head(GRIDS["1 mm"])
    found, mirrored = segment(volume), segment(replace(volume, array=volume.array[::-1].copy()))
    one, other = (np.bincount(result.mask.ravel(), minlength=5)[1:] for result in (found, mirrored))
    assert np.allclose(one[[2, 3, 0, 1]], other, rtol=0.03) and one[:2].sum() > 1.2 * one[2:].sum()


def test_probabilities_are_those_of_the_mask_and_sum_to_one():
    found = segment(head(GRIDS["anisotropic"]), probabilities=True)
    assert found.probabilities.shape == (5, *found.mask.shape)
    assert np.allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert np.array_equal(found.probabilities.argmax(0), found.mask)


def test_what_should_not_be_relied_on_is_said():
    def told(volume, **more):
        return " ".join(segment(volume, **more).warnings)

    assert "up to 3 mm" in told(head(np.diag([1.0, 1.0, 3.0])))
    cut = told(head(GRIDS["1 mm"], shift=(28, 0, 0)))
    assert "field of view ends at the left hippocampus" in cut and "right" not in cut
    assert "left hippocampus is larger than all" in told(
        head(GRIDS["1 mm"]), cascade=replace(CASCADE, volume_ml=(1.0, 3.0))
    )
    assert "reaches the side of its box" in told(head(GRIDS["1 mm"]), cascade=replace(CASCADE, box_mm=(30, 30, 38)))
    assert "uncertain: 1" in told(head(GRIDS["1 mm"]), error=(8, 10, 11))
    empty = head(GRIDS["1 mm"])
    empty.array[empty.array.shape[0] // 2 :] = 0
    lost = told(empty)
    assert "no right hippocampus" in lost and "don't come to rest" in lost
