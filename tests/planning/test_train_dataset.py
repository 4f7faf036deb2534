"""`ulite train` on small volumes: from a plan to an evaluated bundle, on time, interrupted, resumed."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from tests.bundle.conftest import state, ulite
from tests.conftest import environment, read_json
from ulite_monai.errors import InputError
from ulite_monai.planning.train_dataset import train_dataset


@pytest.fixture
def planned(bundle, tmp_path):
    """A planned bundle with a small network; nothing is trained yet."""
    folder = tmp_path / "my model"
    shutil.copytree(bundle / "configs", folder / "configs", ignore=shutil.ignore_patterns("sample.json"))
    shutil.copy(bundle / "LICENSE", folder)
    train = read_json(folder / "configs" / "train.json")
    train |= {"patch_size": [24, 24, 16], "num_folds": 3, "flip_axes": []}
    inference = read_json(folder / "configs" / "inference.json")
    for config in (train, inference):
        config["network_def"] |= {"features": [8, 16, 16], "strides": 2, "stem_stride": 1}
    (folder / "configs" / "train.json").write_text(json.dumps(train))
    (folder / "configs" / "inference.json").write_text(json.dumps(inference))
    (folder / "docs").mkdir()
    (folder / "docs" / "plan.json").write_text('{"choices": []}')
    return folder


@pytest.mark.slow
def test_one_command_from_a_plan_to_an_evaluated_bundle(planned, make_dataset, tmp_path):
    dataset = make_dataset()
    done = ulite("train", dataset, "-o", planned, "--hours", "0.004")
    assert "on this machine" in done.stderr and "Ctrl-C is safe" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr  # no bar where nobody watches
    train = read_json(planned / "configs" / "train.json")
    epochs = [line for line in done.stderr.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == train["epochs"] and all(
        isinstance(train[name], int) for name in ("epochs", "steps_per_epoch", "val_interval")
    )
    assert train["hours"] == 0.004 and 0 < train["reserve"] < 0.004 and train["budget"]["hours"] == "@hours"
    last = state(planned / "models" / "last.ckpt")
    assert (
        last["epoch_length"] == train["steps_per_epoch"]
        and last["scheduler"]["t_total"] == last["scheduler"]["last_epoch"]
    )
    with (planned / "docs" / "curve.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == [str(n + 1) for n in range(train["epochs"])]
    summary = read_json(planned / "docs" / "evaluation" / "summary.json")
    figures = read_json(planned / "configs" / "metadata.json")["eval_metrics"]
    validation = read_json(planned / "docs" / "split.json")["validation"]
    of_all, of_some = f"the {len(validation)} validation cases", f"{summary['cases']} of the {len(validation)} "
    assert figures["of"].startswith(of_all if summary["cases"] == len(validation) else of_some)
    assert figures["dice_class_1"] == round(summary["labels"]["class_1"]["dice"]["mean"], 4)
    assert (planned / "docs" / "curve.png").stat().st_size and (planned / "docs" / "validation.png").stat().st_size
    moved = planned.rename(tmp_path / "moved")
    ulite("predict", "--bundle", moved, "-i", dataset, "-o", tmp_path / "masks")
    assert len(list((tmp_path / "masks").glob("case_*.nii.gz"))) == 6
    with pytest.raises(InputError, match="holds a training already; go on with it by --resume"):
        train_dataset(dataset, moved)


@pytest.mark.slow
def test_interrupted_and_resumed_it_has_what_is_left_of_its_time(planned, make_dataset):
    command = [sys.executable, "-c", "from ulite_monai.cli import main; main()", "train", str(make_dataset())]
    command += ["-o", str(planned), "--hours", "0.01"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (planned / "models" / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith("the same command with --resume goes on.")
    first, train = state(planned / "models" / "last.ckpt"), read_json(planned / "configs" / "train.json")
    done = subprocess.run([*command, "--resume"], env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    last, resumed = state(planned / "models" / "last.ckpt"), read_json(planned / "configs" / "train.json")
    assert f"resumed after epoch {first['epoch']}" in done.stderr and last["epoch"] > first["epoch"]
    assert first["clock"]["spent"] < last["clock"]["spent"] < 2 * 3600 * train["hours"]
    assert all(train[name] == resumed[name] for name in ("hours", "reserve", "steps_per_epoch", "val_interval"))
    again = subprocess.run([*command, "--resume"], env=environment(), capture_output=True, text=True, timeout=600)
    assert again.returncode == 0 and "all epochs are trained already" in again.stderr


@pytest.mark.slow
def test_all_folds_become_an_ensemble_that_may_be_moved(planned, make_dataset, tmp_path):
    dataset = make_dataset()
    ulite("train", dataset, "-o", planned, "--folds", "2", "--hours", "0.01")
    splits = [read_json(planned / f"fold{fold}" / "docs" / "split.json") for fold in (0, 1)]
    assert sorted(splits[0]["validation"] + splits[1]["validation"]) == [f"case_{n}" for n in range(6)]
    with (planned / "docs" / "out_of_fold.csv").open() as file:
        rows = list(csv.DictReader(file))
    cases = [row["case"] for row in rows if row["label"] == "class_1"]  # so short a time may not do for all of them
    assert len(set(cases)) == len(cases) and all(set(cases) & set(split["validation"]) for split in splits)
    figures = read_json(planned / "configs" / "metadata.json")["eval_metrics"]
    assert figures["of"].startswith(f"{len(cases)} cases") and figures["dice_class_1"] == pytest.approx(
        sum(float(row["dice"]) for row in rows if row["label"] == "class_1") / len(cases), abs=1e-4
    )
    configs = [read_json(planned / "configs" / name) for name in ("inference.json", "evaluate.json")]
    assert configs[0]["keep_largest"] == configs[1]["keep_largest"] and (planned / "report.html").is_file()
    for fold in (0, 1):
        shutil.rmtree(planned / f"fold{fold}" / "tensorboard")
    moved = planned.rename(tmp_path / "moved [1]")
    ulite("predict", "--bundle", moved, "-i", dataset, "-o", tmp_path / "masks")
    ulite("predict", "--bundle", f"{tmp_path}/moved*/fold*", "-i", dataset, "-o", tmp_path / "by pattern")
    report = read_json(tmp_path / "masks" / "predictions.json")
    assert len(report["ckpt"]) == 2 and report["cases"][0]["status"] == "done"
    if not configs[0]["keep_largest"]:
        for path in (tmp_path / "masks").glob("*.nii.gz"):
            ours, theirs = (nib.load(one) for one in (path, tmp_path / "by pattern" / path.name))
            assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    shutil.rmtree(moved / "fold1" / "docs" / "evaluation")
    done = ulite("train", dataset, "-o", moved, "--folds", "2", "--hours", "0.01", "--resume")
    assert "fold 1 of 2" in done.stderr and "fold 0 of 2" not in done.stderr
    assert "all epochs are trained already" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hours": 0}, ["--hours must be above 0", "got 0"]),
        ({"overrides": {"epoch": 3}}, ["--epoch: no configuration has this id", "--epochs"]),
        ({"fold": 0, "num_folds": 9}, ["6 cases", "9 folds"]),
        ({"fold": 5}, ["fold must be", "5 of 3"]),
        ({"resume": True}, ["nothing to go on with", "without --resume"]),
    ],
    ids=str,
)
def test_what_is_refused_is_one_line_and_leaves_the_plan_alone(planned, make_dataset, options, words):
    from ulite_monai.errors import input_error

    before = {path: path.read_bytes() for path in planned.rglob("*") if path.is_file()}
    with pytest.raises(Exception) as caught:
        train_dataset(make_dataset(), planned, **options)
    told = str(input_error(caught.value))
    assert all(word in told for word in words), told
    assert before == {path: path.read_bytes() for path in planned.rglob("*") if path.is_file()}
