"""The pixels of DICOM series, against independent readers: SimpleITK, dcm2niix, pydicom, highdicom."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", "3.0")
sitk = pytest.importorskip("SimpleITK")

from ulite_monai.errors import InputError  # noqa: E402
from ulite_monai.io import extras  # noqa: E402
from ulite_monai.io.dicom.tree import find_series  # noqa: E402
from ulite_monai.io.dicom.volume import read_series  # noqa: E402

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine_from(directions, spacing=(0.8, 0.5, 2.5), origin=(-31.5, 12.25, 40.0)):
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions) @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


ORIENTATIONS = {
    "axial": np.diag([-1.0, -1.0, 1.0]),
    "axial, flipped both ways": np.diag([1.0, 1.0, 1.0]),
    "axial, feet first": np.diag([1.0, -1.0, -1.0]),
    "sagittal": np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]]),
    "oblique": nib.eulerangles.euler2mat(0.4, -0.3, 0.5),
}


def volume(shape=(6, 5, 4), dtype=np.int16):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


def read(folder: Path):
    series = find_series(folder).series
    assert len(series) == 1
    return read_series(series[0])


def read_by_itk(folder: Path):
    """(array, RAS affine) by SimpleITK's series reader."""
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(files if len(files) > 1 else files[0])
    return sitk.GetArrayFromImage(image).T, affine_of(image)


def affine_of(image):
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ affine


@pytest.mark.parametrize("directions", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_every_orientation_keeps_its_places(write_series, same_place, directions):
    affine = affine_from(directions)
    assert np.linalg.det(affine[:3, :3]) > 0
    found = read(write_series(volume(), affine))
    np.testing.assert_array_equal(found.array, volume())
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)
    same_place(found.array, found.affine, *read_by_itk(found.source.files[0].parent))


def test_order_is_by_position_not_by_name_or_number(write_series):
    def backwards(ds, k):
        ds.InstanceNumber = 4 - k

    np.testing.assert_array_equal(read(write_series(change=backwards)).array, volume())


def test_pixels_that_are_not_square(write_series):
    ds = pydicom.dcmread(next((folder := write_series()).iterdir()))
    assert list(ds.PixelSpacing) == [0.5, 0.8]  # between rows, between columns
    assert read(folder).spacing == pytest.approx((0.8, 0.5, 2.5))


@pytest.mark.parametrize("slices", [1, 2])
def test_one_and_two_slices(write_series, slices):
    found = read(write_series(volume((6, 5, slices))))
    np.testing.assert_array_equal(found.array, volume((6, 5, slices)))
    np.testing.assert_allclose(found.affine, affine_from(ORIENTATIONS["axial"]), atol=1e-6)
    assert found.warnings == []


def test_one_slice_without_thickness_is_warned_of(write_series):
    found = read(write_series(volume((6, 5, 1)), change=lambda ds, k: delattr(ds, "SliceThickness")))
    assert found.spacing[2] == 1.0 and "without a thickness" in found.warnings[0]


def test_rescale_slope_and_intercept_of_each_slice(write_series):
    def rescaled(ds, k):
        ds.RescaleSlope, ds.RescaleIntercept = [1, 0.5, 2, 1][k], [0, -10, 3, -1024][k]

    found = read(write_series(change=rescaled))
    expected = volume() * np.array([1, 0.5, 2, 1]) + np.array([0, -10, 3, -1024])
    assert found.array.dtype == np.float32
    np.testing.assert_array_equal(found.array, expected.astype(np.float32))


@pytest.mark.parametrize(
    ("stored", "intercept", "bits", "dtype"),
    [(np.uint16, 0, 16, np.uint16), (np.uint16, -1024, 12, np.int16), (np.uint16, -1024, 16, np.int32)],
)
def test_whole_rescaled_values_stay_integers(write_series, stored, intercept, bits, dtype):
    def rescaled(ds, k):
        ds.RescaleSlope, ds.RescaleIntercept, ds.BitsStored, ds.HighBit = 1, intercept, bits, bits - 1

    found = read(write_series(volume(dtype=stored), change=rescaled))
    assert found.array.dtype == dtype
    np.testing.assert_array_equal(found.array, volume().astype(np.int64) + intercept)


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_are_ignored(write_series, signed):
    array = volume() - (60 if signed else 0)
    with_overlay = ((array & 0x0FFF) | np.int16(0x3000)).astype(np.int16 if signed else np.uint16)

    def twelve_bits(ds, k):
        ds.BitsStored, ds.HighBit = 12, 11

    found = read(write_series(with_overlay, change=twelve_bits))
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == np.int16 if signed else np.uint16


@pytest.mark.parametrize("rescale", [None, (2, -1024), (0.5, 3)])
@pytest.mark.parametrize(
    ("dtype", "bits"), [(np.uint8, 8), (np.int8, 8), (np.uint16, 10), (np.int16, 10), (np.uint16, 16), (np.int16, 16)]
)
def test_monochrome1_is_turned_as_simpleitk_turns_it(write_series, same_place, dtype, bits, rescale):
    def inverted(ds, k):
        ds.PhotometricInterpretation = "MONOCHROME1"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * np.dtype(dtype).itemsize, bits, bits - 1
        if rescale:
            ds.RescaleSlope, ds.RescaleIntercept = rescale

    array = (volume() - (60 if np.dtype(dtype).kind == "i" else 0)).astype(dtype)
    found = read(write_series(array, change=inverted))
    assert "MONOCHROME1" in found.warnings[0]
    same_place(found.array, found.affine, *read_by_itk(found.source.files[0].parent))
    ends = -1 if np.dtype(dtype).kind == "i" else 2**bits - 1  # the lowest value that is stored, and the highest
    slope, intercept = rescale or (1, 0)
    np.testing.assert_array_equal(found.array, slope * (ends - array.astype(float)) + intercept)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_eight_bits(write_series, dtype):
    array = (volume() - (50 if dtype is np.int8 else 0)).astype(dtype)

    def eight_bits(ds, k):
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7

    np.testing.assert_array_equal(read(write_series(array, change=eight_bits)).array, array)


@pytest.mark.parametrize("syntax", ["DeflatedExplicitVRLittleEndian", "ExplicitVRBigEndian", "ImplicitVRLittleEndian"])
def test_uncompressed_transfer_syntaxes(write_series, syntax):
    def encoded(ds, k):
        ds.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        if syntax == "ExplicitVRBigEndian":
            ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()

    np.testing.assert_array_equal(read(write_series(change=encoded)).array, volume())


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEG2000Lossless", "JPEGLSLossless"])
def test_compressed_transfer_syntaxes(write_series, syntax):
    def compressed(ds, k):
        ds.compress(getattr(pydicom.uid, syntax))

    array = np.random.default_rng(0).integers(0, 3000, (80, 64, 3)).astype(np.uint16)
    np.testing.assert_array_equal(read(write_series(array, change=compressed)).array, array)


def test_damaged_compressed_pixels_are_refused(write_series):
    def damaged(ds, k):
        ds.compress(pydicom.uid.JPEG2000Lossless)
        if k == 2:
            ds.PixelData = ds.PixelData[:60] + b"\xff" * (len(ds.PixelData) - 68) + ds.PixelData[-8:]

    array = np.random.default_rng(0).integers(0, 3000, (80, 64, 3)).astype(np.uint16)
    series = find_series(write_series(array, change=damaged)).series[0]
    with pytest.raises(InputError, match=f"{series.id}: .*can't be decoded"):
        read_series(series)


def test_a_decoder_that_aborts_takes_only_its_series_along(shared_data, tmp_path):
    # GDCM, the one free decoder of JPEG lossless, ends the process on some damaged streams; this is one of them.
    source = sorted((shared_data / "dicom/transfer_syntax_series_noise_pixels/compressed_jpeg").iterdir())[0]
    content = bytearray(source.read_bytes())
    start = content.find(pydicom.dcmread(source).PixelData[:64])
    random = Random(44)
    for _ in range(random.choice([1, 3, 30, 300])):
        content[random.randrange(start + 16, len(content) - 8)] = random.randrange(256)
    (tmp_path / "damaged").write_bytes(content)
    series = find_series(tmp_path).series[0]
    with pytest.raises(InputError, match=r"damaged: its pixel data can't be decoded"):
        read_series(series)


def test_truncated_deflated_pixels_are_refused(write_series):
    def deflated(ds, k):
        ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        if k == 1:
            ds.PixelData = ds.PixelData[:20]

    series = find_series(write_series(change=deflated)).series[0]
    with pytest.raises(InputError, match="can't be decoded"):
        read_series(series)


REGULAR = [
    pytest.param("mr_t1_large_384slices", marks=pytest.mark.slow),
    "odd_series/ct_flipped_iop_17slices",
    "odd_series/hitachi_oblique",
    "odd_series_noise_pixels/single_slice",
    "odd_series_noise_pixels/slicecount_001",
    "transfer_syntax_series_noise_pixels/anatomical",
    "transfer_syntax_series_noise_pixels/compressed_j2k",
    "transfer_syntax_series_noise_pixels/compressed_jpeg",
    "transfer_syntax_series_noise_pixels/compressed_jpegls",
    "transfer_syntax_series_noise_pixels/compressed_rle",
    "multiframe/siemens_enhanced_noise_pixels",
]


@pytest.mark.slow
@pytest.mark.parametrize("folder", REGULAR)
def test_real_series_lie_where_simpleitk_puts_them(shared_data, same_place, folder):
    found = read(shared_data / "dicom" / folder)
    array, affine = read_by_itk(shared_data / "dicom" / folder)
    if found.array.shape[2] == 1:  # of one slice SimpleITK takes 1 mm
        affine[:3, 2] *= found.spacing[2] / np.linalg.norm(affine[:3, 2])
    same_place(found.array, found.affine, array, affine)


@pytest.mark.parametrize(
    ("folder", "millimetres"),
    [
        # dcm2niix counts in float32: its last of 384 slices lies 1.5e-3 mm beside what the header says.
        pytest.param("mr_t1_large_384slices", 2e-3, marks=pytest.mark.slow),
        ("odd_series/ct_flipped_iop_17slices", 1e-4),
        ("odd_series/hitachi_oblique", 1e-4),
        ("transfer_syntax_series_noise_pixels/anatomical", 1e-4),
    ],
)
def test_real_series_lie_where_dcm2niix_puts_them(shared_data, same_place, tmp_path, folder, millimetres):
    program = shutil.which("dcm2niix")
    if program is None:
        pytest.skip("dcm2niix isn't installed")
    command = [program, "-z", "n", "-b", "n", "-o", str(tmp_path), str(shared_data / "dicom" / folder)]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = tmp_path.glob("*.nii")
    image = nib.load(file)
    found = read(shared_data / "dicom" / folder)
    same_place(found.array, found.affine, image.get_fdata(), image.affine, millimetres)


@pytest.mark.parametrize("folder", REGULAR[:-1])
def test_real_slices_lie_where_their_headers_say(shared_data, folder):
    found = read(shared_data / "dicom" / folder)
    for k, one in enumerate(found.source.slices):
        position = np.array(pydicom.dcmread(one.file).ImagePositionPatient, dtype=float)
        np.testing.assert_allclose((found.affine @ [0, 0, k, 1])[:3], position * [-1, -1, 1], atol=1e-4)


@pytest.mark.parametrize("folder", ["hyperfine_enhanced_noise_pixels", "philips_enhanced_noise_pixels"])
def test_real_multi_frame_files_lie_where_their_frames_say(shared_data, folder):
    (file,) = (shared_data / "dicom/multiframe" / folder).iterdir()
    ds = pydicom.dcmread(file)
    found = read(file)
    for k, one in enumerate(found.source.slices):
        groups = ds.PerFrameFunctionalGroupsSequence[one.frame]
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose((found.affine @ [0, 0, k, 1])[:3], position * [-1, -1, 1], atol=1e-4)
        shared = ds.get("SharedFunctionalGroupsSequence", [{}])[0]
        transform = (groups.get("PixelValueTransformationSequence") or shared.PixelValueTransformationSequence)[0]
        expected = ds.pixel_array[one.frame].T * float(transform.RescaleSlope) + float(transform.RescaleIntercept)
        np.testing.assert_allclose(found.array[:, :, k], expected, rtol=1e-6)


def test_a_legacy_converted_multi_frame_file(write_series, tmp_path):
    legacy = pytest.importorskip("highdicom").legacy
    affine = affine_from(ORIENTATIONS["oblique"])
    datasets = [pydicom.dcmread(file) for file in sorted(write_series(volume(), affine).iterdir())]
    converted = legacy.LegacyConvertedEnhancedMRImage(
        datasets, "1.2.826.0.1.3680043.8.498.33", 9, "1.2.826.0.1.3680043.8.498.34", 1
    )
    converted.save_as(tmp_path / "converted.dcm")
    found = read(tmp_path / "converted.dcm")
    np.testing.assert_array_equal(found.array, volume())
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)


def test_time_points_within_a_multi_frame_file(write_series, tmp_path):
    legacy = pytest.importorskip("highdicom").legacy
    datasets = []
    for time in (1, 2):
        folder = write_series(volume() + 500 * time, folder=f"time{time}")
        for file in folder.iterdir():
            ds = pydicom.dcmread(file)
            ds.SOPInstanceUID += f".{time}"
            ds.InstanceNumber += 10 * time
            datasets.append(ds)
    converted = legacy.LegacyConvertedEnhancedMRImage(
        datasets, "1.2.826.0.1.3680043.8.498.33", 9, "1.2.826.0.1.3680043.8.498.34", 1
    )
    for groups, ds in zip(converted.PerFrameFunctionalGroupsSequence, datasets, strict=True):
        groups.FrameContentSequence[0].TemporalPositionIndex = int(ds.InstanceNumber) // 10
    converted.save_as(tmp_path / "converted.dcm")
    first, second = find_series(tmp_path / "converted.dcm").series
    np.testing.assert_array_equal(read_series(first).array, volume() + 500)
    np.testing.assert_array_equal(read_series(second).array, volume() + 1000)


def test_the_same_as_highdicom(shared_data, same_place):
    highdicom = pytest.importorskip("highdicom")
    folder = shared_data / "dicom/odd_series/ct_flipped_iop_17slices"
    theirs = highdicom.get_volume_from_series([pydicom.dcmread(file) for file in folder.iterdir()])
    found = read(folder)
    same_place(found.array, found.affine, theirs.array, LPS_TO_RAS @ theirs.affine)


@pytest.mark.parametrize("degrees", [12.0, -20.0])
def test_a_tilt_is_resampled_when_asked(write_series, degrees):
    # Values that are linear in space: whatever is interpolated right has the value of its place.
    shape, per_slice = (12, 30, 6), 2.5 * np.tan(np.radians(degrees))
    upright = affine_from(ORIENTATIONS["axial"], spacing=(1.0, 1.0, 2.5))
    leaning = upright.copy()
    leaning[1, 2] = -per_slice  # RAS; the change below adds to LPS
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    places = nib.affines.apply_affine(leaning, index)
    values = np.round(1000 + 10 * places[..., 0] + 20 * places[..., 1] + 5 * places[..., 2]).astype(np.int16)

    def tilted(ds, k):
        ds.ImagePositionPatient[1] += k * per_slice

    series = find_series(write_series(values, upright, change=tilted)).series[0]
    found = read_series(series, resample_tilt=True)
    np.testing.assert_allclose(found.affine[:3, :3], upright[:3, :3], atol=1e-6)
    assert found.array.shape[0] == 12 and found.array.shape[1] == 30 + int(np.ceil(abs(5 * per_slice)))
    assert f"Resampled from a tilt of {abs(degrees):.2f} degrees" in found.warnings[-1]
    index = np.stack(np.meshgrid(*map(np.arange, found.array.shape), indexing="ij"), -1)
    places = nib.affines.apply_affine(found.affine, index)
    inside = nib.affines.apply_affine(np.linalg.inv(leaning), places)
    covered = ((inside >= 0) & (inside <= np.subtract(shape, 1))).all(-1)
    expected = 1000 + 10 * places[..., 0] + 20 * places[..., 1] + 5 * places[..., 2]
    assert covered.mean() > 0.5
    np.testing.assert_allclose(found.array[covered], expected[covered], atol=1.0)  # stored values were rounded


def test_the_real_tilted_series_is_resampled(shared_data):
    series = find_series(shared_data / "dicom/odd_series_noise_pixels/gantrytilting_001").series[0]
    found = read_series(series, resample_tilt=True)
    assert found.array.shape == (512, 512 + 9, 4)
    assert found.spacing[2] == pytest.approx(5 * np.cos(np.radians(14)), abs=1e-4)
    assert (found.affine[:3, :3].T @ found.affine[:3, :3])[np.triu_indices(3, 1)] == pytest.approx([0, 0, 0], abs=1e-9)


def test_a_missing_decoder_is_named(write_series, monkeypatch):
    def compressed(ds, k):
        ds.compress(pydicom.uid.JPEG2000Lossless)

    series = find_series(write_series(volume((80, 64, 2)), change=compressed)).series[0]
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(InputError, match=r'decoder that is missing: pip install "ulite-monai\[dicom\]"'):
        read_series(series)


def test_a_missing_pydicom_is_named(write_series, monkeypatch):
    folder = write_series()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r'pydicom can\'t be imported .*pip install "ulite-monai\[dicom\]"'):
        find_series(folder)
    assert extras.require("json", "none").loads("1") == 1
