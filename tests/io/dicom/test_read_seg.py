"""DICOM SEG in: on its series' grid, with its segments' names, and refused as the label of another series."""

import numpy as np
import pytest

pytest.importorskip("pydicom", "3.0")
pytest.importorskip("highdicom")

from tests.io.conftest import OBLIQUE, affine_from, volume_array
from tests.io.dicom.test_seg import LABELS, MAKER
from ulite_monai.datasets.check import check_dataset
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.errors import InputError
from ulite_monai.io.dicom.seg import write_dicom_seg
from ulite_monai.io.dicom.tree import find_series
from ulite_monai.io.grids import on_grid_of
from ulite_monai.io.read_volume import read_volume

AFFINE = affine_from(OBLIQUE @ np.diag([-1.0, -1.0, 1.0]), (0.8, 0.5, 2.5))


def mask_of(series, slices=(1, 3)):
    mask = np.zeros(series.shape, np.uint8)
    mask[1:3, 2:4, slices[0]], mask[3:5, 0:2, slices[1]] = 1, 5
    return mask


@pytest.fixture
def dataset(write_series, tmp_path):
    """Two series of an oblique scanner, each in a folder, and a DICOM SEG of each."""
    (tmp_path / "data/labelsTr").mkdir(parents=True)
    for name in ("a", "b"):

        def own(ds, k, name=name):
            ds.SeriesInstanceUID += str(ord(name))
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.{ord(name)}"

        folder = write_series(volume_array((6, 5, 6)), AFFINE, own, folder=f"data/imagesTr/{name}")
        (series,) = find_series(folder).series
        write_dicom_seg(mask_of(series), series, LABELS, tmp_path / f"data/labelsTr/{name}.seg.dcm", *MAKER)
    return tmp_path / "data"


def test_it_lies_on_the_grid_of_its_series(dataset):
    image, label = (read_volume(dataset / part) for part in ("imagesTr/a", "labelsTr/a.seg.dcm"))
    expected = mask_of(image.source)
    expected[expected == 5] = 3  # the third segment
    assert label.array.shape[2] < image.array.shape[2]  # empty slices are left out
    assert np.array_equal(on_grid_of(image, label), expected)
    assert label.segments == {1: "Anterior hippocampus", 2: "Nothing", 3: "Posterior hippocampus"}


def test_a_data_set_of_series_and_their_segmentations(dataset):
    found = read_labelled_set(dataset)
    assert [item["case_id"] for item in found.items] == ["a", "b"]
    assert dict(zip(found.values, found.names, strict=True)) == {1: "Anterior hippocampus", 3: "Posterior hippocampus"}
    report = check_dataset(dataset)
    assert [finding.text for finding in report.findings if finding.level == "error"] == []
    assert [row.label_voxels for row in report.rows] == [((1, 4), (3, 4))] * 2


def test_the_segmentation_of_another_series_is_refused(dataset):
    labels = dataset / "labelsTr"
    (labels / "a.seg.dcm").write_bytes((labels / "b.seg.dcm").read_bytes())
    (error,) = [finding.text for finding in check_dataset(dataset).findings if finding.level == "error"]
    assert "a.seg.dcm: is a DICOM SEG of another series than its image" in error and "imagesTr/a" in error


def test_what_is_no_label_map_is_refused(dataset):
    file = dataset / "labelsTr/a.seg.dcm"
    import pydicom

    damaged = pydicom.dcmread(file)
    del damaged.SharedFunctionalGroupsSequence
    damaged.save_as(file)
    with pytest.raises(InputError, match=r"a\.seg\.dcm: this DICOM SEG is no label map"):
        read_volume(file)
