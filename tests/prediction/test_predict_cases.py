"""Whatever a researcher has: the right mask on the right grid, a report, and no case lost."""

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import write_volume
from tests.prediction.conftest import FREE, SHAPE, statuses, volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import PredictOptions, Segmenter, predict_cases


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


def test_nan_voxels_are_replaced_with_a_warning(segmenter, tmp_path):
    image = volume()
    image[3, 4, 5] = np.nan
    path = write_volume(tmp_path / "a.nii.gz", image)
    (result,) = predict_cases(path, tmp_path / "out", segmenter)
    assert result.status == "done" and any("1 voxels were NaN" in w for w in result.warnings)


def test_nonfinite_voxels_are_an_error_where_that_is_asked_for(weights, tmp_path):
    array = volume()
    array[0, 0, 0] = np.nan
    path = write_volume(tmp_path / "a.nii.gz", array)
    strict = Segmenter("hippocampus", weights, "cpu", overrides={"on_nonfinite": "error"})
    (result,) = predict_cases(path, tmp_path / "out", strict)
    assert result.status == "failed" and "NaN" in result.message


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


def test_a_link_to_itself_loses_no_other(segmenter, tmp_path):
    write_volume(tmp_path / "in" / "a.nii.gz", volume(1))
    (tmp_path / "in" / "b.nii.gz").symlink_to(tmp_path / "in" / "b.nii.gz")
    results = predict_cases(tmp_path / "in", tmp_path / "in" / "masks", segmenter)
    assert [(result.id, result.status) for result in results] == [("a", "done"), ("b", "failed")]
    assert results[1].message.startswith(str(tmp_path / "in" / "b.nii.gz"))


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


def test_the_report_says_what_made_the_masks(segmenter, weights, tmp_path):

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
    small = {**FREE, "max_memory": 1, "roi_size": [16, 16, 16], "overlap": 0.5}
    limited = Segmenter("hippocampus", weights, "cpu", overrides=small)
    windows = []
    limited.inferer.on_window = lambda done, total: windows.append((done, total))
    predict_cases(path, tmp_path / "windows", limited)
    (case,) = json.loads((tmp_path / "windows" / "predictions.json").read_text())["cases"]
    assert case["inference"] == "windows of 16x16x16"
    assert windows == [(n, 3 * 4 * 3) for n in range(1, 37)]
    masks = [np.asarray(nib.load(tmp_path / name / "a.nii.gz").dataobj) for name in ("whole", "windows")]
    assert np.array_equal(*masks)  # this network sees one voxel
