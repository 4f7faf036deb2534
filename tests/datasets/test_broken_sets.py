"""Data sets that are wrong in one way each, and the line that tells it: the file, what was found, what to do."""

import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_volume
from tests.io.test_itk_image import nrrd
from ulite_monai.datasets.check import check_dataset
from ulite_monai.datasets.folds import split
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.errors import InputError

IMAGE, LABEL = "imagesTr/case_1.nii.gz", "labelsTr/case_1.nii.gz"
SAID = {"labels": {"background": 0, "a": 1, "b": 2}, "channel_names": {"0": "T1"}, "file_ending": ".nii.gz"}


def change(file, array=lambda array: array, affine=lambda affine: affine):
    def spoil(folder):
        image = nib.load(folder / file)
        write_volume(folder / file, array(np.asarray(image.dataobj)), affine(image.affine.copy()))

    return spoil


def say(text, name="dataset.json", encoding="utf-8", **more):
    def spoil(folder):
        content = text if isinstance(text, str) else json.dumps(SAID | text if isinstance(text, dict) else text)
        (folder / name).write_text(content, encoding)
        return folder / name if more.get("itself") else None

    return spoil


def listed(*entries, **more):
    whole = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(3)]
    return say({"training": [*whole, *entries]}, "list.json", itself=True, **more)


def table(*lines):
    return say("\n".join(lines), "table.csv", itself=True)


def with_value(value):
    def put(array):
        array = array.astype(np.int16 if np.isfinite(value) and value == round(value) else np.float32)
        array[3, 4, 5] = value
        return array

    return put


def undeclared(*spoils):
    def spoil(folder):
        (folder / "dataset.json").unlink()
        for one in spoils:
            one(folder)

    return spoil


def photo(file):
    return lambda folder: Image.new("L", (30, 30)).save(folder / file)


def channels(*missing):
    def spoil(folder):
        for path in sorted((folder / "imagesTr").iterdir()):
            for number in range(2):
                name = path.name.replace(".nii.gz", f"_{number:04}.nii.gz")
                if name not in missing:
                    shutil.copy(path, path.with_name(name))
            path.unlink()
        (folder / "dataset.json").unlink()

    return spoil


def zero_spacing(folder):
    data = bytearray(gzip.decompress((folder / IMAGE).read_bytes()))
    data[280:284] = bytes(4)  # the x of the first axis in the sform
    (folder / IMAGE).write_bytes(gzip.compress(bytes(data)))


def truncated(folder):
    (folder / IMAGE).write_bytes((folder / IMAGE).read_bytes()[:9000])


def photos(folder, mask="1.png", save=lambda array, path: Image.fromarray(array).save(path), size=(40, 30)):
    shutil.rmtree(folder / "imagesTr")
    shutil.rmtree(folder / "labelsTr")
    (folder / "dataset.json").unlink()
    for name in ("images", "masks"):
        (folder / name).mkdir()
        for number in range(3):
            Image.fromarray(np.eye(30, 40, dtype=np.uint8) * 255).save(folder / name / f"{number}.png")
    (folder / "masks" / "1.png").unlink()
    save(np.eye(*size[::-1], dtype=np.uint8) * 255, folder / "masks" / mask)


def in_colour(array, path):
    Image.fromarray(np.stack([array, array // 2, array], -1)).save(path)


def bids(folder, flair=(0, 1, 2)):
    for number in range(3):
        for suffix in ("T1w", *(["FLAIR"] if number in flair else [])):
            target = folder / f"rawdata/sub-{number}/anat/sub-{number}_{suffix}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"imagesTr/case_{number}.nii.gz", target)
        target = folder / f"derivatives/hand/sub-{number}/anat/sub-{number}_dseg.nii.gz"
        target.parent.mkdir(parents=True)
        shutil.copy(folder / f"labelsTr/case_{number}.nii.gz", target)
    for name in ("imagesTr", "labelsTr"):
        shutil.rmtree(folder / name)
    (folder / "dataset.json").unlink()


def without_an_image(folder):
    bids(folder)
    shutil.rmtree(folder / "rawdata/sub-1")


def names_of_segments(folder):
    path = folder / "labelsTr" / "case_1.nii.gz"
    array = np.asarray(nib.load(path).dataobj)
    fields = ("Segment0_LabelValue:=1", "Segment0_Name:=b", "Segment1_LabelValue:=2", "Segment1_Name:=a")
    nrrd(path.with_name("case_1.seg.nrrd"), array, "uchar", "(1,0,0) (0,-1,0) (0,0,1)", *fields)
    path.unlink()
    say({"file_ending": None})(folder)


BROKEN = {
    "an image without a label": (lambda d: (d / LABEL).unlink(), f"{IMAGE}: no label for this image (1 of 3"),
    "a label without an image": (lambda d: (d / IMAGE).unlink(), f"{LABEL}: no image for this label (1 of 3"),
    "two labels of a case": (
        lambda d: (d / "labelsTr/case_1.nrrd").touch(),
        "case_1.nrrd: is a second label of its case, beside case_1.nii.gz",
    ),
    "another shape": (change(LABEL, lambda a: a[1:]), f"{LABEL}: has shape (23, 28, 20), its image"),
    "another place": (change(LABEL, affine=lambda m: m + np.eye(4, k=3) * 3), f"{LABEL}: lies up to 3 voxels away"),
    "another voxel size": (change(LABEL, affine=lambda m: m @ np.diag([2, 1, 1, 1])), "voxels away from its image"),
    "a label of four dimensions": (change(LABEL, lambda a: np.stack([a, a], -1)), f"{LABEL}: holds 2 volumes"),
    "an image of four dimensions": (change(IMAGE, lambda a: np.stack([a, a], -1)), f"{IMAGE}: holds 2 volumes"),
    "a fraction": (change(LABEL, with_value(1.5)), f"{LABEL}: label values must be whole numbers, found 1.5"),
    "an unknown value": (
        change(LABEL, with_value(7)),
        "holds label values [7], which no class has (there are 0 backgr",
    ),
    "a negative value": (change(LABEL, with_value(-1)), f"{LABEL}: holds negative label values [-1]"),
    "no label but background": (
        undeclared(*(change(f"labelsTr/case_{n}.nii.gz", lambda a: a * 0) for n in range(3))),
        "no label holds anything but background, in 3 cases",
    ),
    "an image as a label": (
        undeclared(lambda d: shutil.copy(d / IMAGE, d / LABEL)),
        f"{LABEL}: label values must be whole numbers",
    ),
    "many values": (
        undeclared(change(LABEL, lambda a: np.arange(a.size, dtype=np.int16).reshape(a.shape))),
        f"{LABEL}: holds 13440 different values",
    ),
    "NaN": (change(IMAGE, with_value(np.nan)), f"{IMAGE}: 1 of 13,440 voxels are NaN"),
    "a file cut short": (truncated, f"{IMAGE}: is cut short or corrupt"),
    "an empty file": (lambda d: (d / IMAGE).write_bytes(b""), f"{IMAGE}: is empty (0 bytes)"),
    "voxels of no size": (zero_spacing, f"{IMAGE}: its affine "),
    "one file ends otherwise": (
        lambda d: nib.save(nib.load(d / IMAGE), d / "imagesTr/case_1.nii") or (d / IMAGE).unlink(),
        "imagesTr/case_1.nii: isn't .nii.gz, the file_ending",
    ),
    "images and volumes": (
        undeclared(*(photo(f"{part}Tr/photo.png") for part in ("images", "labels"))),
        "some cases are 2D images, others volumes",
    ),
    "no first channel": (channels("case_1_0000.nii.gz"), "case_1_0001.nii.gz: is a channel of case case_1, whose chan"),
    "no second channel": (
        channels("case_1_0001.nii.gz"),
        "case_1_0000.nii.gz: the case has 1 channels, but most have 2",
    ),
    "more names than channels": (
        say({"channel_names": {"0": "T1", "1": "T2"}}),
        "dataset.json: names 2 channels, T1, T2, but case_0 has 1",
    ),
    "no JSON": (say("{'labels'"), "dataset.json: is not valid JSON (Expecting property name"),
    "another encoding": (
        say('{"labels": {"Hügel": 1}}', encoding="latin-1"),
        "dataset.json: is not valid JSON, it isn't UTF-8 text",
    ),
    "labels in a list": (say({"labels": ["background", "a"]}), "dataset.json: labels must be an object such as"),
    "two names of a value": (say({"labels": {"a": 1, "b": 1}}), "dataset.json: calls the value 1 both 'a' and 'b'"),
    "two classes of a name": (say({"labels": {"1": "a", "2": "A "}}), "dataset.json: calls both values 1 and 2 'A '"),
    "a class to ignore": (
        say({"ignore_label": 2}),
        "dataset.json: the value 2 is both the class 'b' and to be ignored",
    ),
    "a missing file": (listed({"image": "gone.nii", "label": LABEL}), "gone.nii: the image of case gone in"),
    "a case twice": (listed({"image": IMAGE, "label": LABEL}), "would both be case 'case_1'"),
    "an entry without an image": (listed({"label": LABEL}), "list.json: an entry has no image"),
    "a fold that is no number": (
        listed({"image": IMAGE, "label": LABEL, "fold": "first", "case_id": "x"}),
        "list.json: a fold must be 0, 1, 2, ..., got 'first'",
    ),
    "a table without a header": (
        table(f"{IMAGE},{LABEL}"),
        f"table.csv: its first line must name the columns image and label (and group, if wanted), found '{IMAGE}",
    ),
    "a table with a wrong column": (table("image,mask", f"{IMAGE},{LABEL}"), "must name the columns image and label"),
    "a table that leads out": (
        table("image,label", f"../{IMAGE},{LABEL}"),
        f"table.csv: line 2 names ../{IMAGE}, which leads out of the table's folder",
    ),
    "a table with a gap": (table("image,label", f"{IMAGE},"), "table.csv: line 2 names no label"),
    "a mask as JPEG": (lambda d: photos(d, "1.jpg"), "masks/1.jpg: is a JPEG, whose compression changes the values"),
    "a mask in colour": (lambda d: photos(d, save=in_colour), "masks/1.png: is a colour image of mode RGB"),
    "a mask of another size": (
        lambda d: photos(d, size=(40, 29)),
        "masks/1.png: has shape (40, 29), its image",
    ),
    "BIDS without an image": (without_an_image, "sub-1_dseg.nii.gz: no image for this label; its name would be"),
    "BIDS with other channels": (lambda d: bids(d, flair=(0, 1)), "sub-2 has the images T1w, sub-0 has FLAIR, T1w"),
    "nothing known": (lambda d: d / "imagesTr", "holds neither dataset.json nor the folders imagesTr and labelsTr"),
    "nothing at all": (lambda d: d / "gone", "gone: no such file or folder; give a folder with dataset.json"),
}


@pytest.fixture
def dataset(make_dataset):
    folder = make_dataset(cases=3)
    (folder / "dataset.json").write_text(json.dumps(SAID))
    return folder


def told(dataset, level="error", group=None):
    """What `ulite check` says."""
    try:
        return [finding.text for finding in check_dataset(dataset, group=group).findings if finding.level == level]
    except InputError as error:
        return [str(error)]


def test_before_anything_is_wrong(dataset):
    assert told(dataset) == []


@pytest.mark.parametrize("name", BROKEN)
def test_one_line_tells_what_is_wrong(dataset, name):
    spoil, words = BROKEN[name]
    at = spoil(dataset)
    (text,) = told(at if isinstance(at, Path) else dataset)
    assert words in text


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("[0-9]{2}", "finds nothing in the case id 'case_0'; change the pattern"),
        ("case", "puts all 3 cases into one group, 'case'"),
        ("(", "is no regular expression"),
    ],
)
def test_patterns_that_group_nothing(dataset, pattern, words):
    (text,) = told(dataset, group=pattern)
    assert words in text


def test_what_may_be_right_is_a_warning(dataset):
    change(LABEL, lambda a: a * 0)(dataset)
    change("labelsTr/case_2.nii.gz", lambda a: a * (a != 2))(dataset)
    warnings = told(dataset, "warning")
    assert any(f"{LABEL}: is empty, no voxel is labelled" in text for text in warnings)
    assert told(dataset) == []


def test_names_that_contradict_are_a_warning(dataset):
    names_of_segments(dataset)
    assert any(
        "case_1.seg.nrrd: calls the value 1 'b', which is 'a' in the data set" in t for t in told(dataset, "warning")
    )


def test_one_case_and_one_group_can_not_be_split(make_dataset):
    dataset = make_dataset(cases=1)
    assert "1 cases can't be split into 5 folds: train with --fold all." in told(dataset, "warning")
    items = [item | {"group": "p"} for item in read_labelled_set(make_dataset(cases=3)).items]
    with pytest.raises(InputError, match="1 groups of cases can't be split into 2 folds; add cases or give --fold all"):
        split(items, "train", 0, 2, 0)
