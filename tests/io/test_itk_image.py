"""NRRD and MetaImage in, and the choice of a reader by what is given."""

from __future__ import annotations

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import environment
from ulite_monai.errors import InputError
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.write_nifti import write_label_map

sitk = pytest.importorskip("SimpleITK")

VALUES = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def image_of(values, direction=None):
    image = sitk.GetImageFromArray(values.T)
    image.SetSpacing((0.7, 0.9, 3))
    image.SetOrigin((-100.25, 33, 250))
    image.SetDirection((np.eye(3) if direction is None else direction).ravel())
    return image


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("compressed", [True, False])
def test_values_and_places(tmp_path, name, compressed):
    direction = nib.eulerangles.euler2mat(0.4, -0.3, 0.5)
    sitk.WriteImage(image_of(VALUES, direction), str(tmp_path / name), compressed)
    found = read_volume(tmp_path / name)
    expected = np.eye(4)
    expected[:3, :3] = direction @ np.diag([0.7, 0.9, 3])
    expected[:3, 3] = (-100.25, 33, 250)
    np.testing.assert_array_equal(found.array, VALUES)
    assert found.array.dtype == np.int16 and found.header is None and found.warnings == []
    np.testing.assert_allclose(found.affine, LPS_TO_RAS @ expected, atol=1e-4)
    write_label_map(VALUES, found, tmp_path / "mask.nii.gz")
    mask = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    np.testing.assert_allclose(
        mask.TransformIndexToPhysicalPoint((5, 4, 3)),
        image_of(VALUES, direction).TransformIndexToPhysicalPoint((5, 4, 3)),
        atol=1e-4,
    )


def test_nan_is_settled(tmp_path):
    values = VALUES.astype(np.float32)
    values[0, 0, 0] = np.nan
    sitk.WriteImage(image_of(values), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="1 of 120 voxels"):
        read_volume(tmp_path / "a.nrrd")
    found = read_volume(tmp_path / "a.nrrd", on_nonfinite="replace")
    assert found.array[0, 0, 0] == 1 and "1 voxels were NaN" in found.warnings[0]


def test_an_nrrd_without_a_space_is_warned_of(tmp_path):
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nspacings: 1 1 2\nendian: little\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + VALUES.T.tobytes())
    found = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(found.array, VALUES)
    assert "names no anatomical space" in found.warnings[0]


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_vectors_and_time_are_refused(tmp_path, name):
    colour = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / name))
    with pytest.raises(InputError, match="3 values a voxel"):
        read_volume(tmp_path / name)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 6), np.uint8), isVector=False), str(tmp_path / name))
    with pytest.raises(InputError, match=r"has 4 dimensions \(6, 5, 4, 3\)"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_cut_files_are_refused(tmp_path, name, compressed, share):
    noise = np.random.default_rng(0).integers(0, 9999, (10, 10, 10)).astype(np.int16)
    path = tmp_path / name
    sitk.WriteImage(image_of(noise), str(path), compressed)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(
        InputError, match=rf"{name}: (is cut short or corrupt|isn't NRRD or MetaImage|has \d dimensions)"
    ):
        read_volume(path)


def test_a_missing_file():
    with pytest.raises(InputError, match=r"nowhere\.mha: no such file"):
        read_volume("nowhere.mha")


def test_a_folder_with_one_usable_series(write_series):
    pytest.importorskip("pydicom", "3.0")
    folder = write_series()
    (folder / "info.txt").write_text("hello")
    found = read_volume(folder)
    assert found.array.shape == (6, 5, 4) and found.source.id.startswith("series7_")
    write_series(np.zeros((6, 5, 2), np.int16), folder="series/b", change=other_series)
    with pytest.raises(InputError, match=r"holds 2 DICOM volumes, one is needed: series7_\w+ \(t1 test\), series8_"):
        read_volume(folder)


def other_series(ds, k):
    ds.SeriesInstanceUID, ds.SeriesNumber = "1.2.3.4", 8
    ds.SOPInstanceUID += ".8"


def test_a_folder_whose_only_series_has_a_problem(write_series):
    pytest.importorskip("pydicom", "3.0")
    folder = write_series(change=lambda ds, k: delattr(ds, "PixelSpacing"))
    with pytest.raises(InputError, match=r"series7_.*no usable PixelSpacing"):
        read_volume(folder)


def test_a_tilted_series_is_read_when_asked(write_series):
    pytest.importorskip("pydicom", "3.0")

    def tilted(ds, k):
        ds.ImagePositionPatient[1] += k

    folder = write_series(change=tilted)
    with pytest.raises(InputError, match="--resample-tilt"):
        read_volume(folder)
    assert read_volume(folder, resample_tilt=True).array.shape[1] > 5


def test_a_folder_with_nothing(tmp_path):
    pytest.importorskip("pydicom", "3.0")
    with pytest.raises(InputError, match="holds no volume that can be read"):
        read_volume(tmp_path)


def test_signed_bytes(tmp_path):
    values = np.arange(-30, 30, dtype=np.int8).reshape(3, 4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(values.T), str(tmp_path / "a.nrrd"))
    found = read_volume(tmp_path / "a.nrrd")
    assert found.array.dtype == np.int16 and np.array_equal(found.array, values)


@pytest.mark.slow
def test_threads_that_read_find_each_others_files(tmp_path):
    """ITK changes the process's folder while it loads, so it is loaded whole before threads read relative paths."""
    for number in range(6):
        sitk.WriteImage(image_of(VALUES), str(tmp_path / f"{number}.nrrd"))
        save_nifti(tmp_path / f"{number}.nii.gz")
    program = """
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ulite_monai.io.read_volume import load_readers, read_volume
paths = sorted(Path().iterdir())
load_readers(paths)
real, moved = os.chdir, []
os.chdir = lambda folder: (moved.append(folder), real(folder))
with ThreadPoolExecutor(4) as pool:
    print(len(list(pool.map(read_volume, paths))), moved)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True)
    assert done.stdout.split() == [b"12", b"[]"], done.stderr.decode()


def save_nifti(path):
    nib.save(nib.Nifti1Image(VALUES, np.eye(4)), path)


def nrrd(path, values=VALUES, kind="short", directions="(1,0,0) (0,1,0) (0,0,2)", *more):
    """An NRRD file in left-posterior-superior, whose header ends in `more`."""
    header = (
        *("NRRD0004", f"type: {kind}", "dimension: 3", "space: left-posterior-superior"),
        *(f"sizes: {' '.join(map(str, values.shape))}", f"space directions: {directions}", "space origin: (10,20,30)"),
        *("endian: little", "encoding: raw", *more, "", ""),
    )
    path.write_bytes("\n".join(header).encode() + values.T.tobytes())
    return path


def mha(path, *more):
    header = ("ObjectType = Image", "NDims = 3", "DimSize = 6 5 4", "ElementType = MET_SHORT", *more)
    path.write_bytes("\n".join([*header, "ElementDataFile = LOCAL\n"]).encode() + VALUES.T.tobytes())
    return path


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_sheared_axes_are_warned_of(tmp_path, name):
    if name == "a.nrrd":
        path = nrrd(tmp_path / name, VALUES, "short", "(1,0,0) (0.3,0.95,0) (0,0,1)")
    else:
        path = mha(tmp_path / name, "TransformMatrix = 1 0 0 0.3 0.95 0 0 0 1")
    found = read_volume(path)
    assert "its axes are sheared (two meet at 72.47 degrees)" in found.warnings[0]
    write_label_map(VALUES, found, tmp_path / "m.nii")
    with pytest.raises(RuntimeError):  # rather than place it elsewhere
        sitk.ReadImage(str(tmp_path / "m.nii"))
    np.testing.assert_allclose(nib.load(tmp_path / "m.nii").affine, found.affine, atol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("um", 1e-3), ("µm", 1e-3), ("cm", 10), ("mm", 1)])
def test_the_unit_of_length_is_heeded(tmp_path, unit, factor):
    units = f'units: "{unit}" "{unit}" "{unit}"'
    paths = [nrrd(tmp_path / "a.nrrd", VALUES, "short", "(5,0,0) (0,6,0) (0,0,7)", f"space {units}")]
    if unit != "µm":
        paths.append(mha(tmp_path / "a.mha", "ElementSpacing = 5 6 7", "Offset = 10 20 30", f"DistanceUnits = {unit}"))
    for path in paths:
        found = read_volume(path)
        assert found.spacing == pytest.approx(np.array([5, 6, 7]) * factor)
        np.testing.assert_allclose(found.affine[:3, 3], np.array([-10, -20, 30]) * factor)
        assert any(f"gives positions in {unit}" in w for w in found.warnings) == (unit != "mm")
    content = paths[0].read_bytes().replace(f"space {units}".encode(), units.encode())
    content = content.replace(b"space origin: (10,20,30)\n", b"").replace(b"space: left-posterior-superior\n", b"")
    content = content.replace(b"space directions: (5,0,0) (0,6,0) (0,0,7)", b"spacings: 5 6 7")
    (tmp_path / "b.nrrd").write_bytes(content)
    assert read_volume(tmp_path / "b.nrrd").spacing == pytest.approx(np.array([5, 6, 7]) * factor)


def test_units_that_cant_be_heeded(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", VALUES, "short", "(5,0,0) (0,6,0) (0,0,7)", 'space units: "mm" "mm" "um"')
    with pytest.raises(InputError, match=r"names several units of length \('mm', 'um'\)"):
        read_volume(path)
    path = nrrd(tmp_path / "b.nrrd", VALUES, "short", "(5,0,0) (0,6,0) (0,0,7)", 'space units: "px" "px" "px"')
    assert "gives positions in 'px', which isn't known" in read_volume(path).warnings[0]


KINDS = {"int8": "signed char", "uint32": "uint", "int64": "longlong", "uint64": "ulonglong", "float64": "double"}


@pytest.mark.parametrize("dtype", KINDS)
def test_every_type_of_number_is_read(tmp_path, dtype):
    found = read_volume(nrrd(tmp_path / "a.nrrd", VALUES.astype(dtype), KINDS[dtype]))
    np.testing.assert_array_equal(found.array, VALUES.astype(dtype))


def test_segments_names_are_kept(tmp_path):
    """As 3D Slicer writes them."""
    names = ("Segment0_LabelValue:=2", "Segment0_Name:=anterior", "Segment1_LabelValue:=1", "Segment1_Name:=posterior")
    found = read_volume(nrrd(tmp_path / "a.seg.nrrd", VALUES, "short", "(1,0,0) (0,1,0) (0,0,2)", *names))
    assert found.segments == {2: "anterior", 1: "posterior"}


def test_what_a_library_raises_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("ulite_monai.io.nifti.read_nifti", lambda *_: 1 / 0)
    save_nifti(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"a\.nii\.gz: can't be read \(ZeroDivisionError: division by zero\)"):
        read_volume(tmp_path / "a.nii.gz")
