"""Where each plane is cut and which way it is turned, by values placed by hand."""

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from ulite_monai.reports.planes import direction_letters, volume_planes

SHAPE = (6, 8, 10)


def planes(image, mask, affine):
    return volume_planes(image, mask, affine, centred_on=mask)


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
    axial, coronal, sagittal = planes(*turned(codes))[0]
    assert axial.letters == ("R", "L", "A", "P")
    assert coronal.letters == ("R", "L", "S", "I")
    assert sagittal.letters == ("A", "P", "S", "I")
    assert [plane.image[0, 0] for plane in (axial, coronal, sagittal)] == [100, 100, 100]
    assert [plane.image[-1, -1] for plane in (axial, coronal, sagittal)] == [0, 0, 0]
    assert (axial.size, coronal.size, sagittal.size) == ((6, 16), (6, 30), (16, 30))
    assert all(np.count_nonzero(plane.mask) == 1 for plane in (axial, coronal, sagittal))


def test_names_hold_the_inputs_own_indices():
    image, mask, affine = turned("PIR")  # so i = 8-1-3, j = 10-1-4, k = 2
    assert mask[4, 5, 2] == 1
    assert [plane.name for plane in planes(image, mask, affine)[0]] == [
        "axial, j = 5",
        "coronal, i = 4",
        "sagittal, k = 2",
    ]


def test_an_empty_mask_is_cut_in_the_middle():
    whole, close_up = planes(np.zeros((9, 9, 9)), np.zeros((9, 9, 9), np.uint8), np.eye(4))
    assert whole[0].name == "axial, k = 4"
    assert [plane.extent for plane in close_up] == [plane.extent for plane in whole]


def test_a_pair_is_cut_through_one_of_the_two():
    mask = np.zeros((40, 20, 20), np.uint8)
    mask[2:10, 5:10, 5:10] = 1
    mask[30:38, 5:10, 5:10] = 2
    assert planes(mask, mask, np.eye(4))[0][2].mask.any()


def test_a_close_up_says_where_it_lies():
    mask = np.zeros((60, 60, 60), np.uint8)
    mask[20:40, 25:35, 26:34] = 1
    whole, close_up = (views[0] for views in planes(mask, mask, np.diag([2.0, 2.0, 2.0, 1.0])))
    margin = 8
    left, right, bottom, top = (round(edge / 2) for edge in close_up.extent)
    assert (left, right) == (60 - 40 - margin, 60 - 20 + margin)
    assert (top, bottom) == (60 - 35 - margin, 60 - 25 + margin)
    np.testing.assert_array_equal(close_up.mask, whole.mask[top:bottom, left:right])


def test_a_single_voxel_keeps_its_surroundings():
    mask = np.zeros((60, 60, 30), np.uint8)
    mask[30, 30, 15] = 1
    axial, coronal, _ = planes(mask, mask, np.diag([1.0, 1.0, 4.0, 1.0]))[1]
    assert axial.mask.shape == (17, 17) and coronal.mask.shape == (5, 17)


def test_a_thick_slice_keeps_its_neighbours():
    mask = np.zeros((60, 60, 10), np.uint8)
    mask[30, 30, 5] = 1
    assert planes(mask, mask, np.diag([0.3, 0.3, 6.0, 1.0]))[1][1].mask.shape == (3, 17)


@pytest.mark.parametrize(
    ("shape", "names"),
    [((9, 9, 1), ["axial"]), ((1, 9, 9), ["sagittal"]), ((1, 1, 9), ["axial", "coronal", "sagittal"])],
)
def test_planes_of_one_row_are_left_out(shape, names):
    mask = np.ones(shape, np.uint8)
    assert [plane.name.split(",")[0] for plane in planes(mask, mask, np.eye(4))[0]] == names


@pytest.mark.parametrize(
    ("direction", "letters"),
    [((5, 0, 0), "R"), ((-1, 0.1, 0), "L"), ((0, 1, -0.5), "AI"), ((0.4, -0.5, 0.8), "SPR")],
)
def test_letters_of_a_direction(direction, letters):
    assert direction_letters(np.array(direction)) == letters
