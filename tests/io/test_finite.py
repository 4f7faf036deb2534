"""Voxels that no image holds."""

import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.finite import settle_nonfinite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -3.4028235e38, -1.797e308, 1e18])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_they_become_the_minimum_of_the_others(value, dtype):
    array = np.array([value, 3.0, 2.0, 1e17]).astype(dtype)
    warnings: list[str] = []
    found = settle_nonfinite(array, "a.nii", "replace", warnings)
    assert found.tolist() == [2.0, 3.0, 2.0, float(dtype(1e17))] and found.dtype == dtype
    assert warnings == ["a.nii: 1 voxels were NaN, infinite or beyond 1e+18 and were taken as the minimum, 2."]
    with pytest.raises(InputError, match=r"a\.nii: 1 of 4 voxels are NaN, infinite or beyond 1e\+18; replace them"):
        settle_nonfinite(array, "a.nii", "error", [])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
def test_what_an_image_holds_stays_as_it_is(dtype):
    array = np.array([-60000, 0, 60000]).astype(dtype)
    assert settle_nonfinite(array, "a.nii", "error", []) is array


@pytest.mark.parametrize(("dtype", "value"), [(np.int64, np.iinfo(np.int64).min), (np.uint64, np.iinfo(np.uint64).max)])
def test_integers_that_no_image_holds_become_the_minimum(dtype, value):
    warnings: list[str] = []
    found = settle_nonfinite(np.array([value, 7, 5], dtype), "a.nii", "replace", warnings)
    assert found.tolist() == [5, 7, 5] and found.dtype == dtype and "1 voxels were NaN, infinite or bey" in warnings[0]
    with pytest.raises(InputError, match="1 of 3 voxels"):
        settle_nonfinite(np.array([value, 7, 5], dtype), "a.nii", "error", [])
