"""Whole heads by every way in, with the shipped weights; boxes go on as they did."""

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser

import ulite_monai
from tests.conftest import read_json, write_volume
from ulite_monai.prediction import PredictOptions, Segmenter, predict_cases

NAMES = ["left anterior", "left posterior", "right anterior", "right posterior"]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("hippocampus", device="cpu")


@pytest.mark.slow
def test_a_head_and_a_box(segmenter, bundle, shared_data, hippocampus, tmp_path):
    head = shared_data / "heads" / "example_brain_t1.nii.gz"
    box = hippocampus / "imagesTr" / "hippocampus_298.nii.gz"
    (tmp_path / "in").mkdir()
    for path in (head, box):
        shutil.copy(path, tmp_path / "in")
    options = PredictOptions(statistics=True, preview=True)
    found, boxed = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
    assert (found.status, boxed.status) == ("done", "done") and not found.warnings
    assert "whole head" in found.inference and boxed.inference == "one pass"
    assert [volume.label for volume in found.volumes] == NAMES
    assert [volume.label for volume in boxed.volumes] == ["anterior", "posterior"] and not boxed.measures
    image = nib.load(tmp_path / "out" / head.name)
    mask = np.asarray(image.dataobj)
    assert np.array_equal(image.affine, nib.load(head).affine) and set(np.unique(mask)) == {0, 1, 2, 3, 4}
    for side, values in (("L", (1, 2)), ("R", (3, 4))):
        other = np.asarray(nib.load(shared_data / "heads" / f"example_brain_t1_hippodeep_{side}.nii.gz").dataobj) > 127
        own = np.isin(mask, values)
        assert 2 * (own & other).sum() / (own.sum() + other.sum()) > 0.8
        assert own.sum() == pytest.approx(other.sum(), rel=0.1)
    with (tmp_path / "out" / "heads.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["case"] == found.id and float(row["left_ml"]) == pytest.approx(found.measures["left_ml"], rel=1e-4)
    assert float(row["intracranial_ml"]) == pytest.approx(1440, rel=0.1)  # hippodeep's
    recorded = read_json(tmp_path / "out" / "predictions.json")
    assert [volume["label"] for volume in recorded["cases"][0]["volumes"]] == NAMES
    assert len(recorded["weights"]["locator_sha256"]) == 64
    assert np.array_equal(
        np.asarray(nib.load(tmp_path / "out" / box.name).dataobj), segmenter({"image": str(box)}).mask
    )

    assert np.array_equal(np.asarray(ulite_monai.predict(head).dataobj), mask)
    copy = shutil.copytree(bundle, tmp_path / "a copy", ignore=shutil.ignore_patterns("runs"))
    parser = ConfigParser(read_json(copy / "configs" / "inference.json"))
    paths = {"dataset_dir": str(tmp_path / "in" / head.name), "output_dir": str(tmp_path / "run")}
    parser.update({"bundle_root": str(copy), "device": "cpu", **paths})
    parser.get_parsed_content("run")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "run" / head.name).dataobj), mask)


@pytest.mark.slow
def test_a_series_has_four_segments_that_say_their_side(segmenter, shared_data, tmp_path):
    pydicom = pytest.importorskip("pydicom", "3.0")
    pytest.importorskip("highdicom")
    source = shared_data / "dicom" / "mr_t1_large_384slices"
    (result,) = predict_cases(source, tmp_path, segmenter, PredictOptions(format="dicom-seg", statistics=True))
    assert result.status == "done" and result.measures["left_ml"] > 2.5 and result.measures["right_ml"] > 2.5
    (path,) = tmp_path.glob("*.seg.dcm")
    segments = pydicom.dcmread(path).SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == NAMES
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in segments]
    sides = [kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning for kind in kinds]
    assert sides == ["Left", "Left", "Right", "Right"] and {kind.CodeMeaning for kind in kinds} == {"Hippocampus"}


def test_what_is_as_large_as_a_head_and_shows_none_is_refused_unless_forced(segmenter, tmp_path):
    noise = np.random.default_rng(0).random((40, 40, 40), np.float32)
    path = write_volume(tmp_path / "noise.nii.gz", noise, np.diag([3.0, 3.0, 3.0, 1.0]))
    (result,) = predict_cases(path, tmp_path / "out", segmenter)
    assert result.status == "refused" and "as large as a whole head, but" in result.message
    assert "--force" in result.message
    (result,) = predict_cases(path, tmp_path / "forced", segmenter, PredictOptions(force=True))
    assert result.status in ("done", "empty") and not result.measures
    assert "as a box around one hippocampus" in result.warnings[0]


def test_a_head_of_thick_slices_is_refused(segmenter, tmp_path):
    path = write_volume(tmp_path / "thick.nii.gz", np.zeros((100, 100, 20), np.float32), np.diag([2.0, 2.0, 5.0, 1.0]))
    (result,) = predict_cases(path, tmp_path / "out", segmenter)
    assert result.status == "refused" and "the bundle is for 0.3 to 3.5 mm" in result.message
