"""Label maps lie on their volumes in nibabel and in SimpleITK, and are whole or not there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.nifti import read_nifti
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.volume import Volume
from ulite_monai.io.write_nifti import write_label_map

sitk = pytest.importorskip("SimpleITK")

KEPT = ("sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d")
OFFSETS = ("qoffset_x", "qoffset_y", "qoffset_z")


def labels(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint8)


def lps_affine(path):
    """Where SimpleITK puts the file's voxels."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine, sitk.GetArrayFromImage(image).T


SOURCES = [
    *(f"orientations_48/{name}.nii.gz" for name in ("ARS", "IPR", "LAS", "LPS", "PIR", "RAS", "SAL", "SPL")),
    "big_endian_handedness/mniLR.nii.gz",
    "big_endian_handedness/mniRL.nii.gz",
    "nibabel_tests/anatomical.nii",
    "nibabel_tests/standard.nii.gz",
    "scaled_int16/strokez.nii.gz",
    "zero_codes/minimal.nii.gz",
]


@pytest.mark.parametrize("name", SOURCES)
def test_a_mask_lies_on_its_volume_in_both_readers(shared_data, tmp_path, name):
    source = shared_data / "odd_nifti" / name
    volume = read_nifti(source)
    mask, path = labels(volume.array.shape), tmp_path / "mask.nii.gz"
    write_label_map(mask, volume, path)
    written, original = nib.load(path), nib.load(source)
    np.testing.assert_array_equal(written.affine, original.affine)
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask)
    assert written.get_data_dtype() == np.uint8
    for field in (*KEPT, *OFFSETS):
        np.testing.assert_array_equal(written.header[field], original.header[field])
    assert b"research use" in written.header["descrip"].tobytes()
    itk_mask, itk_values = lps_affine(path)
    np.testing.assert_array_equal(itk_mask, lps_affine(source)[0])
    np.testing.assert_array_equal(itk_values, mask)


DIRECTIONS = dict(zip("RLAPSI", np.repeat(np.eye(3), 2, axis=0) * ([[1], [-1]] * 3), strict=True))
ALL_48 = ["".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)]


@pytest.mark.parametrize("code", ALL_48)
def test_all_orientations_with_and_without_a_header(tmp_path, code):
    affine = np.eye(4)
    affine[:3, :3] = np.stack([DIRECTIONS[letter] for letter in code], axis=1) @ np.diag([2, 3, 4])
    affine[:3, 3] = (-20, 30, 45)
    assert "".join(nib.aff2axcodes(affine)) == code
    mask = labels((6, 7, 8))
    bare = Volume(np.zeros(mask.shape), affine, Path("a"))
    write_label_map(mask, bare, tmp_path / "bare.nii")
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "image.nii")
    write_label_map(mask, read_nifti(tmp_path / "image.nii"), tmp_path / "mask.nii")
    expected, values = lps_affine(tmp_path / "image.nii")
    for name in ("bare.nii", "mask.nii"):
        written = nib.load(tmp_path / name)
        np.testing.assert_allclose(written.affine, affine, atol=1e-5)
        np.testing.assert_array_equal(np.asanyarray(written.dataobj), mask)
        itk_affine, itk_values = lps_affine(tmp_path / name)
        np.testing.assert_allclose(itk_affine, expected, atol=1e-5)
        np.testing.assert_array_equal(itk_values, values)
    assert (nib.load(tmp_path / "bare.nii").header["sform_code"], written.header["sform_code"]) == (1, 2)


def test_an_oblique_volume_without_a_header(tmp_path):
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(0.4, -0.3, 0.5) @ np.diag([0.7, 0.9, 3])
    affine[:3, 3] = [-100.25, 33, 250]
    mask = labels((60, 50, 40))
    write_label_map(mask, Volume(mask, affine, Path("a")), tmp_path / "m.nii.gz")
    written = nib.load(tmp_path / "m.nii.gz")
    itk_affine, _ = lps_affine(tmp_path / "m.nii.gz")
    corner = np.array([59, 49, 39, 1])
    for found in (written.affine, written.get_qform(), np.diag([-1, -1, 1, 1]) @ itk_affine):
        np.testing.assert_allclose(found @ corner, affine @ corner, atol=1e-4)
    assert (written.header["sform_code"], written.header["qform_code"]) == (1, 1)
    assert written.header.get_xyzt_units()[0] == "mm"


def test_a_dicom_series_and_its_mask(shared_data, tmp_path):
    pytest.importorskip("pydicom", "3.0")
    folder = shared_data / "dicom/odd_series/hitachi_oblique"
    volume = read_volume(folder)
    mask = labels(volume.array.shape)
    write_label_map(mask, volume, tmp_path / "m.nii.gz")
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    itk_mask = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    for index in [(0, 0, 0), (63, 63, 3), (10, 50, 2)]:
        place = itk_mask.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(place, image.TransformIndexToPhysicalPoint(index), atol=1e-4)
        np.testing.assert_allclose(
            np.multiply(place, [-1, -1, 1]), nib.affines.apply_affine(volume.affine, index), atol=1e-4
        )


def test_a_sheared_affine_is_repeated_bit_for_bit(tmp_path):
    sheared = np.array([[1, 0.2, 0, 5], [0, 1, 0, 6], [0, 0, 1.1, 7], [0, 0, 0, 1]], np.float32).astype(float)
    image = nib.Nifti1Image(labels((5, 6, 7)), None)
    image.header.set_sform(sheared, 2)
    nib.save(image, tmp_path / "a.nii")
    write_label_map(labels((5, 6, 7)), read_nifti(tmp_path / "a.nii"), tmp_path / "m.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "m.nii").affine, sheared)


def test_sform_and_qform_that_disagree_are_both_repeated(tmp_path):
    image = nib.Nifti1Image(labels((5, 6, 7)), None)
    image.header.set_sform(np.diag([2.0, 2, 2, 1]), 4)
    image.header.set_qform(np.diag([-2.0, 2, 2, 1]), 1)
    nib.save(image, tmp_path / "a.nii")
    write_label_map(labels((5, 6, 7)), read_nifti(tmp_path / "a.nii"), tmp_path / "m.nii")
    written = nib.load(tmp_path / "m.nii")
    np.testing.assert_array_equal(written.get_sform(), image.get_sform())
    np.testing.assert_array_equal(written.get_qform(), image.get_qform())


def test_micrometres_stay_micrometres(tmp_path):
    image = nib.Nifti1Image(labels((5, 6, 7)), np.diag([2.0, 2, 2, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    write_label_map(labels((5, 6, 7)), read_nifti(tmp_path / "a.nii"), tmp_path / "m.nii")
    assert nib.load(tmp_path / "m.nii").header.get_xyzt_units()[0] == "micron"
    np.testing.assert_array_equal(nib.load(tmp_path / "m.nii").affine, image.affine)


@pytest.mark.parametrize("kind", [nib.Nifti2Image, nib.Nifti1Pair, nib.Nifti1Image])
def test_the_version_is_kept_and_free_text_is_not(tmp_path, kind):
    image = kind(labels((5, 6, 7)).astype(np.float32)[..., None], np.diag([2.0, 2, 2, 1]))
    image.header["descrip"], image.header["aux_file"] = b"John Doe", b"Doe.txt"
    source = tmp_path / ("a.img" if kind is nib.Nifti1Pair else "a.nii")
    nib.save(image, source)
    write_label_map(labels((5, 6, 7)), read_nifti(source), tmp_path / "m.nii.gz")
    written = nib.load(tmp_path / "m.nii.gz")
    assert isinstance(written, nib.Nifti2Image) == (kind is nib.Nifti2Image)
    assert written.shape == (5, 6, 7)
    assert b"Doe" not in written.header.binaryblock


@pytest.mark.parametrize(("most", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_the_smallest_type_that_holds_the_labels(tmp_path, most, dtype):
    mask = np.zeros((4, 4, 4), np.int64)
    mask[1, 2, 3] = most
    write_label_map(mask, Volume(mask, np.eye(4), Path("a")), tmp_path / "m.nii")
    written = nib.load(tmp_path / "m.nii")
    assert written.get_data_dtype() == dtype and written.dataobj[1, 2, 3] == most


@pytest.mark.parametrize("value", [-1, 65536, 0.5, np.nan])
def test_what_is_no_label_is_refused(tmp_path, value):
    mask = np.zeros((4, 4, 4))
    mask[0, 0, 0] = value
    with pytest.raises(ValueError, match=r"Labels run from 0 to 65535|aren't whole numbers"):
        write_label_map(mask, Volume(mask, np.eye(4), Path("a")), tmp_path / "m.nii")
    assert list(tmp_path.iterdir()) == []


def test_another_shape_and_another_suffix_are_refused(tmp_path):
    volume = Volume(np.zeros((4, 4, 4)), np.eye(4), Path("a"))
    with pytest.raises(ValueError, match=r"shape \(4, 4, 5\), its volume \(4, 4, 4\)"):
        write_label_map(np.zeros((4, 4, 5), np.uint8), volume, tmp_path / "m.nii")
    with pytest.raises(InputError, match=r"written as \.nii or \.nii\.gz"):
        write_label_map(np.zeros((4, 4, 4), np.uint8), volume, tmp_path / "m.nrrd")


def test_the_temporary_file_keeps_the_suffix_and_is_gone_at_the_end(tmp_path):
    path = tmp_path / "new folder" / ("x" * 240 + ".nii.gz")
    with atomic_path(path) as temporary:
        assert temporary.name.startswith(".") and temporary.name.endswith(".nii.gz")
        assert temporary.parent == path.parent and not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole" and list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "m.nii"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_with_a_name(tmp_path):
    mask = labels((64, 64, 64))

    def small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    script = (
        "import signal, sys, numpy as np; from pathlib import Path\n"
        "from ulite_monai.io.volume import Volume; from ulite_monai.io.write_nifti import write_label_map\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "mask = np.load(sys.argv[1])\n"
        "try: write_label_map(mask, Volume(mask, np.eye(4), Path('a')), sys.argv[2])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    np.save(tmp_path / "mask.npy", mask)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "m.nii"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "mask.npy"), str(target)],
        preexec_fn=small_files_only,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"InputError {target}: can't be written: File too large; nothing was left there.\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_in_the_way_is_an_error_with_a_name(tmp_path):
    (tmp_path / "m.nii").mkdir()
    mask = labels((4, 4, 4))
    with pytest.raises(InputError, match=r"m\.nii: can't be written: Is a directory"):
        write_label_map(mask, Volume(mask, np.eye(4), Path("a")), tmp_path / "m.nii")
    assert list(tmp_path.iterdir()) == [tmp_path / "m.nii"]


def test_a_folder_that_is_a_file_is_reported_in_one_line(tmp_path):
    from ulite_monai.io.atomic import atomic_path

    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="can't be written"), atomic_path(tmp_path / "file" / "a.txt") as path:
        path.write_text("y")
