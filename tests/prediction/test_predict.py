"""`ulite_monai.predict()`: one volume from Python."""

import json

import nibabel as nib
import numpy as np
import pytest

import ulite_monai
from tests.conftest import expected_mask, write_volume
from tests.prediction.conftest import FREE, SHAPE, volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import predict


def test_predict_from_python(weights, tmp_path):
    affine = np.diag([-1.0, 1, 1, 1])
    path = write_volume(tmp_path / "a.nii.gz", volume(), affine)
    for image in (path, str(path), nib.load(path)):
        mask = ulite_monai.predict(image, ckpt=weights, overrides=FREE)
        assert mask.shape == SHAPE and mask.get_data_dtype() == np.uint8 and np.array_equal(mask.affine, affine)
    assert (np.asarray(mask.dataobj) == expected_mask(volume())).mean() > 0.999
    of_array = predict(volume(), affine=affine, ckpt=weights, overrides=FREE)
    assert np.array_equal(np.asarray(of_array.dataobj), np.asarray(mask.dataobj))


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.zeros(SHAPE), {}, "affine"),
        ("gone.nii", {}, "no such file"),
        (np.zeros(SHAPE), {"affine": np.eye(4), "ckpt": "gone.pt"}, "gone.pt"),
        (np.zeros(SHAPE), {"affine": np.eye(4), "bundle": "liver"}, "hippocampus, nuclei"),
        (np.zeros(SHAPE), {"affine": np.eye(4), "device": "cuda:99"}, "cuda:99"),
    ],
    ids=["array without affine", "no file", "no weights", "no bundle", "no device"],
)
def test_predict_refuses_with_a_sentence(weights, image, options, words):
    with pytest.raises(InputError, match=words):
        predict(image, **({"ckpt": weights} | options))


@pytest.mark.slow
def test_predict_from_python_takes_what_the_network_takes(weights, tmp_path):
    """Channels that a network lacks are refused, not dropped; so are images where it wants volumes."""
    from PIL import Image

    write_volume(tmp_path / "a.nii.gz", volume())
    write_volume(tmp_path / "b.nii.gz", volume(1))
    (tmp_path / "cases.json").write_text(json.dumps([{"image": ["a.nii.gz", "b.nii.gz"]}]))
    with pytest.raises(InputError, match=r"cases\.json: it has 2 channels, and this bundle takes 1"):
        predict(tmp_path / "cases.json", ckpt=weights)
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(InputError, match="it is a 2D image"):
        predict(tmp_path / "x.png", ckpt=weights)
    with pytest.raises(InputError, match=r"segments volumes; for 2D images there is predict_cases\(\)"):
        predict(tmp_path / "x.png", bundle="nuclei")
    with pytest.raises(InputError, match="it is a volume, and this bundle segments a 2D image"):
        predict(tmp_path / "a.nii.gz", bundle="nuclei")
    (tmp_path / "broken.nii").write_bytes(b"nothing")
    with pytest.raises(InputError) as error:
        predict(tmp_path / "broken.nii", ckpt=weights)
    assert str(error.value).startswith(f"{tmp_path / 'broken.nii'}: can't be read")
