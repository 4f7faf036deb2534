"""LoadVolumed: channel first, with a geometry that no later step changes."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd

from tests.conftest import write_volume
from tests.io.conftest import make_slice
from ulite_monai.errors import InputError
from ulite_monai.io.nifti import read_nifti
from ulite_monai.transforms import LoadVolumed, SpacingOfKeysd

AFFINE = np.array([[-2.0, 0, 0, 5], [0, 1, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def test_loads_channel_first_with_its_geometry(tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", VALUES, AFFINE)
    image = LoadVolumed("image")({"image": str(path), "case_id": "a"})["image"]
    assert image.dtype == torch.float32 and torch.equal(image[0], torch.from_numpy(VALUES).float())
    assert np.array_equal(image.affine, AFFINE) and list(image.meta["spatial_shape"]) == [3, 4, 5]
    assert image.meta["filename_or_obj"] == str(path)


def test_channels_are_stacked_and_must_share_a_grid(tmp_path):
    paths = [str(write_volume(tmp_path / f"{n}.nii.gz", VALUES + n, AFFINE)) for n in range(2)]
    image = LoadVolumed("image")({"image": paths})["image"]
    assert image.shape == (2, 3, 4, 5) and (image[1] - image[0] == 1).all()
    other = str(write_volume(tmp_path / "other.nii.gz", VALUES, np.eye(4)))
    with pytest.raises(InputError, match=r"other\.nii\.gz: the channels of a case"):
        LoadVolumed("image")({"image": [paths[0], other]})


def test_a_dicom_series_of_many_is_named_by_its_id(tmp_path):
    from ulite_monai.datasets.cases import find_cases

    pytest.importorskip("highdicom", reason="the dicom extra isn't installed")
    for number in (1, 2):
        (tmp_path / f"s{number}").mkdir()
        for k in range(5):
            ds = make_slice(VALUES * number, AFFINE, k)
            ds.SeriesInstanceUID, ds.SeriesNumber = f"1.2.3.{number}", number
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{k}"
            ds.save_as(tmp_path / f"s{number}" / str(k), enforce_file_format=True)
    cases = find_cases(tmp_path)
    assert [case.id.split("_")[0] for case in cases] == ["series1", "series2"]
    images = [LoadVolumed("image")(case.item())["image"] for case in cases]
    assert torch.equal(images[0] * 2, images[1]) and sorted(images[0].shape) == [1, 3, 4, 5]
    with pytest.raises(InputError, match="holds no DICOM series series9"):
        LoadVolumed("image")({"image": f"{tmp_path}#series9"})


def test_nothing_that_a_pipeline_does_reaches_the_header_or_the_warnings(geometries):
    """Resampling and its inverse, and the collation of a batch."""
    volume = read_nifti(geometries["microns_qform"])
    before = volume.header.binaryblock
    load = Compose([LoadVolumed("image"), SpacingOfKeysd("image", (1, 1, 1))])
    image = decollate_batch(list_data_collate([load({"image": volume})]))[0]["image"]
    back = Invertd("pred", load, "image")(
        {"image": image, "pred": MetaTensor(image.as_tensor() > 100, meta=image.meta)}
    )
    assert volume.header.binaryblock == before
    for meta in (image.meta, back["pred"].meta):
        assert meta["warnings"].count("gives positions in microns") == 1
