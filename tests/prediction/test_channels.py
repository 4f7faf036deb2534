"""A 4D file as one case of a network for several channels: the mask that files of their own would give."""

import functools
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from tests.conftest import GEOMETRIES, ellipsoids, expected_mask, nifti, write_volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import PredictOptions, Segmenter, predict, predict_cases

NAMES = ("qform", "oblique_both", "no_codes", "sheared", "microns", "big_endian", "nifti2_qform_big_endian", "pair")
UNREAD_BY_ITK = ("sheared", "nifti2_qform_big_endian")
TWO = {"in_channels": 2, "straight_boundary": False, "engine": "torch"}


@pytest.fixture(scope="module")
def of_second(weights, tmp_path_factory):
    """The network with a known answer, which the second of two channels gives."""
    state = torch.load(weights, weights_only=True)
    state["stem.weight"] = torch.cat([torch.zeros_like(state["stem.weight"]), state["stem.weight"]], dim=1)
    path = tmp_path_factory.mktemp("of second") / "model.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def segmenter(of_second):
    return Segmenter("hippocampus", of_second, device="cpu", overrides=TWO)


def two_channels(shape=(20, 26, 12)):
    return np.stack([np.random.default_rng(1).normal(size=shape), ellipsoids(shape, seed=0)[0]], -1).astype(np.float32)


def save(path, array, name):
    path = path.with_suffix(".hdr") if GEOMETRIES[name].get("kind") is nib.Nifti1Pair else path
    nib.save(nifti(array, **GEOMETRIES[name]), path)
    return path


def direction(image):
    return np.reshape(image.GetDirection(), (4, 4))


def test_the_mask_is_that_of_files_of_their_own_in_every_field(segmenter, tmp_path):
    both, cases, files = two_channels(), [], {}
    for name in NAMES:
        each = [str(save(tmp_path / f"{name}-{n}.nii", both[..., n], name)) for n in range(2)]
        files[name] = str(save(tmp_path / f"{name}.nii", both, name))
        cases += [{"image": each, "case_id": f"{name}-each"}, {"image": files[name], "case_id": f"{name}-4d"}]
    (tmp_path / "list.json").write_text(json.dumps(cases))
    results = predict_cases(tmp_path / "list.json", tmp_path / "masks", segmenter, PredictOptions(force=True))
    assert {result.status for result in results} == {"done"}
    for name in NAMES:
        mask, alone = (nib.load(tmp_path / "masks" / f"{name}-{kind}.nii.gz") for kind in ("4d", "each"))
        np.testing.assert_array_equal(mask.dataobj, alone.dataobj)
        assert mask.header["dim"][0] == 3 and mask.header.get_xyzt_units()[1] == "unknown"
        alone.header["xyzt_units"] &= 7  # the files of their own say seconds, too
        assert mask.header.binaryblock == alone.header.binaryblock
        if name not in UNREAD_BY_ITK:
            ours, image = sitk.ReadImage(mask.get_filename()), sitk.ReadImage(files[name])
            assert (ours.GetDimension(), image.GetDimension()) == (3, 4)
            assert (ours.GetOrigin(), ours.GetSpacing()) == (image.GetOrigin()[:3], image.GetSpacing()[:3])
            np.testing.assert_array_equal(np.reshape(ours.GetDirection(), (3, 3)), direction(image)[:3, :3])


def test_the_second_channel_decides_by_every_way_in(segmenter, of_second, run_inference, tmp_path):
    both = two_channels((30, 34, 26))
    file = write_volume(tmp_path / "in" / "p#1_0000.nii.gz", both)
    expected = expected_mask(both[..., 1])
    (result,) = predict_cases(file, tmp_path / "command", segmenter)
    assert result.id == "p#1_0000" and result.input == str(file)
    run_inference(file.parent, tmp_path / "bundle", ckpt=str(of_second), **TWO)
    function = functools.partial(predict, ckpt=of_second, device="cpu", overrides=TWO)
    written = [nib.load(tmp_path / way / "p#1_0000.nii.gz") for way in ("command", "bundle")]
    for mask in (*written, function(file), function(nib.load(file)), function(both, affine=np.eye(4))):
        np.testing.assert_array_equal(mask.dataobj, expected)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((20, 26, 12, 3), r"it has 3 channels, and this bundle takes 2"),
        ((20, 26, 12), r"it has 1 channels, and this bundle takes 2"),
        ((20, 26, 12, 1, 2), r"it has 1 channels, and this bundle takes 2"),
    ],
)
def test_another_number_of_channels_is_refused(segmenter, of_second, tmp_path, shape, words):
    file = write_volume(tmp_path / "a.nii.gz", np.ones(shape, np.float32))
    (result,) = predict_cases(file, tmp_path / "out", segmenter)
    assert (result.status, result.outputs) == ("refused", []) and words in result.message
    with pytest.raises(InputError, match=words):
        predict(file, ckpt=of_second, device="cpu", overrides=TWO)


def test_a_network_of_one_channel_takes_no_series(weights, tmp_path):
    file = write_volume(tmp_path / "a.nii.gz", np.ones((20, 26, 12, 2), np.float32))
    with pytest.raises(InputError, match=r"a.nii.gz: holds 2 volumes \(shape \(20, 26, 12, 2\)\), one is needed"):
        predict(file, ckpt=weights, device="cpu")
