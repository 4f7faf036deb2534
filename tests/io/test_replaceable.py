"""A mask replaces masks, and nothing else."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

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


def test_a_mask_that_somebody_corrected_is_theirs(tmp_path):
    image = write_volume(tmp_path / "a.nii.gz", np.ones((3, 4, 5), np.float32))
    write_label_map(np.ones((3, 4, 5), np.uint8), read_volume(image), tmp_path / "mask.nii.gz")
    mask = nib.load(tmp_path / "mask.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), mask.affine), tmp_path / "mask.nii.gz")
    refuse(tmp_path / "mask.nii.gz")


def test_png(tmp_path):
    Image.fromarray(np.zeros((4, 3), np.uint8)).save(tmp_path / "a.png")
    refuse(tmp_path / "a.png")
    write_mask(np.ones((3, 4), np.uint8), tmp_path / "mask.png")
    require_replaceable(tmp_path / "mask.png")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.png", "a.dcm", "a.mha"])
def test_what_cant_be_read_isnt_ours(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing")
    refuse(tmp_path / name)
