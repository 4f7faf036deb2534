"""`ulite check` finds what training would refuse, and what it would warn of."""

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import read_json, write_volume
from ulite_monai.datasets.check import FOLDS, PATCHES, check_dataset


def found(dataset, level):
    return [finding.text for finding in check_dataset(dataset).findings if finding.level == level]


def declare(dataset, labels, encoding="utf-8"):
    (dataset / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}), encoding)


def test_a_data_set_without_a_fault(make_dataset):
    dataset = make_dataset(cases=5, shape=(44, 60, 44))
    assert check_dataset(dataset).findings == []


def test_the_defaults_are_those_of_the_bundles(root):
    volumes, images = (read_json(root / name / "configs/train.json") for name in ("bundle", "examples/nuclei_bundle"))
    assert (PATCHES[3], PATCHES[2]) == (tuple(volumes["patch_size"]), tuple(images["patch_size"]))
    assert volumes["spacing"] == [1.0] * 3 and volumes["num_folds"] == images["num_folds"] == FOLDS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    ("labels", "errors"),
    [
        ({"background": 0, "a": 1, "b": 2}, 0),
        ({"a": 1, "b": 2}, 0),
        ({"1": "a", "2": "b"}, 0),
        ({"0": "background", "1": "a"}, 5),
        ({"a": 1}, 5),
    ],
    ids=str,
)
def test_labels_are_counted_by_their_values(make_dataset, labels, errors, encoding):
    dataset = make_dataset(cases=5)
    declare(dataset, labels, encoding)
    assert len(found(dataset, "error")) == errors


def test_values_that_arent_consecutive(make_dataset):
    dataset = make_dataset(cases=5)
    for path in (dataset / "labelsTr").iterdir():
        label = np.asarray(nib.load(path).dataobj)
        write_volume(path, np.where(label == 2, 4, label).astype(np.uint8), nib.load(path).affine)
    report = check_dataset(dataset)
    assert ("classes", "1 class_1, 4 class_2") in report.summary
    assert found(dataset, "error") == []
    declare(dataset, {"a": 1, "b": 4, "c": 7})
    assert found(dataset, "error") == []
    assert [w for w in found(dataset, "warning") if "no case holds" in w] == ["no case holds the label value 7, c."]


def test_what_is_there_is_said_first(make_dataset):
    dataset = make_dataset(cases=5)
    declare(dataset, {"background": 0, "a": 1, "ignore": 2})
    assert check_dataset(dataset, group=".$").summary == [
        ("layout", "nnU-Net, dataset.json beside imagesTr and labelsTr"),
        ("cases", "5"),
        ("channels", "image"),
        ("classes", "1 a"),
        ("ignored value", "2"),
    ]
    assert ("cases", "5 in 2 groups") in check_dataset(dataset, group="case_0|case").summary


def second_channel(dataset, cases):
    for path in sorted((dataset / "imagesTr").iterdir()):
        name = path.name.removesuffix(".nii.gz")
        if name in cases:
            (path.parent / f"{name}_0001.nii.gz").write_bytes(path.read_bytes())
        path.rename(path.parent / f"{name}_0000.nii.gz")


def test_several_channels_need_an_id_and_the_same_number_of_them(make_dataset):
    dataset = make_dataset(cases=5, name="all")
    second_channel(dataset, [f"case_{n}" for n in range(5)])
    assert "its images have 2 channels: train with --in_channels 2." in found(dataset, "warning")
    dataset = make_dataset(cases=5, name="one")
    second_channel(dataset, ["case_3"])
    (error,) = found(dataset, "error")
    assert "case_3_0000.nii.gz: the case has 2 channels, but most have 1." in error


def test_small_cases_single_slices_and_few_cases_are_warned_of(make_dataset):
    warnings = found(make_dataset(cases=3, shape=(44, 60, 39)), "warning")
    assert warnings == [
        "3 of 3 cases are smaller than a patch of 40 x 56 x 40 and are padded: case_0 measures 44 x 60 x 39.",
        "3 cases can't be split into 5 folds: train with --num_folds 3.",
    ]
    dataset = make_dataset(cases=5, name="slices")
    for folder in ("imagesTr", "labelsTr"):
        for path in (dataset / folder).iterdir():
            image = nib.load(path)
            write_volume(path, np.asarray(image.dataobj)[..., 10:11], image.affine)
    assert sum("is a single slice, of shape (24, 28, 1)" in w for w in found(dataset, "warning")) == 5


def test_images_and_volumes_in_one_data_set(make_dataset):
    dataset = make_dataset(cases=5)
    for folder in ("imagesTr", "labelsTr"):
        Image.fromarray(np.eye(300, dtype=np.uint8)).save(dataset / folder / "photo.png")
    assert "some cases are 2D images, others volumes; separate them." in found(dataset, "error")
