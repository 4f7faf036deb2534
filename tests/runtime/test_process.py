"""Flags, as JSON and the command line write them."""

import pytest

from ulite_monai.errors import InputError
from ulite_monai.runtime.process import is_true


@pytest.mark.parametrize("value", [True, "true", "True", 1, "yes"])
def test_true(value):
    assert is_true(value) is True


@pytest.mark.parametrize("value", [False, "false", "False", 0, "no"])
def test_false(value):
    assert is_true(value) is False


def test_neither():
    with pytest.raises(InputError, match="'maybe'"):
        is_true("maybe")
