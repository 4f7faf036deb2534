"""`python -m monai.bundle run` with inference.json and evaluate.json: exact grids, right numbers, no case lost."""

import csv
import hashlib
import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch

from tests.conftest import expected_mask, read_json, run_bundle, write_volume


def infer(bundle, weights, dataset, output, *more, check=True):
    return run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/inference.json")),
        *("--dataset_dir", str(dataset), "--output_dir", str(output), "--ckpt", str(weights)),
        *("--straight_boundary", "False", "--force", "True", *more),
        cwd=output.parent,
        check=check,
    )


def volume(seed=0, shape=(15, 18, 21)):
    """Random voxels that interpolation on their own grid leaves as they are."""
    return np.random.default_rng(seed).normal(100, 30, shape).astype(np.float32)


def codes(header):
    return int(header["sform_code"]), int(header["qform_code"]), header.get_xyzt_units()


@pytest.mark.slow
def test_mask_is_right_and_lies_on_the_input_for_every_orientation(bundle, weights, tmp_path):
    """The 48 orientations of one volume: the mask is the volume's, turned the same way."""
    image = volume()
    for name in ORIENTATIONS:
        turned = nib.Nifti1Image(image, np.eye(4)).as_reoriented(nib.orientations.axcodes2ornt(name))
        turned.set_sform(turned.affine, code=1)
        turned.set_qform(turned.affine, code=2, strip_shears=True)
        turned.header.set_xyzt_units("mm", "sec")
        nib.save(turned, tmp_path / f"{name}.nii.gz")
    infer(bundle, weights, tmp_path, tmp_path / "out")
    expected = expected_mask(image)
    assert {1, 2} <= set(np.unique(expected))
    for name in ORIENTATIONS:
        source, mask = nib.load(tmp_path / f"{name}.nii.gz"), nib.load(tmp_path / "out" / f"{name}.nii.gz")
        assert mask.shape == source.shape and mask.get_data_dtype() == np.uint8
        assert np.array_equal(mask.affine, source.affine) and codes(mask.header) == codes(source.header)
        itk = [SimpleITK.ReadImage(str(p)) for p in (tmp_path / f"{name}.nii.gz", tmp_path / "out" / f"{name}.nii.gz")]
        for attribute in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
            assert getattr(itk[0], attribute)() == getattr(itk[1], attribute)()
        back = nib.as_closest_canonical(mask)
        assert (np.asarray(back.dataobj) == expected).mean() > 0.999


ORIENTATIONS = [
    "".join(letters)
    for axes in (("RL", "AP", "SI"), ("RL", "SI", "AP"), ("AP", "RL", "SI"), ("AP", "SI", "RL"), ("SI", "RL", "AP"),
                 ("SI", "AP", "RL"))
    for letters in __import__("itertools").product(*axes)
]  # fmt: skip


@pytest.mark.slow
def test_oblique_anisotropic_volume_is_inverted_to_its_own_grid(bundle, weights, tmp_path):
    angle = 0.3
    affine = np.eye(4)
    affine[:3, :3] = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    ) @ np.diag([0.7, 0.9, 3.1])
    affine[:3, 3] = [-20, 31, 12]
    smooth = np.add.outer(np.add.outer(np.arange(30.0), np.arange(25.0)), 4 * np.arange(8.0)).astype(np.float32)
    path = write_volume(tmp_path / "in" / "oblique.nii.gz", smooth, affine)
    infer(bundle, weights, path, tmp_path / "out")
    mask = nib.load(tmp_path / "out" / "oblique.nii.gz")
    assert mask.shape == (30, 25, 8) and np.array_equal(mask.affine, nib.load(path).affine)
    assert (np.asarray(mask.dataobj) == expected_mask(smooth)).mean() > 0.9


@pytest.mark.slow
def test_a_bad_case_never_loses_the_good_ones(bundle, weights, tmp_path):
    for number in range(3):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    broken = tmp_path / "in" / "case_1.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    done = infer(bundle, weights, tmp_path / "in", tmp_path / "out", check=False)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["case_0.nii.gz", "case_2.nii.gz", "predictions.json"]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "1 of 3 cases failed" in done.stderr and "case_1" in done.stderr


@pytest.mark.slow
def test_a_folder_in_a_folder_and_a_data_list(bundle, weights, tmp_path):
    write_volume(tmp_path / "in" / "a" / "x.nii.gz", volume(1))
    write_volume(tmp_path / "in" / "b" / "x.nii", volume(2))
    infer(bundle, weights, tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out/a/x.nii.gz").exists() and (tmp_path / "out/b/x.nii.gz").exists()
    (tmp_path / "list.json").write_text(json.dumps({"testing": ["in/b/x.nii"]}))
    infer(bundle, weights, tmp_path / "list.json", tmp_path / "listed")
    listed, other = (nib.load(p) for p in (tmp_path / "listed/x.nii.gz", tmp_path / "out/b/x.nii.gz"))
    assert np.array_equal(np.asarray(listed.dataobj), np.asarray(other.dataobj))
    assert (np.asarray(listed.dataobj) == expected_mask(volume(2))).all()


@pytest.mark.slow
def test_a_dicom_series(bundle, weights, shared_data, tmp_path):
    source = shared_data / "dicom" / "odd_series" / "ct_flipped_iop_17slices"
    infer(bundle, weights, source, tmp_path / "out")
    (path,) = (tmp_path / "out").glob("series*")
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(source)))
    series, mask = reader.Execute(), SimpleITK.ReadImage(str(path))
    corners = [(0, 0, 0), tuple(n - 1 for n in mask.GetSize())]
    ours = sorted(mask.TransformIndexToPhysicalPoint(c) for c in corners)
    for point in ours:
        index = series.TransformPhysicalPointToIndex(point)
        assert np.allclose(series.TransformIndexToPhysicalPoint(index), point, atol=1e-3)
    assert mask.GetNumberOfPixels() == series.GetNumberOfPixels()


@pytest.mark.slow
def test_a_dicom_seg_names_the_weights_that_made_it(bundle, weights, shared_data, tmp_path):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    source = shared_data / "dicom" / "odd_series" / "ct_flipped_iop_17slices"
    infer(bundle, weights, source, tmp_path / "out", "--format", "dicom-seg")
    (path,) = (tmp_path / "out").glob("series*")
    seg = pydicom.dcmread(path)
    assert seg.ManufacturerModelName == "U-Lite, weights of the user"
    assert seg.SoftwareVersions == hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dataset_dir", "nowhere"], ["nowhere", "no such file"]),
        (["--ckpt", "gone.pt"], ["gone.pt", "no such checkpoint"]),
        (["--labels", "['a']"], ["head.weight", "another network"]),
        (["--overlap", "1.5"], ["overlap", "1.5"]),
    ],
    ids=str,
)
def test_bad_settings_are_one_line(bundle, weights, tmp_path, more, words):
    path = write_volume(tmp_path / "a.nii.gz", volume())
    done = infer(bundle, weights, path, tmp_path / "out", *more, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
    for word in words:
        assert word in errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_evaluation_against_the_untouched_label_in_another_orientation(bundle, weights, tmp_path):
    """Labels that equal the network's known answer, but stored turned: Dice is 1; one lacks the posterior part."""
    for number in range(3):
        image = volume(number)
        label = expected_mask(image)
        if number == 1:
            label[label == 2] = 0
        write_volume(tmp_path / "data/imagesTr" / f"case_{number}.nii.gz", image, np.diag([2.0, 1, 1, 1]))
        turned = nib.Nifti1Image(label, np.diag([2.0, 1, 1, 1])).as_reoriented(nib.orientations.axcodes2ornt("LIA"))
        (tmp_path / "data/labelsTr").mkdir(exist_ok=True)
        nib.save(turned, tmp_path / "data/labelsTr" / f"case_{number}.nii.gz")
    configs = str([str(bundle / "configs" / name) for name in ("train.json", "evaluate.json")])
    done = run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", configs, "--dataset_dir", str(tmp_path / "data")),
        *("--output_dir", str(tmp_path / "out"), "--ckpt", str(weights), "--fold", "all", "--spacing", "[2,1,1]"),
        *("--straight_boundary", "False"),
        cwd=tmp_path,
    )
    with (tmp_path / "out" / "metrics.csv").open() as file:
        rows = {(row["case"], row["label"]): row for row in csv.DictReader(file)}
    assert len(rows) == 6
    assert float(rows["case_0", "anterior"]["dice"]) > 0.999
    assert float(rows["case_0", "anterior"]["reference_ml"]) == pytest.approx(
        (expected_mask(volume(0)) == 1).sum() * 2 / 1000, rel=1e-5
    )
    lacking = rows["case_1", "posterior"]
    assert (lacking["status"], lacking["dice"], lacking["hd95_mm"]) == ("invented", "0", "")
    summary = read_json(tmp_path / "out" / "summary.json")
    posterior = summary["labels"]["posterior"]
    assert (posterior["both"], posterior["invented"], posterior["dice"]["n"]) == (2, 1, 3)
    assert posterior["dice"]["mean"] == pytest.approx(2 / 3, abs=1e-3)
    assert "posterior: Dice 0.66" in done.stdout and "1 invented" in done.stdout
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert len(pictures) == 3 and pictures[0] == "worst_1_case_1.png"


@pytest.mark.slow
def test_the_sample_learns(bundle, tmp_path):
    """The README's first run, shortened: it makes its data, trains, and its Dice is far above chance."""
    pytest.importorskip("nilearn", reason="the sample extra isn't installed")
    configs = str([str(bundle / "configs" / name) for name in ("train.json", "sample.json")])
    run_bundle(
        *("run", "training", "--bundle_root", str(bundle), "--config_file", configs),
        *("--output_dir", str(tmp_path / "sample"), "--epochs", "12", "--val_interval", "4"),
        cwd=tmp_path,
    )
    best = torch.load(tmp_path / "sample" / "models" / "last.ckpt", weights_only=True)["best"]
    assert best > 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_windows_on_a_gpu(bundle, weights, tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", volume(shape=(70, 60, 50)))
    windows = ("--inferer#max_memory", "1", "--roi_size", "[32,32,32]", "--device", "cuda")
    infer(bundle, weights, path, tmp_path / "out", *windows)
    mask = np.asarray(nib.load(tmp_path / "out" / "a.nii.gz").dataobj)
    assert (mask == expected_mask(volume(shape=(70, 60, 50)))).mean() > 0.99
