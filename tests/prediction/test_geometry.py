"""A mask lies where its image lies: every field of every form of NIfTI header, by every way in."""

import functools
import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from monai.bundle import ConfigParser

from tests.conftest import ANISOTROPIC, GEOMETRIES, OBLIQUE, SHEARED, ellipsoids
from ulite_monai.io.nifti import read_nifti
from ulite_monai.io.volume import voxel_volume
from ulite_monai.io.write_nifti import write_label_map
from ulite_monai.prediction import PredictOptions, Segmenter, predict, predict_cases

CONTENT = ("datatype", "bitpix", "descrip", "regular", "magic", "scl_slope", "scl_inter", "sizeof_hdr")


@pytest.fixture(scope="module")
def segmenter(weights):
    return Segmenter("hippocampus", weights, device="cpu")


@pytest.fixture(scope="module")
def ways(geometries, segmenter, bundle, weights, tmp_path_factory):
    """For each way in, the folder where it put the masks."""
    source = next(iter(geometries.values())).parent
    folders = {way: tmp_path_factory.mktemp(way) for way in ("command", "function", "bundle", "server")}
    results = predict_cases(source, folders["command"], segmenter, PredictOptions(force=True))
    assert {result.id: result.message for result in results if result.status != "done"} == {}
    for name, path in geometries.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nib.save(predict(path, ckpt=weights, device="cpu", force=True), folders["function"] / f"{name}.nii.gz")
        volume = read_nifti(path)  # as the server's task does it
        write_label_map(segmenter({"image": [volume]}).mask, volume, folders["server"] / f"{name}.nii.gz")
    parser = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / "inference.json"))
    parser.update({"bundle_root": str(bundle), "dataset_dir": str(source), "output_dir": str(folders["bundle"])})
    parser.update({"ckpt": str(weights), "device": "cpu"})
    parser.get_parsed_content("run")
    return folders


def itk_geometry(path):
    """Size, origin, spacing and directions in ITK, or that it can't open the file."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        return None
    return image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection()


@pytest.mark.parametrize("way", ["command", "function", "bundle", "server"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_field_is_the_images(name, way, geometries, ways):
    image, mask = nib.load(geometries[name]), nib.load(ways[way] / f"{name}.nii.gz")
    assert isinstance(mask, nib.Nifti2Image) == isinstance(image, nib.Nifti2Image)
    for field in image.header:
        if field not in CONTENT:
            assert np.array_equal(mask.header[field], image.header[field]), field
    assert np.array_equal(mask.affine, image.affine)
    assert itk_geometry(geometries[name]) == itk_geometry(ways[way] / f"{name}.nii.gz")
    voxels = np.asarray(mask.dataobj)
    assert voxels.any() and np.array_equal(voxels, np.asarray(nib.load(ways["command"] / f"{name}.nii.gz").dataobj))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_millilitres_are_those_of_true_voxels(name, geometries, segmenter, tmp_path):
    (result,) = predict_cases(geometries[name], tmp_path, segmenter, PredictOptions(force=True))
    used = ANISOTROPIC if name in ("sform", "qform", "no_codes") else SHEARED if "sheared" in name else OBLIQUE
    for volume in result.volumes:
        assert volume.voxels > 0
        assert volume.volume_ml == pytest.approx(volume.voxels * voxel_volume(used) / 1000, rel=1e-5)


def test_an_image_in_memory_keeps_its_version(geometries, weights):
    run = functools.partial(predict, ckpt=weights, device="cpu", force=True)
    for name in ("nifti2", "big_endian_qform"):
        image = nib.load(geometries[name])
        mask = run(image)
        assert type(mask) is type(image) and np.array_equal(mask.affine, image.affine)
        assert np.array_equal(mask.get_qform(), image.get_qform())


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("axes", ["straight", "sheared"])
def test_a_mask_of_another_format_lies_where_itk_sees_the_image_or_itk_refuses_it(suffix, axes, segmenter, tmp_path):
    image = sitk.GetImageFromArray(ellipsoids((20, 26, 12), seed=0)[0].T)
    image.SetSpacing((1.4, 0.9, 2.3))
    image.SetOrigin((10.0, 20.0, 30.0))
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image, str(path))
    if axes == "sheared":
        content = path.read_bytes()
        straight = {".nrrd": b"(0,0.90000000000000002,0)", ".mha": b"TransformMatrix = 1 0 0 0 1 0 0 0 1"}[suffix]
        sheared = {".nrrd": b"(0.3,0.9,0)", ".mha": b"TransformMatrix = 1 0 0 0.3 0.95 0 0 0 1"}[suffix]
        assert content.count(straight) == 1
        path.write_bytes(content.replace(straight, sheared))
    (result,) = predict_cases(path, tmp_path / "out", segmenter, PredictOptions(force=True))
    mask = tmp_path / "out" / "a.nii.gz"
    if axes == "straight":
        for ours, theirs in zip(itk_geometry(mask), itk_geometry(path), strict=True):
            assert np.allclose(ours, theirs, atol=1e-5)
        assert result.warnings == []
    else:
        assert "its axes are sheared" in result.warnings[0] and itk_geometry(mask) is None
        theirs = sitk.ReadImage(str(path)).TransformContinuousIndexToPhysicalPoint((19.0, 25.0, 11.0))
        ours = nib.load(mask).affine @ [19, 25, 11, 1]
        assert np.allclose(ours[:3] * [-1, -1, 1], theirs, atol=1e-4)


def test_labels_above_255_are_kept(geometries, segmenter, monkeypatch):
    monkeypatch.setattr(segmenter, "postprocessing", [lambda data: data | {"pred": data["image"] * 0 + 300}])
    mask = segmenter({"image": str(geometries["sform"])}).mask
    assert mask.dtype == np.uint16 and (mask == 300).all()
