"""Whose the files of an output folder are: nothing is lost, by `ulite predict` and by the bundle's own run."""

import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_volume
from tests.io.conftest import make_slice
from tests.prediction.conftest import SHAPE, statuses, volume
from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError
from ulite_monai.prediction import PredictOptions, predict_cases
from ulite_monai.prediction.predict_cases import _plan

EVERYTHING = PredictOptions(statistics=True, preview=True, probabilities=True)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_cases_that_would_write_one_file_are_refused_before_anything_is_written(segmenter, make_inputs, tmp_path):
    folder = make_inputs("a", "a_probabilities")
    with pytest.raises(InputError) as error:
        predict_cases(folder, tmp_path / "out", segmenter, PredictOptions(probabilities=True))
    for words in (str(folder / "a.nii.gz"), str(folder / "a_probabilities.nii.gz"), "out/a_probabilities.nii.gz"):
        assert words in str(error.value)
    assert not (tmp_path / "out").exists()
    assert set(statuses(predict_cases(folder, tmp_path / "out", segmenter)).values()) == {"done"}


def test_a_preview_may_not_be_the_mask_of_an_image(tmp_path):
    cases = [Case(name, (tmp_path / f"{name}.png",)) for name in ("a", "a_preview")]
    with pytest.raises(InputError, match=r"a \(.*a\.png\) and a_preview \(.*\) would both write .*a_preview\.png"):
        _plan(tmp_path / "in", tmp_path / "out", cases, PredictOptions(preview=True))


def test_the_bundles_run_refuses_what_would_be_one_file(run_inference, make_inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("ulite_monai.io.output_folder._ignores_case", lambda folder: True)
    with pytest.raises(InputError, match=r"A \(.*A\.nii\.gz\) and a \(.*a\.nii\.gz\) would both write"):
        run_inference(make_inputs("a", "A"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["volumes.csv", "predictions.json"])
def test_a_table_or_a_list_of_the_user_stays(segmenter, make_inputs, tmp_path, name):
    """A data list named predictions.json in the output folder, for one."""
    make_inputs("a")
    (tmp_path / "out").mkdir()
    theirs = tmp_path / "out" / name
    theirs.write_text(json.dumps([{"image": "../in/a.nii.gz"}]))
    before = theirs.read_bytes()
    source = theirs if name == "predictions.json" else tmp_path / "in"
    with pytest.raises(InputError, match=rf"{name}: .*(wasn't written by this program|is an input)"):
        predict_cases(source, tmp_path / "out", segmenter, EVERYTHING)
    assert contents(tmp_path / "out") == {name: before}
    options = PredictOptions(statistics=True, overwrite=True)
    assert statuses(predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)) == {"a": "done"}
    assert theirs.read_bytes() != before


@pytest.mark.parametrize("name", ["a.nii.gz", "a_preview.png", "a_probabilities.nii.gz"])
def test_a_file_of_the_user_costs_one_case(segmenter, make_inputs, tmp_path, name):
    make_inputs("a", "b")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, EVERYTHING)
    assert statuses(results) == {"a": "failed", "b": "done"}
    assert f"out/{name}: is there already" in results[0].message and "--overwrite" in results[0].message
    of_a = {file: data for file, data in contents(tmp_path / "out").items() if file.startswith("a")}
    assert of_a == {name: b"mine"}


def test_a_mask_whose_affine_was_corrected_stays_and_its_neighbours_are_replaced(segmenter, make_inputs, tmp_path):
    make_inputs("a", "b")
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter)
    path = tmp_path / "out" / "a.nii.gz"
    mask = nib.load(path)
    nib.save(nib.Nifti1Image(np.array(mask.dataobj), np.diag([1, 1, 2, 1])), path)
    before = path.read_bytes()
    for options in (PredictOptions(), PredictOptions(resume=True)):
        results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
        assert results[0].status == "failed" and "or was changed since" in results[0].message
        assert results[1].status == ("skipped" if options.resume else "done") and path.read_bytes() == before
    options = PredictOptions(overwrite=True)
    assert predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)[0].status == "done"
    assert np.array_equal(nib.load(path).affine, np.eye(4))


@pytest.mark.slow
def test_the_bundles_run_keeps_a_record_and_loses_nothing(run_inference, segmenter, make_inputs, tmp_path, caplog):
    make_inputs("a", "b")
    out = tmp_path / "out"
    for _ in range(2):
        run_inference(tmp_path / "in", out)
        assert sorted(contents(out)) == ["a.nii.gz", "b.nii.gz", "predictions.json"]
    assert sorted(json.loads((out / "predictions.json").read_text())["files"]) == ["a.nii.gz", "b.nii.gz"]
    whole = contents(out)
    (out / "a.nii.gz").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"1 of 2 cases failed:\nerror: a: .*a\.nii\.gz: is there already"):
        run_inference(tmp_path / "in", out)
    assert contents(out)["a.nii.gz"] == b"mine"
    run_inference(tmp_path / "in", out, overwrite="true")
    assert contents(out)["a.nii.gz"] == whole["a.nii.gz"]
    assert statuses(predict_cases(tmp_path / "in", out, segmenter)) == {"a": "done", "b": "done"}
    with pytest.raises(InputError, match="is the folder of the inputs; give another one"):
        run_inference(tmp_path / "in", tmp_path / "in", overwrite=True)


@pytest.mark.parametrize("out", ["in/masks", "in/deep/er/masks"])
def test_masks_among_the_inputs_are_no_inputs_of_the_next_run(segmenter, run_inference, make_inputs, tmp_path, out):
    """By every way in: the outputs of one run lie below the inputs of the next, which writes elsewhere."""
    make_inputs("a")
    predict_cases(tmp_path / "in", tmp_path / out, segmenter, EVERYTHING)
    run_inference(tmp_path / "in", tmp_path / out / "again")
    assert sorted(contents(tmp_path / out / "again")) == ["a.nii.gz", "predictions.json"]
    assert statuses(predict_cases(tmp_path / "in", tmp_path / "elsewhere", segmenter)) == {"a": "done"}
    with pytest.raises(InputError, match="but what this program wrote, which is no input"):
        predict_cases(tmp_path / out, tmp_path / "elsewhere", segmenter)


def series(folder: Path, change=None):
    pytest.importorskip("highdicom", reason="the dicom extra isn't installed")
    folder.mkdir(parents=True)
    values = np.round(volume() * 10).astype(np.int16)
    for k in range(SHAPE[2]):
        ds = make_slice(values, np.diag([-1.0, -1, 1, 1]), k)
        if change is not None:
            change(ds, k)
        ds.save_as(folder / str(k), enforce_file_format=True)
    return folder


def test_a_seg_that_cant_be_written_leaves_no_nifti(segmenter, tmp_path, monkeypatch):
    def fail(*arguments):
        raise InputError("series7: no DICOM SEG can refer to it")

    monkeypatch.setattr("ulite_monai.io.dicom.seg.write_dicom_seg", fail)
    options = PredictOptions(format="both", preview=True)
    (result,) = predict_cases(series(tmp_path / "in"), tmp_path / "out", segmenter, options)
    assert (result.status, result.outputs) == ("failed", []) and "no DICOM SEG" in result.message
    assert sorted(contents(tmp_path / "out")) == ["predictions.json"]
    monkeypatch.undo()
    (result,) = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
    names = [Path(path).name for path in result.outputs]
    assert names == [f"{result.id}{end}" for end in (".nii.gz", ".seg.dcm", "_preview.png")]
    assert sorted(contents(tmp_path / "out")) == sorted([*names, "predictions.json"])


def test_the_bundles_run_leaves_no_nifti_without_its_seg(run_inference, tmp_path, monkeypatch, caplog):
    def fail(*arguments):
        raise InputError("series7: no DICOM SEG can refer to it")

    monkeypatch.setattr("ulite_monai.io.dicom.seg.write_dicom_seg", fail)
    with pytest.raises(InputError, match="no DICOM SEG can refer to it"):
        run_inference(series(tmp_path / "in"), tmp_path / "out", format="both")
    assert sorted(contents(tmp_path / "out")) == ["predictions.json"]


def test_a_seg_of_a_tilted_series_is_refused_before_the_network_runs(segmenter, tmp_path, monkeypatch):
    def tilt(ds, k):
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, float(y) + 0.2 * k, z]

    monkeypatch.setattr(segmenter, "_logits", lambda image: pytest.fail("the network ran"))
    options = PredictOptions(format="both", resample_tilt=True)
    (result,) = predict_cases(series(tmp_path / "in", tilt), tmp_path / "out", segmenter, options)
    assert result.status == "refused" and "write NIfTI alone, --format nifti with --resample-tilt" in result.message


def test_outputs_are_named_by_no_path(segmenter, make_inputs, tmp_path):
    make_inputs("a")
    (tmp_path / "list.json").write_text(json.dumps([{"image": "in/a.nii.gz", "case_id": "../x"}]))
    with pytest.raises(InputError, match=r"list\.json: '\.\./x' can't be a case_id"):
        predict_cases(tmp_path / "list.json", tmp_path / "out", segmenter)
    assert not (tmp_path / "x.nii.gz").exists()


def test_an_unreadable_folder_is_named_and_the_rest_goes_on(segmenter, run_inference, make_inputs, tmp_path, caplog):
    """A folder that even root can't list: its listing fails, as that of a broken disk."""
    import os

    make_inputs("a", "locked/b")
    listing, locked = os.scandir, str(tmp_path / "in" / "locked")

    def scandir(path="."):
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return listing(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        patch.setattr(os, "access", lambda path, mode: str(path) != locked)
        results = {result.id: result for result in predict_cases(tmp_path / "in", tmp_path / "out", segmenter)}
        assert {name: result.status for name, result in results.items()} == {"a": "done", "locked": "failed"}
        assert results["locked"].message == f"{locked}: can't be read: permission denied."
        with caplog.at_level(logging.ERROR), pytest.raises(InputError, match=f"error: locked: {locked}: can't be read"):
            run_inference(tmp_path / "in", tmp_path / "theirs")
    assert sorted(contents(tmp_path / "theirs")) == ["a.nii.gz", "predictions.json"]


def test_an_image_and_a_volume_in_one_folder_keep_their_names(segmenter, tmp_path):
    write_volume(tmp_path / "in" / "a.nii.gz", volume())
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(tmp_path / "in" / "a_preview.png")
    with pytest.raises(InputError, match="would both write"):
        predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(preview=True))


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
