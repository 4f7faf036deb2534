"""Several volumes under one SeriesInstanceUID: split, and by what."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")

from tests.io.dicom.conftest import AXIAL_LPS, only, renumber, volume  # noqa: E402
from ulite_monai.io.dicom.tree import find_series  # noqa: E402
from ulite_monai.io.dicom.volume import read_series  # noqa: E402

SAGITTAL = np.array([[0, 0, -2.5, 1.0], [0.5, 0, 0, 2], [0, -0.8, 0, 3], [0, 0, 0, 1]])


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
        assert one.notes[0] == f"One of {len(files)} volumes under one SeriesInstanceUID, split by file ({number})."


def test_two_whole_volumes_in_two_multi_frame_files(write_enhanced):
    first, second = find_series(write_enhanced([range(4), range(4)])).series
    assert first.shape == second.shape == (6, 5, 4) and first.notes and second.notes


def test_one_multi_frame_file_beside_classic_slices_of_the_same_volume(write_enhanced, write_series):
    folder = write_enhanced([[0, 1]])
    for file in write_series().iterdir():
        if int(pydicom.dcmread(file).InstanceNumber) > 2:
            shutil.move(file, folder)
    np.testing.assert_array_equal(read_series(only(folder)).array, volume())


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
    assert [s.notes[0] for s in series] == [f"One of 2 volumes under one SeriesInstanceUID, split by {name}."] * 2


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
def test_repetitions_are_split(write_series, keyword, values, name):
    # Both have the same instance numbers, so counting alone can't split them.
    folder = write_series(volume(start=500), change=renumber(1, **{keyword: values[1]}))
    write_series(volume(), change=lambda ds, k: setattr(ds, keyword, values[0]), prefix="b")
    first, second = find_series(folder).series
    assert f"split by {name}" in first.notes[0]
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


def test_repetitions_are_split_by_the_scanners_counting(write_series):
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
