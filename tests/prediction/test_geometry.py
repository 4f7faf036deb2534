"""One table of inputs, four ways in: the same mask, where its image lies, with the same warnings and refusals."""

import csv
import functools
import json
import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from ignite.engine import Events
from monai.bundle import ConfigParser
from PIL import Image

from tests.conftest import ANISOTROPIC, GEOMETRIES, OBLIQUE, SHEARED, ellipsoids, write_volume
from tests.io.conftest import make_slice
from ulite_monai.bundles import find_bundle
from ulite_monai.errors import InputError, input_error
from ulite_monai.io.affine import voxel_volume
from ulite_monai.io.read_volume import read_volume
from ulite_monai.prediction import PredictOptions, Segmenter, predict, predict_cases

CONTENT = ("datatype", "bitpix", "descrip", "regular", "magic", "scl_slope", "scl_inter", "sizeof_hdr")


WAYS = ("command", "function", "bundle", "evaluation")
IDS = {"engine": "torch"}
SCALES_AND_AXES = {
    "finer than the network's grid": np.diag([0.7, 0.8, 0.9, 1]),
    "coarser": np.diag([2.0, 1.5, 3.0, 1]),
    "axes LPS": np.diag([-1.0, -1, 1, 1]),
    "axes SAR": np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
    "axes PIL": np.array([[0, 0, -1.2, 9], [-1.0, 0, 0, 8], [0, -1.5, 0, 7], [0, 0, 0, 1]]),
    "out of range": np.diag([4.0, 4, 4, 1]),
}
NAMES = [*GEOMETRIES, *SCALES_AND_AXES, "not a number", "nrrd", "series"]


@pytest.fixture(scope="module")
def as_shipped(weights):
    """With the shipped bundle's plane between the parts."""
    return Segmenter("hippocampus", weights, device="cpu", overrides=IDS)


def write_series(folder, modality="MR", affine=ANISOTROPIC):
    """The anisotropic voxels as a DICOM series."""
    pytest.importorskip("highdicom", reason="the dicom extra isn't installed")
    values = np.round(ellipsoids((20, 26, 12), seed=0)[0] + 100).astype(np.int16)
    folder.mkdir()
    for k in range(values.shape[2]):
        ds = make_slice(values, affine, k)
        ds.Modality = modality
        ds.save_as(folder / str(k), enforce_file_format=True)
    return folder


@pytest.fixture(scope="module")
def inputs(geometries, tmp_path_factory):
    """What a mask is made of, by name."""
    folder = tmp_path_factory.mktemp("inputs")
    image, _ = ellipsoids((20, 26, 12), seed=0)
    paths = geometries | {
        name: write_volume(folder / f"{number}.nii.gz", image, affine)
        for number, (name, affine) in enumerate(SCALES_AND_AXES.items())
    }
    broken = image.copy()
    broken[3, 4, 5] = np.nan
    paths["not a number"] = write_volume(folder / "nan.nii.gz", broken, OBLIQUE)
    paths["nrrd"] = folder / "a.nrrd"
    itk = sitk.GetImageFromArray(image.T)
    itk.SetSpacing((1.4, 0.9, 2.3))
    sitk.WriteImage(itk, str(paths["nrrd"]))
    return paths | {"series": write_series(folder / "series")}


@pytest.fixture(scope="module")
def ways(inputs, as_shipped, bundle, weights, tmp_path_factory):
    """For each way in, a (mask, warnings) pair for each input; of an evaluation voxels and affine alone."""
    folder = tmp_path_factory.mktemp("ways")
    cases = [{"image": str(path), "case_id": name} for name, path in inputs.items()]
    (folder / "list.json").write_text(json.dumps(cases))
    force = {"force": True}
    predict_cases(folder / "list.json", folder / "command", as_shipped, PredictOptions(**force))
    run = parser_of(bundle, weights, "inference.json", dataset_dir=folder / "list.json", output_dir=folder / "bundle")
    run.update(force | IDS)
    run.get_parsed_content("run")
    found = {way: written(folder / way) for way in ("command", "bundle")}
    found["function"] = {name: of_function(path, weights, **force) for name, path in inputs.items()}
    labelled = [case | {"label": str(folder / "command" / f"{case['case_id']}.nii.gz")} for case in cases]
    return found | {"evaluation": of_evaluation(bundle, weights, folder / "evaluation", labelled)}


def parser_of(bundle, weights, *names, **paths):
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / name) for name in names])
    parser.update({"bundle_root": str(bundle), "ckpt": str(weights), "device": "cpu"})
    parser.update({name: str(path) for name, path in paths.items()})
    return parser


def written(folder):
    """What a run wrote, by case."""
    report = json.loads((folder / "predictions.json").read_text())
    assert {case["id"]: case["message"] for case in report["cases"] if case["status"] != "done"} == {}
    return {case["id"]: (nib.load(case["outputs"][0]), case["warnings"]) for case in report["cases"]}


def of_function(path, weights, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mask = predict(path, ckpt=weights, device="cpu", overrides=IDS, **options)
    return mask, [str(warning.message) for warning in caught if warning.filename == __file__]


def evaluator_of(bundle, weights, folder, cases):
    """An evaluation of labelled cases, checked as it is before it runs."""
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"training": cases}))
    parser = parser_of(bundle, weights, "train.json", "evaluate.json", dataset_dir=folder, output_dir=folder / "out")
    parser.update({"fold": "all", "on_nonfinite": "replace", "pictures": 0})
    for number in range(1, len(parser["initialize"])):  # the first is of the process, not of the data
        parser.get_parsed_content(f"initialize#{number}")
    return parser.get_parsed_content("validate#evaluator")


def of_evaluation(bundle, weights, folder, cases):
    evaluator, masks = evaluator_of(bundle, weights, folder, cases), {}

    def keep(engine):
        (data,), (output,) = engine.state.batch, engine.state.output
        mask = nib.Nifti1Image(np.asarray(output["pred"][0]).astype(np.uint8), np.asarray(output["pred"].affine))
        masks[data["case_id"]] = mask, output["pred"].meta.get("warnings", "").splitlines()

    evaluator.add_event_handler(Events.ITERATION_COMPLETED, keep)
    evaluator.run()
    with (folder / "out" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    dice = [float(row["dice"]) for row in rows if row["dice"]]  # none where a class is in neither
    assert len({row["case"] for row in rows}) == len(cases) <= len(dice)
    assert set(dice) == {1}  # the labels are the command's masks
    return masks


@pytest.fixture
def images(tmp_path):
    """Bright discs on a dark ground, in the modes that a microscope's images come in."""
    x, y = np.meshgrid(np.arange(96), np.arange(80), indexing="ij")
    discs = sum(np.exp(-((((x - a) ** 2 + (y - b) ** 2) / 60) ** 2)) for a, b in ((20, 20), (60, 30), (40, 60)))
    grey = (discs * 200 + np.random.default_rng(0).normal(20, 3, discs.shape)).clip(0, 255)
    (tmp_path / "images").mkdir()
    eight = Image.fromarray(grey.astype(np.uint8).T)
    eight.save(tmp_path / "images" / "grey.png")
    eight.convert("RGB").save(tmp_path / "images" / "rgb.jpg")
    eight.convert("RGBA").save(tmp_path / "images" / "alpha.png", compress_level=1)
    Image.fromarray((grey * 250).astype(np.uint16).T).save(tmp_path / "images" / "sixteen.tif")
    return tmp_path / "images"


@pytest.mark.slow
def test_every_way_gives_the_same_mask_of_an_image(images, tmp_path):
    """But `predict()`, whose masks are volumes."""
    bundle = find_bundle("nuclei")
    results = predict_cases(images, tmp_path / "command", Segmenter("nuclei", device="cpu", overrides=IDS))
    assert {result.id: result.status for result in results} == dict.fromkeys(
        ("alpha", "grey", "rgb", "sixteen"), "done"
    )
    run = parser_of(bundle, own := bundle / "models" / "model.pt", "inference.json", dataset_dir=images)
    run.update({**IDS, "output_dir": str(tmp_path / "bundle")})
    run.get_parsed_content("run")
    masks = {result.id: np.asarray(Image.open(result.outputs[0])) for result in results}
    for name, mask in masks.items():
        assert mask.shape == (80, 96) and np.array_equal(
            np.asarray(Image.open(tmp_path / "bundle" / f"{name}.png")), mask
        )
    labelled = [
        {"image": str(path), "label": str(tmp_path / "command" / f"{path.stem}.png"), "case_id": path.stem}
        for path in images.iterdir()
    ]
    for name, (mask, reported) in of_evaluation(bundle, own, tmp_path / "evaluation", labelled).items():
        assert np.array_equal(np.asarray(mask.dataobj).T > 0, masks[name] > 0) and reported == []


def itk_geometry(path):
    """Size, origin, spacing and directions in ITK, or that it can't open the file."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError:
        return None
    return image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_every_way_gives_the_same_voxels_on_the_same_grid_with_the_same_warnings(name, way, ways):
    (mask, reported), (expected, expected_reported) = ways[way][name], ways["command"][name]
    voxels = np.asarray(mask.dataobj)
    assert voxels.any() and np.array_equal(voxels, np.asarray(expected.dataobj))
    assert reported == expected_reported
    if way == "evaluation":  # which knows millimetres alone
        assert np.allclose(mask.affine, read_volume(expected.get_filename()).affine, rtol=0, atol=1e-6)
    else:
        assert np.array_equal(mask.affine, expected.affine)
        assert type(mask) is type(expected) and mask.header.binaryblock == expected.header.binaryblock
    if name == "not a number":
        assert "1 voxels were NaN" in reported[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_field_is_the_images(name, inputs, ways, tmp_path):
    image, (mask, _) = nib.load(inputs[name]), ways["command"][name]
    assert isinstance(mask, nib.Nifti2Image) == isinstance(image, nib.Nifti2Image)
    for field in image.header:
        if field not in CONTENT:
            assert np.array_equal(mask.header[field], image.header[field]), field
    assert np.array_equal(mask.affine, image.affine)
    assert itk_geometry(inputs[name]) == itk_geometry(mask.get_filename())


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What no way in segments, and why."""
    folder = tmp_path_factory.mktemp("refused")
    image, _ = ellipsoids((20, 26, 12), seed=0)
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(folder / "picture.png")
    (folder / "broken.nii").write_bytes(b"nothing")
    two = [write_volume(folder / f"{name}.nii.gz", image) for name in ("t1", "t2")]
    return {
        "out of range": (write_volume(folder / "far.nii.gz", image, np.diag([4.0, 4, 4, 1])), "4 x 4 x 4 mm"),
        "another modality": (write_series(folder / "ct", "CT"), "its modality is CT"),
        "two channels": (two, "it has 2 channels, and this bundle takes 1"),
        "2D": (folder / "picture.png", "it is a 2D image, and this bundle segments a volume"),
        "4D": (write_volume(folder / "4d.nii.gz", np.zeros((5, 6, 7, 2), np.float32)), "holds 2 volumes"),
        "broken": (folder / "broken.nii", "broken.nii: can't be read"),
    }


@pytest.mark.slow
def test_every_way_refuses_the_same_for_the_same_reason(refused, as_shipped, bundle, weights, tmp_path):
    listed = [
        {"image": [str(path) for path in paths] if isinstance(paths, list) else str(paths), "case_id": name}
        for name, (paths, _) in refused.items()
    ]
    (tmp_path / "list.json").write_text(json.dumps(listed))
    results = predict_cases(tmp_path / "list.json", tmp_path / "command", as_shipped)
    assert len(results) == len(refused)
    for result in results:
        assert result.status in ("refused", "failed") and refused[result.id][1] in result.message, result
    run = parser_of(bundle, weights, "inference.json", dataset_dir=tmp_path / "list.json", output_dir=tmp_path / "out")
    run.update(IDS)
    with pytest.raises(RuntimeError) as error:
        run.get_parsed_content("run")
    reported = str(input_error(error.value))
    assert reported.splitlines()[1:] == [f"error: {result.id}: {result.message}" for result in results]
    for case, result in zip(sorted(listed, key=lambda case: case["case_id"]), results, strict=True):
        (tmp_path / "one.json").write_text(json.dumps([case]))
        with pytest.raises(InputError) as error:
            predict(tmp_path / "one.json", ckpt=weights, device="cpu", overrides=IDS)
        assert str(error.value).endswith(result.message)
    assert not list(tmp_path.rglob("*.nii.gz"))


@pytest.mark.parametrize("name", ["two channels", "2D", "4D", "broken"])
def test_an_evaluation_refuses_what_cant_be_segmented_before_it_runs(name, refused, bundle, weights, tmp_path):
    """What is outside the ranges, it measures: that is how one learns whether they may be wider."""
    paths = [str(path) for path in np.atleast_1d(refused[name][0])]
    label = str(write_volume(tmp_path / "label.nii.gz", np.ones((20, 26, 12), np.uint8)))
    with pytest.raises(RuntimeError) as error:
        evaluator_of(bundle, weights, tmp_path / "data", [{"image": paths, "label": label}])
    assert paths[0] in str(input_error(error.value))


@pytest.mark.slow
@pytest.mark.parametrize("name", GEOMETRIES)
def test_millilitres_are_those_of_true_voxels(name, geometries, segmenter, tmp_path):
    (result,) = predict_cases(geometries[name], tmp_path, segmenter, PredictOptions(force=True))
    used = ANISOTROPIC if name in ("sform", "qform", "no_codes") else SHEARED if "sheared" in name else OBLIQUE
    for volume in result.volumes:
        assert volume.voxels > 0
        assert volume.volume_ml == pytest.approx(volume.voxels * voxel_volume(used) / 1000, rel=1e-5)


@pytest.mark.slow
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
