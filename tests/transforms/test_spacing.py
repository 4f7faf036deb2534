"""SpacingOfKeysd resamples as MONAI's Spacingd, and passes over what isn't its own."""

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd, Spacingd

from ulite_monai.transforms import SpacingOfKeysd


def data():
    image = torch.rand(1, 6, 7, 8, generator=torch.Generator().manual_seed(0))
    return {"image": MetaTensor(image, affine=torch.diag(torch.tensor([2.0, 1, 1.5, 1])))}


def test_as_monais_and_inverted_alike():
    ours, theirs = (kind("image", pixdim=(1, 1, 1), mode="bilinear") for kind in (SpacingOfKeysd, Spacingd))
    found, expected = ours(data()), theirs(data())
    torch.testing.assert_close(found["image"].as_tensor(), expected["image"].as_tensor(), rtol=0, atol=1e-5)
    assert torch.equal(found["image"].affine, expected["image"].affine) and found["image"].shape[1:] == (11, 7, 12)
    found["pred"] = found["image"]
    back = Invertd("pred", ours, orig_keys="image", nearest_interp=False)(found)
    assert back["pred"].shape == (1, 6, 7, 8)


def test_positions_in_a_large_volume_are_exact_to_a_ten_thousandth_of_a_voxel():
    ramp = torch.arange(512.0)[None, :, None, None].expand(1, 512, 3, 3)
    image = {"image": MetaTensor(ramp, affine=torch.diag(torch.tensor([0.7, 1, 1, 1])))}
    ours, theirs = (kind("image", pixdim=(0.9, 1, 1), mode="bilinear")(image) for kind in (SpacingOfKeysd, Spacingd))
    assert (ours["image"] - theirs["image"]).abs().max() < 1e-4


def test_a_path_beside_the_image_is_passed_over():
    found = SpacingOfKeysd("image", pixdim=(1, 1, 1))({**data(), "image_path": "x.nii.gz", "image_other": 3})
    assert found["image_path"] == "x.nii.gz" and found["image_other"] == 3
    assert np.allclose(found["image"].pixdim, 1)
