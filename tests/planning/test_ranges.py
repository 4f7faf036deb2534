"""The ranges of a run are those of its training volumes, with room, in the terms in which a case is checked."""

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import write_volume
from ulite_monai.io.read_volume import read_volume
from ulite_monai.planning.ranges import training_ranges
from ulite_monai.prediction.ranges import outside_ranges


def stored(path, shape, affine):
    return {"image": str(write_volume(path, np.zeros(shape, np.uint8), affine))}


def test_half_the_smallest_to_twice_the_largest_along_the_bodys_axes(tmp_path):
    turned = np.array(
        [[0, 0, -3.0, 0], [0, 2.0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]]
    )  # the third axis runs to the left
    items = [
        stored(tmp_path / "a.nii.gz", (10, 20, 30), np.diag([1.0, 2.0, 3.0, 1])),  # 10, 40, 90 mm
        stored(tmp_path / "b.nii", (50, 15, 4), turned),  # 12, 30, 50 mm
    ]
    assert training_ranges(items) == {"spacing_mm": [0.5, 6.0], "extent_mm": [[5.0, 24.0], [15.0, 80.0], [25.0, 180.0]]}


def test_every_form_of_header_is_within_the_ranges_of_its_own_training(geometries):
    """Also where the header counts in microns, or has neither form."""
    ranges = {"input_ranges": training_ranges([{"image": str(path)} for path in geometries.values()])}
    assert ranges["input_ranges"]["spacing_mm"] == [0.45, 4.6]
    for path in geometries.values():
        volume = read_volume(path)
        assert outside_ranges(volume.array.shape, volume.affine, "", ranges) is None, path
        assert "bundle is for 0.45 to 4.6 mm" in outside_ranges(volume.array.shape, volume.affine * 3, "", ranges)


def test_other_formats_and_several_channels(tmp_path):
    item = stored(tmp_path / "a.nii.gz", (10, 20, 30), np.eye(4))
    nib.save(nib.load(item["image"]), tmp_path / "pair.hdr")
    assert training_ranges([{"image": str(tmp_path / "pair.hdr")}]) == training_ranges([item])
    assert training_ranges([{"image": [item["image"], str(tmp_path / "not there.nii")]}]) == training_ranges([item])


def test_the_modality_is_stated_where_dicom_said_it_of_all(shared_data, tmp_path):
    pytest.importorskip("pydicom")
    series = {"image": str(shared_data / "dicom" / "odd_series" / "ct_flipped_iop_17slices")}
    ranges = training_ranges([series])
    assert ranges["modality"] == ["CT"]
    volume = read_volume(series["image"])
    assert outside_ranges(volume.array.shape, volume.affine, "CT", {"input_ranges": ranges}) is None
    assert "modality is MR" in outside_ranges(volume.array.shape, volume.affine, "MR", {"input_ranges": ranges})
    assert "modality" not in training_ranges([series, stored(tmp_path / "a.nii.gz", (10, 20, 30), np.eye(4))])
