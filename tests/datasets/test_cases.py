"""Cases found in the layouts that people have."""

import json
import os
import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_volume
from ulite_monai.datasets.cases import Case, case_items, find_cases, stem
from ulite_monai.datasets.layouts import find_layout
from ulite_monai.errors import InputError
from ulite_monai.io.images import write_mask
from ulite_monai.io.output_folder import OutputFolder

VOXELS = np.zeros((3, 4, 5), np.uint8)


def ids(cases):
    return [case.id for case in cases]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.nii.gz", "a"), ("a.b.nii", "a.b"), ("a.NII.GZ", "a"), ("scan", "scan"), ("x.nrrd", "x"), ("v1.2", "v1.2")],
)
def test_stem(tmp_path, name, expected):
    assert stem(tmp_path / name) == expected


def test_a_file(tmp_path):
    path = write_volume(tmp_path / "brain.nii.gz", VOXELS)
    assert find_cases(path) == [Case("brain", (path,))]
    assert case_items(find_cases(path)) == [{"image": str(path), "case_id": "brain"}]


def test_a_folder_recursively_with_relative_ids(tmp_path):
    for name in ("b.nii", "a.nii.gz", "sub/a.nii.gz", ".hidden.nii.gz"):
        write_volume(tmp_path / name, VOXELS)
    (tmp_path / "notes.txt").write_text("x")
    assert ids(find_cases(tmp_path)) == ["a", "b", "sub/a"]


def test_nnunet_channels_are_one_case(tmp_path):
    for name in ("p_1_0000", "p_1_0001", "p_2_0000", "odd_0007"):
        write_volume(tmp_path / "imagesTs" / f"{name}.nii.gz", VOXELS)
    cases = {case.id: case for case in find_cases(tmp_path)}
    assert sorted(cases) == ["odd_0007", "p_1", "p_2"]
    assert [p.name for p in cases["p_1"].image] == ["p_1_0000.nii.gz", "p_1_0001.nii.gz"]
    assert isinstance(cases["p_1"].item()["image"], list) and isinstance(cases["p_2"].item()["image"], str)


def test_in_any_folder_where_the_network_takes_several(tmp_path):
    for name in ("p_1_0000", "p_1_0001", "p_2"):
        write_volume(tmp_path / "new" / f"{name}.nii.gz", VOXELS)
    assert ids(find_cases(tmp_path / "new")) == ["p_1_0000", "p_1_0001", "p_2"]
    assert ids(find_cases(tmp_path / "new", channels=2)) == ["p_1", "p_2"]


def test_links_are_followed_and_broken_ones_are_cases(tmp_path):
    """A broken one fails with a sentence when it is read; passed over, it would be missed by nobody."""
    write_volume(tmp_path / "elsewhere" / "b.nii.gz", np.ones((2, 3, 4), np.float32))
    folder = tmp_path / "in"
    write_volume(folder / "a.nii.gz", np.ones((2, 3, 4), np.float32))
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "back").symlink_to(folder)  # a circle
    (folder / "up").symlink_to(tmp_path)  # out of it
    (folder / "c.nii.gz").symlink_to(tmp_path / "not fetched")
    assert [case.id for case in find_cases(folder)] == ["a", "c", "linked/b"]


def test_masks_beside_images_are_no_inputs(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((4, 3), np.uint8)).save(tmp_path / name / "a.png")
    assert [case.image for case in find_cases(tmp_path)] == [(tmp_path / "images" / "a.png",)]
    ours = OutputFolder(tmp_path / "masks", overwrite=True)  # which may stand beside other inputs
    with ours.writing([tmp_path / "masks" / "a.png"]):
        write_mask(np.zeros((3, 4), np.uint8), tmp_path / "masks" / "a.png")
    ours.write_record({})
    assert ids(find_cases(tmp_path)) == ["images/a"]


def test_two_inputs_of_one_output_are_both_named(tmp_path):
    for name in ("a.nii", "a.nii.gz"):
        write_volume(tmp_path / name, VOXELS)
    with pytest.raises(InputError, match=r"a\.nii .*a\.nii\.gz|a\.nii\.gz .*a\.nii "):
        find_cases(tmp_path)


def test_a_data_list(tmp_path):
    write_volume(tmp_path / "x" / "one.nii.gz", VOXELS)
    (tmp_path / "list.json").write_text(json.dumps({"testing": ["x/one.nii.gz", {"image": "x/two.nii.gz"}]}))
    cases = find_cases(tmp_path / "list.json")
    assert ids(cases) == ["one", "two"] and cases[0].image == (tmp_path / "x" / "one.nii.gz",)
    (tmp_path / "plain.json").write_text(json.dumps([{"image": ["a_0.nii", "a_1.nii"], "case_id": "a"}]))
    (case,) = find_cases(tmp_path / "plain.json")
    assert case.id == "a" and len(case.image) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "not valid JSON"), ("{}", "none of the lists"), ('[{"label": "x"}]', "no image"), ("[]", "no volume")],
)
def test_a_broken_data_list(tmp_path, content, words):
    (tmp_path / "list.json").write_text(content)
    with pytest.raises(InputError, match=words):
        find_cases(tmp_path / "list.json")


@pytest.mark.parametrize(("name", "words"), [("gone", "no such file"), ("empty", "no volume or image")])
def test_nothing_there(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=words):
        find_cases(tmp_path / name)


def test_a_dicom_tree_is_its_series_with_nothing_of_the_patient(shared_data):
    folder = shared_data / "dicom" / "odd_series"
    cases = find_cases(folder)
    assert len(cases) == 3 and all(re.fullmatch(r"series\d*_[0-9a-f]{8}", case.id) for case in cases)
    assert [case.series.problem is None for case in cases].count(True) == 2
    assert cases[0].item()["image"] == f"{folder}#{cases[0].id}"


def test_a_pair_of_files_is_one_case(tmp_path):
    nib.save(nib.Nifti1Pair(VOXELS, np.eye(4)), tmp_path / "pair.img")
    for path in (tmp_path, tmp_path / "pair.img", tmp_path / "pair.hdr"):
        assert find_cases(path) == [Case("pair", (tmp_path / "pair.hdr",))]


def test_decathlon(hippocampus):
    cases = find_layout(hippocampus).cases
    assert len(cases) == 208 and cases[0].id == "hippocampus_001"
    assert cases[0].label == hippocampus / "labelsTr" / "hippocampus_001.nii.gz"
    assert ids(find_cases(hippocampus / "dataset.json")) == ids(cases)


def test_labelled_folders_without_a_list(make_dataset):
    dataset = make_dataset(cases=3)
    assert ids(find_layout(dataset).cases) == ["case_0", "case_1", "case_2"]


def test_a_missing_label_is_named_with_the_remedy(make_dataset):
    dataset = make_dataset(cases=3)
    (dataset / "labelsTr" / "case_1.nii.gz").unlink()
    with pytest.raises(InputError, match=r"imagesTr/case_1\.nii\.gz: no label .*1 of 3.*labelsTr/case_1\.nii\.gz"):
        find_layout(dataset)


def test_a_label_without_its_image_is_named(make_dataset):
    root = make_dataset(3)
    (first, *_) = sorted((root / "imagesTr").iterdir())
    first.unlink()
    with pytest.raises(InputError, match=rf"labelsTr.{first.name}: no image for this label \(1 of 3 labels lack"):
        find_layout(root)


def test_two_labels_of_one_case_are_named(make_dataset):
    root = make_dataset(3)
    (first, *_) = sorted((root / "labelsTr").iterdir())
    (root / "labelsTr" / first.name.replace(".nii.gz", ".nrrd")).touch()
    with pytest.raises(InputError, match=rf"is a second label of its case, beside {first.name}"):
        find_layout(root)


def test_channels_that_nnunet_v1_lists_by_their_common_name(make_dataset):
    dataset = make_dataset(cases=2)
    for number in range(2):
        image = dataset / "imagesTr" / f"case_{number}.nii.gz"
        (dataset / "imagesTr" / f"case_{number}_0001.nii.gz").write_bytes(image.read_bytes())
        image.rename(dataset / "imagesTr" / f"case_{number}_0000.nii.gz")
    entries = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(2)]
    (dataset / "dataset.json").write_text(json.dumps({"training": entries}))
    cases = find_layout(dataset).cases
    assert ids(cases) == ["case_0", "case_1"]
    assert [path.name for path in cases[1].image] == ["case_1_0000.nii.gz", "case_1_0001.nii.gz"]


def test_a_listed_image_that_is_gone(make_dataset):
    dataset = make_dataset(cases=3)
    entries = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(4)]
    (dataset / "labelsTr" / "case_3.nii.gz").write_bytes(b"")
    (dataset / "dataset.json").write_text(json.dumps({"training": entries}))
    with pytest.raises(InputError, match=r"imagesTr/case_3\.nii\.gz: the image of case case_3"):
        find_layout(dataset)


@pytest.mark.parametrize(
    ("value", "words"), [("nowhere", "no such file or folder"), ("setup.cfg", "is no labelled data set")]
)
def test_no_dataset(value, words):
    with pytest.raises(InputError, match=words):
        find_layout(value)


def test_a_folder_of_another_layout(tmp_path):
    with pytest.raises(InputError, match=r"neither dataset\.json nor the folders imagesTr"):
        find_layout(tmp_path)


@pytest.mark.parametrize("case_id", ["../x", "/x", "a/../../x", "a//b", ".", "..", "a\\b", "a:b", "a\nb", "a*", "a/ b"])
def test_a_case_id_that_names_no_file_below_a_folder(tmp_path, case_id):
    write_volume(tmp_path / "a.nii.gz", VOXELS)
    (tmp_path / "list.json").write_text(json.dumps([{"image": "a.nii.gz", "case_id": case_id}]))
    with pytest.raises(InputError, match=r"list\.json: .* can't be a case_id, because the outputs are named by it"):
        find_cases(tmp_path / "list.json")


def test_case_ids_that_people_have(tmp_path):
    write_volume(tmp_path / "x" / "a.nii.gz", VOXELS)
    names = ["sub-01/T1 w", "3", "Fall_Müller.v2"]
    entries = [{"image": "x/a.nii.gz", "case_id": int(name) if name.isdigit() else name} for name in names]
    (tmp_path / "list.json").write_text(json.dumps(entries))
    assert ids(find_cases(tmp_path / "list.json")) == sorted(names)
    (tmp_path / "x" / "list.json").write_text(json.dumps([{"image": ".."}, {"image": "a.nii.gz"}]))
    assert ids(find_cases(tmp_path / "x" / "list.json")) == ["a", tmp_path.name]


@pytest.mark.parametrize("image", [5, None, {}, [], ["a.nii.gz", 5]])
def test_an_image_that_is_no_path(tmp_path, image):
    (tmp_path / "list.json").write_text(json.dumps([{"image": image}]))
    with pytest.raises(InputError, match="an entry's image must be a path, or a list of them"):
        find_cases(tmp_path / "list.json")


def test_a_data_list_with_a_byte_order_mark(tmp_path):
    (tmp_path / "list.json").write_text(json.dumps([{"image": "a.nii.gz"}]), encoding="utf-8-sig")
    assert ids(find_cases(tmp_path / "list.json")) == ["a"]


def test_what_cant_be_read_is_a_case(tmp_path, monkeypatch):
    """A folder that can't be listed, one whose files can't be looked at, and files without permission."""
    for name in ("a.nii.gz", "locked/b.nii.gz", "half/c.nii.gz", "secret.dcm", ".hidden"):
        write_volume(tmp_path / "in" / f"{name}.nii", VOXELS).rename(tmp_path / "in" / name)
    listing, stat, locked = os.scandir, os.stat, str(tmp_path / "in" / "locked")

    def scandir(path="."):
        if str(path) == locked:
            raise PermissionError(13, "Permission denied", locked)
        return listing(path)

    def no_stat(path, **options):
        if str(path).endswith("c.nii.gz"):
            raise PermissionError(13, "Permission denied", path)
        return stat(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        patch.setattr(os, "stat", no_stat)
        patch.setattr(os, "access", lambda path, mode: not str(path).endswith(("locked", "secret.dcm", ".hidden")))
        assert ids(find_cases(tmp_path / "in")) == ["a", "half/c", "locked", "secret.dcm"]
        with pytest.raises(InputError, match="locked: can't be read: Permission denied"):
            find_cases(tmp_path / "in" / "locked")


def test_what_this_program_wrote_is_no_input(tmp_path):
    """Also two folders down, and of a run that was killed before its record; the user's beside it is."""
    for name in ("a", "masks/b", "deep/er/masks/b"):
        write_volume(tmp_path / f"{name}.nii.gz", VOXELS)
    for folder in (tmp_path / "masks", tmp_path / "deep" / "er" / "masks"):
        ours = OutputFolder(folder)
        with ours.writing([folder / "a.png"]):
            write_mask(np.zeros((3, 4), np.uint8), folder / "a.png")
        if folder.parent == tmp_path:
            ours.write_record({})
    assert ids(find_cases(tmp_path)) == ["a", "deep/er/masks/b", "masks/b"]
