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
    assert torch.equal(found["image"], expected["image"]) and found["image"].shape[1:] == (11, 7, 12)
    found["pred"] = found["image"]
    back = Invertd("pred", ours, orig_keys="image", nearest_interp=False)(found)
    assert back["pred"].shape == (1, 6, 7, 8)


def test_a_path_beside_the_image_is_passed_over():
    found = SpacingOfKeysd("image", pixdim=(1, 1, 1))({**data(), "image_path": "x.nii.gz", "image_other": 3})
    assert found["image_path"] == "x.nii.gz" and found["image_other"] == 3
    assert np.allclose(found["image"].pixdim, 1)
