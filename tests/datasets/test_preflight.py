"""Preflight: each fault is found, with its file and value; what is fine passes."""

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import write_volume
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.datasets.preflight import check_items, corner_displacement
from ulite_monai.errors import InputError
from ulite_monai.transforms import LoadVolumed

AFFINE = np.diag([-1.0, 1.0, 1.0, 1.0])


def pair(tmp_path, image, label, image_affine=AFFINE, label_affine=AFFINE):
    return [
        {
            "image": str(write_volume(tmp_path / "image.nii.gz", image, image_affine)),
            "label": str(write_volume(tmp_path / "label.nii.gz", label, label_affine)),
            "case_id": "one",
        }
    ]


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)


@pytest.fixture
def label():
    label = np.zeros((6, 7, 8), np.uint8)
    label[2:4, 2:4, 2:4] = 1
    return label


@pytest.mark.slow
def test_good_data_has_no_findings(hippocampus):
    items = read_labelled_set(hippocampus).items
    assert check_items(items, names={1: "a", 2: "b"}) == []


def test_too_few_declared_labels_is_an_error_of_every_case(hippocampus):
    items = read_labelled_set(hippocampus).items[:5]
    findings = check_items(items, names={1: "a"})
    assert [f.case_id for f in findings] == [item["case_id"] for item in items]
    assert all("[2]" in f.text and f.level == "error" for f in findings)


def test_a_label_stored_in_another_orientation_is_fine(tmp_path, image, label):
    items = pair(tmp_path, image, label)
    turned = nib.as_closest_canonical(nib.load(items[0]["label"]))
    turned = turned.as_reoriented(nib.orientations.axcodes2ornt("SPL"))
    assert turned.shape == (8, 7, 6)
    nib.save(turned, items[0]["label"])
    assert check_items(items, names={1: "a"}) == []


@pytest.mark.parametrize(
    ("millimetres", "level"), [(0.005, None), (0.02, "warning"), (0.4, "warning"), (0.6, "error"), (40, "error")]
)
def test_positions(tmp_path, image, label, millimetres, level):
    affine = AFFINE.copy()
    affine[2, 3] += millimetres
    findings = check_items(pair(tmp_path, image, label, label_affine=affine), names={1: "a"})
    assert [f.level for f in findings] == ([level] if level else [])


def test_an_empty_label_and_a_constant_image_are_warnings(tmp_path, image, label):
    findings = check_items(pair(tmp_path, image * 0 + 3, label * 0), names={1: "a"})
    assert [f.level for f in findings] == ["warning"] * 3 and "label value 1" in findings[2].text
    assert "3.0" in findings[0].text and "no voxel is labelled" in findings[1].text


def test_four_dimensions(tmp_path, image, label):
    (finding,) = check_items(pair(tmp_path, np.stack([image, image], -1), label), names={1: "a"})
    assert finding.level == "error" and "holds 2 volumes" in finding.text


def test_channels_must_match(tmp_path, image, label):
    items = pair(tmp_path, image, label)
    other = write_volume(tmp_path / "other.nii.gz", image[:-1], AFFINE)
    items[0]["image"] = [items[0]["image"], str(other)]
    (finding,) = check_items(items, names={1: "a"})
    assert "other.nii.gz" in finding.text and "(5, 7, 8)" in finding.text


def test_channels_that_cant_be_stacked_are_errors_as_they_are_to_training(tmp_path, image, label):
    """The grids must agree as they are stored: a micrometre apart, or turned, LoadVolumed refuses them."""
    items = pair(tmp_path, image, label)
    first = items[0]["image"]
    moved, turned = AFFINE.copy(), nib.Nifti1Image(image, AFFINE).as_reoriented([[1, 1], [0, 1], [2, 1]])
    moved[0, 3] += 0.01
    write_volume(tmp_path / "moved.nii.gz", image, moved)
    nib.save(turned, tmp_path / "turned.nii.gz")
    for name in ("moved.nii.gz", "turned.nii.gz"):
        items[0]["image"] = [first, str(tmp_path / name)]
        (finding,) = check_items(items, names={1: "a"})
        assert finding.level == "error" and f"{name}: the channels of a case must lie on one grid" in finding.text
        with pytest.raises(InputError, match=f"{name}: the channels"):
            LoadVolumed("image")(items[0])


def test_corner_displacement_is_in_voxels_of_the_grid():
    turned = np.eye(4)
    turned[:2, :2] = [[0, -1], [1, 0]]
    assert corner_displacement((4, 4, 4), np.eye(4), np.eye(4)) == 0
    assert corner_displacement((4, 4, 4), np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1]) + shift(1)) == 0.5
    assert corner_displacement((11, 3, 3), np.eye(4), turned) == pytest.approx(13)


def shift(millimetres):
    matrix = np.zeros((4, 4))
    matrix[0, 3] = millimetres
    return matrix


def test_the_number_of_channels_must_be_the_networks(tmp_path, image, label):
    items = pair(tmp_path, image, label)
    assert check_items(items, {1: "a"}, channels=1) == []
    (finding,) = check_items(items, {1: "a"}, channels=2)
    assert finding.level == "error" and "image.nii.gz: the case has 1 channels" in finding.text


def test_nan_voxels_that_are_replaced_are_a_warning(tmp_path, image, label):
    image[0, 0, 0] = np.nan
    items = pair(tmp_path, image, label)
    (refused,) = check_items(items, {1: "a"})
    (replaced,) = check_items(items, {1: "a"}, on_nonfinite="replace")
    assert refused.level == "error" and replaced.level == "warning"
    assert "1 voxels were NaN" in replaced.text and "minimum" in replaced.text


def test_a_label_value_in_no_case_is_a_warning(tmp_path, image, label):
    (finding,) = check_items(pair(tmp_path, image, label), {1: "a", 2: "b"})
    assert finding.level == "warning" and finding.text == "no case holds the label value 2, b."
    assert check_items(pair(tmp_path, image, label), None) == []


def test_a_label_just_off_a_whole_number_is_shown_in_full(tmp_path, image, label):
    (finding,) = check_items(pair(tmp_path, image, label * np.float32(1.0000001)), {1: "a"})
    assert finding.level == "error" and "must be whole numbers, found 1.00000011920928" in finding.text


def test_what_the_reader_of_a_label_warns_of_is_a_finding(tmp_path, image, label):
    items = pair(tmp_path, image, label)
    written = nib.Nifti1Image(label, None)
    written.header["pixdim"][1:4] = 1
    nib.save(written, items[0]["label"])
    items[0]["image"] = items[0]["label"]
    findings = check_items(items, {1: "a"})
    assert sum("codes are both 0" in f.text for f in findings) == 2


def segmented(tmp_path, name, label, *names):
    """A label as 3D Slicer writes it, its values 1, 2, ... called `names`."""
    from tests.io.test_itk_image import nrrd

    fields = [
        f"Segment{n}_{field}" for n, name in enumerate(names) for field in (f"LabelValue:={n + 1}", f"Name:={name}")
    ]
    return nrrd(tmp_path / f"{name}.seg.nrrd", label, "uchar", "(1,0,0) (0,-1,0) (0,0,1)", *fields)


def test_segments_names_that_contradict_the_values(tmp_path, image, label):
    label[5, 5, 5] = 2
    paths = {
        "fits": segmented(tmp_path, "fits", label, "Anterior", "posterior "),
        "turned": segmented(tmp_path, "turned", label, "posterior", "anterior"),
        "unnamed": segmented(tmp_path, "unnamed", label, "Segment_1", "Segment_2"),
    }
    items = [{"image": str(path), "label": str(path), "case_id": name} for name, path in paths.items()]
    names = {1: "anterior", 2: "posterior"}
    findings = check_items(items, names)
    assert [(f.level, f.case_id) for f in findings] == [("warning", "turned")] * 2
    assert "calls the value 1 'posterior', which is 'anterior' in the data set" in findings[0].text
    among = check_items(items, None)
    assert [f.case_id for f in among] == ["turned"] * 2 and "fits.seg.nrrd" in among[0].text
