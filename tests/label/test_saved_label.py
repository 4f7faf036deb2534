"""Which labels can be trained on, and why the others can't."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_volume
from ulite_monai.errors import InputError
from ulite_monai.io.read_volume import read_volume
from ulite_monai.label.saved_label import label_of_image, label_of_volume, require_label, segments_of

CLASSES = {"anterior": 1, "posterior": 2}
AFFINE = np.array([[-1.5, 0, 0, 10], [0, 2, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])


@pytest.fixture
def image(tmp_path):
    return write_volume(tmp_path / "image.nii.gz", np.ones((6, 5, 4), np.float32), AFFINE)


def label(tmp_path, array, affine=AFFINE, name="label.nii.gz"):
    return write_volume(tmp_path / name, array, affine)


def test_a_label_is_brought_to_the_bundles_values(image, tmp_path):
    array = np.zeros((6, 5, 4), np.uint8)
    array[1, 2, 3], array[2, 2, 3] = 1, 5
    path = label(tmp_path, array)
    segments = [{"name": "Posterior", "idx": 1}, {"name": "anterior", "idx": 5}, {"name": "background", "idx": 0}]
    found = label_of_volume(read_volume(image), path, CLASSES, segments)
    assert found[1, 2, 3] == 2 and found[2, 2, 3] == 1 and found.sum() == 3
    require_label(image, path, [{"liver": 1}, CLASSES], segments)


@pytest.mark.parametrize(
    ("name", "array", "affine", "segments", "words"),
    [
        ("label.dcm", np.zeros((6, 5, 4), np.uint8), AFFINE, [], r"its name must end in one of \.nii"),
        ("label.nii.gz", np.zeros((6, 5, 5), np.uint8), AFFINE, [], "its voxels aren't voxels of its image"),
        ("label.nii.gz", np.zeros((6, 5, 4), np.uint8), np.eye(4), [], "its voxels aren't voxels of its image"),
        ("label.nii.gz", np.full((6, 5, 4), 3, np.uint8), AFFINE, [], "has the value 3, the bundle's are 0 background"),
        ("label.nii.gz", np.full((6, 5, 4), 0.5, np.float32), AFFINE, [], r"has the value 0\.5"),
        ("label.nii.gz", np.ones((6, 5, 4), np.uint8), AFFINE, [{"name": "liver", "idx": 1}], "has a segment 'liver'"),
    ],
)
def test_what_is_wrong_with_a_label_is_reported(image, tmp_path, name, array, affine, segments, words):
    path = tmp_path / name
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "written.nii.gz")
    (tmp_path / "written.nii.gz").rename(path)
    with pytest.raises(InputError, match=words):
        require_label(image, path, [CLASSES], segments)


def test_labels_of_2d_images_have_their_size_and_classes(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "image.png")
    drawn = np.zeros((6, 8), np.uint8)
    drawn[2, 3] = 2
    Image.fromarray(drawn).save(tmp_path / "label.png")
    found = label_of_image(tmp_path / "image.png", tmp_path / "label.png", CLASSES)
    assert found.shape == (8, 6) and found[3, 2] == 2
    assert label_of_image(tmp_path / "image.png", tmp_path / "label.png", {}).sum() == 1
    with pytest.raises(InputError, match="has the value 2"):
        label_of_image(tmp_path / "image.png", tmp_path / "label.png", {"a": 1, "b": 3})
    for wrong in (Image.new("L", (6, 8)), Image.new("RGB", (8, 6))):
        wrong.save(tmp_path / "wrong.png")
        with pytest.raises(InputError, match=r"must be of one channel and its image's size \(8, 6\)"):
            label_of_image(tmp_path / "image.png", tmp_path / "wrong.png", CLASSES)
    (tmp_path / "wrong.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="can't be read"):
        require_label(tmp_path / "image.png", tmp_path / "wrong.png", [CLASSES], [])


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ([], "must be a JSON object"),
        ({"label_info": "anterior"}, "must be a list of objects"),
        ({"label_info": [1]}, "must be a list of objects"),
        ({"label_info": [{"idx": "1"}]}, "must be a whole number"),
        ({"label_info": [{"idx": 1, "name": 2}]}, "must be a whole number and name a text"),
    ],
)
def test_what_no_viewer_sends_is_refused(info, words):
    with pytest.raises(InputError, match=words):
        segments_of(info)


def test_without_names_there_are_no_segments():
    assert list(segments_of({})) == list(segments_of({"label_info": None})) == []
