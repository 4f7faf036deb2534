"""`--resume` leaves what is as it was written, and does the rest again."""

import os

import nibabel as nib
import numpy as np
import pytest

from tests.prediction.conftest import SHAPE, statuses, volume
from ulite_monai.io.cases import Case
from ulite_monai.prediction import PredictOptions, predict_cases
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
