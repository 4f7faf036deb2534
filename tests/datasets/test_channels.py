"""Images whose channels lie in one 4D file: found as cases, checked, and refused with a sentence."""

import json

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ANISOTROPIC, ellipsoids, write_volume
from ulite_monai.datasets.cases import find_cases
from ulite_monai.datasets.check import check_dataset
from ulite_monai.datasets.inspect import inspect_path
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.errors import InputError
from ulite_monai.planning.fingerprint import fingerprint
from ulite_monai.planning.ranges import training_ranges
from ulite_monai.transforms import LoadVolumed

SHAPE = (24, 28, 20)
SAID = {"modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"0": "background", "1": "a", "2": "b"}}


def write_timed(path, array):
    """As ITK writes it, which gives every fourth axis seconds."""
    image = nib.Nifti1Image(array, ANISOTROPIC)
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


@pytest.fixture
def stacked(tmp_path):
    """A function that writes a data set of 4D images, the second channel the negative of the first plus 7."""

    def make(said=None, counts=(2, 2, 2, 2, 2), write=write_timed, name="case_{}"):
        entries = []
        for number, count in enumerate(counts):
            image, label = ellipsoids(SHAPE, seed=number)
            channels = np.stack([image, *[7 * n - image for n in range(1, count)]], axis=-1)
            file = f"{name.format(number)}.nii.gz"
            write(tmp_path / "imagesTr" / file, channels)
            write_volume(tmp_path / "labelsTr" / file, label, ANISOTROPIC)
            entries.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
        if said is not None:
            (tmp_path / "dataset.json").write_text(json.dumps({"training": entries} | said))
        return tmp_path

    return make


def untimed(path, array):
    write_volume(path, array, ANISOTROPIC)


@pytest.mark.parametrize(
    ("said", "write", "names", "modality"),
    [
        (SAID | {"tensorImageSize": "4D"}, write_timed, ["FLAIR", "T1w"], "MR"),
        (SAID, write_timed, ["FLAIR", "T1w"], "MR"),
        ({"channel_names": {"0": "x", "1": "y"}}, write_timed, ["x", "y"], None),
        ({"tensorImageSize": "4D"}, write_timed, ["image_0", "image_1"], None),
        ({"modality": "MR"}, untimed, ["image_0", "image_1"], "MR"),
        (None, untimed, ["image_0", "image_1"], None),
    ],
)
def test_a_data_set_of_4d_images(stacked, said, write, names, modality):
    data = read_labelled_set(stacked(said, write=write))
    assert (data.channels, data.modality, data.values) == (names, modality, [1, 2])
    assert [item["case_id"] for item in data.items] == [f"case_{n}" for n in range(5)]
    loaded = LoadVolumed("image")(data.items[3])["image"]
    image, _ = ellipsoids(SHAPE, seed=3)
    np.testing.assert_array_equal(loaded[0], image)
    np.testing.assert_array_equal(loaded[1], 7 - image)


def test_check_and_fingerprint_see_the_channels(stacked):
    folder = stacked(SAID)
    report = check_dataset(folder)
    smaller, channels = [finding.text for finding in report.findings]
    assert "are smaller than a patch" in smaller
    assert channels == "its images have 2 channels: train with --in_channels 2."
    assert ("channels", "FLAIR, T1w (MR)") in report.summary and report.rows[0].size == SHAPE
    data = read_labelled_set(folder)
    found = fingerprint(data)
    assert found["channels"] == 2 and found["cases"][0]["shape"] == [24, 20, 28]
    (low, high), (other_low, other_high) = found["cases"][0]["range"]
    assert (other_low, other_high) == pytest.approx((7 - high, 7 - low), rel=1e-6)
    assert training_ranges(data.items)["spacing_mm"] == [0.45, 4.6]


def test_the_same_file_twice_is_seen(stacked):
    folder = stacked(SAID)
    (folder / "imagesTr/case_1.nii.gz").write_bytes((folder / "imagesTr/case_0.nii.gz").read_bytes())
    assert any("case_0, case_1: their images are the same file" in f.text for f in check_dataset(folder).findings)


def test_a_series_is_refused_where_no_channels_are_declared(stacked):
    for said, write in ((None, write_timed), ({"modality": {"0": "MR"}}, untimed)):  # the latter declares one
        errors = [f.text for f in check_dataset(stacked(said, write=write)).findings if f.level == "error"]
        assert len(errors) == 5 and "case_0.nii.gz: holds 2 volumes (shape (24, 28, 20, 2)), one is need" in errors[0]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((2, 2, 3, 2, 2), r"case_2.nii.gz: the case has 3 channels, but most have 2\."),
        ((2, 2, 2, 1, 2), r"case_3.nii.gz: the case has 1 channels, but most have 2\."),
    ],
)
def test_another_number_of_channels(stacked, counts, words):
    (error,) = [f.text for f in check_dataset(stacked(None, counts, untimed)).findings if f.level == "error"]
    assert error.endswith(words.replace("\\", ""))
    with pytest.raises(InputError, match=r"case_[23].nii.gz: the case has [31] channels, case_0 2"):
        fingerprint(read_labelled_set(stacked(None, counts, untimed)))


@pytest.mark.parametrize("key", ["channel_names", "modality"])
def test_a_number_that_isnt_the_declared_one(stacked, key):
    folder = stacked({key: {"0": "a", "1": "b"}}, (2, 2, 3, 2, 2))
    words = r"dataset.json: names 2 channels, a, b, but .*case_2.nii.gz holds 3 along its fourth axis; correct one"
    with pytest.raises(InputError, match=words):
        read_labelled_set(folder)


@pytest.mark.parametrize("last", [1, 2])
def test_a_label_of_four_axes(stacked, last):
    folder = stacked(SAID)
    label = np.repeat(ellipsoids(SHAPE, seed=0)[1][..., None], last, axis=-1)
    untimed(folder / "labelsTr" / "case_0.nii.gz", label)
    errors = [finding.text for finding in check_dataset(folder).findings if finding.level == "error"]
    words = "labelsTr/case_0.nii.gz: holds 2 volumes (shape (24, 28, 20, 2)), one is needed; split it"
    assert errors == [] if last == 1 else len(errors) == 1 and words in errors[0]


def test_a_file_that_is_missing_or_damaged(stacked):
    folder = stacked(SAID)
    file = folder / "imagesTr" / "case_1.nii.gz"
    file.write_bytes(file.read_bytes()[:-2000])
    errors = [finding.text for finding in check_dataset(folder).findings if finding.level == "error"]
    assert len(errors) == 1 and "case_1.nii.gz: is cut short or corrupt" in errors[0]
    file.unlink()
    with pytest.raises(InputError, match=r"case_1.nii.gz: the image of case case_1 .* doesn't exist"):
        read_labelled_set(folder)


def test_cases_to_segment_keep_their_names(stacked):
    """Also where a number at the end would make a file one channel of a case."""
    folder = stacked(None, name="p#{}_0000")
    write_volume(folder / "imagesTr" / "other_0000.nii.gz", np.zeros(SHAPE))
    write_volume(folder / "imagesTr" / "other_0001.nii.gz", np.zeros(SHAPE))
    cases = {case.id: case.channels for case in find_cases(folder, channels=2)}
    assert [*cases] == ["other", *(f"p#{n}_0000" for n in range(5))]
    file = folder / "imagesTr" / "p#3_0000.nii.gz"
    assert cases["p#3_0000"] == [f"{file}#0", f"{file}#1"]
    assert [case.channels for case in find_cases(file, channels=2)] == [[f"{file}#0", f"{file}#1"]]
    assert [case.channels for case in find_cases(file)] == [[str(file)]]


def test_inspect_lists_a_4d_file_as_one_case(stacked):
    stacked(None, (2, 3), untimed)
    folder = stacked(None, (2, 2, 2)[:1], write_timed, "timed_{}") / "imagesTr"
    rows = {row.id: row for row in inspect_path(folder).rows}
    assert rows["case_0"].size == rows["case_1"].size == SHAPE and rows["case_1"].problem is None
    assert rows["case_1"].notes == ("holds 3 channels, for a bundle that takes so many.",)
    assert "holds 2 volumes" in rows["timed_0"].problem
