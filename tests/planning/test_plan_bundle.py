"""From a data set on the disk to a bundle that trains."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ellipsoids, read_json, run_bundle, write_volume
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.errors import InputError
from ulite_monai.planning.fingerprint import fingerprint
from ulite_monai.planning.plan_bundle import plan_bundle
from ulite_monai.prediction import PredictOptions, Segmenter, predict_cases

ISO = np.diag([1.0, 1.0, 1.0, 1.0])
THICK = np.array([[0.0, 0, -4.0, 80], [-0.8, 0, 0, 20], [0, 0.8, 0, -10], [0, 0, 0, 1]])  # stored as A, S, L: sagittal


def volumes(folder, affine=ISO, shape=(24, 28, 20), channels=1, change=lambda image: image, cases=5, **said):
    for number in range(cases):
        image, label = ellipsoids(shape, seed=number)
        for channel in range(channels):
            write_volume(folder / "imagesTr" / f"c{number}_{channel:04d}.nii.gz", change(image) + channel, affine)
        write_volume(folder / "labelsTr" / f"c{number}.nii.gz", label, affine)
    names = {"background": 0, "left": 1, "lump": 2}
    described = {"labels": names, "channel_names": {str(n): "x" for n in range(channels)}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described | said))
    return folder


def pictures(folder, colour, cases=5):
    for number in range(cases):
        image, label = (array[:, :, 10] for array in ellipsoids((70, 60, 20), seed=number))
        grey = np.clip(image + 50, 0, 255).astype(np.uint8)
        stacked = np.stack([grey, grey // 2, grey], axis=-1) if colour else grey
        for name, array in (("images", stacked), ("masks", label)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / name / f"{number}.png")
    return folder


MADE = {
    "iso": lambda folder: volumes(folder),
    "thick": lambda folder: volumes(folder, THICK, (40, 44, 20)),
    "CT": lambda folder: volumes(folder, change=lambda image: image * 10 - 1000, channel_names={"0": "CT"}),
    "two channels": lambda folder: volumes(folder, channels=2),
    "grey": lambda folder: pictures(folder, colour=False),
    "colour": lambda folder: pictures(folder, colour=True),
}


@pytest.mark.parametrize("name", MADE)
def test_the_configurations_say_what_the_data_are(name, tmp_path):
    plan_bundle(MADE[name](tmp_path / "data"), tmp_path / "planned")
    train = read_json(tmp_path / "planned/configs/train.json")
    inference = read_json(tmp_path / "planned/configs/inference.json")
    choices = read_json(tmp_path / "planned/docs/plan.json")["choices"]
    assert all(one.keys() == {"what", "value", "reason", "source"} and all(one.values()) for one in choices)
    for id_ in ("labels", "in_channels", "normalization", "network_def", "roi_size", "grow_windows", "overlap"):
        assert train[id_] == inference[id_]
    assert train["in_channels"] == {"two channels": 2, "grey": 3, "colour": 3}.get(name, 1)
    assert train["labels"] == (["class_1", "class_2"] if name in ("grey", "colour") else ["left", "lump"])
    if name == "thick":  # right to left
        assert train["spacing"] == [4, 0.8, 0.8] and train["network_def"]["stem_stride"] == [1, 2, 2]
    assert ("a_min" in train["normalization"]) == (name == "CT")


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_it_trains_and_segments(name, tmp_path):
    data, planned = MADE[name](tmp_path / "data"), tmp_path / "planned"
    small = {"patch_size": [32, 32]} if name in ("grey", "colour") else {"patch_size": [16, 16, 16]}
    plan_bundle(data, planned, overrides={"epochs": 1, "steps_per_epoch": 1, **small})
    config = ("--bundle_root", str(planned), "--config_file", str(planned / "configs/train.json"))
    run_bundle("run", "training", *config, "--dataset_dir", str(data), "--output_dir", "run", cwd=tmp_path)
    images = next(folder for folder in ("images", "imagesTr") if (data / folder).is_dir())
    segmenter = Segmenter(str(tmp_path / "run"), device="cpu")
    results = predict_cases(data / images, tmp_path / "masks", segmenter, PredictOptions())
    assert len(results) == 5 and {result.status for result in results} <= {"done", "empty"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["thick", "colour"])
def test_it_is_what_monai_takes_for_a_bundle(name, tmp_path):
    planned = tmp_path / "planned"
    plan_bundle(MADE[name](tmp_path / "data"), planned)
    config = ("--bundle_root", str(planned), "--config_file", str(planned / "configs/inference.json"))
    meta = ("--meta_file", str(planned / "configs/metadata.json"))
    done = run_bundle("verify_net_in_out", "network_def", *meta, *config, cwd=tmp_path)
    assert "verified with no error" in done.stdout + done.stderr


def test_a_case_is_described_in_the_axes_to_work_in(tmp_path):
    image, label = np.full((20, 12, 10), 7, np.int16), np.zeros((20, 12, 10), np.uint8)
    image[2:, :, 1:] = 9
    label[4:8, 2:12, 3:5] = 5  # 4 x 10 x 2 voxels
    label[15, 0, 9] = 5
    image[4:8] = 20
    write_volume(tmp_path / "imagesTr/a.nii.gz", image, THICK)
    write_volume(tmp_path / "labelsTr/a.nii.gz", label, THICK)
    (case,) = fingerprint(read_labelled_set(tmp_path))["cases"]
    assert case["axes"] == "PSL" and case["shape"] == [10, 20, 12] and case["spacing"] == [4, 0.8, 0.8]
    assert case["range"] == [[7, 20]] and case["filled"] == [10, 18, 12]  # the slab of 20 reaches the first plane
    voxel = 4 * 0.8 * 0.8
    assert case["classes"]["class_1"] == {
        "volume": round(81 * voxel, 2),
        "extent": [28.0, 9.6, 9.6],
        "components": 2,
        "largest": [8.0, 3.2, 8.0],
    }


def test_intensities_are_those_inside_labels(tmp_path):
    volumes(tmp_path, change=lambda image: np.round(image))
    found = fingerprint(read_labelled_set(tmp_path))["intensities"]
    inside = []
    for number in range(5):
        image, label = ellipsoids((24, 28, 20), seed=number)
        inside.append(np.round(image)[label > 0])
    values = np.concatenate(inside)
    assert found[0]["mean"] == pytest.approx(values.mean(), rel=1e-4)
    assert found[0]["low"] == pytest.approx(np.percentile(values, 0.5), rel=1e-4)


def test_what_is_given_lands_in_every_configuration_that_has_it(tmp_path):
    given = {"seed": 3, "network_def#dropout": 0.2, "overlap": 0.3, "spacing": [2, 2, 2], "labels": ["a", "b"]}
    plan_bundle(volumes(tmp_path / "data"), tmp_path / "planned", overrides=given)
    configs = [read_json(tmp_path / "planned/configs" / f"{name}.json") for name in ("train", "inference")]
    assert configs[0]["seed"] == 3
    for config in configs:
        assert config["network_def"]["dropout"] == 0.2 and config["overlap"] == 0.3
        assert config["spacing"] == [2, 2, 2] and config["labels"] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"epoch": 3}, "--set epoch: .* no such id"),
        ({"network_def#width#1": 3}, "--set network_def#width#1: there is no such id"),
        ({"spacing": "fine"}, "spacing must be 3 numbers above 0"),
    ],
)
def test_what_cant_be_given_is_refused_and_nothing_is_written(given, told, tmp_path):
    with pytest.raises(InputError, match=told):
        plan_bundle(volumes(tmp_path / "data", cases=2), tmp_path / "planned", overrides=given)
    assert not (tmp_path / "planned").exists()


def test_another_bundle_is_never_replaced_and_a_plan_is(tmp_path):
    data, planned = volumes(tmp_path / "data", cases=2), tmp_path / "planned"
    plan_bundle(data, planned)
    plan_bundle(data, planned, overrides={"seed": 4})
    assert read_json(planned / "configs/train.json")["seed"] == 4
    (planned / "models").mkdir()
    (planned / "models/model.pt").touch()
    with pytest.raises(InputError, match="holds a bundle already"):
        plan_bundle(data, planned)


def test_a_case_that_lacks_a_channel_is_named(tmp_path):
    data = volumes(tmp_path / "data", channels=2, cases=3)
    (data / "imagesTr/c1_0001.nii.gz").unlink()
    with pytest.raises(InputError, match=r"c1.*1 channels"):
        plan_bundle(data, tmp_path / "planned")


def test_channels_on_two_grids_are_refused(tmp_path):
    data = volumes(tmp_path / "data", channels=2, cases=2)
    write_volume(data / "imagesTr/c1_0001.nii.gz", np.zeros((24, 28, 21), np.float32))
    with pytest.raises(InputError, match="must lie on one grid"):
        plan_bundle(data, tmp_path / "planned")


def test_the_data_set_is_no_folder_for_the_bundle(tmp_path):
    data = volumes(tmp_path / "data", cases=2)
    with pytest.raises(InputError, match="is the data set"):
        plan_bundle(data, data)


@pytest.mark.parametrize("values", [[], [1]], ids=["nothing is labelled", "a class is in no case"])
def test_classes_that_no_case_holds_are_planned_for(values, tmp_path):
    data = volumes(tmp_path / "data", cases=2)
    for path in (data / "labelsTr").iterdir():
        label = np.isin(ellipsoids((24, 28, 20), 0)[1], values).astype(np.uint8)
        write_volume(path, label)
    plan = plan_bundle(data, tmp_path / "planned")
    assert plan.values["train.json"]["labels"] == ["left", "lump"]
