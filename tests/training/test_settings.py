"""Values of ids that MONAI would fail on in words of its own."""

import re

import pytest

from ulite_monai.errors import InputError
from ulite_monai.training import require_settings


def test_what_is_right_passes():
    require_settings(3, {"patch_size": (40, 56, 40), "spacing": [1.0, 1.0, 3]}, {"epochs": 80}, [])
    require_settings(2, {"patch_size": [256, 256]}, {"batch_size": 4}, [0, 1])


@pytest.mark.parametrize("value", [40, "[40,40,40]", [40, 40], [40, 0, 40], [40, "40", 40], [True] * 3, None])
def test_one_number_per_axis(value):
    reported = re.escape(f'patch_size must be 3 numbers above 0, such as "[1, 1, 1]", got {value!r}.')
    with pytest.raises(InputError, match=reported):
        require_settings(3, {"patch_size": value}, {}, [])


@pytest.mark.parametrize("value", [0, -1, "8", None, True, [8]])
def test_numbers_above_0(value):
    with pytest.raises(InputError, match=re.escape(f"batch_size must be a number above 0, got {value!r}.")):
        require_settings(3, {}, {"batch_size": value}, [])


@pytest.mark.parametrize("value", [0, "0", [3], [-1], ["0"], [True], None])
def test_axes_to_flip(value):
    reported = re.escape(f'flip_axes must be a list of axes from 0 to 2, such as "[0]", got {value!r}.')
    with pytest.raises(InputError, match=reported):
        require_settings(3, {}, {}, value)
