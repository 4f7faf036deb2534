"""The same labels as MONAI's, ties and metadata too."""

import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscreted

from ulite_monai.transforms import ArgMaxd


def test_labels_are_those_of_monai():
    values = torch.randint(0, 4, (3, 9, 8, 7), generator=torch.Generator().manual_seed(0)).float()  # with many ties
    image = MetaTensor(values, affine=torch.diag(torch.tensor([2.0, 3, 4, 1])), meta={"filename_or_obj": "a.nii"})
    ours = ArgMaxd("pred")({"pred": image, "other": 1})
    theirs = AsDiscreted("pred", argmax=True)({"pred": image})["pred"]
    assert torch.equal(ours["pred"].as_tensor(), theirs.as_tensor()) and ours["pred"].dtype == theirs.dtype
    assert torch.equal(ours["pred"].affine, image.affine) and ours["pred"].meta["filename_or_obj"] == "a.nii"
    assert ours["other"] == 1
