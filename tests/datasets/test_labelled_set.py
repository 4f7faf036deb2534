"""A labelled data set is read alike in every layout that people have."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_volume
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.errors import InputError

CASES = ("p1_a", "p1_b", "p2_a")


@pytest.fixture
def folders(make_dataset):
    """`imagesTr` and `labelsTr` with the cases p1_a, p1_b, p2_a and the values 1 and 2."""
    dataset = make_dataset(cases=3)
    for number, name in enumerate(CASES):
        for folder in ("imagesTr", "labelsTr"):
            (dataset / folder / f"case_{number}.nii.gz").rename(dataset / folder / f"{name}.nii.gz")
    return dataset


def say(dataset, content, name="dataset.json", encoding="utf-8"):
    (dataset / name).write_text(json.dumps(content), encoding)
    return dataset


def entries(**more):
    return [{"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"} | more for name in CASES]


def of_folders(dataset):
    return dataset


def of_the_decathlon(dataset):
    return say(dataset, {"modality": {"0": "CT"}, "labels": {"0": "bg", "2": "b", "1": "a"}, "training": entries()})


def of_nnunet(dataset):
    said = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz"}
    for image in sorted((dataset / "imagesTr").iterdir()):
        image.rename(image.with_name(image.name.replace(".nii.gz", "_0000.nii.gz")))
    return say(dataset, said)


def of_a_data_list(dataset):
    return say(dataset, {"training": entries(group="all")}, "datalist.json") / "datalist.json"


def of_a_table(dataset):
    lines = ["Image;Label;Patient", *(f"imagesTr/{n}.nii.gz;labelsTr/{n}.nii.gz;{n[:2]}" for n in CASES)]
    (dataset / "table.csv").write_text("\n".join(lines), "utf-8-sig")
    return dataset / "table.csv"


def of_bids(dataset):
    for name in CASES:
        subject, session = f"sub-{name[:2]}", f"ses-{name[3]}"
        for folder, base, suffix in (("imagesTr", "rawdata", "T1w"), ("labelsTr", "derivatives/manual", "desc-x_dseg")):
            target = dataset / base / subject / session / "anat" / f"{subject}_{session}_{suffix}.nii.gz"
            target.parent.mkdir(parents=True)
            shutil.move(dataset / folder / f"{name}.nii.gz", target)
    for folder in ("imagesTr", "labelsTr"):
        (dataset / folder).rmdir()
    (dataset / "derivatives/manual/dseg.tsv").write_text("index\tname\n0\tbackground\n1\ta\n2\tb\n")
    return dataset


@pytest.mark.parametrize(
    ("layout", "names", "groups", "modality"),
    [
        (of_folders, ["class_1", "class_2"], list(CASES), None),
        (of_the_decathlon, ["a", "b"], list(CASES), "CT"),
        (of_nnunet, ["a", "b"], list(CASES), "CT"),
        (of_a_data_list, ["class_1", "class_2"], ["all"], None),
        (of_a_table, ["class_1", "class_2"], ["p1", "p2"], None),
        (of_bids, ["a", "b"], ["sub-p1", "sub-p2"], None),
    ],
)
def test_every_layout_gives_the_same_cases(folders, layout, names, groups, modality):
    found = read_labelled_set(layout(folders))
    assert (found.names, found.values, found.groups, found.modality) == (names, [1, 2], groups, modality)
    assert len(found.items) == 3 and found.ignore is None and not found.instances
    for item, seed in zip(found.items, range(3), strict=True):
        label = np.asarray(nib.load(item["label"]).dataobj)
        assert np.asarray(nib.load(item["image"]).dataobj)[label == 2].mean() == pytest.approx(200, abs=2), seed


def test_a_pattern_groups_the_cases(folders):
    assert [item["group"] for item in read_labelled_set(folders, "^[^_]+").items] == ["p1", "p1", "p2"]
    assert read_labelled_set(folders, "[ab]$").groups == ["a", "b"]


def test_folds_are_the_data_lists_own(folders):
    listed = [entry | {"fold": number % 2} for number, entry in enumerate(entries())]
    assert [item["fold"] for item in read_labelled_set(say(folders, {"training": listed})).items] == [0, 1, 0]


def test_folds_may_be_nnunets(folders):
    say(folders, [{"train": ["p1_a"], "val": ["p2_a", "p1_b"]}, {"val": ["p1_a"]}], "splits_final.json")
    assert [item["fold"] for item in read_labelled_set(folders).items] == [1, 0, 0]
    for content, words in (([{"val": ["x"]}], "names none of the cases, p1_a"), ({"val": []}, "must be a list of")):
        say(folders, content, "splits_final.json")
        with pytest.raises(InputError, match=words):
            read_labelled_set(folders)


@pytest.mark.parametrize("values", [(255,), (2, 5)], ids=str)
def test_any_whole_values_are_classes(folders, values):
    for path in (folders / "labelsTr").iterdir():
        label = np.asarray(nib.load(path).dataobj)
        write_volume(path, np.asarray([0, *values, values[-1]], np.uint8)[label], nib.load(path).affine)
    found = read_labelled_set(folders)
    assert found.values == list(values) and found.names == [f"class_{n}" for n in range(1, len(values) + 1)]
    assert not found.declared


@pytest.mark.parametrize(
    "said", [{"labels": {"background": 0, "a": 1, "ignore": 2}}, {"labels": {"a": 1}, "ignore_label": 2}], ids=str
)
def test_a_value_to_ignore_is_no_class(folders, said):
    found = read_labelled_set(say(folders, said))
    assert (found.names, found.values, found.ignore) == (["a"], [1], 2)


def test_regions_of_several_values_are_no_classes(folders):
    found = read_labelled_set(say(folders, {"labels": {"background": 0, "whole": [1, 2], "core": 2}}))
    assert (found.names, found.values) == (["class_1", "class_2"], [1, 2])


def test_channels_have_the_names_of_the_data_set(folders):
    for image in sorted((folders / "imagesTr").iterdir()):
        for number in range(2):
            shutil.copy(image, image.with_name(image.name.replace(".nii.gz", f"_{number:04}.nii.gz")))
        image.unlink()
    assert read_labelled_set(folders).channels == ["image_0", "image_1"]
    found = read_labelled_set(say(folders, {"channel_names": {"0": "T2", "1": "ADC"}, "labels": {"a": 1, "b": 2}}))
    assert found.channels == ["T2", "ADC"] and found.modality == "MR"
    assert [path[-11:-7] for path in found.items[0]["image"]] == ["0000", "0001"]


@pytest.mark.parametrize(
    ("last", "names", "instances"), [(5, [f"class_{n}" for n in range(1, 6)], False), (40, ["class_1"], True)]
)
def test_masks_of_images_may_number_their_objects(tmp_path, last, names, instances):
    for folder in ("Images", "Labels"):
        (tmp_path / folder).mkdir()
    for case in range(4):
        Image.new("RGB", (64, 48)).save(tmp_path / "Images" / f"{case}.png")
        mask = np.zeros((48, 64), np.uint8)
        mask.ravel()[: last - case] = np.arange(1, last - case + 1)
        Image.fromarray(mask).convert("RGB").save(tmp_path / "Labels" / f"{case}.png")
    found = read_labelled_set(tmp_path)
    assert (found.names, found.instances, found.layout) == (names, instances, "Images, Labels")


def test_names_of_segments_are_names_of_classes(folders):
    from tests.io.test_itk_image import nrrd

    fields = ("Segment0_LabelValue:=3", "Segment0_Name:=Liver", "Segment1_LabelValue:=7", "Segment1_Name:=Segment_2")
    for path in list((folders / "labelsTr").iterdir()):
        label = np.asarray([0, 3, 7], np.uint8)[np.asarray(nib.load(path).dataobj)]
        nrrd(
            path.with_name(path.name.replace(".nii.gz", ".seg.nrrd")),
            label,
            "uchar",
            "(1,0,0) (0,-1,0) (0,0,1)",
            *fields,
        )
        path.unlink()
    found = read_labelled_set(folders)
    assert (found.names, found.values) == (["Liver", "class_2"], [3, 7])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_encoding_of_a_description_does_not_matter(folders, encoding):
    assert read_labelled_set(say(folders, {"labels": {"a": 1, "b": 2}}, encoding=encoding)).names == ["a", "b"]


def test_a_pattern_that_groups_nothing(folders):
    for pattern, words in (("z", "finds nothing in the case id 'p1_a'"), ("p", "puts all 3 cases into one group")):
        with pytest.raises(InputError, match=words):
            read_labelled_set(folders, pattern)
