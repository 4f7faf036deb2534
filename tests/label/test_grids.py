"""Labels as annotators save them."""

import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.label.grids import with_values_of


def test_a_viewers_numbers_become_the_bundles():
    array = np.array([0, 1, 2, 2])
    segments = [{"name": "posterior", "idx": 1}, {"name": "anterior", "idx": 2}, {"color": [1, 2, 3]}]
    assert list(with_values_of({"anterior": 1, "posterior": 2}, array, segments, "x")) == [0, 2, 1, 1]


def test_an_unknown_segment_is_refused_unless_it_is_empty():
    segments = [{"name": "anterior", "idx": 1}, {"name": "Segment_1", "idx": 2}]
    labels = {"anterior": 1, "posterior": 2}
    assert list(with_values_of(labels, np.array([0, 1]), segments, "x")) == [0, 1]
    with pytest.raises(InputError, match="x: has a segment 'Segment_1'; the bundle's classes are anterior, posterior"):
        with_values_of(labels, np.array([0, 1, 2]), segments, "x")
