"""A mask replaces masks as they were written, and nothing else."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.conftest import write_volume
from ulite_monai.errors import InputError
from ulite_monai.io.images import write_mask
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.replaceable import require_replaceable
from ulite_monai.io.write_nifti import write_label_map


def refuse(path):
    with pytest.raises(InputError, match="is there already and wasn't written by this program"):
        require_replaceable(path)


def test_nifti(tmp_path):
    image = write_volume(tmp_path / "a.nii.gz", np.ones((3, 4, 5), np.float32))
    refuse(image)
    for name in ("mask.nii.gz", "mask.nii"):
        require_replaceable(tmp_path / name)  # isn't there
        write_label_map(np.ones((3, 4, 5), np.uint8), read_volume(image), tmp_path / name)
        require_replaceable(tmp_path / name)


def test_a_mask_of_a_version_without_digest_stays(tmp_path):
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.eye(4))
    image.header["descrip"] = b"U-Lite label map, for research use only"
    nib.save(image, tmp_path / "old.nii.gz")
    with pytest.raises(InputError, match=r"or was changed since \(masks of its first versions don't tell\)"):
        require_replaceable(tmp_path / "old.nii.gz")


def save_without_our_header(mask, path):
    nib.save(nib.Nifti1Image(mask, np.eye(4)), path)


def save_with_our_header(mask, path):
    written = nib.load(path)
    nib.save(nib.Nifti1Image(mask, written.affine, written.header), path)


def save_in_itk(mask, path):
    itk = pytest.importorskip("itk")
    written = itk.imread(str(path))
    itk.array_view_from_image(written)[:] = mask.T
    itk.imwrite(written, str(path))


@pytest.mark.parametrize("save", [save_without_our_header, save_with_our_header, save_in_itk])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_that_somebody_corrected_is_theirs(tmp_path, suffix, save):
    image = write_volume(tmp_path / "a.nii.gz", np.ones((3, 4, 5), np.float32))
    path = tmp_path / f"mask{suffix}"
    mask = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    write_label_map(mask, read_volume(image), path)
    require_replaceable(path)
    mask[2, 3, 4] = 0
    save(mask, path)
    refuse(path)


def test_png(tmp_path):
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(tmp_path / "a.png")
    refuse(tmp_path / "a.png")
    write_mask(np.arange(12, dtype=np.uint8).reshape(3, 4), tmp_path / "mask.png")
    require_replaceable(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        ours = PngInfo()
        ours.add_text("Software", mask.info["Software"])
        corrected = np.array(mask)
    corrected[0, 0] = 9
    Image.fromarray(corrected).save(tmp_path / "mask.png", pnginfo=ours)
    refuse(tmp_path / "mask.png")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.png", "a.dcm", "a.mha"])
def test_what_cant_be_read_isnt_ours(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing")
    refuse(tmp_path / name)
