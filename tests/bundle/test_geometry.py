"""Training and evaluation of data sets whose headers are rare."""

import csv

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import OBLIQUE, SHEARED, SMALL, ellipsoids, nifti, run_bundle, write_volume
from ulite_monai.io.affine import voxel_volume

pytestmark = pytest.mark.slow


def evaluate(bundle, dataset, output, ckpt, *more):
    configs = str([str(bundle / "configs" / name) for name in ("train.json", "evaluate.json")])
    run_bundle(
        *("run", "--bundle_root", str(bundle), "--config_file", configs, "--dataset_dir", str(dataset)),
        *("--output_dir", str(output), "--ckpt", str(ckpt), "--fold", "all", *more),
        cwd=output.parent,
    )
    with (output / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_big_endian_data_set_trains_and_is_evaluated(bundle, tmp_path):
    kinds = ({"endian": ">"}, {"kind": nib.Nifti2Image}, {"kind": nib.Nifti2Image, "endian": ">"})
    for number, kind in enumerate(kinds):
        for folder, array in zip(("imagesTr", "labelsTr"), ellipsoids((24, 28, 20), seed=number), strict=True):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            image = nifti(array, sform=np.eye(4), qform=np.eye(4), **kind)
            nib.save(image, tmp_path / "data" / folder / f"case_{number}.nii.gz")
    run_bundle(
        *("run", "training", "--bundle_root", str(bundle), "--config_file", str(bundle / "configs/train.json")),
        *("--dataset_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "run"), "--num_folds", "3"),
        *("--epochs", "1", *SMALL),
        cwd=tmp_path,
    )
    rows = evaluate(tmp_path / "run", tmp_path / "data", tmp_path / "out", tmp_path / "run" / "models" / "model.pt")
    assert len(rows) == 6 and all(float(row["reference_ml"]) > 0 for row in rows)


def test_a_sheared_grid_is_evaluated_in_its_true_volumes(bundle, weights, tmp_path):
    image, label = ellipsoids((20, 26, 12), seed=0)
    write_volume(tmp_path / "data" / "imagesTr" / "a.nii.gz", image, SHEARED)
    write_volume(tmp_path / "data" / "labelsTr" / "a.nii.gz", label, SHEARED)
    rows = evaluate(bundle, tmp_path / "data", tmp_path / "out", weights)
    for value, row in enumerate(rows, start=1):
        expected = (label == value).sum() * abs(np.linalg.det(OBLIQUE[:3, :3])) / 1000
        assert float(row["reference_ml"]) == pytest.approx(expected, rel=1e-5)
        assert voxel_volume(SHEARED) == pytest.approx(voxel_volume(OBLIQUE))
