"""Masks of any program against references: what belongs together, where it lies, and what each value is."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import OBLIQUE, ellipsoids, expected_mask, write_volume
from tests.prediction.conftest import volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import PredictOptions, predict_cases
from ulite_monai.prediction.evaluate_masks import evaluate_masks

SHAPE = (16, 20, 12)


def label(number, values=(0, 1, 2)):
    return np.array(values, np.uint8)[ellipsoids(SHAPE, number)[1]]


def folders(tmp_path, values=(0, 1, 2), cases=3, ending=""):
    """References, and masks that are equal to them."""
    for number in range(cases):
        write_volume(tmp_path / "references" / f"case_{number}.nii.gz", label(number, values), OBLIQUE)
        write_volume(tmp_path / "masks" / f"case_{number}{ending}.nii.gz", label(number, values), OBLIQUE)
    return tmp_path / "masks", tmp_path / "references"


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_equal_masks_whatever_the_ending_of_their_names(tmp_path):
    masks, references = folders(tmp_path, ending="_seg")
    seen = []
    done = evaluate_masks(masks, references, tmp_path / "out", pictures=1, on_case=lambda *both: seen.append(both))
    assert seen == [(1, 3), (2, 3), (3, 3)] and not done.refused
    assert [(row["case"], row["label"], row["dice"]) for row in rows(tmp_path / "out")] == [
        (f"case_{number}", name, "1") for number in range(3) for name in ("class_1", "class_2")
    ]
    volume = float(rows(tmp_path / "out")[0]["reference_ml"])
    assert volume == pytest.approx((label(0) == 1).sum() * 1.4 * 0.9 * 2.3 / 1000, rel=1e-5)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("metrics.csv", "summary.json", "report.html", "worst_cases.json", "worst_1_case_0.png")
    }


def test_a_bad_case_loses_no_other_and_is_told(tmp_path):
    masks, references = folders(tmp_path, cases=7)
    (masks / "case_1.nii.gz").unlink()
    write_volume(masks / "case_2.nii.gz", label(2)[:-1], OBLIQUE)
    moved = OBLIQUE.copy()
    moved[0, 3] += 0.5
    write_volume(masks / "case_3.nii.gz", label(3), moved)
    write_volume(masks / "case_4.nii.gz", label(4) + np.float32(0.5), OBLIQUE)
    (masks / "case_5.nii.gz").write_bytes(b"no volume")
    write_volume(masks / "another.nii.gz", label(0), OBLIQUE)
    done = evaluate_masks(masks, references, tmp_path / "out", pictures=0)
    assert {row["case"] for row in rows(tmp_path / "out")} == {"case_0", "case_6"}
    assert list(done.refused) == [f"case_{number}" for number in range(1, 6)]
    for number, words in enumerate(
        [
            "masks holds no mask of it",
            "has 15x20x12 voxels, its reference references/case_2.nii.gz 16x20x12",
            "lies elsewhere than its reference references/case_3.nii.gz, by up to 0.5 mm",
            "holds 0.5; label maps hold whole numbers",
            "masks/case_5.nii.gz: ",
        ],
        start=1,
    ):
        assert words in done.refused[f"case_{number}"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["not_evaluated"] == done.refused and str(tmp_path) not in json.dumps(summary)


def test_a_mask_stored_in_another_order_is_turned(tmp_path):
    masks, references = folders(tmp_path)
    for file in masks.iterdir():
        image = nib.load(file)
        turn = nib.orientations.ornt_transform(nib.io_orientation(OBLIQUE), nib.orientations.axcodes2ornt("SPL"))
        turned = image.as_reoriented(turn)
        assert turned.shape != SHAPE
        nib.save(turned, file)
    evaluate_masks(masks, references, tmp_path / "out", pictures=0)
    assert {row["dice"] for row in rows(tmp_path / "out")} == {"1"}


@pytest.mark.slow
def test_values_are_named_by_a_table_and_others_refused(tmp_path):
    masks, references = folders(tmp_path, values=(0, 5, 2))
    table = tmp_path / "names.csv"
    table.write_text("value;name\n0;nothing\n2;spleen\n5;liver\n")
    write_volume(masks / "case_1.nii.gz", label(1, (0, 5, 7)), OBLIQUE)
    done = evaluate_masks(masks, references, tmp_path / "out", names=table, pictures=0)
    assert [row["label"] for row in rows(tmp_path / "out")] == ["spleen", "liver"] * 2
    assert "holds the value 7, which has no name (named are 2 spleen, 5 liver)" in done.refused["case_1"]
    volumes = [float(row["reference_ml"]) for row in rows(tmp_path / "out")[:2]]
    ratio = (label(0) == 2).sum() / (label(0) == 1).sum()
    assert volumes[0] / volumes[1] == pytest.approx(ratio, rel=1e-4)
    evaluate_masks(masks, references, tmp_path / "all", pictures=0)  # without a table every value counts
    found = {(row["case"], row["label"]): row["status"] for row in rows(tmp_path / "all")}
    assert found["case_1", "class_1"] == "missed" and found["case_1", "class_3"] == "invented"
    table.write_text("value,name\n2,spleen\n2,liver\n")
    with pytest.raises(InputError, match="must give every value one name"):
        evaluate_masks(masks, references, tmp_path / "no", names=table)


def test_ignored_voxels_count_nowhere(tmp_path):
    masks, references = folders(tmp_path)
    for number in range(3):
        reference = label(number)
        reference[:, :10] = 9
        write_volume(references / f"case_{number}.nii.gz", reference, OBLIQUE)
    (references / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "a": 1, "b": 2, "ignore": 9}}))
    evaluate_masks(masks, references, tmp_path / "out", pictures=0)
    found = rows(tmp_path / "out")
    assert {row["label"] for row in found} == {"a", "b"} and {row["dice"] for row in found} <= {"1", ""}
    inside = (label(0)[:, 10:] == 2).sum() * 1.4 * 0.9 * 2.3 / 1000
    assert float(found[1]["volume_ml"]) == pytest.approx(inside, rel=1e-5)


@pytest.mark.slow
def test_a_data_set_gives_names_and_images(tmp_path, make_dataset):
    data = make_dataset(3)
    (data / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "front": 1, "back": 2}}))
    for references in (data, data / "labelsTr"):
        evaluate_masks(data / "labelsTr", references, tmp_path / "out", pictures=1)
        assert [row["label"] for row in rows(tmp_path / "out")] == ["front", "back"] * 3
        (worst,) = json.loads((tmp_path / "out" / "worst_cases.json").read_text())
        assert worst["slices"][0]["image"].startswith("data:image/png;base64,")


@pytest.mark.slow
def test_our_own_masks_bring_names_images_and_what_made_them(make_inputs, segmenter, tmp_path):
    predict_cases(make_inputs("a", "b"), tmp_path / "masks", segmenter, PredictOptions(force=True, preview=True))
    for seed, name in enumerate("ab"):
        write_volume(tmp_path / "references" / f"{name}.nii.gz", expected_mask(volume(seed)))
    done = evaluate_masks(tmp_path / "masks", tmp_path / "references", tmp_path / "out", pictures=1)
    assert [(row["label"], row["dice"]) for row in rows(tmp_path / "out")] == [
        ("anterior", "1"),
        ("posterior", "1"),
    ] * 2
    assert done.about["masks made by"].startswith("Hippocampus segmentation with U-Lite ")
    (worst,) = json.loads((tmp_path / "out" / "worst_cases.json").read_text())
    assert worst["slices"][0]["image"].startswith("data:image/png;base64,")


def test_images_of_0_and_255_are_one_class_of_foreground(tmp_path):
    reference = np.zeros((20, 30), np.uint8)
    reference[4:12, 5:15] = 255
    for folder, values in (("references", reference), ("masks", reference // 255)):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / "image.dcm.png")
    with pytest.raises(InputError, match=r"the masks hold the values \[1\], the references \[255\].*--foreground"):
        evaluate_masks(tmp_path / "masks", tmp_path / "references", tmp_path / "no")
    evaluate_masks(tmp_path / "masks", tmp_path / "references", tmp_path / "out", foreground=True)
    (row,) = rows(tmp_path / "out")
    assert [row[name] for name in ("case", "label", "dice", "hd95_mm")] == ["image.dcm", "foreground", "1", ""]


def test_folders_that_have_nothing_in_common(tmp_path):
    masks, references = folders(tmp_path, cases=1)
    (masks / "case_0.nii.gz").rename(masks / "other.nii.gz")
    with pytest.raises(
        InputError, match="no mask has the name of a reference; a mask is 'other', a reference 'case_0'"
    ):
        evaluate_masks(masks, references, tmp_path / "out")
    with pytest.raises(InputError, match="gone: is no folder"):
        evaluate_masks(tmp_path / "gone", references, tmp_path / "out")
    assert not (tmp_path / "out").exists()
