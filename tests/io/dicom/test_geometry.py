"""Slices as one regular grid, within what rounded headers do, or the reason why they are none."""

from __future__ import annotations

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")

from tests.io.dicom.conftest import AXIAL_LPS, only, refusal, renumber, volume  # noqa: E402
from ulite_monai.io.dicom.volume import read_series  # noqa: E402

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


REAL_PROBLEMS = {
    "odd_series/monai_ct_irregular_spacing": "unevenly spaced: 1.25 to 202.5 mm",
    "odd_series_noise_pixels/sliceincrement_001": "unevenly spaced: 5 to 10 mm",
    "odd_series_noise_pixels/notavolume_001": "all 4 slices lie at one position",
    "odd_series_noise_pixels/gantrytilting_001": "tilted by 14.00 degrees",
}


@pytest.mark.parametrize(("folder", "problem"), REAL_PROBLEMS.items())
def test_real_irregular_series_are_refused(shared_data, folder, problem):
    assert problem in refusal(shared_data / "dicom" / folder)
