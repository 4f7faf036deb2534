"""Series that tests make, and what is found of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.dicom.tree import find_series
from ulite_monai.io.dicom.volume import read_series

AXIAL_LPS = np.array([[-0.8, 0, 0, -31.5], [0, -0.5, 0, 12.25], [0, 0, 2.5, 40.0], [0, 0, 0, 1]])


def volume(shape=(6, 5, 4), start=0):
    return (np.arange(np.prod(shape)) + start).astype(np.int16).reshape(shape)


def only(path: Path):
    tree = find_series(path)
    assert len(tree.series) == 1
    return tree.series[0]


def renumber(start, **attributes):
    """A change that gives new instances, numbered from `start`."""

    def change(ds, k):
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.{start}"
        ds.InstanceNumber = start + k
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)

    return change


def refusal(path) -> str:
    series = only(path)
    with pytest.raises(InputError) as caught:
        read_series(series)
    assert str(caught.value) == f"{series.id}: {series.problem}"
    return str(caught.value)
