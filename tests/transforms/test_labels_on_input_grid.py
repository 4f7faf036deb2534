"""Labels as MONAI's softmax, inversion and argmax give them, with one channel on the way back where that is exact."""

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Activationsd, AsDiscreted, Compose, CropForegroundd, Invertd, Orientationd

from ulite_monai.transforms import LabelsOnInputGridd, LoadVolumed, SpacingOfKeysd
from ulite_monai.transforms.labels_on_input_grid import AT_A_TIME

AXES = (("L", "R"), ("P", "A"), ("I", "S"))


def chain(spacing, cropped=False):
    crop = [CropForegroundd("image", "image", margin=1, allow_smaller=True)] if cropped else []
    return Compose(
        [
            LoadVolumed("image"),
            Orientationd("image", axcodes="RAS", labels=AXES),
            SpacingOfKeysd("image", spacing, mode="bilinear"),
            *crop,
        ]
    )


def prepared(tmp_path, affine, spacing, cropped=False, classes=4):
    values = np.zeros((12, 10, 9), dtype=np.float32)
    values[2:9, 3:8, 2:7] = np.random.default_rng(0).random((7, 5, 5)) + 1
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "a.nii.gz")
    preprocessing = chain(spacing, cropped)
    data = preprocessing({"image": str(tmp_path / "a.nii.gz")})
    image = data["image"]
    logits = torch.randn((classes, *image.shape[1:]), generator=torch.Generator().manual_seed(0))
    data["pred"] = MetaTensor(logits, meta=image.meta, applied_operations=image.applied_operations)
    return preprocessing, data


def by_monai(preprocessing, data):
    softmax = Activationsd("pred", softmax=True)
    back = Invertd("pred", preprocessing, "image", nearest_interp=False, to_tensor=True, device="cpu")
    probabilities = back(softmax(data))
    return probabilities["pred"], AsDiscreted("pred", argmax=True)(probabilities)["pred"]


TURNED = np.array([[0, 0, -2.0, 7], [1.0, 0, 0, -3], [0, -1.5, 0, 5], [0, 0, 0, 1]])
OBLIQUE = np.array([[0.96, 0.28, 0, 3], [-0.28, 0.96, 0, 1], [0, 0, 1.2, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("affine", "spacing", "cropped", "channels"),
    [
        (np.diag([-1.0, 1, -1, 1]), (1, 1, 1), False, 1),
        (TURNED, (2, 1, 1.5), True, 1),
        (OBLIQUE, (1, 1, 1.2), False, 1),
        (TURNED, (1, 1, 1), False, 4),
        (TURNED, (4, 2, 3), True, 4),  # every second voxel: whole numbers, but other voxels
        (np.diag([1.0, 1, 1.002, 1]), (1, 1, 1), False, 4),
    ],
)
def test_labels_are_those_of_monai_and_one_channel_goes_back_where_it_can(
    tmp_path, monkeypatch, affine, spacing, cropped, channels
):
    preprocessing, data = prepared(tmp_path, affine, spacing, cropped)
    probabilities, labels = by_monai(preprocessing, data)
    step = LabelsOnInputGridd("pred", preprocessing, "image")
    sent = []
    turn_back = Orientationd.inverse
    monkeypatch.setattr(Orientationd, "inverse", lambda self, d: sent.append(len(d["image"])) or turn_back(self, d))
    ours = step(data)["pred"]
    assert sent == [channels]
    assert torch.equal(ours.as_tensor(), labels.as_tensor()) and ours.dtype == torch.float32
    assert ours.shape == (1, 12, 10, 9) and np.allclose(ours.affine, affine, atol=1e-12)
    assert torch.allclose(step.probabilities(data)["pred"].as_tensor(), probabilities.as_tensor(), atol=1e-6)


@pytest.mark.parametrize("classes", [9, 30])
@pytest.mark.parametrize("cropped", [False, True])
def test_many_classes_go_back_a_few_at_a_time(tmp_path, monkeypatch, classes, cropped):
    preprocessing, data = prepared(tmp_path, TURNED, (1, 1, 1), cropped, classes)
    _, labels = by_monai(preprocessing, data)
    sent = []
    turn_back = Orientationd.inverse
    monkeypatch.setattr(Orientationd, "inverse", lambda self, d: sent.append(len(d["image"])) or turn_back(self, d))
    ours = LabelsOnInputGridd("pred", preprocessing, "image")(data)["pred"]
    assert sum(sent) == classes and max(sent) == AT_A_TIME
    assert torch.equal(ours.as_tensor(), labels.as_tensor()) and ours.dtype == torch.float32
    assert ours.shape == (1, 12, 10, 9) and np.allclose(ours.affine, TURNED, atol=1e-12)


def test_labels_are_never_interpolated(tmp_path, monkeypatch):
    """Even if a resampled image were taken for one that was only turned."""
    preprocessing, data = prepared(tmp_path, np.diag([1.7, 1, 1, 1.0]), (1, 1, 1))
    monkeypatch.setattr("ulite_monai.transforms.labels_on_input_grid._resampled", lambda image: False)
    labels = LabelsOnInputGridd("pred", preprocessing, "image")(data)["pred"]
    assert set(labels.unique().tolist()) == {0.0, 1.0, 2.0, 3.0} and labels.shape == (1, 12, 10, 9)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1.3, 1, 1)])
def test_logits_may_come_without_metadata(tmp_path, spacing):
    """As compiled networks give them in MONAI's engines."""
    preprocessing, data = prepared(tmp_path, np.diag([-1.0, 1, -1, 1]), spacing)
    step = LabelsOnInputGridd("pred", preprocessing, "image")
    expected = step(data)["pred"], step.probabilities(data)["pred"]
    plain = data | {"pred": data["pred"].as_tensor()}
    for ours, theirs in zip((step(plain)["pred"], step.probabilities(plain)["pred"]), expected, strict=True):
        assert torch.equal(ours.as_tensor(), theirs.as_tensor()) and torch.equal(ours.affine, theirs.affine)
    assert type(plain["pred"]) is torch.Tensor


def test_an_image_that_doesnt_say_where_it_was_sends_all_classes_back(tmp_path):
    preprocessing, data = prepared(tmp_path, np.diag([-1.0, 1, 1, 1]), (1, 1, 1))
    expected = LabelsOnInputGridd("pred", preprocessing, "image")(data)["pred"]
    del data["image"].meta["original_affine"]
    assert torch.equal(LabelsOnInputGridd("pred", preprocessing, "image")(data)["pred"], expected)


def test_what_isnt_there_may_be_missing(tmp_path):
    preprocessing, data = prepared(tmp_path, np.eye(4), (1, 1, 1))
    del data["pred"]
    assert LabelsOnInputGridd("pred", preprocessing, "image", allow_missing_keys=True)(data) == data
    with pytest.raises(KeyError):
        LabelsOnInputGridd("pred", preprocessing, "image")(data)
