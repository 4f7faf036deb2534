"""Trees of DICOM files sorted into series: what is found, described, counted and passed over, by header alone."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")

from tests.io.dicom.conftest import AXIAL_LPS, only, refusal, volume  # noqa: E402
from ulite_monai.datasets.cases import find_cases  # noqa: E402
from ulite_monai.errors import InputError  # noqa: E402
from ulite_monai.io.dicom.tree import find_series  # noqa: E402
from ulite_monai.io.dicom.volume import read_series  # noqa: E402

SERIES_UID = "1.2.826.0.1.3680043.8.498.3"


def test_a_series_is_described_without_its_pixels(write_series):
    series = only(write_series())
    assert series.id == f"series7_{hashlib.sha1(SERIES_UID.encode()).hexdigest()[:8]}"
    assert (series.modality, series.description, series.problem, series.notes) == ("MR", "t1 test", None, ())
    assert (series.shape, series.orientation, len(series.files)) == ((6, 5, 4), "LPS", 4)
    assert series.spacing == pytest.approx((0.8, 0.5, 2.5))
    np.testing.assert_allclose(series.affine, AXIAL_LPS, atol=1e-6)


def test_what_is_no_image_is_counted(write_series):
    folder = write_series()
    (folder / "info.txt").write_text("hello")
    (folder / "empty").touch()
    (folder / "broken").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)

    def as_report(ds, k):
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(ds, keyword)
        ds.SOPClassUID, ds.Modality = pydicom.uid.BasicTextSRStorage, "SR"

    def as_directory(ds, k):
        ds.SOPClassUID = pydicom.uid.MediaStorageDirectoryStorage

    def as_segmentation(ds, k):
        ds.SOPClassUID = pydicom.uid.SegmentationStorage

    one = volume((6, 5, 1))
    write_series(one, change=as_report, prefix="report")
    write_series(one, change=as_directory, prefix="DICOMDIR")
    write_series(one, change=as_segmentation, prefix="mask")
    tree = find_series(folder)
    assert [s.shape for s in tree.series] == [(6, 5, 4)]
    assert tree.passed_over.pop("not DICOM") == 1
    assert tree.passed_over.pop("Basic Text SR Storage") == 1
    assert tree.passed_over.pop("DICOMDIR") == 1
    assert tree.passed_over.pop("Segmentation Storage") == 1
    assert tree.passed_over == {"unreadable DICOM": 2}  # one of them empty


OTHERS = {
    "1.2.840.10008.5.1.4.1.1.66.7": "SEG",  # Label Map Segmentation, newer than pydicom's list
    "1.2.840.10008.5.1.4.1.1.66.4": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.5": "SEG",
    "1.2.840.10008.5.1.4.1.1.66.9": "",  # of a standard to come
    "1.2.840.10008.5.1.4.1.1.66.1": "REG",
    "1.2.840.10008.5.1.4.1.1.66": "MR",
    "1.2.840.10008.5.1.4.1.1.4.2": "MR",  # spectroscopy has Rows
    "1.2.840.10008.5.1.4.1.1.67": "RWV",
    "1.2.840.10008.5.1.4.1.1.30": "MR",
    "1.2.840.10008.5.1.4.1.1.88.59": "KO",
    "1.2.840.10008.5.1.4.1.1.88.22": "SR",
    "1.2.840.10008.5.1.4.1.1.11.1": "PR",
    "1.2.840.10008.5.1.4.1.1.481.2": "RTDOSE",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT",
    "1.2.840.10008.5.1.4.1.1.81.1": "OPM",
    "1.2.840.10008.5.1.4.1.1.4": "SEG",  # a mask stored as MR, and as secondary capture
    "1.2.840.10008.5.1.4.1.1.7": "SEG",
    "1.2.840.10008.9.9": "SEG",
    "1.3.12.2.1107.5.9.1": "SEG",  # a maker's own kind
}


@pytest.mark.parametrize(("uid", "modality"), OTHERS.items())
def test_other_objects_than_images_are_passed_over(write_series, uid, modality):
    def as_other(ds, k):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = uid
        ds.Modality = modality

    tree = find_series(write_series(change=as_other))
    assert tree.series == () and sum(tree.passed_over.values()) == 4
    with pytest.raises(InputError, match=f"holds no volume or image .*; passed over: 4 {re.escape(*tree.passed_over)}"):
        find_cases(tree.path)


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.6.2", "1.3.12.2.1107.5.9.1", ""]
)
def test_images_of_many_kinds_are_read(write_series, uid):
    def as_kind(ds, k):
        ds.SOPClassUID = uid

    assert only(write_series(change=as_kind)).problem is None


def test_files_without_a_preamble_are_read(write_series):
    folder = write_series()
    for file in list(folder.iterdir()):
        ds = pydicom.dcmread(file)
        ds.file_meta, ds.preamble = pydicom.dataset.FileMetaDataset(), None
        ds.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert file.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_series(only(folder)).array, volume())


def test_nothing_there():
    with pytest.raises(InputError, match="no such file"):
        find_series("nowhere")


def test_missing_uids_are_replaced_by_folder_and_number(write_series):
    def without_uids(ds, k):
        ds.SeriesInstanceUID = ""
        del ds.SOPInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID

    folder = write_series(change=without_uids)
    write_series(
        volume((6, 5, 3)), change=lambda ds, k: (without_uids(ds, k), setattr(ds, "SeriesNumber", 8)), prefix="b"
    )
    series = find_series(folder).series
    assert [s.shape for s in series] == [(6, 5, 4), (6, 5, 3)]
    assert len({s.id for s in series}) == 2
    assert "no SeriesInstanceUID" in series[0].notes[0]
    np.testing.assert_array_equal(read_series(series[0]).array, volume())


def test_nothing_of_the_patient_is_reported(write_series):
    folder = write_series()
    write_series(volume((6, 5, 3)), change=lambda ds, k: delattr(ds, "PixelSpacing"), folder="series/b", prefix="b")
    reported = repr([(s.id, s.problem, s.notes, s.description) for s in find_series(folder).series])
    assert "Secret" not in reported and "19010203" not in reported


def test_pydicom_is_silent_about_values_and_speaks_again_after(write_series, caplog, recwarn):
    folder = write_series(change=lambda ds, k: setattr(ds, "PatientAge", "042Y"))
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"042Y", b"Name"))
    (folder / "broken").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    logger = logging.getLogger("pydicom")
    for series in find_series(folder).series:
        read_series(series)
    assert caplog.records == [] and len(recwarn) == 0
    logger.warning("after")
    assert [record.message for record in caplog.records] == ["after"]


def test_identical_copies_count_once(write_series):
    folder = write_series()
    shutil.copytree(folder, folder / "again")
    series = only(folder)
    assert series.problem is None and series.shape == (6, 5, 4)
    assert series.notes[0].startswith("4 of its files are identical copies")


def test_colour_is_refused(write_series):
    def palette(ds, k):
        ds.PhotometricInterpretation = "PALETTE COLOR"

    assert "(and 3 more of 4): its pixels are colours" in refusal(write_series(change=palette))


def test_a_mosaic_is_refused(write_series):
    folder = write_series(change=lambda ds, k: setattr(ds, "ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]))
    assert "mosaic" in refusal(folder) and "dcm2niix" in refusal(folder)


def test_a_lookup_table_is_refused(write_series):
    def with_table(ds, k):
        ds.ModalityLUTSequence = [pydicom.Dataset()]

    assert "Modality LUT" in refusal(write_series(change=with_table))


def test_real_multi_frame_files_without_positions_are_refused(shared_data):
    series = find_series(shared_data / "dicom/multiframe/pydicom_emri_ect").series
    problems = {s.files[0].name: s.problem for s in series}
    assert problems.pop("eCT_Supplemental.dcm") is None
    assert "compressed pixel data are cut short" in problems.pop("emri_small_jpeg_2k_lossless_too_short.dcm")
    assert len(problems) == 5 and all("10 frames in one file and no position" in p for p in problems.values())
