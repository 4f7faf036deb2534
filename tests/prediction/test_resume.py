"""`--resume` leaves what is as it was written, and does the rest again."""

import os

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.conftest import expected_mask, write_volume
from tests.prediction.conftest import FREE, SHAPE, statuses, volume
from ulite_monai.datasets.cases import Case
from ulite_monai.prediction import PredictOptions, Segmenter, predict_cases
from ulite_monai.prediction.case_report import input_state

RESUME = PredictOptions(resume=True)


@pytest.mark.parametrize("bytes_left", [0, 100, -1])
def test_a_truncated_mask_is_never_kept(segmenter, make_inputs, tmp_path, bytes_left):
    """It isn't as it was written, so it is done again where that may replace it."""
    make_inputs("a", "b")
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter)
    path = tmp_path / "out" / "a.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:bytes_left])
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, RESUME)
    assert statuses(results) == {"a": "failed", "b": "skipped"} and "was changed since" in results[0].message
    options = PredictOptions(resume=True, overwrite=True)
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
    assert statuses(results) == {"a": "done", "b": "skipped"} and path.read_bytes() == whole


@pytest.mark.parametrize("kind", [".mhd", ".nhdr"])
def test_a_case_whose_detached_voxels_changed_is_done_again(segmenter, tmp_path, kind):
    """Under another name than the header's, with as many bytes, and an older date than the header's."""
    folder = tmp_path / "in"
    folder.mkdir()
    sizes = " ".join(map(str, SHAPE))
    headers = {
        ".mhd": f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementType = MET_FLOAT\n"
        "ElementSpacing = 1 1 1\nElementByteOrderMSB = False\nElementDataFile = voxels.raw\n",
        ".nhdr": f"NRRD0004\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\nendian: little\ndata file: voxels.raw\n",
    }
    (folder / f"a{kind}").write_text(headers[kind])
    masks = []
    for seed, expected in ((1, "done"), (2, "done"), (2, "skipped")):
        (folder / "voxels.raw").write_bytes(volume(seed).T.tobytes())
        os.utime(folder / "voxels.raw", (1e9 + seed, 1e9 + seed))
        (result,) = predict_cases(folder, tmp_path / "out", segmenter, RESUME)
        assert result.status == expected, result.message
        masks.append(np.asarray(nib.load(tmp_path / "out" / "a.nii.gz").dataobj))
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize(
    ("name", "text", "voxels"),
    [
        ("a.mhd", "ElementDataFile = slice%03d.raw 1 2 1\n", ["slice001.raw", "slice002.raw"]),
        ("a.mhd", "ElementDataFile = LIST\nfirst.raw\nsub/second.raw\n", ["first.raw", "sub/second.raw"]),
        ("a.nhdr", "NRRD0004\ndata file: s%d.raw 1 2 1\n", ["s1.raw", "s2.raw"]),
        ("a.nhdr", "NRRD0004\ndata file: LIST\nfirst.raw\nsecond.raw\n", ["first.raw", "second.raw"]),
        ("a.hdr", "\0", ["a.img"]),
        ("a[1].mhd", "ElementDataFile = a[1].zraw\n", ["a[1].zraw"]),
    ],
)
def test_all_files_of_a_header_are_its_cases(tmp_path, name, text, voxels):
    (tmp_path / name).write_text(text)
    (tmp_path / "sub").mkdir()
    for file in voxels:
        (tmp_path / file).write_text(file)
    (tmp_path / "other.raw").write_text("nobody's")
    case = Case("a", (tmp_path / name,))
    assert sorted(case.files()) == sorted([tmp_path / name, *(tmp_path / file for file in voxels)])
    for file in voxels:
        before = input_state(case)
        (tmp_path / file).write_text("otherwise")
        assert input_state(case) != before


def test_resume_leaves_what_is_done(segmenter, tmp_path):
    for number in range(2):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter)
    (tmp_path / "out" / "case_1.nii.gz").unlink()
    before = (tmp_path / "out" / "case_0.nii.gz").stat().st_mtime_ns
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert statuses(results) == {"case_0": "skipped", "case_1": "done"}
    assert (tmp_path / "out" / "case_0.nii.gz").stat().st_mtime_ns == before


@pytest.mark.slow
def test_resume_does_again_what_other_weights_or_settings_made(segmenter, weights, tmp_path, caplog, monkeypatch):
    path = write_volume(tmp_path / "a.nii.gz", volume())
    resume = PredictOptions(resume=True)
    other = tmp_path / "other.pt"
    state = torch.load(weights, weights_only=True)
    torch.save({name: tensor * 2 for name, tensor in state.items()}, other)

    def status(made_by):
        return predict_cases(path, tmp_path / "out", made_by, resume)[0].status

    assert [status(segmenter), status(segmenter)] == ["done", "skipped"]
    assert (
        status(Segmenter("hippocampus", other, "cpu", overrides=FREE)) != "skipped" and "other weights" in caplog.text
    )
    assert status(segmenter) == "done"
    assert status(Segmenter("hippocampus", weights, "cpu", overrides={**FREE, "spacing": [2.0, 1.0, 1.0]})) != "skipped"
    assert [status(segmenter), status(segmenter)] == ["done", "skipped"]
    with monkeypatch.context() as changed:
        changed.setitem(segmenter.settings, "overlap", 0.75)  # as if the bundle said otherwise by now
        assert [status(segmenter), status(segmenter)] == ["done", "skipped"]
    assert status(segmenter) == "done"
    assert status(Segmenter("hippocampus", weights, "cpu", overrides={**FREE, "engine": "torch"})) == "skipped"


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
