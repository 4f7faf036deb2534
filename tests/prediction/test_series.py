"""DICOM series, as `ulite predict` takes them."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import run_bundle, write_volume
from tests.io.conftest import make_slice
from tests.prediction.conftest import SHAPE, volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import PredictOptions, Segmenter, predict_cases


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
        *("--ckpt", str(weights), "--straight_boundary", "False"),
        cwd=tmp_path,
    )
    for result in results:
        masks = [nib.load(tmp_path / where / f"{result.id}.nii.gz") for where in ("ours", "theirs")]
        assert np.array_equal(*(np.asarray(mask.dataobj) for mask in masks))
        seg = highdicom.seg.segread(tmp_path / "theirs" / f"{result.id}.seg.dcm")
        assert [s.SegmentLabel for s in seg.SegmentSequence] == ["anterior", "posterior"]
        assert {s.SegmentedPropertyTypeCodeSequence[0].CodeValue for s in seg.SegmentSequence} == {"5366008"}
        assert {s.AnatomicRegionSequence[0].CodeMeaning for s in seg.SegmentSequence} == {"Brain"}


def test_a_seg_of_a_file_is_refused(segmenter, tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", volume())
    (result,) = predict_cases(path, tmp_path / "out", segmenter, PredictOptions(format="dicom-seg"))
    assert result.status == "refused" and "DICOM series" in result.message


@pytest.mark.parametrize(
    ("series", "options", "status", "words"),
    [
        ("odd_series/ct_flipped_iop_17slices", PredictOptions(), "refused", "CT"),
        ("odd_series_noise_pixels/gantrytilting_001", PredictOptions(force=True), "refused", "resample-tilt"),
        ("odd_series_noise_pixels/gantrytilting_001", PredictOptions(force=True, resample_tilt=True), "done", ""),
    ],
)
def test_a_listed_folder_is_treated_as_the_series_in_it(
    segmenter, shared_data, tmp_path, series, options, status, words
):
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"image": str(shared_data / "dicom" / series)}]))
    (result,) = predict_cases(listed, tmp_path / "out", segmenter, options)
    assert result.status.replace("empty", "done") == status and words in result.message, result


def test_a_listed_folder_gets_a_seg_beside_its_mask(segmenter, shared_data, tmp_path):
    pytest.importorskip("highdicom", reason="the dicom extra isn't installed")
    folder, image = shared_data / "dicom/odd_series/ct_flipped_iop_17slices", write_volume(tmp_path / "b.nii", volume())
    (tmp_path / "list.json").write_text(json.dumps([{"image": str(folder), "case_id": "a"}, str(image)]))
    options = PredictOptions(format="both", force=True)
    results = predict_cases(tmp_path / "list.json", tmp_path / "out", segmenter, options)
    names = [[Path(path).name for path in result.outputs] for result in results]
    assert names == [["a.nii.gz", "a.seg.dcm"], ["b.nii.gz"]]


def test_one_dicom_file_is_one_slice_and_a_name_must_fit_the_format(weights, shared_data, tmp_path):
    (file, *_) = sorted((shared_data / "dicom" / "odd_series" / "ct_flipped_iop_17slices").iterdir())
    segmenter = Segmenter("hippocampus", weights, "cpu")
    (result,) = predict_cases(file, tmp_path / "out", segmenter, PredictOptions(format="both", force=True))
    assert result.status in ("done", "empty"), result.message
    assert nib.load(result.outputs[0]).shape == (88, 128, 1)
    with pytest.raises(InputError, match=r"written as \.nii"):
        predict_cases(file, tmp_path / "out" / "mask.dcm", segmenter)
