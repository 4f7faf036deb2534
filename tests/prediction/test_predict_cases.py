"""Whatever a researcher has: the right mask on the right grid, a report, and no case lost."""

import hashlib
import itertools
import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

import ulite_monai
from tests.conftest import environment, expected_mask, run_bundle, write_volume
from tests.io.conftest import make_slice
from tests.io.test_atomic import full_disk, leave_behind
from tests.prediction.conftest import SHAPE, statuses, volume
from ulite_monai.bundles import find_bundle
from ulite_monai.errors import InputError
from ulite_monai.io.cases import Case
from ulite_monai.prediction import PredictOptions, Segmenter, predict, predict_cases
from ulite_monai.prediction.case_report import input_state
from ulite_monai.prediction.export_bundle import export_bundle
from ulite_monai.prediction.ranges import outside_ranges


def more_anterior(weights, path, by):
    """`weights` at `path`, their logit of the anterior part higher by `by`."""
    state = torch.load(weights, weights_only=True)
    state["head.bias"][1] += by
    torch.save(state, path)
    return path


def write_more_anterior(weights, folder):
    """The weights and others at `folder/*.pt`, whose ensemble adds 0.5 to the logit of the anterior part."""
    more_anterior(weights, folder / "a.pt", 0)
    more_anterior(weights, folder / "b.pt", 1)
    return folder / "*.pt"


def test_masks_statistics_preview_and_report(segmenter, tmp_path):
    for number in range(2):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number), np.diag([1, 1, 1.5, 1]))
    options = PredictOptions(statistics=True, preview=True)
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
    assert statuses(results) == {"case_0": "done", "case_1": "done"}
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {
        *("case_0.nii.gz", "case_1.nii.gz", "case_0_preview.png", "case_1_preview.png"),
        *("volumes.csv", "predictions.json"),
    }
    mask = nib.load(tmp_path / "out" / "case_0.nii.gz")
    voxels = int((np.asarray(mask.dataobj) == 1).sum())
    first = results[0].volumes[0]
    assert (first.label, first.voxels) == ("anterior", voxels)
    assert first.volume_ml == pytest.approx(voxels * 1.5 / 1000)
    bright = volume(0)[np.asarray(mask.dataobj) == 1]
    assert first.mean_intensity == pytest.approx(bright.mean(), rel=1e-4)
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [case["id"] for case in report["cases"]] == ["case_0", "case_1"]
    assert report["cases"][0]["volumes"][0]["voxels"] == voxels and "Research only" in report["intended_use"]


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
def test_equals_the_bundles_own_run_voxel_for_voxel(several, bundle, weights, hippocampus, tmp_path):
    ckpt = write_more_anterior(weights, tmp_path) if several else weights
    for name in ("hippocampus_001", "hippocampus_003"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(hippocampus / "imagesTr" / f"{name}.nii.gz", tmp_path / "in")
    predict_cases(tmp_path / "in", tmp_path / "ours", Segmenter("hippocampus", ckpt, device="cpu"))
    run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/inference.json")),
        *("--dataset_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "theirs"), "--ckpt", str(ckpt)),
        cwd=tmp_path,
    )
    for path in (tmp_path / "theirs").glob("*.nii.gz"):
        ours, theirs = nib.load(tmp_path / "ours" / path.name), nib.load(path)
        assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        assert np.array_equal(ours.affine, theirs.affine) and np.asarray(ours.dataobj).any()


def test_a_bad_case_is_reported_and_the_good_ones_are_done(segmenter, tmp_path):
    for number in range(3):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    broken = tmp_path / "in" / "case_1.nii.gz"
    broken.write_bytes(broken.read_bytes()[:2000])
    seen = []
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, on_result=lambda *a: seen.append(a[1:]))
    assert statuses(results) == {"case_0": "done", "case_1": "failed", "case_2": "done"}
    assert "case_1.nii.gz" in results[1].message and "cut short" in results[1].message
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert not (tmp_path / "out" / "case_1.nii.gz").exists()


def test_outside_the_stated_ranges_is_refused_unless_forced(segmenter, tmp_path):
    path = write_volume(tmp_path / "large.nii.gz", volume(), np.diag([4, 4, 4, 1]))
    (result,) = predict_cases(path, tmp_path / "out", segmenter)
    assert result.status == "refused" and "4 x 4 x 4 mm" in result.message and "--force" in result.message
    assert not (tmp_path / "out" / "large.nii.gz").exists()
    (result,) = predict_cases(path, tmp_path / "out", segmenter, PredictOptions(force=True))
    assert result.status == "done" and nib.load(tmp_path / "out" / "large.nii.gz").shape == SHAPE


RANGES = {"input_ranges": {"modality": ["MR"], "spacing_mm": [0.5, 2], "extent_mm": [[20, 65], [25, 90], [15, 70]]}}


@pytest.mark.parametrize(
    ("shape", "affine", "modality", "words"),
    [
        ((36, 50, 36), np.eye(4), "MR", None),
        ((36, 50, 36), np.eye(4), "", None),
        ((36, 50, 36), np.eye(4), "CT", "modality is CT"),
        ((36, 95, 36), np.eye(4), "MR", "95 mm from front to back"),
        ((95, 36, 36), np.eye(4)[[1, 0, 2, 3]], "MR", "95 mm from front to back"),
        ((36, 50, 36), np.diag([0.4, 1, 1, 1]), "MR", "0.4 x 1 x 1 mm"),
    ],
    ids=str,
)
def test_ranges(shape, affine, modality, words):
    found = outside_ranges(shape, affine, modality, RANGES)
    assert found is None if words is None else words in found
    assert outside_ranges(shape, affine, modality, {}) is None


def test_resume_leaves_what_is_done(segmenter, tmp_path):
    for number in range(2):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter)
    (tmp_path / "out" / "case_1.nii.gz").unlink()
    before = (tmp_path / "out" / "case_0.nii.gz").stat().st_mtime_ns
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert statuses(results) == {"case_0": "skipped", "case_1": "done"}
    assert (tmp_path / "out" / "case_0.nii.gz").stat().st_mtime_ns == before


def test_nan_voxels_are_replaced_with_a_warning(segmenter, tmp_path):
    image = volume()
    image[3, 4, 5] = np.nan
    path = write_volume(tmp_path / "a.nii.gz", image)
    (result,) = predict_cases(path, tmp_path / "out", segmenter)
    assert result.status == "done" and any("1 voxels were NaN" in w for w in result.warnings)


def test_a_constant_volume_gives_an_empty_mask_that_is_said_so(segmenter, tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", np.full(SHAPE, 7, np.float32))
    (result,) = predict_cases(path, tmp_path / "out", segmenter)
    assert result.status == "empty" and not np.asarray(nib.load(tmp_path / "out" / "a.nii.gz").dataobj).any()


def test_the_output_may_be_the_masks_name_for_one_input(segmenter, tmp_path):
    path = write_volume(tmp_path / "in" / "a.nii.gz", volume())
    predict_cases(path, tmp_path / "out" / "mask.nii", segmenter)
    assert nib.load(tmp_path / "out" / "mask.nii").shape == SHAPE
    write_volume(tmp_path / "in" / "b.nii.gz", volume())
    with pytest.raises(InputError, match="2 cases"):
        predict_cases(tmp_path / "in", tmp_path / "out" / "mask.nii", segmenter)


@pytest.mark.slow
def test_a_volume_written_as_a_dicom_series_gives_the_same_mask_and_a_seg(segmenter, hippocampus, tmp_path):
    """Task04 as a series on disk: its NIfTI mask and its SEG are the mask of the NIfTI."""
    highdicom = pytest.importorskip("highdicom", reason="the dicom extra isn't installed")
    source = nib.load(hippocampus / "imagesTr" / "hippocampus_001.nii.gz")
    values = np.asarray(source.dataobj)
    values = np.round((values - values.min()) / np.ptp(values) * 4000).astype(np.int16)
    patient = tmp_path / "dicom" / "patient A"
    patient.mkdir(parents=True)
    for k in range(values.shape[2]):
        make_slice(values, source.affine, k).save_as(patient / f"{k * 7 % 31}_{k}", enforce_file_format=True)
    write_volume(tmp_path / "nifti" / "case.nii.gz", values, source.affine)
    options = PredictOptions(format="both")
    (from_nifti,) = predict_cases(tmp_path / "nifti", tmp_path / "a", segmenter)
    (from_dicom,) = predict_cases(tmp_path / "dicom", tmp_path / "b", segmenter, options)
    assert from_dicom.input == str(patient)  # the id, which names the outputs, says nothing of the patient
    assert (from_nifti.status, from_dicom.status) == ("done", "done"), from_dicom.message
    one, other = (nib.as_closest_canonical(nib.load(r.outputs[0])) for r in (from_nifti, from_dicom))
    assert np.allclose(one.affine, other.affine, atol=1e-3)
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    seg = highdicom.seg.segread(from_dicom.outputs[1])
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["anterior", "posterior"]
    frames = seg.get_volume(combine_segments=True).array
    assert {int(v): int((frames == v).sum()) for v in (1, 2)} == {
        v: int((np.asarray(one.dataobj) == v).sum()) for v in (1, 2)
    }


@pytest.mark.slow
def test_the_bundles_own_run_segments_a_tree_of_series_and_writes_seg(segmenter, bundle, weights, tmp_path):
    """As `ulite predict` does, of two series in one tree, with the labels coded."""
    highdicom = pytest.importorskip("highdicom", reason="the dicom extra isn't installed")
    for number in (1, 2):
        (tmp_path / "tree" / str(number)).mkdir(parents=True)
        values = np.round(volume(number) * 10).astype(np.int16)
        for k in range(SHAPE[2]):
            ds = make_slice(values, np.diag([-1.0, -1, 1, 1]), k)
            ds.SeriesInstanceUID, ds.SeriesNumber = f"1.2.3.{number}", number
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{k}"
            ds.save_as(tmp_path / "tree" / str(number) / str(k), enforce_file_format=True)
    (tmp_path / "tree" / "notes.txt").write_text("no DICOM")
    results = predict_cases(tmp_path / "tree", tmp_path / "ours", segmenter, PredictOptions(format="both"))
    assert [r.status for r in results] == ["done", "done"] and len(results[0].outputs) == 2
    run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/inference.json")),
        *("--dataset_dir", str(tmp_path / "tree"), "--output_dir", str(tmp_path / "theirs"), "--format", "both"),
        *("--ckpt", str(weights)),
        cwd=tmp_path,
    )
    for result in results:
        masks = [nib.load(tmp_path / where / f"{result.id}.nii.gz") for where in ("ours", "theirs")]
        assert np.array_equal(*(np.asarray(mask.dataobj) for mask in masks))
        seg = highdicom.seg.segread(tmp_path / "theirs" / f"{result.id}.seg.dcm")
        assert [s.SegmentLabel for s in seg.SegmentSequence] == ["anterior", "posterior"]
        assert {s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in seg.SegmentSequence} == {"5366008"}
        assert {s.AnatomicRegionSequence[0].CodeMeaning for s in seg.SegmentSequence} == {"Brain"}


@pytest.mark.slow
def test_killed_in_the_middle_leaves_whole_files_and_resumes(weights, tmp_path):
    for number in range(40):
        write_volume(tmp_path / "in" / f"case_{number:02d}.nii.gz", volume(number))
    code = "from ulite_monai.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", "-i", "in", "-o", "out", "--ckpt", str(weights)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(reported(tmp_path / "out")) < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    masks = sorted((tmp_path / "out").glob("case_*.nii.gz"))
    assert 3 <= len(masks) < 40
    for mask in masks:
        assert np.asarray(nib.load(mask).dataobj).shape == SHAPE
    finished = reported(tmp_path / "out")  # a case whose mask was there before its report is done again
    assert 3 <= len(finished) <= len(masks)
    before = {case: (tmp_path / "out" / f"{case}.nii.gz").stat().st_mtime_ns for case in finished}
    leftover = leave_behind(tmp_path / "out" / "case_39.nii.gz", process.pid)
    (tmp_path / "out" / "case_39.nii.gz").unlink()
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0 and "case_39: done" in done.stdout, done.stdout + done.stderr
    assert {case for case in before if f"{case}: skipped" in done.stdout} == set(finished)
    assert len(list((tmp_path / "out").glob("case_*.nii.gz"))) == 40
    assert not leftover.exists() and not list((tmp_path / "out").glob(".*"))
    assert before == {case: (tmp_path / "out" / f"{case}.nii.gz").stat().st_mtime_ns for case in before}


def reported(folder: Path) -> list[str]:
    """The cases that the run's report names so far."""
    report = folder / "predictions.json"
    return [case["id"] for case in json.loads(report.read_text())["cases"]] if report.exists() else []


def test_a_full_disk_is_an_error_with_a_name(segmenter, tmp_path):
    paths = [write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number)) for number in range(2)]
    options = PredictOptions(preview=True, probabilities=True)
    with full_disk(15_000):  # the masks fit, their pictures and probabilities don't
        results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
    for path, result in zip(paths, results, strict=True):
        assert result.status == "failed" and result.input == str(path)
        assert str(tmp_path / "out" / result.id) in result.message and "File too large" in result.message
    for file in (tmp_path / "out").iterdir():
        assert file.name == "predictions.json" or np.asarray(nib.load(file).dataobj).shape == SHAPE
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(preview=True, resume=True))
    assert statuses(results) == {"case_0": "done", "case_1": "done"}


def test_a_file_beside_the_input_isnt_overwritten(segmenter, tmp_path):
    """`scan.mha` and `scan.nii.gz` in one folder: the mask of the first would be named as the second."""
    import SimpleITK

    other = write_volume(tmp_path / "scan.nii.gz", volume(1))
    before = other.read_bytes()
    image = SimpleITK.GetImageFromArray(volume(0).T)
    SimpleITK.WriteImage(image, str(tmp_path / "scan.mha"))
    (result,) = predict_cases(tmp_path / "scan.mha", tmp_path, segmenter)
    assert result.status == "failed" and "scan.nii.gz: is there already" in result.message
    assert other.read_bytes() == before
    for _ in range(2):  # a mask of this program may be replaced
        (result,) = predict_cases(tmp_path / "scan.mha", tmp_path / "out", segmenter)
        assert result.status == "done"


def test_inputs_that_all_lie_in_the_output_are_refused(segmenter, tmp_path):
    write_volume(tmp_path / "in" / "out" / "a.nii.gz", volume())
    with pytest.raises(InputError, match="all of it lies in the output folder"):
        predict_cases(tmp_path / "in", tmp_path / "in" / "out", segmenter)


def test_resume_does_again_what_other_weights_or_settings_made(segmenter, weights, tmp_path, caplog, monkeypatch):
    path = write_volume(tmp_path / "a.nii.gz", volume())
    resume = PredictOptions(resume=True)
    other = tmp_path / "other.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({name: tensor * 2 for name, tensor in state.items()}, other)

    def status(made_by):
        return predict_cases(path, tmp_path / "out", made_by, resume)[0].status

    assert [status(segmenter), status(segmenter)] == ["done", "skipped"]
    assert status(Segmenter("hippocampus", other, "cpu")) != "skipped" and "other weights" in caplog.text
    assert status(segmenter) == "done"
    assert status(Segmenter("hippocampus", weights, "cpu", overrides={"spacing": [2.0, 1.0, 1.0]})) != "skipped"
    assert [status(segmenter), status(segmenter)] == ["done", "skipped"]
    with monkeypatch.context() as changed:
        changed.setitem(segmenter.settings, "overlap", 0.75)  # as if the bundle said otherwise by now
        assert [status(segmenter), status(segmenter)] == ["done", "skipped"]
    assert status(segmenter) == "done"
    assert status(Segmenter("hippocampus", weights, "cpu", overrides={"engine": "torch"})) == "skipped"


def test_an_interrupted_resumption_forgets_no_case(segmenter, tmp_path):
    for number in range(3):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter)

    def stop(result, number, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True), stop)
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert set(statuses(results).values()) == {"skipped"}


def test_ids_with_an_option_of_their_own_and_bad_values_are_a_sentence(weights):
    for overrides, words in (
        ({"device": "cpu"}, "--device"),
        ({"ckpt": "a.pt"}, "--ckpt"),
        ({"spacing": [0, 1, 1]}, "three sizes above 0"),
        ({"spacing": [1, 1]}, "three sizes above 0"),
        ({"precision": "int8"}, "precision must be one of auto"),
    ):
        with pytest.raises(InputError, match=words):
            Segmenter("hippocampus", weights, "cpu", overrides=overrides)


def test_nonfinite_voxels_are_an_error_where_that_is_asked_for(weights, tmp_path):
    array = volume()
    array[0, 0, 0] = np.nan
    path = write_volume(tmp_path / "a.nii.gz", array)
    strict = Segmenter("hippocampus", weights, "cpu", overrides={"on_nonfinite": "error"})
    (result,) = predict_cases(path, tmp_path / "out", strict)
    assert result.status == "failed" and "NaN" in result.message


def test_a_seg_of_a_file_is_refused(segmenter, tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", volume())
    (result,) = predict_cases(path, tmp_path / "out", segmenter, PredictOptions(format="dicom-seg"))
    assert result.status == "refused" and "DICOM series" in result.message


def test_flips_are_averaged(weights, tmp_path):
    """Eight flips of three axes; the network without a sense of direction gives the same for each of them."""
    path = write_volume(tmp_path / "a.nii.gz", volume())
    axes = {"flip_axes": [0, 1, 2]}
    plain, flipping = (Segmenter("hippocampus", weights, "cpu", tta, axes) for tta in (False, True))
    seen = []
    inferer = flipping.inferer
    flipping.inferer = lambda image, network: seen.append(image.sum(dim=(3, 4)).clone()) or inferer(image, network)
    assert np.array_equal(flipping({"image": str(path)}).mask, plain({"image": str(path)}).mask)
    assert len(seen) == 8 and not np.array_equal(seen[0], seen[1])


def test_several_weights_are_averaged(segmenter, weights, tmp_path):
    path = write_volume(tmp_path / "in.nii.gz", volume())
    half = Segmenter("hippocampus", more_anterior(weights, tmp_path / "half.ckpt", 0.5), "cpu")
    pattern = write_more_anterior(weights, tmp_path)
    both = Segmenter("hippocampus", pattern, "cpu")
    masks = [made_by({"image": str(path)}).mask for made_by in (segmenter, half, both)]
    assert np.array_equal(masks[1], masks[2]) and (masks[0] != masks[2]).sum() > 100
    assert len({segmenter.weights_sha256, half.weights_sha256, both.weights_sha256}) == 3
    (result,) = predict_cases(path, tmp_path / "out", both)
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert result.status == "done" and report["ckpt"] == [str(tmp_path / "a.pt"), str(tmp_path / "b.pt")]
    assert np.array_equal(np.asarray(ulite_monai.predict(path, ckpt=pattern).dataobj), masks[2])
    ids = {"roi_size": [24, 32, 24]}
    report = export_bundle("hippocampus", tmp_path / "network.ts", "torchscript", pattern, ids)
    assert report.largest_difference <= 1e-4
    image = torch.randn(1, 1, 16, 12, 10)
    exported = torch.jit.load(report.files[0])(image)
    torch.testing.assert_close(exported, both.trained.eval()(image), atol=1e-4, rtol=0)


def test_weights_that_were_trained_otherwise_make_no_ensemble(weights, tmp_path):
    for name, labels in (("a", ["left", "right"]), ("b", ["right", "left"])):
        (tmp_path / name).mkdir()
        shutil.copy(weights, tmp_path / name / "model.pt")
        run = {"command": [], "settings": {"labels": labels, "spacing": [1.0, 1.0, 1.0]}}
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    message = (
        r"b.model\.pt: was trained with labels \['right', 'left'\], .*a.model\.pt with \['left', 'right'\]; .* alike"
    )
    with pytest.raises(InputError, match=message):
        Segmenter("hippocampus", tmp_path / "*" / "model.pt", "cpu")
    for name, structure in (("a", {}), ("b", {"network_def": {"kernel_size": 7}})):
        run = {"command": [], "settings": {"labels": ["left", "right"], "spacing": [1.0, 1.0, 1.0], **structure}}
        (tmp_path / name / "run.json").write_text(json.dumps(run))
    assert Segmenter("hippocampus", tmp_path / "*" / "model.pt", "cpu").labels == ["left", "right"]


def test_predict_from_python(weights, tmp_path):
    affine = np.diag([-1.0, 1, 1, 1])
    path = write_volume(tmp_path / "a.nii.gz", volume(), affine)
    for image in (path, str(path), nib.load(path)):
        mask = ulite_monai.predict(image, ckpt=weights)
        assert mask.shape == SHAPE and mask.get_data_dtype() == np.uint8 and np.array_equal(mask.affine, affine)
    assert np.array_equal(np.asarray(predict(volume(), affine=affine, ckpt=weights).dataobj), np.asarray(mask.dataobj))
    flipped = np.asarray(mask.dataobj)
    assert (flipped == expected_mask(volume())).mean() > 0.999


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


def test_inputs_are_never_overwritten(segmenter, tmp_path):
    path = write_volume(tmp_path / "in" / "a.nii.gz", volume())
    before = path.read_bytes()
    for source, output in ((tmp_path / "in", tmp_path / "in"), (path, tmp_path / "in"), (path, path)):
        with pytest.raises(InputError, match="give another"):
            predict_cases(source, output, segmenter)
    assert path.read_bytes() == before and [p.name for p in (tmp_path / "in").iterdir()] == ["a.nii.gz"]


def test_masks_below_the_inputs_are_no_inputs_of_the_next_run(segmenter, tmp_path):
    write_volume(tmp_path / "a.nii.gz", volume())
    for _ in range(2):
        results = predict_cases(tmp_path, tmp_path / "masks", segmenter, PredictOptions(preview=True))
        assert statuses(results) == {"a": "done"}


def test_resume_segments_another_input_of_the_same_name(segmenter, tmp_path):
    for folder, seed in (("a", 1), ("b", 2)):
        write_volume(tmp_path / folder / "001.nii.gz", volume(seed))
    predict_cases(tmp_path / "a", tmp_path / "out", segmenter)
    (result,) = predict_cases(tmp_path / "b", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert (result.status, result.input) == ("done", str(tmp_path / "b" / "001.nii.gz"))
    mask = np.asarray(nib.load(tmp_path / "out" / "001.nii.gz").dataobj)
    assert np.array_equal(mask, expected_mask(volume(2)))
    (result,) = predict_cases(tmp_path / "b", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert result.status == "skipped"


def test_resume_sees_changes_of_what_a_case_consists_of(tmp_path):
    """The voxels of an `.mhd` lie in another file, and a data list may name a folder."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("case.mhd", "case.raw", "other.mhd"):
        (folder / name).write_text(name)
    mhd, listed = Case("case", (folder / "case.mhd",)), Case("listed", (folder,))
    before = input_state(mhd), input_state(listed)
    assert before[0].startswith("2 files, 16 bytes") and before[1].startswith("3 files, 25 bytes")
    (folder / "case.raw").write_text("other voxels")
    assert input_state(mhd) != before[0] and input_state(listed) != before[1]
    assert input_state(Case("gone", (folder / "gone.nii",))) == ""


def test_resume_knows_a_named_output_of_a_case_in_a_subfolder(segmenter, tmp_path):
    write_volume(tmp_path / "in" / "sub" / "a.nii.gz", volume(1))
    for expected in ("done", "skipped"):
        (result,) = predict_cases(tmp_path / "in", tmp_path / "o.nii.gz", segmenter, PredictOptions(resume=True))
        assert (result.id, result.status) == ("sub/a", expected)


def test_a_link_to_itself_loses_no_other(segmenter, tmp_path):
    write_volume(tmp_path / "in" / "a.nii.gz", volume(1))
    (tmp_path / "in" / "b.nii.gz").symlink_to(tmp_path / "in" / "b.nii.gz")
    results = predict_cases(tmp_path / "in", tmp_path / "in" / "masks", segmenter)
    assert [(result.id, result.status) for result in results] == [("a", "done"), ("b", "failed")]
    assert results[1].message.startswith(str(tmp_path / "in" / "b.nii.gz"))


def test_resume_knows_cases_in_subfolders(segmenter, tmp_path):
    for subject in ("sub-01", "sub-02"):
        write_volume(tmp_path / "in" / subject / "anat" / "T1w.nii.gz", volume(1))
    options = PredictOptions(resume=True, statistics=True)
    for expected in ("done", "skipped"):
        results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
        assert [result.status for result in results] == [expected] * 2
    assert len((tmp_path / "out" / "volumes.csv").read_text().splitlines()) == 1 + 2 * 2


def test_resume_works_from_another_working_directory(segmenter, tmp_path, monkeypatch):
    write_volume(tmp_path / "in" / "a.nii.gz", volume())
    for folder, up in ((tmp_path, "."), (tmp_path / "in", "..")):
        monkeypatch.chdir(folder)
        results = predict_cases(f"{up}/in", f"{up}/out", segmenter, PredictOptions(resume=True))
    assert statuses(results) == {"a": "skipped"}


def test_resume_keeps_the_statistics_of_what_is_done(segmenter, tmp_path):
    for number in range(2):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(statistics=True))
    first = (tmp_path / "out" / "volumes.csv").read_bytes()
    (tmp_path / "out" / "case_1.nii.gz").unlink()
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(statistics=True, resume=True))
    assert (tmp_path / "out" / "volumes.csv").read_bytes() == first and first.count(b"case_0") == 2


def test_a_second_run_into_a_folder_adds_to_its_report(segmenter, tmp_path):
    options = PredictOptions(statistics=True)
    for name in ("b", "a", "c"):
        write_volume(tmp_path / name / f"{name}.nii.gz", volume())
        predict_cases(tmp_path / name, tmp_path / "out", segmenter, options)
        if name == "a":
            (tmp_path / "out" / "b.nii.gz").unlink()
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [case["id"] for case in report["cases"]] == ["c", "a"]  # the mask of b is gone
    rows = (tmp_path / "out" / "volumes.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["a", "a", "c", "c"]


def test_what_is_not_of_the_bundles_kind_is_refused(segmenter, tmp_path):
    from PIL import Image

    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(tmp_path / "in" / "thumbnail.png")
    write_volume(tmp_path / "in" / "a.nii.gz", volume())
    results = {r.id: r for r in predict_cases(tmp_path / "in", tmp_path / "out", segmenter)}
    assert results["a"].status == "done" and results["thumbnail"].status == "refused"
    assert "2D image" in results["thumbnail"].message


@pytest.mark.parametrize(
    ("series", "options", "status", "words"),
    [
        ("odd_series/ct_flipped_iop_17slices", PredictOptions(), "refused", "CT"),
        ("odd_series_noise_pixels/gantrytilting_001", PredictOptions(force=True), "failed", "resample-tilt"),
        ("odd_series_noise_pixels/gantrytilting_001", PredictOptions(force=True, resample_tilt=True), "done", ""),
    ],
)
def test_a_listed_folder_is_judged_as_the_series_in_it(
    segmenter, shared_data, tmp_path, series, options, status, words
):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"image": str(shared_data / "dicom" / series)}]))
    (result,) = predict_cases(listed, tmp_path / "out", segmenter, options)
    assert result.status.replace("empty", "done") == status and words in result.message, result


def test_one_dicom_file_is_one_slice_and_a_name_must_fit_the_format(weights, shared_data, tmp_path):
    (file, *_) = sorted((shared_data / "dicom" / "odd_series" / "ct_flipped_iop_17slices").iterdir())
    segmenter = Segmenter("hippocampus", weights, "cpu")
    (result,) = predict_cases(file, tmp_path / "out", segmenter, PredictOptions(format="both", force=True))
    assert result.status in ("done", "empty"), result.message
    assert nib.load(result.outputs[0]).shape == (88, 128, 1)
    with pytest.raises(InputError, match=r"written as \.nii"):
        predict_cases(file, tmp_path / "out" / "mask.dcm", segmenter)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"engine": "abacus"}, "engine must be one of"),
        ({"overlap": 2}, "overlap must be"),
        ({"threads": 0}, "threads must be"),
        ({"spaceing": [9, 9, 9]}, "has no id 'spaceing'"),
        ({"labels": "tumour"}, "labels must be a list"),
    ],
    ids=str,
)
def test_bad_overrides_are_a_sentence(weights, overrides, words):
    with pytest.raises(InputError, match=words):
        Segmenter("hippocampus", weights, "cpu", overrides=overrides)


def test_the_report_says_what_made_the_masks(segmenter, weights, tmp_path):
    import hashlib

    predict_cases(write_volume(tmp_path / "a.nii.gz", volume()), tmp_path / "out", segmenter)
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert report["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert "weights of the user" in report["algorithm"]["name"]


def test_probabilities_are_on_the_grid_and_their_largest_is_the_mask(segmenter, tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", volume(), np.diag([-1.0, 1, 1.5, 1]))
    predict_cases(path, tmp_path / "out", segmenter, PredictOptions(probabilities=True))
    image, mask = (nib.load(tmp_path / "out" / name) for name in ("a_probabilities.nii.gz", "a.nii.gz"))
    values = np.asarray(image.dataobj)
    assert values.shape == (*SHAPE, 3) and values.dtype == np.float32 and np.array_equal(image.affine, mask.affine)
    np.testing.assert_allclose(values.sum(axis=-1), 1, atol=1e-4)
    assert np.array_equal(values.argmax(axis=-1), np.asarray(mask.dataobj))


def test_several_jobs_give_the_same_in_the_same_order(segmenter, tmp_path):
    for number in range(5):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    one = predict_cases(tmp_path / "in", tmp_path / "one", segmenter)
    three = predict_cases(tmp_path / "in", tmp_path / "three", segmenter, PredictOptions(jobs=3))
    assert [r.id for r in three] == [r.id for r in one] and statuses(three) == statuses(one)
    for result in one:
        masks = (nib.load(tmp_path / name / f"{result.id}.nii.gz") for name in ("one", "three"))
        assert np.array_equal(*(np.asarray(mask.dataobj) for mask in masks))
    with pytest.raises(InputError, match="jobs"):
        predict_cases(tmp_path / "in", tmp_path / "x", segmenter, PredictOptions(jobs=0))


def test_the_report_says_how_the_network_ran(segmenter, weights, tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", volume())
    (whole,) = predict_cases(path, tmp_path / "whole", segmenter)
    assert whole.inference == "one pass"
    small = {"max_memory": 1, "roi_size": [16, 16, 16], "overlap": 0.5}
    limited = Segmenter("hippocampus", weights, "cpu", overrides=small)
    windows = []
    limited.inferer.on_window = lambda done, total: windows.append((done, total))
    predict_cases(path, tmp_path / "windows", limited)
    (case,) = json.loads((tmp_path / "windows" / "predictions.json").read_text())["cases"]
    assert case["inference"] == "windows of 16x16x16"
    assert windows == [(n, 3 * 4 * 3) for n in range(1, 37)]
    masks = [np.asarray(nib.load(tmp_path / name / "a.nii.gz").dataobj) for name in ("whole", "windows")]
    assert np.array_equal(*masks)  # this network sees one voxel


@pytest.fixture(scope="module")
def slice_weights(bundle, tmp_path_factory):
    """Random weights of the bundle's network in 2D, and that network."""
    torch.manual_seed(0)
    parser = ConfigParser(json.loads((bundle / "configs/inference.json").read_text()))
    parser["network_def#spatial_dims"] = 2
    network = parser.get_parsed_content("network_def").eval()
    path = tmp_path_factory.mktemp("slices") / "model.pt"
    torch.save(network.state_dict(), path)
    return path, network


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 2])
def test_a_bundle_of_slices_segments_volumes(slice_weights, bundle, tmp_path, axis):
    """`ulite predict`, `monai.bundle run`, and each slice by itself."""
    path, network = slice_weights
    image = volume()
    write_volume(tmp_path / "in" / "a.nii.gz", image, np.diag([1, 1, 1, 1]))
    ids = {"network_def#spatial_dims": 2, "roi_size": [32, 32], "inferer#slice_axis": axis, "sw_batch_size": 4}
    with torch.no_grad():
        slices = torch.from_numpy((image - image.mean()) / image.std()).movedim(axis, 0)[:, None]
        logits = torch.cat([network(one[None]) for one in slices])
        expected = logits.argmax(1).movedim(0, axis).numpy()
    assert len(np.unique(expected)) > 1
    (result,) = predict_cases(tmp_path / "in", tmp_path / "ours", Segmenter("hippocampus", path, "cpu", overrides=ids))
    assert (result.status, result.inference) == ("done", "slices, one pass each"), result.message
    run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/inference.json")),
        *("--dataset_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "theirs"), "--ckpt", str(path)),
        *(text for name, value in ids.items() for text in (f"--{name}", str(value))),
        cwd=tmp_path,
    )
    ours, theirs = (np.asarray(nib.load(tmp_path / where / "a.nii.gz").dataobj) for where in ("ours", "theirs"))
    assert np.array_equal(ours, theirs)
    assert (ours == expected).mean() > 0.9999


@pytest.mark.slow
@pytest.mark.parametrize(("to", "name"), [("torchscript", "a.ts"), ("onnx", "a.onnx"), ("openvino", "a.xml")])
def test_export_of_a_bundle(weights, tmp_path, to, name):
    report = export_bundle("hippocampus", tmp_path / name, to, weights, {"roi_size": [24, 32, 24]})
    assert report.files[0] == tmp_path / name and report.files[0].exists()
    assert report.checked_shape == (1, 1, 24, 32, 24) and report.largest_difference < 1e-3


def test_an_export_doesnt_replace_its_weights(weights):
    before = weights.read_bytes()
    with pytest.raises(InputError, match=r"model\.pt: is the weights that are to be exported; give another name"):
        export_bundle("hippocampus", weights, "torchscript", weights)
    assert weights.read_bytes() == before


@pytest.mark.slow
def test_export_of_own_weights_is_named_as_theirs_and_has_their_channels(bundle, tmp_path):
    ids = {"labels": ["tumour"], "in_channels": 2, "roi_size": [16, 16, 16]}
    definition = ConfigParser(json.loads((bundle / "configs/inference.json").read_text()) | ids)
    torch.save(definition.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    report = export_bundle("hippocampus", tmp_path / "a.ts", "torchscript", tmp_path / "model.pt", ids)
    extra = {"metadata.json": ""}
    torch.jit.load(tmp_path / "a.ts", _extra_files=extra)
    told = json.loads(extra["metadata.json"])
    assert report.checked_shape == (1, 2, 16, 16, 16)
    digits = hashlib.sha256((tmp_path / "model.pt").read_bytes()).hexdigest()
    assert (told["name"], told["version"]) == ("U-Lite, weights of the user", digits[:12])


def test_flips_at_test_time_are_those_of_training(root):
    """Flipping the hippocampus front to back swaps its labels' places: a network that never saw it gives nonsense."""
    for bundle in ("bundle", "examples/nuclei_bundle"):
        train, inference = (
            ConfigParser(json.loads((root / bundle / "configs" / f"{name}.json").read_text())).get_parsed_content(
                "flip_axes"
            )
            for name in ("train", "inference")
        )
        assert train == inference


@pytest.mark.slow
def test_flips_at_test_time_lose_nothing(hippocampus):
    means = []
    for tta in (False, True):
        segmenter, dice = Segmenter("hippocampus", device="cpu", tta=tta), []
        for name in ("hippocampus_298", "hippocampus_282", "hippocampus_243"):
            label = np.asarray(nib.load(hippocampus / "labelsTr" / f"{name}.nii.gz").dataobj)
            mask = segmenter({"image": str(hippocampus / "imagesTr" / f"{name}.nii.gz")}).mask
            dice += [overlap(mask == value, label == value) for value in (1, 2)]
        means.append(np.mean(dice))
    assert means[1] > means[0] - 0.005


@pytest.mark.slow
def test_small_windows_cost_accuracy_so_the_whole_volume_is_used(hippocampus):
    """The field of view is wider than 32 voxels; over the 42 cases of fold 0, see benchmarks/windows.py."""
    names = [path.name.removesuffix(".nii.gz") for path in sorted(hippocampus.glob("imagesTr/h*.gz"))[:8]]
    windows = {"roi_size": [32, 32, 32], "grow_windows": False}
    dice = []
    for segmenter in (Segmenter("hippocampus", device="cpu", overrides=ids) for ids in ({}, windows)):
        for name in names:
            label = np.asarray(nib.load(hippocampus / "labelsTr" / f"{name}.nii.gz").dataobj)
            mask = segmenter({"image": str(hippocampus / "imagesTr" / f"{name}.nii.gz")}).mask
            dice.append(np.mean([overlap(mask == value, label == value) for value in (1, 2)]))
    assert np.mean(dice[:8]) > np.mean(dice[8:]) + 0.01


def overlap(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.fixture
def dice_of_shipped(hippocampus, tmp_path):
    """Dice of both classes that the shipped network reaches on an image, given as stored, of a training case."""
    segmenter = Segmenter("hippocampus", device="cpu")

    def dice(name, image):
        label = np.asarray(nib.load(hippocampus / "labelsTr" / f"{name}.nii.gz").dataobj)
        path = tmp_path / "image.nii.gz"
        nib.save(image, path)
        mask = nib.as_closest_canonical(nib.Nifti1Image(segmenter({"image": str(path)}).mask, image.affine))
        return np.array([overlap(np.asarray(mask.dataobj) == value, label == value) for value in (1, 2)])

    return dice


@pytest.mark.slow
def test_the_shipped_weights_dont_care_about_scale_and_type(hippocampus, dice_of_shipped):
    """Intensities times 1000 and shifted, as int16, as uint8: Dice, the mean over ten cases, within 0.001.

    256 grey values are fewer than the source has: a few voxels change, by up to 0.002 of a case's Dice either way.
    """
    changes = []
    for path in [hippocampus / "imagesTr" / "hippocampus_298.nii.gz", *sorted(hippocampus.glob("imagesTr/h*.gz"))[:9]]:
        source = nib.load(path)
        values = np.asarray(source.dataobj).astype(np.float64)
        unit = (values - values.min()) / np.ptp(values)
        stored = (
            (values * 1000 + 12345).astype(np.float32),
            np.round(unit * 30000 - 5000).astype(np.int16),
            np.round(unit * 255).astype(np.uint8),
        )
        name = path.name.removesuffix(".nii.gz")
        reference = dice_of_shipped(name, source)
        assert reference.min() > 0.7
        changes.append([dice_of_shipped(name, nib.Nifti1Image(x, source.affine)) - reference for x in stored])
    assert np.abs(np.mean(changes, axis=0)).max() <= 0.001
    assert np.abs(changes).max() <= 0.005


@pytest.mark.slow
def test_the_shipped_weights_part_the_hippocampus_by_a_coronal_plane(bundle, hippocampus, tmp_path):
    """Other weights, or these with straight_boundary false, where they see it; both find the same hippocampus.

    Which weights they are is said by their bytes: a copy of them, or of the bundle, gives the same masks.
    """
    image = {"image": str(hippocampus / "imagesTr" / "hippocampus_298.nii.gz")}
    own = bundle / "models" / "model.pt"
    others = tmp_path / "others.pt"
    torch.save(torch.load(own, weights_only=True), others)  # the same tensors, in a file of other bytes
    straight, free, theirs, copied, of_copy = (
        Segmenter(name, ckpt, "cpu", overrides=ids)(image).mask
        for name, ckpt, ids in (
            ("hippocampus", None, {}),
            ("hippocampus", None, {"straight_boundary": False}),
            ("hippocampus", others, {}),
            ("hippocampus", shutil.copy(own, tmp_path / "copied.pt"), {}),
            (shutil.copytree(bundle, tmp_path / "copy", ignore=shutil.ignore_patterns("runs")), None, {}),
        )
    )
    assert np.array_equal(straight, copied) and np.array_equal(straight, of_copy)
    anterior, posterior = ((straight == value).any((0, 2)).nonzero()[0] for value in (1, 2))
    assert posterior.max() < anterior.min()
    assert np.array_equal(free, theirs) and (free[:, anterior.min() :] == 2).any()
    assert np.array_equal(straight > 0, free > 0)
    run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/inference.json")),
        *("--dataset_dir", image["image"], "--output_dir", str(tmp_path / "out")),
        cwd=tmp_path,
    )
    assert np.array_equal(np.asarray(nib.load(tmp_path / "out" / "hippocampus_298.nii.gz").dataobj), straight)


@pytest.mark.slow
def test_the_shipped_weights_dont_care_about_orientation(hippocampus, dice_of_shipped):
    """The same Dice in each of the 48 orientations."""
    source = nib.load(hippocampus / "imagesTr" / "hippocampus_298.nii.gz")
    stored_as = nib.orientations.io_orientation(source.affine)
    reference = dice_of_shipped("hippocampus_298", source)
    for axes in itertools.permutations(("RL", "AP", "SI")):
        for letters in itertools.product(*axes):
            turn = nib.orientations.ornt_transform(stored_as, nib.orientations.axcodes2ornt(letters))
            assert np.array_equal(dice_of_shipped("hippocampus_298", source.as_reoriented(turn)), reference)


def test_weights_put_into_a_copy_of_a_bundle_bring_their_record(bundle, weights, tmp_path, caplog):
    """With it, names and windows are those that they were trained with; without it, a warning says what is assumed."""
    copy = shutil.copytree(bundle, tmp_path / "copy", ignore=shutil.ignore_patterns("runs"))
    shutil.copyfile(weights, copy / "models" / "model.pt")
    assumed = Segmenter(copy, device="cpu")
    assert assumed.labels == ["anterior", "posterior"] and not assumed.settings["straight_boundary"]
    assert "no run.json beside it says what it was trained for" in caplog.text
    settings = {"labels": ["lobe a", "lobe b"], "roi_size": [40, 40, 40], "grow_windows": False}
    (copy / "models" / "run.json").write_text(json.dumps({"settings": settings, "command": []}))
    segmenter = Segmenter(copy, device="cpu")
    assert segmenter.labels == ["lobe a", "lobe b"] and not segmenter.settings["straight_boundary"]
    assert segmenter.settings["roi_size"] == [40, 40, 40] and segmenter.settings["grow_windows"] is False
    assert segmenter.algorithm[0] == "U-Lite, weights of the user"


def test_weights_without_a_record_are_warned_of(weights, caplog):
    def warnings():
        told = [message for _, level, message in caplog.record_tuples if level == logging.WARNING]
        return [message for message in told if "run.json" in message]

    Segmenter("hippocampus", weights, "cpu", overrides={"labels": ["head", "tail"]})
    Segmenter("hippocampus", device="cpu")
    own = Segmenter("hippocampus", find_bundle("hippocampus") / "models" / "model.pt", "cpu")
    assert own.algorithm[0] == "Hippocampus segmentation with U-Lite" and not warnings()
    Segmenter("hippocampus", weights, "cpu")
    (message,) = warnings()
    assert message.startswith(f"{weights}: no run.json beside it says what it was trained for; labels ['anterior', ")
    assert "spacing [1.0, 1.0, 1.0]" in message
