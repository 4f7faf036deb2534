"""The largest connected part of a mask."""

import numpy as np

from ulite_monai.io.parts import largest_part


def test_the_largest_part_alone_is_left():
    mask = np.zeros((6, 5, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True  # touch at a corner, which is no face
    mask[3:5, 2:4, 1] = True
    found = largest_part(mask)
    assert found.dtype == bool and np.array_equal(np.argwhere(found), np.argwhere(mask)[2:])


def test_of_nothing_nothing_is_left():
    assert not largest_part(np.zeros((3, 3), bool)).any()
