"""Volumes by a name: the channels of a 4D NIfTI file among them, in their order, below every form of header."""

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ANISOTROPIC, GEOMETRIES, nifti, write_volume
from ulite_monai.errors import InputError
from ulite_monai.io.nifti import fourth_axis, read_nifti
from ulite_monai.io.references import header_grid, read_grid, read_reference, read_references
from ulite_monai.io.write_nifti import write_label_map

VALUES = np.random.default_rng(0).integers(-500, 500, (6, 5, 4, 3)).astype(np.int16)


def save(path, array, name="oblique_both"):
    """An array below one of the headers of `GEOMETRIES`, which call a fourth axis seconds as ITK does."""
    path = path.with_suffix(".hdr") if GEOMETRIES[name].get("kind") is nib.Nifti1Pair else path
    nib.save(nifti(array, **GEOMETRIES[name]), path)
    return path


@pytest.mark.parametrize("name", GEOMETRIES)
def test_each_channel_is_what_it_would_be_in_a_file_of_its_own(tmp_path, name):
    file = save(tmp_path / "all.nii", VALUES, name)
    channels = read_references([f"{file}#{n}" for n in (2, 0, 1)])
    for number, found in zip((2, 0, 1), channels, strict=True):
        alone = read_nifti(save(tmp_path / f"{number}.nii", VALUES[..., number], name))
        np.testing.assert_array_equal(found.array, VALUES[..., number])
        assert found.array.dtype == np.dtype("=i2") and type(found.header) is type(alone.header)
        np.testing.assert_array_equal(found.affine, alone.affine)
        assert len(channels[1].warnings) == len(alone.warnings)  # about the file, by its first channel
        alone.header["xyzt_units"] &= 7  # seconds are the fourth axis'
        assert found.header.binaryblock == alone.header.binaryblock
    assert header_grid(f"{file}#1")[0] == read_grid(f"{file}#1")[0] == (6, 5, 4)
    np.testing.assert_array_equal(header_grid(f"{file}#1")[1], channels[0].affine)


def test_nothing_of_the_fourth_axis_is_left_in_a_mask(tmp_path):
    image = nifti(VALUES, **GEOMETRIES["big_endian"], toffset=7.5, intent_code=1007, slice_end=3, cal_max=90)
    image.header["pixdim"][4:] = 2.5, 3, 4, 5
    nib.save(image, tmp_path / "all.nii.gz")
    write_label_map(VALUES[..., 0] > 0, read_reference(f"{tmp_path / 'all.nii.gz'}#1"), tmp_path / "mask.nii.gz")
    header = nib.load(tmp_path / "mask.nii.gz").header
    np.testing.assert_array_equal(header["dim"], [3, 6, 5, 4, 1, 1, 1, 1])
    np.testing.assert_array_equal(header["pixdim"][4:], 1)
    assert header.get_xyzt_units() == ("mm", "unknown") and header["toffset"] == header["intent_code"] == 0


def test_scaled_values_and_what_is_no_number_by_channel(tmp_path):
    values = VALUES.astype(np.float32)
    values[1, 2, 3, 1] = np.nan
    file = write_volume(tmp_path / "a.nii.gz", values, ANISOTROPIC)
    with pytest.raises(InputError, match=r"a\.nii\.gz, channel 1: 1 of 120 voxels are NaN"):
        read_reference(f"{file}#1")
    first, second, third = read_references([f"{file}#{n}" for n in range(3)], "replace")
    assert first.warnings == third.warnings == [] and "channel 1: 1 voxels were NaN" in second.warnings[0]
    assert second.array[1, 2, 3] == np.nanmin(values[..., 1])
    image = nib.Nifti1Image(VALUES, ANISOTROPIC)
    raw = image.to_bytes()
    (tmp_path / "scaled.nii").write_bytes(raw[:112] + np.array([0.5, -3], "<f4").tobytes() + raw[120:])
    np.testing.assert_array_equal(read_reference(f"{tmp_path}/scaled.nii#2").array, VALUES[..., 2] * 0.5 - 3)


def test_a_file_whose_name_holds_the_mark(tmp_path):
    whole = write_volume(tmp_path / "case#1.nii.gz", VALUES[..., 0])
    stacked = write_volume(tmp_path / "case#2.nii.gz", VALUES)
    beside = write_volume(tmp_path / "b.nii", VALUES)
    np.testing.assert_array_equal(read_reference(str(whole)).array, VALUES[..., 0])
    np.testing.assert_array_equal(read_reference(f"{stacked}#1").array, VALUES[..., 1])
    (tmp_path / "b.nii#1").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"b\.nii#1: "):
        read_reference(f"{beside}#1")
    for missing in ("none#3.nii.gz", "none.nii.gz#0"):
        with pytest.raises(InputError, match="no such file"):
            read_reference(str(tmp_path / missing))
    with pytest.raises(InputError, match="holds 3 volumes along its fourth axis, none with the number 3"):
        read_reference(f"{beside}#3")
    with pytest.raises(InputError, match=r"holds 3 volumes \(shape \(6, 5, 4, 3\)\), one is needed"):
        read_reference(str(beside))
    vectors = write_volume(tmp_path / "vectors.nii", VALUES[:, :, :, None])
    with pytest.raises(InputError, match=r"holds 3 volumes \(shape \(6, 5, 4, 1, 3\)\), one is needed"):
        read_reference(f"{vectors}#0")


@pytest.mark.parametrize(
    ("unit", "step", "is_time"), [("sec", 2, True), ("msec", 800, True), ("sec", 0, False), ("unknown", 1, False)]
)
def test_a_series_in_time_says_so(tmp_path, unit, step, is_time):
    image = nib.Nifti1Image(VALUES, ANISOTROPIC)
    image.header.set_xyzt_units("mm", unit)
    image.header["pixdim"][4] = step
    nib.save(image, tmp_path / "a.nii")
    assert fourth_axis(tmp_path / "a.nii") == (3, is_time)
    assert fourth_axis(write_volume(tmp_path / "one.nii", VALUES[..., :1])) == (1, False)
