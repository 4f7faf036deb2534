"""Known noise is silenced by its words, and nothing else."""

import warnings

import pytest
from monai.transforms import LoadImaged

from ulite_monai.runtime.quiet import silence_noise


def test_known_noise_alone_is_silenced():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        silence_noise()
        LoadImaged("image")  # makes all readers, one of which isn't installed
        warnings.warn("something else", stacklevel=1)
    assert [str(warning.message) for warning in told] == ["something else"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("parsing config_file a.json: ... is passed to Python `eval()`. Only proceed if", 0),
        ("parsing config_file a.json: has no such id", 1),
    ],
)
def test_by_its_words(text, count):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        silence_noise()
        warnings.warn(text, stacklevel=1)
    assert len(told) == count
