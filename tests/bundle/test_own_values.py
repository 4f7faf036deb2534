"""Any label values are learnt, and every output holds them: two classes, one, with voxels to ignore, thirty of them."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from tests.bundle.conftest import train, ulite
from tests.conftest import ellipsoids, read_json, write_volume
from ulite_monai.prediction import PredictOptions, Segmenter, predict, predict_cases

AFFINE = np.diag([-1.0, 1.0, 1.0, 1.0])


def volumes(folder, table, channels=1, said=None):
    """Four cases whose labels hold `table[0]`, `table[1]`, ... where those of `ellipsoids` hold 0, 1, 2, ..."""
    for number in range(4):
        image, label = ellipsoids((24, 28, 20), seed=number)
        many = np.arange(label.size).reshape(label.shape) % len(table) if len(table) > 3 else label
        write_volume(folder / "labelsTr" / f"c_{number}.nii.gz", np.asarray(table)[many].astype(np.uint16), AFFINE)
        for channel in range(channels):
            name = f"c_{number}_{channel:04}.nii.gz" if channels > 1 else f"c_{number}.nii.gz"
            write_volume(folder / "imagesTr" / name, image * (1 + channel), AFFINE)
    if said is not None:
        (folder / "dataset.json").write_text(json.dumps(said))
    return folder


def certain_of(run, number):
    """Make a run's network find the same class everywhere."""
    path = run / "models" / "model.pt"
    weights = torch.load(path, weights_only=True)
    (bias,) = [name for name in weights if name.endswith("head.bias")]
    kernel = bias.replace("bias", "weight")
    weights[kernel].zero_()
    weights[bias] = torch.nn.functional.one_hot(torch.tensor(number), len(weights[bias])).float() * 9
    torch.save(weights, path)


THIRTY = [0, *range(10, 310, 10)]
SETS = {
    "0 and 255": ({"table": [0, 255, 255]}, [255], None),
    "two channels, 0, 2 and 5": ({"table": [0, 2, 5], "channels": 2}, [2, 5], None),
    "a value to ignore": (
        {"table": [0, 4, 9], "said": {"labels": {"background": 0, "core": 4, "ignore": 9}}},
        [4],
        9,
    ),
    "thirty classes": ({"table": THIRTY}, THIRTY[1:], None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_volumes(bundle, tmp_path, name):
    options, values, ignore = SETS[name]
    dataset, run = volumes(tmp_path / "data", **options), tmp_path / "run"
    channels = ("--in_channels", "2") if "channels" in options else ()
    done = train(bundle, dataset, run, "--epochs", "2", *channels)
    assert "nan" not in done.stdout
    for config in ("train.json", "inference.json"):
        assert read_json(run / "configs" / config)["label_values"] == values
    assert read_json(run / "configs" / "train.json")["ignore_label"] == ignore
    assert list(read_json(run / "configs" / "metadata.json")["label_values"].values()) == values
    certain_of(run, len(values))
    predict_cases(dataset, tmp_path / "masks", Segmenter(run), PredictOptions(statistics=True, preview=True))
    mask = nib.load(tmp_path / "masks" / "c_1.nii.gz")
    assert mask.shape == (24, 28, 20) and set(np.unique(mask.dataobj)) == {values[-1]}
    with (tmp_path / "masks" / "volumes.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["case"] == "c_1"]
    assert [int(row["voxels"]) for row in rows] == [0] * (len(values) - 1) + [24 * 28 * 20]
    (reported,) = [case for case in read_json(tmp_path / "masks" / "predictions.json")["cases"] if case["id"] == "c_1"]
    assert [volume["value"] for volume in reported["volumes"]] == values
    if ignore is None:
        return
    ulite("evaluate", run, "--dataset", dataset, "-o", tmp_path / "evaluation")
    summary = read_json(tmp_path / "evaluation" / "summary.json")
    label = np.asarray(nib.load(dataset / "labelsTr" / "c_1.nii.gz").dataobj)
    known = label != ignore
    true = int((label == values[-1]).sum())
    with (tmp_path / "evaluation" / "metrics.csv").open() as file:
        (row,) = [
            row for row in csv.DictReader(file) if row["case"] == "c_1" and row["label"] == list(summary["labels"])[-1]
        ]
    assert float(row["dice"]) == pytest.approx(2 * true / (int(known.sum()) + true), abs=1e-5)


@pytest.mark.slow
def test_images_of_two_classes(root, tmp_path):
    """Colours, masks with 0, 2 and 5, and a table that names patients."""
    random = np.random.default_rng(0)
    lines = ["image,label,patient"]
    for number in range(6):
        label = np.zeros((64, 80), np.uint8)
        label[10:30, 10:40], label[35:60, 30:70] = 2, 5
        image = random.integers(0, 60, (64, 80, 3)) + 30 * label[..., None]
        for kind, array in (("photo", image.astype(np.uint8)), ("mask", label)):
            Image.fromarray(array).save(tmp_path / f"{kind}_{number}.png")
        lines.append(f"photo_{number}.png,mask_{number}.png,p{number // 2}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    nuclei, run = root / "examples" / "nuclei_bundle", tmp_path / "run"
    more = ("--instances", "False", "--patch_size", "[32,32]", "--epochs", "2")
    train(nuclei, tmp_path / "table.csv", run, *more, "--network_def#features", "[8,16,16]")
    split = read_json(run / "docs" / "split.json")
    validating = {name[-1] for name in split["validation"]}
    assert validating in ({"0", "1"}, {"2", "3"}, {"4", "5"})
    assert "dealt out in turn" in (run / "docs" / "README.md").read_text()  # three groups leave a fold empty by hash
    certain_of(run, 1)
    predict_cases(tmp_path / "photo_0.png", tmp_path / "masks", Segmenter(run))
    with Image.open(tmp_path / "masks" / "photo_0.png") as mask:
        assert mask.size == (80, 64) and set(np.unique(np.asarray(mask))) == {2}


def test_python_gets_the_values_too(bundle, weights, tmp_path):
    image, _ = ellipsoids((24, 28, 20), seed=0)
    path = write_volume(tmp_path / "a.nii.gz", image, AFFINE)
    given = {"label_values": [7, 300], "straight_boundary": False}
    plain, valued = (
        np.asarray(predict(path, bundle, ckpt=weights, force=True, overrides=ids).dataobj)
        for ids in ({"straight_boundary": False}, given)
    )
    assert set(np.unique(plain)) == {0, 1, 2} and np.array_equal(valued, np.asarray([0, 7, 300])[plain])
