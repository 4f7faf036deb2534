"""NIfTI and Analyze in: geometry, scaling, warnings, and every refusal with its sentence."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.nifti import read_nifti, read_nifti_grid
from ulite_monai.io.read_volume import read_volume

VALUES = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2.5, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])


def save(path: Path, image: nib.Nifti1Image) -> Path:
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"])
@pytest.mark.parametrize("version", [1, 2])
def test_files_and_pairs_of_both_versions(tmp_path: Path, suffix: str, version: int) -> None:
    pair = not suffix.startswith(".nii")
    kinds = {1: (nib.Nifti1Image, nib.Nifti1Pair), 2: (nib.Nifti2Image, nib.Nifti2Pair)}
    path = save(tmp_path / f"a{suffix}", kinds[version][pair](VALUES, AFFINE))
    found = read_volume(path)
    np.testing.assert_array_equal(found.array, VALUES)
    np.testing.assert_array_equal(found.affine, AFFINE)
    assert found.array.dtype == np.int16 and found.warnings == [] and found.source == path


def test_big_endian_values_come_in_native_order(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    found = read_nifti(save(tmp_path / "a.nii", nib.Nifti1Image(VALUES, AFFINE, header)))
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\x00\x00\x01\x5c"
    np.testing.assert_array_equal(found.array, VALUES)
    assert found.array.dtype == np.dtype("=i2")


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.header.set_slope_inter(0.5, -3)
    image.header["scl_slope"], image.header["scl_inter"] = 0.5, -3
    path = tmp_path / "a.nii"
    raw = nib.Nifti1Image(VALUES, AFFINE).to_bytes()
    raw = raw[:112] + np.array([0.5, -3], "<f4").tobytes() + raw[120:]
    path.write_bytes(raw)
    found = read_nifti(path)
    assert found.array.dtype == np.float32
    np.testing.assert_array_equal(found.array, VALUES * 0.5 - 3)


def test_trailing_dimensions_of_one_are_dropped(tmp_path: Path) -> None:
    found = read_nifti(save(tmp_path / "a.nii", nib.Nifti1Image(VALUES[..., None, None], AFFINE)))
    np.testing.assert_array_equal(found.array, VALUES)


def test_two_dimensions_become_one_slice(tmp_path: Path) -> None:
    found = read_nifti(save(tmp_path / "a.nii", nib.Nifti1Image(VALUES[..., 0], AFFINE)))
    np.testing.assert_array_equal(found.array, VALUES[..., :1])


@pytest.mark.parametrize(("sform", "qform", "used"), [(2, 1, "sform"), (0, 1, "qform"), (1, 0, "sform")])
def test_the_standards_rule_for_sform_and_qform(tmp_path: Path, sform: int, qform: int, used: str) -> None:
    forms = {"sform": AFFINE, "qform": np.diag([2.0, 2.5, 3, 1])}
    image = nib.Nifti1Image(VALUES, None)
    image.set_qform(forms["qform"], qform)
    image.set_sform(forms["sform"], sform)
    found = read_nifti(save(tmp_path / "a.nii", image))
    np.testing.assert_array_equal(found.affine, forms[used])
    disagree = [w for w in found.warnings if "sform and qform disagree by up to" in w]
    assert len(disagree) == len(found.warnings) == (1 if sform and qform else 0)


def test_how_far_sform_and_qform_disagree(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.set_qform(AFFINE, 1)
    moved = AFFINE.copy()
    moved[0, 3] += 7.5
    image.set_sform(moved, 1)
    assert "disagree by up to 7.5 mm" in read_nifti(save(tmp_path / "a.nii", image)).warnings[0]


def test_no_codes_are_warned_of(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.header.set_zooms((2, 2.5, 3))
    found = read_nifti(save(tmp_path / "a.nii", image))
    assert found.spacing == (2, 2.5, 3)
    assert "codes are both 0" in found.warnings[0]


def test_a_qform_that_is_no_rotation(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.header["qform_code"], image.header["quatern_b"], image.header["quatern_c"] = 1, 1, 1
    with pytest.raises(InputError, match="can't be read as NIfTI"):
        read_nifti(save(tmp_path / "a.nii", image))
    image.header.set_sform(AFFINE, 1)
    found = read_nifti(save(tmp_path / "a.nii", image))
    np.testing.assert_array_equal(found.affine, AFFINE)
    assert "its qform is no rotation and was ignored" in found.warnings[0]


def test_a_sheared_affine_is_kept_bit_for_bit(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.25
    image = nib.Nifti1Image(VALUES, None)
    image.header.set_sform(sheared, 1)
    found = read_nifti(save(tmp_path / "a.nii", image))
    np.testing.assert_array_equal(found.affine, sheared)
    assert "two meet at 84.29 degrees" in found.warnings[0] and "ITK" in found.warnings[0]


@pytest.mark.parametrize(("unit", "factor"), [("micron", 0.001), ("meter", 1000.0), ("mm", 1.0)])
def test_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    sitk = pytest.importorskip("SimpleITK")
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.header.set_xyzt_units(unit)
    path = save(tmp_path / "a.nii", image)
    found = read_nifti(path)
    assert found.spacing == pytest.approx(np.array([2, 2.5, 3]) * factor)
    assert found.spacing == pytest.approx(sitk.ReadImage(str(path)).GetSpacing())
    assert len(found.warnings) == (unit != "mm")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(tmp_path: Path, value: float) -> None:
    values = VALUES.astype(np.float32)
    values[1, 2, :3] = value
    path = save(tmp_path / "a.nii", nib.Nifti1Image(values, AFFINE))
    with pytest.raises(InputError, match="3 of 120 voxels are NaN, infinite or beyond 1e"):
        read_nifti(path)
    found = read_nifti(path, on_nonfinite="replace")
    assert "3 voxels were NaN, infinite or beyond 1e+18 and were taken as the minimum, 0." in found.warnings[0]
    np.testing.assert_array_equal(found.array[1, 2, :3], 0)
    np.testing.assert_array_equal(np.delete(found.array, 1, axis=0), np.delete(values, 1, axis=0))


def test_nothing_but_nan(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", nib.Nifti1Image(np.full((3, 3, 3), np.nan, np.float32), AFFINE))
    with pytest.raises(InputError, match="all 27 voxels"):
        read_nifti(path, on_nonfinite="replace")


RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((6, 5, 4, 3), np.int16), r"holds 3 volumes \(shape \(6, 5, 4, 3\)\)"),
        (np.zeros((6, 5, 4, 1, 3), np.int16), r"holds 3 volumes \(shape \(6, 5, 4, 1, 3\)\)"),
        (np.zeros((6, 5, 4), np.complex64), r"holds complex numbers \(complex64\); save their magnitude"),
        (np.zeros((6, 5, 4), RGB), r"holds colours \(\('R', 'G', 'B'\)\)"),
    ],
)
def test_what_is_no_scalar_volume_is_refused(tmp_path: Path, values: np.ndarray, reason: str) -> None:
    with pytest.raises(InputError, match=f"a.nii: {reason}"):
        read_nifti(save(tmp_path / "a.nii", nib.Nifti1Image(values, AFFINE)))


def test_surfaces_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.surf.gii"
    nib.save(nib.GiftiImage(), path)
    with pytest.raises(InputError, match="is a surface, not a volume; give the volume"):
        read_volume(path)
    axes = nib.cifti2.SeriesAxis(0, 1, 2), nib.cifti2.BrainModelAxis.from_mask(np.ones(3), name="CortexLeft")
    nib.save(nib.Cifti2Image(np.zeros((2, 3)), axes), tmp_path / "a.dtseries.nii")
    with pytest.raises(InputError, match="is CIFTI, values on a surface"):
        read_volume(tmp_path / "a.dtseries.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("keep", [0, 3, 200, 348, 400])
def test_cut_files_are_refused(tmp_path: Path, suffix: str, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (10, 10, 10)).astype(np.int16)
    path = save(tmp_path / f"a{suffix}", nib.Nifti1Image(noise, AFFINE))
    path.write_bytes(path.read_bytes()[:keep])
    reason = "is empty" if keep == 0 else r"(can't be read as NIfTI|is cut short)"
    with pytest.raises(InputError, match=rf"a{suffix}: {reason}"):
        read_nifti(path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"this is no image" * 40)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"this is no image" * 40))
    (tmp_path / "c.nii.gz").write_bytes(b"not gzip" * 100)
    for file in tmp_path.iterdir():
        with pytest.raises(InputError, match=rf"{file.name}: can't be read as NIfTI"):
            read_nifti(file)


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 9999, (20, 20, 20)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", nib.Nifti1Image(noise, AFFINE))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(InputError, match="is cut short or corrupt"):
        read_nifti(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_promises_terabytes_takes_none(tmp_path: Path, suffix: str) -> None:
    raw = bytearray(nib.Nifti1Image(VALUES, AFFINE).to_bytes())
    raw[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix.endswith("gz") else raw)
    with pytest.raises(
        InputError, match=r"is cut short: shape \(30000, 30000, 30000\) of int16 takes 54,000,000,000,000"
    ):
        read_nifti(path)


def test_a_pair_without_its_other_half(tmp_path: Path) -> None:
    save(tmp_path / "a.hdr", nib.Nifti1Pair(VALUES, AFFINE))
    (tmp_path / "a.img").unlink()
    with pytest.raises(InputError, match=r"a\.hdr: its (other half|voxels in a\.img)"):
        read_nifti(tmp_path / "a.hdr")


@pytest.mark.parametrize("column", [0, 2])
def test_an_affine_that_places_nothing_is_refused(tmp_path: Path, column: int) -> None:
    image = nib.Nifti1Image(VALUES, None)
    flat = AFFINE.copy()
    flat[:3, column] = np.nan if column == 0 else 0
    image.header["sform_code"] = 1
    image.header["srow_x"], image.header["srow_y"], image.header["srow_z"] = flat[:3]
    with pytest.raises(InputError, match="can't place voxels"):
        read_nifti(save(tmp_path / "a.nii", image))


def test_a_missing_file() -> None:
    with pytest.raises(InputError, match=r"nowhere\.nii: no such file"):
        read_volume("nowhere.nii")


def test_nibabels_remarks_are_warnings_not_prints(shared_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = read_nifti(shared_data / "odd_nifti/analyze75_pair/avg152T1.hdr.gz")
    assert found.array.shape == (91, 109, 91) and found.header is None
    assert "pixdim[1,2,3] should be positive" in found.warnings[0]
    assert "Analyze 7.5, which doesn't say which side is left" in found.warnings[1]
    assert capfd.readouterr() == ("", "")


ODD = {
    "big_endian_handedness/mniLR.nii.gz": ((91, 109, 91), None),
    "big_endian_handedness/mniRL.nii.gz": ((91, 109, 91), None),
    "nibabel_tests/anatomical.nii": ((33, 41, 25), None),
    "nibabel_tests/reoriented_anat_moved.nii": ((21, 26, 22), None),
    "nibabel_tests/standard.nii.gz": ((4, 5, 7), None),
    "scaled_int16/strokez.nii.gz": ((157, 189, 156), None),
    "zero_codes/minimal.nii.gz": ((64, 64, 10), None),
    "complex/complex.nii.gz": (None, "complex numbers"),
    "zero_codes/complex_image.nii.gz": (None, "complex numbers"),
    "rgb24/ct_perfusion.nii.gz": (None, "colours"),
    "nibabel_tests/example4d.nii.gz": (None, "holds 2 volumes"),
    "nibabel_tests/functional.nii": (None, "holds 20 volumes"),
    "nifti2/example_nifti2.nii.gz": (None, "holds 2 volumes"),
    "zero_codes/filtered_func_data.nii.gz": (None, "holds 64 volumes"),
    "nan_voxels/resampled_anat_moved.nii": (None, "153 of 1,071 voxels are NaN"),
}


@pytest.mark.parametrize(("name", "shape", "refusal"), [(name, *rest) for name, rest in ODD.items()])
def test_real_odd_files(shared_data: Path, name: str, shape: tuple[int, ...] | None, refusal: str | None) -> None:
    path = shared_data / "odd_nifti" / name
    if refusal is not None:
        with pytest.raises(InputError, match=refusal):
            read_nifti(path)
        return
    found, image = read_nifti(path), nib.load(path)
    assert found.array.shape == shape
    np.testing.assert_array_equal(found.affine, image.affine)
    np.testing.assert_allclose(found.array, image.get_fdata(), rtol=1e-6)


def test_remarks_are_warnings_whatever_the_loggers_level(tmp_path: Path) -> None:
    """The command's root logger is at ERROR, at which nibabel's own says nothing."""
    image = nib.Nifti1Image(VALUES, None)
    image.set_qform(np.diag([2.0, 2.5, 3, 1]), 1)
    content = bytearray(image.to_bytes())
    content[80:84] = np.float32(-2).tobytes()  # pixdim[1]
    (tmp_path / "a.nii").write_bytes(content)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        found = read_nifti(tmp_path / "a.nii")
    finally:
        root.setLevel(level)
    assert "its header was mended (pixdim[1,2,3] should be positive" in found.warnings[0]
    assert "other programs may place the volume elsewhere" in found.warnings[0]
    assert found.spacing == (2, 2.5, 3)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("offset", [0, 16, 340])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_that_begin_in_the_header_are_refused(tmp_path: Path, kind: type, offset: int, suffix: str) -> None:
    content = bytearray(kind(VALUES, AFFINE).to_bytes())
    one = kind is nib.Nifti1Image
    content[slice(108, 112) if one else slice(168, 176)] = (np.float32 if one else np.int64)(offset).tobytes()
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    with pytest.raises(InputError, match=f"begin at byte {offset}, which is inside|vox offset {offset} too low"):
        read_nifti(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(("name", "words"), [("a.nii", r"it is compressed .* doesn't end"), ("a.nii.gz", "it isn't")])
def test_a_name_that_hides_how_a_file_is_compressed(tmp_path: Path, name: str, words: str) -> None:
    content = nib.Nifti1Image(VALUES, AFFINE).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name == "a.nii" else content)
    with pytest.raises(InputError, match=rf"{name}: can't be read as NIfTI \({words}.*rename it, or copy it again\.$"):
        read_nifti(tmp_path / name)


def test_a_quaternion_longer_than_1_says_what_to_do(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.header["qform_code"], image.header["quatern_c"] = 1, 1.0001
    with pytest.raises(InputError, match=r"quaternion of its qform is longer than 1\); open it in 3D Slicer"):
        read_nifti(save(tmp_path / "a.nii", image))


def test_a_signal_that_32_bit_floats_swallow_is_warned_of(tmp_path: Path) -> None:
    for name, values in (("f8", 1e9 + VALUES.astype(np.float64)), ("i4", 2_000_000_000 + VALUES.astype(np.int32))):
        found = read_nifti(save(tmp_path / f"{name}.nii", nib.Nifti1Image(values, AFFINE)))
        assert "32-bit floats lie 64 apart" in found.warnings[0] or "lie 128 apart" in found.warnings[0]
    raw = nib.Nifti1Image(VALUES, AFFINE).to_bytes()
    for name, slope, inter in (("scaled", 1, 1e9), ("swallowed", 0.01, 1e9)):
        (tmp_path / f"{name}.nii").write_bytes(raw[:112] + np.array([slope, inter], "<f4").tobytes() + raw[120:])
        assert "so little of the signal is left" in read_nifti(tmp_path / f"{name}.nii").warnings[0]
    for values in (1e3 + VALUES.astype(np.float64), VALUES.astype(np.int32), VALUES.astype(np.float64) * 0):
        assert read_nifti(save(tmp_path / "fine.nii", nib.Nifti1Image(values, AFFINE))).warnings == []


def test_a_grid_is_read_without_the_voxels(geometries: dict[str, Path]) -> None:
    for path in geometries.values():
        whole = read_nifti(path)
        shape, affine = read_nifti_grid(path)
        assert shape == whole.array.shape and np.array_equal(affine, whole.affine)


def test_the_header_that_is_kept_has_no_free_text_and_this_machines_order(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header["descrip"] = b"John Doe"
    kept = read_nifti(save(tmp_path / "a.nii", nib.Nifti1Image(VALUES, AFFINE, header))).header
    assert b"Doe" not in kept.binaryblock and kept["srow_x"].dtype.isnative


@pytest.mark.parametrize(("qfac", "warned"), [(-0.5, True), (3, True), (0, False), (-1, False), (1, False)])
def test_a_qfac_that_programs_read_differently(tmp_path: Path, qfac: float, warned: bool) -> None:
    image = nib.Nifti1Image(VALUES, None)
    image.set_qform(AFFINE, 1)
    content = bytearray(image.to_bytes())
    content[76:80] = np.float32(qfac).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    assert [("may mirror it" in w) for w in read_nifti(tmp_path / "a.nii").warnings] == [True] * warned
