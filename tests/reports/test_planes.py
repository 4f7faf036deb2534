"""Where each plane is cut and which way it is turned, by values placed by hand."""

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from ulite_monai.reports.planes import direction_letters, display_volume

SHAPE = (6, 8, 10)


def marked():
    """RAS, with the right front upper corner 100 and a label of one voxel."""
    image = np.zeros(SHAPE)
    image[-1, -1, :] = image[-1, :, -1] = image[:, -1, -1] = 100
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 3, 4] = 1
    return image, mask, np.diag([1.0, 2.0, 3.0, 1.0])


def turned(codes):
    image, mask, affine = marked()
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    return apply_orientation(image, turn), apply_orientation(mask, turn), affine @ inv_ornt_aff(turn, SHAPE)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA", "AIL"])
def test_planes_are_radiological_whatever_the_orientation(codes):
    volume = display_volume(*turned(codes))
    axial, coronal, sagittal = volume.planes(volume.whole)
    assert axial.letters == ("R", "L", "A", "P")
    assert coronal.letters == ("R", "L", "S", "I")
    assert sagittal.letters == ("A", "P", "S", "I")
    assert [plane.image[0, 0] for plane in (axial, coronal, sagittal)] == [100, 100, 100]
    assert [plane.image[-1, -1] for plane in (axial, coronal, sagittal)] == [0, 0, 0]
    assert (axial.width, axial.height, coronal.height) == (6, 16, 30)
    assert all(np.count_nonzero(plane.mask) == 1 for plane in (axial, coronal, sagittal))


def test_names_hold_the_inputs_own_indices():
    image, mask, affine = turned("PIR")  # so i = 8-1-3, j = 10-1-4, k = 2
    volume = display_volume(image, mask, affine)
    assert mask[4, 5, 2] == 1
    assert [plane.name for plane in volume.planes(volume.whole)] == [
        "axial, j = 5",
        "coronal, i = 4",
        "sagittal, k = 2",
    ]


def test_an_empty_mask_is_cut_in_the_middle():
    volume = display_volume(np.zeros((9, 9, 9)), np.zeros((9, 9, 9), np.uint8), np.eye(4))
    assert volume.planes(volume.whole)[0].name == "axial, k = 4"
    assert volume.around_mask(0.5) == volume.whole


def test_a_pair_is_cut_through_one_of_the_two():
    mask = np.zeros((40, 20, 20), np.uint8)
    mask[2:10, 5:10, 5:10] = 1
    mask[30:38, 5:10, 5:10] = 2
    volume = display_volume(mask, mask, np.eye(4))
    assert volume.planes(volume.whole)[2].mask.any()


def test_the_frame_is_the_close_ups_place():
    mask = np.zeros((60, 60, 60), np.uint8)
    mask[20:40, 25:35, 28:32] = 1
    volume = display_volume(mask, mask, np.eye(4))
    box = volume.around_mask(0.5)
    axial = volume.planes(volume.whole, frame=box)[0]
    left, top, right, bottom = axial.frame
    assert (left, right) == (60 - 40 - 10, 60 - 20 + 10)
    assert (top, bottom) == (60 - 35 - 10, 60 - 25 + 10)
    np.testing.assert_array_equal(axial.mask[top:bottom, left:right], volume.planes(box)[0].mask)


def test_a_single_voxel_keeps_its_surroundings():
    mask = np.zeros((60, 60, 30), np.uint8)
    mask[30, 30, 15] = 1
    volume = display_volume(mask, mask, np.diag([1.0, 1.0, 4.0, 1.0]))
    assert [one.stop - one.start for one in volume.around_mask(0.25)] == [17, 17, 5]


@pytest.mark.parametrize(
    ("direction", "letters"),
    [((5, 0, 0), "R"), ((-1, 0.1, 0), "L"), ((0, 1, -0.5), "AI"), ((0.4, -0.5, 0.8), "SPR")],
)
def test_letters_of_a_direction(direction, letters):
    assert direction_letters(np.array(direction)) == letters
