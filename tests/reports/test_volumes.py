"""Volumes by hand, sheared grids and 2D images too; the CSV to the letter."""

import numpy as np
import pytest

from ulite_monai.errors import InputError
from ulite_monai.reports.volumes import LabelVolume, label_volumes, write_volumes_csv

LABELS = ["head", "body"]


def boxes():
    mask = np.zeros((10, 12, 14), np.uint8)
    mask[1:3, 2:5, 3:7] = 1  # 24 voxels
    mask[5:7, 5:7, 5:7] = 2  # 8 voxels
    return mask


def test_voxels_times_spacing():
    head, body = label_volumes(boxes(), np.diag([0.5, 2.0, 3.0, 1]), LABELS)
    assert (head.label, head.value, head.voxels, head.mean_intensity) == ("head", 1, 24, None)
    assert head.volume_ml == pytest.approx(24 * 3 / 1000, rel=1e-12)
    assert (body.voxels, body.volume_ml) == (8, pytest.approx(8 * 3 / 1000, rel=1e-12))


def test_a_shear_keeps_the_volume_though_not_the_axes_lengths():
    straight = np.diag([0.5, -2.0, 3.0, 1.0])
    sheared = straight @ np.array([[1, 0, 0.8, 0], [0, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert not np.allclose(np.linalg.norm(sheared[:3, :3], axis=0), [0.5, 2, 3])
    assert label_volumes(boxes(), sheared, LABELS)[0].volume_ml == pytest.approx(24 * 3 / 1000, rel=1e-12)


def test_mean_intensity_over_each_label():
    mask = boxes()
    image = np.where(mask == 1, 100, -7).astype(np.int16)
    image[1, 2, 3] = 124  # one of 24 voxels
    head, body = label_volumes(mask, np.eye(4), LABELS, image)
    assert (head.mean_intensity, body.mean_intensity) == (101.0, -7.0)


def test_an_absent_label_has_a_row_and_no_mean():
    mask = np.zeros((4, 4, 4), np.uint8)
    assert label_volumes(mask, np.eye(4), ["a"], mask) == [LabelVolume("a", 1, 0, 0.0, None)]


def test_a_2d_image_has_pixels_and_no_volume():
    mask = np.zeros((6, 5), bool)
    mask[1:3, 1:4] = True
    assert label_volumes(mask, None, ["nucleus"]) == [LabelVolume("nucleus", 1, 6, None, None)]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="value 2, which none of the 1"):
        label_volumes(boxes(), np.eye(4), ["head"])
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        label_volumes(boxes(), np.eye(4), LABELS, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="needs a 4x4 affine"):
        label_volumes(boxes(), None, LABELS)


def test_the_real_hippocampus(hippocampus):
    import nibabel as nib

    label = nib.load(hippocampus / "labelsTr" / "hippocampus_001.nii.gz")
    mask = np.asarray(label.dataobj).astype(np.uint8)
    rows = label_volumes(mask, label.affine, ["Anterior", "Posterior"])
    assert [row.voxels for row in rows] == [np.count_nonzero(mask == 1), np.count_nonzero(mask == 2)]
    assert all(1 < row.volume_ml < 3 for row in rows)  # anatomy: each half is 1 to 3 mL
    assert rows[0].volume_ml == pytest.approx(rows[0].voxels / 1000)  # 1 mm voxels


def test_csv(tmp_path):
    rows = {
        "case, one": [LabelVolume("head", 1, 24, 0.072, 101.25), LabelVolume("body", 2, 0, 0.0, None)],
        "photo": [LabelVolume("nucleus", 1, 6, None, None)],
    }
    write_volumes_csv(rows, tmp_path / "new" / "volumes.csv")
    assert (tmp_path / "new" / "volumes.csv").read_bytes().decode().split("\r\n") == [
        "case,label,voxels,volume_ml,mean_intensity",
        '"case, one",head,24,0.072,101.25',
        '"case, one",body,0,0,',
        "photo,nucleus,6,,",
        "",
    ]


def test_csv_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "volumes.csv").mkdir()
    with pytest.raises(InputError, match="can't be written"):
        write_volumes_csv({}, tmp_path / "volumes.csv")
