"""Names of the segments of a DICOM SEG."""

import pytest

from ulite_monai.errors import InputError
from ulite_monai.label.dicom_seg import in_order_of_values

SEGMENTS = [{"name": "anterior"}, {"name": "posterior"}]


def names(segments, values):
    return [segment["name"] for segment in in_order_of_values(segments, values)]


def test_a_segment_that_is_missing_shifts_no_name():
    assert names(SEGMENTS, [1, 2]) == ["anterior", "posterior"] and names(SEGMENTS, [2]) == ["posterior"]


def test_the_index_that_a_viewer_gives_counts():
    swapped = [{"name": "posterior", "idx": 1}, {"name": "anterior", "idx": 2}]
    assert names(swapped, [2]) == ["anterior"] and names(swapped, [1, 2]) == ["posterior", "anterior"]


def test_a_value_without_a_name_is_refused():
    with pytest.raises(InputError, match="names no segment for the value 3"):
        in_order_of_values(SEGMENTS, [3])
