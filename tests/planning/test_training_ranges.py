"""The ranges that a run's bundle states: those of its training volumes, in millimetres, with room."""

import numpy as np
import pytest

from tests.conftest import write_volume
from ulite_monai.planning.ranges import training_ranges
from ulite_monai.prediction.ranges import outside_ranges


@pytest.mark.parametrize("name", ["oblique_both", "microns", "metres", "nifti2", "big_endian", "qform"])
def test_they_are_in_millimetres_whatever_the_header_has(geometries, name):
    ranges = training_ranges([{"image": str(geometries[name])}])
    assert ranges["spacing_mm"] == [0.45, 4.6] and "modality" not in ranges
    extents = {tuple(pair) for pair in ranges["extent_mm"]}
    assert {(14.0, 56.0)} <= extents


def test_a_volume_of_half_or_twice_the_size_is_within_them(tmp_path):
    paths = [write_volume(tmp_path / f"{n}.nii.gz", np.zeros((20, 30, 10), np.float32)) for n in range(2)]
    metadata = {"input_ranges": training_ranges([{"image": str(path)} for path in paths])}
    for scale, words in ((0.5, None), (2, None), (0.49, "voxels measure"), (2.1, "voxels measure")):
        found = outside_ranges((20, 30, 10), np.diag([scale, scale, scale, 1]), "", metadata)
        assert found is None if words is None else words in found
