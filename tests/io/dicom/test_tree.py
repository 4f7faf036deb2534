"""Trees of DICOM files sorted into volumes: what is found, split, counted and refused, by header alone."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")

from ulite_monai.datasets.cases import find_cases  # noqa: E402
from ulite_monai.errors import InputError  # noqa: E402
from ulite_monai.io.dicom.tree import find_series  # noqa: E402
from ulite_monai.io.dicom.volume import read_series  # noqa: E402

AXIAL_LPS = np.array([[-0.8, 0, 0, -31.5], [0, -0.5, 0, 12.25], [0, 0, 2.5, 40.0], [0, 0, 0, 1]])
SAGITTAL = np.array([[0, 0, -2.5, 1.0], [0.5, 0, 0, 2], [0, -0.8, 0, 3], [0, 0, 0, 1]])
SERIES_UID = "1.2.826.0.1.3680043.8.498.3"


def volume(shape=(6, 5, 4), start=0):
    return (np.arange(np.prod(shape)) + start).astype(np.int16).reshape(shape)


def only(path: Path):
    tree = find_series(path)
    assert len(tree.series) == 1
    return tree.series[0]


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


def test_a_link_to_nowhere_may_be_an_end_slice_and_a_hidden_file_is_none(write_series):
    folder = write_series()
    (folder / ".nomedia").touch()
    assert only(folder).notes == ()
    (folder / "last.dcm").symlink_to(folder / "not fetched")
    assert "1 file beside it can't be read (last.dcm)" in only(folder).notes[0]


@pytest.mark.parametrize("size", [0, 120])
def test_what_may_be_an_end_slice_and_cant_be_read_is_told(write_series, size):
    """A gap in the middle shows in the spacing; a lost first or last slice only in the file that is left of it."""
    folder = write_series()
    last = max(folder.iterdir(), key=lambda file: float(pydicom.dcmread(file).ImagePositionPatient[2]))
    last = last.rename(last.with_suffix(".dcm"))
    last.write_bytes(last.read_bytes()[:size])
    tree = find_series(folder)
    assert tree.passed_over == {"unreadable DICOM": 1}
    (series,) = tree.series
    assert series.shape == (6, 5, 3) and series.problem is None
    (note,) = series.notes
    assert note.startswith(f"1 file beside it can't be read ({last.name}); if it is a slice of it, it is cut short")
    assert any(note in warning for warning in read_series(series).warnings)


DAMAGE = {
    "zero-filled": lambda content: bytes(len(content)),
    "zeros at its head": lambda content: bytes(200) + content[200:],
    "overwritten": lambda content: np.random.default_rng(0).bytes(len(content)),
    "an error page": lambda content: b"<html>404</html>" * 20,
    "cut before its series": lambda content: content[: content.index(b"\x20\x00\x0d\x00")],
    "cut before its size": lambda content: content[: content.index(b"\x28\x00\x10\x00")],
    "zeros from its header on": lambda content: content[:400].ljust(len(content), b"\0"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("slice_number", [0, 3])
def test_a_damaged_end_slice_is_told(write_series, damage, slice_number):
    folder = write_series()
    for file in list(folder.iterdir()):
        file.rename(file.with_suffix(".dcm"))
    lost = next(folder.glob(f"*_{slice_number}.dcm"))
    lost.write_bytes(damage(lost.read_bytes()))
    usable = [series for series in find_series(folder).series if series.problem is None]
    assert [series.shape for series in usable] == [(6, 5, 3)]
    assert any(f"1 file beside it can't be read ({lost.name})" in note for note in usable[0].notes)
    assert any(lost.name in warning for warning in read_series(usable[0]).warnings)


@pytest.mark.parametrize("suffix", ["", ".ima", ".7", ".scan"])
def test_a_zero_filled_end_slice_is_told_whatever_the_files_are_called(write_series, suffix):
    folder = write_series()
    for file in list(folder.iterdir()):
        file.rename(f"{file}{suffix}")
    lost = next(folder.glob(f"*_3{suffix}"))
    lost.write_bytes(bytes(500))
    assert f"1 file beside it can't be read ({lost.name})" in only(folder).notes[0]


def test_what_is_called_otherwise_or_is_text_is_no_lost_slice(write_series):
    folder = write_series()
    (folder / "scan.pdf").write_bytes(b"%PDF\0\1")
    (folder / ".DS_Store").write_bytes(bytes(500))
    (folder / "README").write_text("Aufnahme für die Studie")
    assert only(folder).notes == ()


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


@pytest.mark.parametrize("files", [[[0, 1], [2, 3]], [[2, 3], [0, 1]], [[0, 2], [1, 3]], [[3], [2], [1], [0]]], ids=str)
def test_a_volume_in_several_multi_frame_files_is_one(write_enhanced, files):
    series = only(write_enhanced(files))
    assert series.problem is None and series.notes == ()
    np.testing.assert_array_equal(read_series(series).array, volume())
    np.testing.assert_allclose(series.affine, AXIAL_LPS, atol=1e-6)


@pytest.mark.parametrize("files", [[[0, 1, 2], [1, 2, 3]], [[0, 1], [3]], [[0, 1], [2, 3], [0, 1]]], ids=str)
def test_multi_frame_files_that_dont_fit_together_are_each_by_themselves(write_enhanced, files):
    series = find_series(write_enhanced(files)).series
    assert [s.shape[2] for s in series] == [len(frames) for frames in files]
    for number, (one, frames) in enumerate(zip(series, files, strict=True), 1):
        np.testing.assert_array_equal(read_series(one).array, volume()[:, :, frames])
        assert (
            one.notes[0] == f"One of {len(files)} volumes under one SeriesInstanceUID, told apart by file ({number})."
        )


def test_two_whole_volumes_in_two_multi_frame_files(write_enhanced):
    first, second = find_series(write_enhanced([range(4), range(4)])).series
    assert first.shape == second.shape == (6, 5, 4) and first.notes and second.notes


def test_one_multi_frame_file_beside_classic_slices_of_the_same_volume(write_enhanced, write_series):
    folder = write_enhanced([[0, 1]])
    for file in write_series().iterdir():
        if int(pydicom.dcmread(file).InstanceNumber) > 2:
            shutil.move(file, folder)
    np.testing.assert_array_equal(read_series(only(folder)).array, volume())


ROUNDED = {
    "orientation": lambda ds, k: setattr(ds, "ImageOrientationPatient", [1, 2e-4 * (k % 2), 0, 0, 1, 0]),
    "pixel spacing": lambda ds, k: setattr(ds, "PixelSpacing", [0.5, 0.8 + 1e-6 * (k % 2)]),
    "pixel spacing at a digit's edge": lambda ds, k: setattr(ds, "PixelSpacing", [0.500005 + 1e-7 * (k % 2), 0.8]),
    "position": lambda ds, k: setattr(ds, "ImagePositionPatient", [31.5, -12.25, round(40 + 2.5 * k + 0.001 * k, 2)]),
}


@pytest.mark.parametrize("change", ROUNDED.values(), ids=ROUNDED)
def test_rounded_headers_are_one_volume(write_series, change):
    series = only(write_series(change=change))
    assert series.problem is None and series.notes == ()
    np.testing.assert_array_equal(read_series(series).array, volume())


def test_one_slice_that_is_turned_a_little_doesnt_tilt_the_volume(write_series):
    def turned(ds, k):
        if k == 0:
            ds.ImageOrientationPatient = [1, 0, 5e-4, 0, 1, 0]

    series = only(write_series(volume((6, 5, 60)), change=turned))
    assert (series.problem, series.tilt, series.notes) == (None, 0, ())
    np.testing.assert_allclose(series.affine, AXIAL_LPS, atol=1e-5)


DIFFERENT = {
    "orientation": lambda ds, k: setattr(
        ds, "ImageOrientationPatient", [1, 0, 0, 0, 1, 0] if k < 2 else [0, 1, 0, 0, 0, -1]
    ),
    "pixel spacing": lambda ds, k: setattr(ds, "PixelSpacing", [0.5, 0.8] if k < 2 else [0.51, 0.8]),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_isnt_one_volume_has_a_note_on_every_part(write_series, name):
    series = find_series(write_series(change=DIFFERENT[name])).series
    assert [s.shape[2] for s in series] == [2, 2]
    assert [s.notes[0] for s in series] == [f"One of 2 volumes under one SeriesInstanceUID, told apart by {name}."] * 2


def test_coarsely_rounded_positions_are_read_with_a_note(write_series):
    def rounded(ds, k):
        ds.ImagePositionPatient[2] = round(40 + 1.25 * k, 1)

    series = only(write_series(volume((6, 5, 13)), change=rounded))
    assert series.problem is None
    assert series.notes[0].startswith("Its slices lie up to 0.05") and series.notes[0].endswith("distances of 1.25 mm.")


@pytest.mark.parametrize("scale", [1e-3, 5e-3, 1, 40])
def test_tolerances_scale_with_the_spacing(write_series, scale):
    affine = AXIAL_LPS.copy()
    affine[:3] *= scale
    series = only(write_series(affine=affine))
    assert series.problem is None and series.spacing == pytest.approx(np.multiply((0.8, 0.5, 2.5), scale))
    np.testing.assert_array_equal(read_series(series).array, volume())
    for file in sorted(series.files, key=str)[:1]:  # and repetitions are found at any scale
        again = pydicom.dcmread(file)
        again.SOPInstanceUID += ".9"
        again.ImagePositionPatient[2] += 1e-3 * scale
        again.save_as(file.with_name("again"))
    assert "lie where another lies already" in refusal(series.files[0].parent)


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


def test_nothing_of_the_patient_is_told(write_series):
    folder = write_series()
    write_series(volume((6, 5, 3)), change=lambda ds, k: delattr(ds, "PixelSpacing"), folder="series/b", prefix="b")
    told = repr([(s.id, s.problem, s.notes, s.description) for s in find_series(folder).series])
    assert "Secret" not in told and "19010203" not in told


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


def test_localizers_of_another_orientation_are_split_off(write_series):
    folder = write_series()
    write_series(volume((6, 5, 3), 1000), affine=SAGITTAL, change=renumber(50), prefix="l")
    axial, localizer = find_series(folder).series
    assert (axial.shape, axial.orientation) == ((6, 5, 4), "LPS")
    assert (localizer.shape, localizer.orientation) == ((6, 5, 3), "AIL")
    assert axial.id.endswith("_1") and localizer.id.endswith("_2") and axial.id[:-2] == localizer.id[:-2]
    np.testing.assert_array_equal(read_series(localizer).array, volume((6, 5, 3), 1000))


def test_another_size_is_split_off(write_series):
    folder = write_series()
    write_series(volume((8, 9, 2)), change=renumber(50), prefix="b")
    assert [s.shape for s in find_series(folder).series] == [(6, 5, 4), (8, 9, 2)]


def test_a_colour_screenshot_doesnt_spoil_its_series(write_series):
    def screenshot(ds, k):
        ds.SOPInstanceUID += ".99"
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.PixelData = ds.PixelData * 3

    folder = write_series()
    write_series(volume((6, 5, 1)), change=screenshot, prefix="s")
    usable = [s for s in find_series(folder).series if s.problem is None]
    refused = [s for s in find_series(folder).series if s.problem is not None]
    assert [s.shape for s in usable] == [(6, 5, 4)]
    assert "colours" in refused[0].problem


def renumber(start, **attributes):
    """A change that gives new instances, numbered from `start`."""

    def change(ds, k):
        ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.{start}"
        ds.InstanceNumber = start + k
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)

    return change


@pytest.mark.parametrize(
    ("keyword", "values", "name"),
    [
        ("TemporalPositionIdentifier", (2, 10), "time point"),
        ("EchoNumbers", (1, 2), "echo"),
        ("EchoTime", (4.6, 12.0), "echo time"),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]), "image type"),
        ("AcquisitionNumber", (1, 2), "acquisition"),
        ("DiffusionBValue", (0.0, 1000.0), "b-value"),
    ],
)
def test_repetitions_are_told_apart(write_series, keyword, values, name):
    # Both have the same instance numbers, so counting alone can't tell them apart.
    folder = write_series(volume(start=500), change=renumber(1, **{keyword: values[1]}))
    write_series(volume(), change=lambda ds, k: setattr(ds, keyword, values[0]), prefix="b")
    first, second = find_series(folder).series
    assert f"told apart by {name}" in first.notes[0]
    np.testing.assert_array_equal(read_series(first).array, volume())
    np.testing.assert_array_equal(read_series(second).array, volume(start=500))


def test_echoes_within_time_points(write_series):
    for time in (1, 2):
        for echo in (1, 2):
            folder = write_series(
                volume(start=1000 * time + 100 * echo),
                change=renumber(10 * time + echo, TemporalPositionIdentifier=time, EchoNumbers=echo),
                prefix=f"{time}{echo}",
            )
    arrays = [read_series(s).array.min() for s in find_series(folder).series]
    assert arrays == [1100, 1200, 2100, 2200]


def test_repetitions_are_told_apart_by_the_scanners_counting(write_series):
    folder = write_series(volume())
    write_series(volume(start=500), change=renumber(100), prefix="b")
    first, second = find_series(folder).series
    np.testing.assert_array_equal(read_series(first).array, volume())
    np.testing.assert_array_equal(read_series(second).array, volume(start=500))


def test_repetitions_counted_place_by_place(write_series):
    folder = write_series(volume(), change=lambda ds, k: setattr(ds, "InstanceNumber", 2 * k))
    write_series(
        volume(start=500),
        change=lambda ds, k: (renumber(1)(ds, k), setattr(ds, "InstanceNumber", 2 * k + 1)),
        prefix="b",
    )
    first, second = find_series(folder).series
    np.testing.assert_array_equal(read_series(first).array, volume())
    np.testing.assert_array_equal(read_series(second).array, volume(start=500))


def test_identical_copies_count_once(write_series):
    folder = write_series()
    shutil.copytree(folder, folder / "again")
    series = only(folder)
    assert series.problem is None and series.shape == (6, 5, 4)
    assert series.notes[0].startswith("4 of its files are identical copies")


def refusal(path) -> str:
    series = only(path)
    with pytest.raises(InputError) as caught:
        read_series(series)
    assert str(caught.value) == f"{series.id}: {series.problem}"
    return str(caught.value)


def test_missing_slices_are_refused(write_series):
    folder = write_series(volume((6, 5, 8)))
    next(folder.glob("*_3")).unlink()
    message = refusal(folder)
    assert "unevenly spaced: 2.5 to 5 mm where 2.5 mm is usual, worst between 45 and 50 mm" in message


def test_uneven_spacing_is_refused(write_series):
    def drift(ds, k):
        ds.ImagePositionPatient[2] = 40 + 2.5 * k + 0.2 * k * k

    assert "2.7 to 3.9 mm" in refusal(write_series(volume((6, 5, 5)), change=drift))


def test_rounded_positions_are_no_problem(write_series):
    def rounded(ds, k):
        ds.ImagePositionPatient[2] = round(40 + 0.6667 * k, 2)

    series = only(write_series(volume((6, 5, 20)), change=rounded))
    assert series.problem is None
    assert series.spacing[2] == pytest.approx(0.6667, abs=5e-4)


def test_duplicate_slices_are_refused(write_series):
    folder = write_series()
    write_series(volume((6, 5, 1), 77), change=renumber(40), prefix="double")
    assert "1 of 5 slices lie where another lies already (first at 40 mm" in refusal(folder)


def test_slices_at_one_position_are_refused(write_series):
    folder = write_series(change=lambda ds, k: setattr(ds, "ImagePositionPatient", [1, 2, 3]))
    assert "all 4 slices lie at one position (3 mm along the normal)" in refusal(folder)
    assert only(folder).affine is None


def test_gantry_tilt_is_refused_with_its_angle(write_series):
    def tilted(ds, k):
        ds.ImagePositionPatient[1] += k * 2.5 * np.tan(np.radians(12))

    folder = write_series(change=tilted)
    assert "tilted by 12.00 degrees" in refusal(folder) and "--resample-tilt" in refusal(folder)
    assert only(folder).tilt == pytest.approx(12.0)


def test_uneven_shifts_are_refused(write_series):
    def shaken(ds, k):
        ds.ImagePositionPatient[0] += [0, 1.5, 0, 0][k]

    assert "shifted sideways unevenly, by up to 1.5 mm" in refusal(write_series(change=shaken))


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_missing_geometry_is_refused(write_series, keyword):
    folder = write_series(change=lambda ds, k: delattr(ds, keyword))
    assert f"no usable {keyword}" in refusal(folder)


def test_an_orientation_that_is_none_is_refused(write_series):
    folder = write_series(change=lambda ds, k: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0.5, 0.5, 0]))
    assert "no usable ImageOrientationPatient" in refusal(folder)


def test_colour_is_refused(write_series):
    def palette(ds, k):
        ds.PhotometricInterpretation = "PALETTE COLOR"

    assert "(and 3 more of 4): its pixels are colours" in refusal(write_series(change=palette))


def test_truncated_pixels_are_refused(write_series):
    folder = write_series()
    file = next(folder.glob("*_2"))
    file.write_bytes(file.read_bytes()[:-11])
    message = refusal(folder)
    assert file.name in message and "cut short (49 of 60 bytes)" in message


def test_a_header_that_is_cut_is_told_and_not_lost(write_series):
    folder = write_series()
    file = next(folder.glob("*_3"))  # the last: without it, the others are still regular
    content = file.read_bytes()
    file.write_bytes(content[: content.index(b"\x28\x00\x10\x00")])  # where Rows is
    whole, damaged = find_series(folder).series
    assert (whole.shape, whole.problem) == ((6, 5, 3), None)
    assert f"{file.name}: its header doesn't say how large its pixel data are" in damaged.problem


def test_absent_pixels_are_refused(write_series):
    assert "no pixel data" in refusal(write_series(change=lambda ds, k: delattr(ds, "PixelData")))


def test_a_mosaic_is_refused(write_series):
    folder = write_series(change=lambda ds, k: setattr(ds, "ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]))
    assert "mosaic" in refusal(folder) and "dcm2niix" in refusal(folder)


def test_a_lookup_table_is_refused(write_series):
    def with_table(ds, k):
        ds.ModalityLUTSequence = [pydicom.Dataset()]

    assert "Modality LUT" in refusal(write_series(change=with_table))


REAL_PROBLEMS = {
    "odd_series/monai_ct_irregular_spacing": "unevenly spaced: 1.25 to 202.5 mm",
    "odd_series_noise_pixels/sliceincrement_001": "unevenly spaced: 5 to 10 mm",
    "odd_series_noise_pixels/notavolume_001": "all 4 slices lie at one position",
    "odd_series_noise_pixels/gantrytilting_001": "tilted by 14.00 degrees",
}


@pytest.mark.parametrize(("folder", "problem"), REAL_PROBLEMS.items())
def test_real_irregular_series_are_refused(shared_data, folder, problem):
    assert problem in refusal(shared_data / "dicom" / folder)


def test_the_real_mixture_of_orientations_is_split(shared_data):
    series = find_series(shared_data / "dicom/odd_series_noise_pixels/sliceorientation_001").series
    assert [(s.shape, s.orientation, s.problem) for s in series] == [
        ((288, 288, 2), "LPS", None),
        ((288, 288, 2), "PIR", None),
    ]


def test_the_real_time_series_is_split(shared_data):
    series = find_series(shared_data / "dicom/multi_timepoint_ge_epi").series
    assert [(s.shape, s.problem) for s in series] == [((64, 64, 15), None)] * 10
    for number, one in enumerate(series):
        assert {s.number[0] for s in one.slices} == set(range(15 * number + 1, 15 * number + 16))


def test_real_multi_frame_files_without_positions_are_refused(shared_data):
    series = find_series(shared_data / "dicom/multiframe/pydicom_emri_ect").series
    problems = {s.files[0].name: s.problem for s in series}
    assert problems.pop("eCT_Supplemental.dcm") is None
    assert "compressed pixel data are cut short" in problems.pop("emri_small_jpeg_2k_lossless_too_short.dcm")
    assert len(problems) == 5 and all("10 frames in one file and no position" in p for p in problems.values())
