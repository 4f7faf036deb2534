"""The Decathlon's 4D images by every command: planned, trained, evaluated, segmented."""

import json

import nibabel as nib
import numpy as np
import pytest

from tests.bundle.conftest import train, ulite
from tests.conftest import ANISOTROPIC, ellipsoids, read_json, write_volume

SHAPE = (20, 26, 24)
SMALL_PLAN = ("network_def#features=[8,16,16]", "network_def#strides=2", "network_def#kernel_size=3", "num_folds=3")


@pytest.fixture
def tumours(tmp_path):
    """Six cases of the shape of Task01, which tell the classes apart in the second of three channels alone."""
    folder, entries = tmp_path / "my data", []
    for number in range(6):
        image, label = ellipsoids(SHAPE, seed=number)
        noise = np.random.default_rng(number).normal(size=(2, *SHAPE)).astype(np.float32)
        stacked = np.stack([noise[0], image, noise[1]], axis=-1)
        file = write_volume(folder / "imagesTr" / f"BRATS_{number:03}.nii.gz", stacked, ANISOTROPIC)
        write_volume(folder / "labelsTr" / file.name, label, ANISOTROPIC)
        entries.append({"image": f"./imagesTr/{file.name}", "label": f"./labelsTr/{file.name}"})
    said = {"tensorImageSize": "4D", "modality": {"0": "FLAIR", "1": "T1w", "2": "T2w"}, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(said | {"labels": {"0": "background", "1": "core", "2": "rim"}}))
    return folder


def require_usable(run, dataset, folder):
    """What a run of the data set leaves segments it, and measures its masks as they are."""
    assert read_json(run / "configs/inference.json")["in_channels"] == 3
    ulite("predict", "--bundle", run, "-i", dataset, "-o", folder / "masks", "--format", "nifti")
    image = nib.load(dataset / "imagesTr" / "BRATS_004.nii.gz")
    mask = nib.load(folder / "masks" / "BRATS_004.nii.gz")
    assert mask.shape == SHAPE and np.array_equal(mask.affine, image.affine)
    ulite("evaluate", run, "--dataset", dataset, "-o", folder / "evaluation")
    summary = read_json(folder / "evaluation" / "summary.json")
    assert summary["cases"] == 6 and set(summary["labels"]) == {"core", "rim"}
    worst = read_json(folder / "evaluation" / "worst_cases.json")
    assert all(section["image"] for case in worst for section in case["slices"])  # of the first channel


@pytest.mark.slow
def test_by_monais_command(bundle, tumours, tmp_path):
    train(bundle, tumours, tmp_path / "run", "--epochs", "2", "--in_channels", "3")
    require_usable(tmp_path / "run", tumours, tmp_path)


@pytest.mark.slow
def test_from_a_plan(tumours, tmp_path):
    run = tmp_path / "my model"
    small = [text for value in SMALL_PLAN for text in ("--set", value)]
    ulite("plan", tumours, "-o", run, *small)
    ulite("train", tumours, "-o", run, "--hours", "0.004")
    assert read_json(run / "docs" / "evaluation" / "summary.json")["cases"] >= 1
    require_usable(run, tumours, tmp_path)
