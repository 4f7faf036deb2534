"""A data set's values become its classes' numbers and come back."""

import numpy as np
import pytest
from PIL import Image

from ulite_monai.errors import InputError
from ulite_monai.io.images import write_mask
from ulite_monai.io.label_values import class_numbers, with_label_values
from ulite_monai.io.write_masks import write_masks
from ulite_monai.reports.volumes import label_volumes

VALUES = [2, 5, 300]
LABEL = np.array([[0, 2, 5], [300, 300, 0]], np.uint16)


def test_there_and_back():
    numbers = class_numbers(LABEL, VALUES)
    assert numbers.tolist() == [[0, 1, 2], [3, 3, 0]]
    back = with_label_values(numbers, VALUES)
    assert np.array_equal(back, LABEL) and back.dtype == np.uint16
    assert with_label_values(np.array([1.0]), [255]).dtype == np.uint8
    assert with_label_values(np.array([0.0, 2.0]), None).tolist() == [0, 2]


@pytest.mark.parametrize("values", [None, [1, 2, 3]])
def test_numbers_of_classes_stay_as_they_are(values):
    label = np.array([0, 3, 7])
    assert class_numbers(label, values) is label


def test_what_is_to_be_ignored_comes_after_the_classes():
    assert class_numbers(np.array([0.0, 9.0, 4.0]), [4], ignore=9).tolist() == [0, 2, 1]
    with pytest.raises(InputError, match=r"a\.nii: holds the value 3, which is no class's"):
        class_numbers(np.array([0, 3]), [4], ignore=9, source="a.nii")


@pytest.mark.parametrize(
    ("values", "expected"), [(VALUES, [[0, 2, 5], [300, 300, 0]]), (None, [[0, 85, 170], [255] * 3])]
)
def test_masks_of_images_hold_the_values(tmp_path, values, expected):
    mask = LABEL if values else np.array([[0, 1, 2], [3, 3, 3]], np.uint8)
    write_masks(mask.T, None, {"image": tmp_path / "a.png"}, ["a", "b", "c"], {}, values=values)
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image).tolist() == expected
    write_mask(np.array([[255]]), tmp_path / "b.png", as_greys=False)
    with Image.open(tmp_path / "b.png") as image:
        assert np.asarray(image).tolist() == [[255]] and image.mode == "L"


def test_volumes_are_of_the_values():
    found = label_volumes(LABEL, None, ["a", "b", "c"], values=VALUES)
    assert [(one.label, one.value, one.voxels) for one in found] == [("a", 2, 1), ("b", 5, 1), ("c", 300, 2)]
