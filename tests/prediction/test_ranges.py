"""Which volumes a bundle is for."""

import numpy as np
import pytest

from ulite_monai.prediction.ranges import outside_ranges

RANGES = {"input_ranges": {"modality": ["MR"], "spacing_mm": [0.5, 2], "extent_mm": [[20, 65], [25, 90], [15, 70]]}}


@pytest.mark.parametrize(
    ("shape", "affine", "modality", "words"),
    [
        ((36, 50, 36), np.eye(4), "MR", None),
        ((36, 50, 36), np.eye(4), "", None),
        ((36, 50, 36), np.eye(4), "CT", "modality is CT"),
        ((36, 95, 36), np.eye(4), "MR", "95 mm from front to back"),
        ((95, 36, 36), np.eye(4)[[1, 0, 2, 3]], "MR", "95 mm from front to back"),
        ((36, 50, 36), np.diag([0.4, 1, 1, 1]), "MR", "0.4 x 1 x 1 mm"),
    ],
    ids=str,
)
def test_ranges(shape, affine, modality, words):
    found = outside_ranges(shape, affine, modality, RANGES)
    assert found is None if words is None else words in found
    assert outside_ranges(shape, affine, modality, {}) is None
