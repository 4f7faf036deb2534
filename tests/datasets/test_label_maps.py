"""Label maps as a data list, and the images that they are made into."""

import numpy as np
import pytest

from tests.conftest import write_volume
from ulite_monai.datasets.label_maps import label_maps, seeded
from ulite_monai.errors import InputError


def test_each_volume_is_a_label_map(tmp_path):
    paths = [str(write_volume(tmp_path / f"{name}.nii.gz", np.zeros((3, 4, 5), np.int16))) for name in "ab"]
    items = label_maps(str(tmp_path))
    assert [item["case_id"] for item in items] == ["a", "b"]
    assert [item["label"] for item in items] == [item["image"] for item in items] == paths


def test_what_is_no_volume_is_named(tmp_path):
    (tmp_path / "picture.png").touch()
    with pytest.raises(InputError, match=r"picture\.png: is no label map"):
        label_maps(str(tmp_path))
    with pytest.raises(InputError, match="dataset_dir is not set"):
        label_maps(None)


def test_each_image_has_a_seed_of_its_own():
    made = seeded([{"case_id": "a"}, {"case_id": "b"}], 3)
    assert [item["case_id"] for item in made] == ["a"] * 3 + ["b"] * 3
    assert sorted(item["seed"] for item in made) == [0, 1, 2, 3, 4, 5]
