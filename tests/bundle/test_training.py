"""`python -m monai.bundle run training` as a user runs it, on small volumes."""

import json
import signal
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose

from tests.bundle.conftest import equal, files_of, parser_of, state, train, ulite
from tests.conftest import SMALL, environment, read_json, run_bundle
from ulite_monai.errors import input_error
from ulite_monai.prediction import Segmenter, predict_cases


@pytest.mark.slow
def test_what_a_run_prints(trained):
    folder, done = trained
    lines = [line.split(" ", 1)[-1] for line in done.stdout.splitlines()]
    assert any(line.startswith("epoch 1/2: loss ") and "Dice class_1" in line for line in lines)
    assert sum(line.startswith("epoch ") for line in lines) == 2
    assert lines[-2] == f"evaluate: ulite evaluate '{folder}/the run' --dataset YOUR_LABELLED_VOLUMES -o EVALUATION"
    assert lines[-1] == f"use it: ulite predict --bundle '{folder}/the run' -i YOUR_VOLUMES -o MASKS"


@pytest.mark.slow
def test_a_run_is_bit_deterministic_and_run_is_the_default_id(bundle, trained, tmp_path):
    folder, _ = trained
    train(bundle, folder / "my data", tmp_path / "again", "--epochs", "2", run_id="run")
    assert equal(state(tmp_path / "again" / "models" / "model.pt"), state(folder / "the run" / "models" / "model.pt"))
    train(bundle, folder / "my data", tmp_path / "other", "--epochs", "2", "--seed", "1")
    assert not equal(
        state(tmp_path / "other" / "models" / "model.pt"), state(folder / "the run" / "models" / "model.pt")
    )


@pytest.mark.slow
@pytest.mark.parametrize("epochs", ["2", "1"])
def test_resuming_a_finished_run_is_refused_and_leaves_it_alone(bundle, trained, epochs):
    folder, _ = trained
    before = files_of(folder / "the run")
    more = ("--epochs", epochs, "--resume", "true")
    done = train(bundle, folder / "my data", folder / "the run", *more, check=False)
    assert done.returncode == 1 and "has all of its 2 epochs; give more --epochs" in last_line(done)
    assert before == files_of(folder / "the run")


@pytest.mark.slow
def test_resuming_with_other_settings_is_refused_and_leaves_everything_alone(bundle, trained):
    folder, _ = trained
    before = files_of(folder / "the run")
    more = ("--epochs", "4", "--resume", "True", "--seed", "1", "--spacing", "[1.0,2.0,1.0]")
    done = train(bundle, folder / "my data", folder / "the run", *more, check=False)
    assert done.returncode == 1
    for words in (
        "spacing was [1.0, 1.0, 1.0], now [1.0, 2.0, 1.0]",
        "seed was 0, now 1",
        "what the run was started with",
    ):
        assert words in last_line(done)
    assert before == files_of(folder / "the run")


@pytest.mark.slow
def test_a_second_run_into_the_same_folder_is_refused(bundle, trained):
    folder, _ = trained
    before = files_of(folder / "the run")
    done = train(bundle, folder / "my data", folder / "the run", "--epochs", "3", check=False)
    assert done.returncode == 1 and "holds a training already" in last_line(done)
    assert before == files_of(folder / "the run")


EPOCHS = ("--epochs", "8")


@pytest.mark.slow
def test_killed_in_mid_epoch_and_resumed_ends_bit_equal(bundle, trained, tmp_path):
    folder, _ = trained
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--bundle_root", str(bundle)]
    command += ["--config_file", str(bundle / "configs/train.json"), "--dataset_dir", str(folder / "my data")]
    command += ["--output_dir", str(run), "--num_folds", "3", *EPOCHS, *SMALL]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (run / "models" / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < state(run / "models" / "last.ckpt")["epoch"] < 8
    train(bundle, folder / "my data", run, *EPOCHS, "--resume", "true")
    train(bundle, folder / "my data", tmp_path / "through", *EPOCHS, "--resume", "false")
    resumed, through = (state(tmp_path / name / "models" / "last.ckpt") for name in ("killed", "through"))
    assert resumed["epoch"] == through["epoch"] == 8
    assert resumed["best"] == through["best"] and resumed["best_epoch"] == through["best_epoch"]
    for part in ("network", "average"):
        assert equal(resumed[part], through[part])
    assert equal(state(run / "models" / "model.pt"), state(tmp_path / "through" / "models" / "model.pt"))


@pytest.mark.slow
def test_ctrl_c_is_one_line_that_says_how_to_go_on(bundle, trained, tmp_path):
    folder, _ = trained
    run = tmp_path / "run"
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--bundle_root", str(bundle)]
    command += ["--config_file", str(bundle / "configs/train.json"), "--dataset_dir", str(folder / "my data")]
    command += ["--output_dir", str(run), "--num_folds", "3", "--epochs", "300", *SMALL]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (run / "models" / "last.ckpt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT
    (line,) = [line for line in errors.splitlines() if not line.startswith("parsing config_file")]
    assert line.startswith("interrupted in epoch ") and line.endswith("with --resume True.") and str(run) in line
    assert {path.name for path in (run / "models").iterdir()} == {"model.pt", "last.ckpt"}
    assert not list(run.rglob(".partial*"))


@pytest.mark.slow
def test_names_of_the_data_set_and_a_contradiction(bundle, make_dataset, tmp_path):
    """`dataset.json` names the lobes: no flips, no plane, and the evaluation asks for no names again."""
    dataset = make_dataset()
    labels = {"0": "background", "1": "left lobe", "2": "right lobe"}
    (dataset / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    done = train(bundle, dataset, tmp_path / "run", "--epochs", "1")
    train_json = read_json(tmp_path / "run" / "configs" / "train.json")
    assert train_json["labels"] == ["left lobe", "right lobe"] and train_json["flip_axes"] == []
    assert "doesn't flip left and right" in done.stdout and "Dice left lobe" in done.stdout
    typed = ("--epochs", "1", "--labels", "['anterior','posterior']")
    done = train(bundle, dataset, tmp_path / "other", *typed, check=False)
    assert done.returncode == 1 and "1 left lobe, 2 right lobe" in last_line(done) and "anterior" in last_line(done)
    done = train(bundle, dataset, tmp_path / "other", "--epochs", "1", "--flip_axes", "[0]", check=False)
    assert done.returncode == 1 and "would flip left and right" in last_line(done)
    done = ulite("evaluate", tmp_path / "run", "--dataset", dataset, "-o", tmp_path / "evaluation")
    assert list(read_json(tmp_path / "evaluation" / "summary.json")["labels"]) == ["left lobe", "right lobe"]
    other = ("--set", "labels=['a','b']")
    done = ulite("evaluate", tmp_path / "run", "--dataset", dataset, "-o", tmp_path / "no", *other, check=False)
    assert done.returncode == 1 and "left lobe" in last_line(done) and "['a', 'b']" in last_line(done)


@pytest.mark.slow
def test_all_cases_train_and_the_last_averaged_weights_stay(bundle, trained, tmp_path):
    folder, _ = trained
    train(bundle, folder / "my data", tmp_path / "all", "--epochs", "2", "--fold", "all")
    split = read_json(tmp_path / "all" / "docs" / "split.json")
    assert len(split["training"]) == 6 and split["validation"] == []
    last = state(tmp_path / "all" / "models" / "last.ckpt")
    assert last["epoch"] == 2 and last["best_epoch"] == 0
    averaged = {name.removeprefix("module."): w for name, w in last["average"].items() if name.startswith("module.")}
    assert equal(state(tmp_path / "all" / "models" / "model.pt"), averaged)


@pytest.mark.slow
def test_early_stopping(bundle, trained, tmp_path):
    folder, _ = trained
    still = ("--learning_rate", "0.0", "--weight_decay", "0.0", "--average#momentum", "0.0001")
    done = train(bundle, folder / "my data", tmp_path / "run", "--epochs", "30", "--patience", "2", *still)
    last = state(tmp_path / "run" / "models" / "last.ckpt")
    assert last["epoch"] == max(last["best_epoch"], 1) + 2 < 30
    assert "no improvement since epoch" in done.stdout


@pytest.mark.slow
def test_fine_tuning_with_other_classes(bundle, trained, make_dataset, tmp_path):
    folder, _ = trained
    start = ("--init_weights", str(folder / "the run" / "models" / "model.pt"), "--epochs", "1")
    done = train(bundle, make_dataset(), tmp_path / "run", "--labels", "['a','b','c']", *start)
    assert "the head is new" in done.stdout
    tuned, source = state(tmp_path / "run" / "models" / "model.pt"), state(folder / "the run" / "models" / "model.pt")
    assert tuned["head.bias"].shape == (4,) and source["head.bias"].shape == (3,)
    near = (tuned["stem.weight"] - source["stem.weight"]).abs().max()
    assert 0 < near < 0.05


@pytest.mark.slow
def test_a_non_finite_loss_names_the_cases(bundle, trained, tmp_path):
    folder, _ = trained
    done = train(bundle, folder / "my data", tmp_path / "run", "--learning_rate", "1e30", "--epochs", "5", check=False)
    assert done.returncode == 1
    assert "the loss became" in last_line(done) and "case_" in last_line(done) and "learning_rate" in last_line(done)
    assert "Traceback" not in done.stderr


def last_line(done):
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")][-1]


def spoil_image(dataset, change):
    path = dataset / "imagesTr" / "case_3.nii.gz"
    image = nib.load(path)
    array, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
    nib.save(nib.Nifti1Image(array, affine), path)


def spoil_label(dataset, change):
    path = dataset / "labelsTr" / "case_3.nii.gz"
    label = nib.load(path)
    array, affine = change(np.asarray(label.dataobj).copy(), label.affine.copy())
    nib.save(nib.Nifti1Image(array, affine), path)


def with_value(value):
    def change(array, affine):
        array[3, 4, 5] = value
        return array, affine

    return change


def moved(millimetres):
    def change(array, affine):
        affine[1, 3] += millimetres
        return array, affine

    return change


BAD = {
    "no image's label": (lambda d: (d / "labelsTr" / "case_3.nii.gz").unlink(), ["case_3.nii.gz", "no label"]),
    "shapes": (lambda d: spoil_label(d, lambda a, m: (a[1:], m)), ["labelsTr/case_3", "(23, 28, 20)", "resample"]),
    "positions": (lambda d: spoil_label(d, moved(0.6)), ["labelsTr/case_3", "0.6 voxels", "affine"]),
    "label value": (lambda d: spoil_label(d, with_value(7)), ["labelsTr/case_3", "[7]", "--labels"]),
    "fraction": (lambda d: spoil_label(d, lambda a, m: (a * 0.5, m)), ["labelsTr/case_3", "whole numbers", "0.5"]),
    "NaN": (lambda d: spoil_image(d, with_value(np.nan)), ["imagesTr/case_3", "1 of 13,440", "NaN"]),
    "infinite": (lambda d: spoil_image(d, with_value(np.inf)), ["imagesTr/case_3", "1 of 13,440", "infinite"]),
    "empty file": (lambda d: (d / "imagesTr" / "case_3.nii.gz").write_bytes(b""), ["imagesTr/case_3", "0 bytes"]),
    "truncated": (
        lambda d: (d / "imagesTr" / "case_3.nii.gz").write_bytes(
            (d / "imagesTr" / "case_3.nii.gz").read_bytes()[:9000]
        ),
        ["imagesTr/case_3", "cut short or corrupt"],
    ),
}


def refusals(bundle, dataset, output, **ids):
    """The lines that a training is refused with before it starts; nothing is written then."""
    parser = parser_of(bundle, dataset, output, epochs=1, **ids)
    parser.update({"initialize": parser.get("initialize")[1:]})  # but what is for a process of its own
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("initialize")
    assert not output.exists()
    return str(input_error(caught.value)).splitlines()


@pytest.mark.parametrize("name", BAD, ids=str)
def test_bad_input_is_one_line_before_training_starts(bundle, make_dataset, tmp_path, name):
    spoil, words = BAD[name]
    dataset = make_dataset()
    spoil(dataset)
    (line,) = refusals(bundle, dataset, tmp_path / "run", labels=["a", "b"])
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ({"dataset_dir": "nowhere"}, ["nowhere", "no such file or folder"]),
        ({"dataset_dir": None}, ["dataset_dir is not set"]),
        ({"labels": "tumour"}, ["labels must be a list", "'tumour'"]),
        ({"num_folds": 9}, ["6 cases", "9 folds", "--num_folds"]),
        ({"fold": 5}, ["fold must be", "5 of 3"]),
        ({"in_channels": 2}, ["imagesTr/case_", "has 1 channels", "--in_channels is 2"]),
        ({"patch_size": 40}, ["patch_size must be 3 numbers above 0", "got 40"]),
        ({"spacing": 1.0}, ["spacing must be 3 numbers above 0", "got 1.0"]),
        ({"batch_size": 0}, ["batch_size must be a number above 0", "got 0"]),
        ({"flip_axes": 0}, ["flip_axes must be a list of axes from 0 to 2", "got 0"]),
    ],
    ids=str,
)
def test_bad_settings_are_refused_before_training_starts(bundle, make_dataset, tmp_path, ids, words):
    lines = refusals(bundle, make_dataset(), tmp_path / "run", **ids)
    assert len(lines) == 1 or "in_channels" in ids  # one line a case
    for word in words:
        assert word in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--num_folds", "9"], ["6 cases", "9 folds", "--num_folds"]),
        (["--device", "cuda:7"], ["device", "cuda:7"]),
        (["--resume", "True"], ["run: holds no training to resume", "--output_dir"]),
        (["--resume", "perhaps"], ["true or false", "perhaps"]),
        (["--init_weights", "gone.pt"], ["gone.pt", "no such checkpoint"]),
        (["--epoch", "3"], ["--epoch: no configuration has this id", "did you mean --epochs?"]),
    ],
    ids=str,
)
def test_what_a_run_refuses_is_one_line(bundle, make_dataset, tmp_path, more, words):
    done = train(bundle, make_dataset(), tmp_path / "run", "--epochs", "1", *more, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_channels_of_different_scale_train(bundle, make_dataset, tmp_path):
    """nnU-Net's file names; the second channel is a thousand times weaker and counts as much."""
    dataset = make_dataset()
    for path in sorted((dataset / "imagesTr").iterdir()):
        image = nib.load(path)
        case = path.name.removesuffix(".nii.gz")
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj) / 1000, image.affine), path.parent / f"{case}_0001.nii.gz")
        path.rename(path.parent / f"{case}_0000.nii.gz")
    train(bundle, dataset, tmp_path / "run", "--epochs", "1", "--in_channels", "2")
    assert state(tmp_path / "run" / "models" / "model.pt")["stem.weight"].shape[1] == 2
    parser = ConfigParser(read_json(bundle / "configs/train.json"))
    parser.update({"dataset_dir": str(dataset), "in_channels": 2, "num_folds": 3})
    image = Compose(parser.get_parsed_content("image_preprocessing"))(parser.get_parsed_content("items")[0])["image"]
    np.testing.assert_allclose(image.std(dim=(1, 2, 3)), 1, atol=1e-3)
    new = (dataset / "imagesTr").rename(tmp_path / "new patients")
    run = tmp_path / "run"
    results = predict_cases(new, tmp_path / "masks", Segmenter(run, device="cpu"))
    assert [(result.id, result.status) for result in results] == [(f"case_{n}", "done") for n in range(6)]
    run_bundle(
        *("run", "--bundle_root", str(run), "--config_file", str(run / "configs" / "inference.json")),
        *("--dataset_dir", str(new), "--output_dir", str(tmp_path / "theirs")),
        cwd=tmp_path,
    )
    for result in results:
        ours, theirs = (nib.load(tmp_path / where / f"{result.id}.nii.gz") for where in ("masks", "theirs"))
        assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))


@pytest.mark.slow
def test_a_slightly_moved_label_is_a_warning(bundle, make_dataset, tmp_path):
    dataset = make_dataset()
    spoil_label(dataset, moved(0.1))
    done = train(bundle, dataset, tmp_path / "run", "--epochs", "1")
    assert "warning: " in done.stdout and "0.1 voxels away" in done.stdout


@pytest.mark.slow
def test_two_processes_train_one_network(bundle, trained, tmp_path):
    """DistributedDataParallel over gloo: each case once an epoch, equal weights, one writer."""
    folder, _ = trained
    overlay = tmp_path / "watch.json"
    watch = {
        "_target_": "tests.bundle.watch_ranks.WatchRanks",
        "network": "@network",
        "validated": "$@average.model",
        "folder": str(tmp_path / "watched"),
    }
    overlay.write_text(json.dumps({"+train#handlers": [watch]}))
    configs = [str(bundle / "configs" / name) for name in ("train.json", "multi_gpu_train.json")]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29517"]
    command += ["-m", "monai.bundle", "run", "training", "--bundle_root", str(bundle)]
    command += ["--config_file", str([*configs, str(overlay)]), "--dataset_dir", str(folder / "my data")]
    command += ["--output_dir", str(tmp_path / "run"), "--num_folds", "3", "--fold", "1", "--epochs", "2"]
    command += [*SMALL, "--batch_size", "1"]
    text = {"env": environment(), "capture_output": True, "text": True, "timeout": 600}
    done = subprocess.run(command, cwd=tmp_path, **text)
    assert done.returncode == 0, done.stderr
    ranks = [state(tmp_path / "watched" / f"rank{r}.pt") for r in (0, 1)]
    for epoch in (0, 1):
        seen = sorted(case for rank in ranks for case in rank["seen"][epoch])
        assert seen == read_json(tmp_path / "run" / "docs" / "split.json")["training"]
    # Running statistics are each process's own on a CPU, where PyTorch has no synchronised batch norm.
    first, second = ({n: t for n, t in rank["network"].items() if "running" not in n} for rank in ranks)
    assert equal(first, second)
    # What is validated is one network, statistics and all, and the one that is saved.
    assert equal(ranks[0]["validated"], ranks[1]["validated"])
    averaged = state(tmp_path / "run" / "models" / "last.ckpt")["average"]
    assert equal(ranks[1]["validated"], {n.removeprefix("module."): w for n, w in averaged.items() if "module." in n})
    assert done.stdout.count("epoch 2/2") == 1
    rank_without_a_batch = ("--batch_size", "3", "--output_dir", str(tmp_path / "large batch"))
    done = subprocess.run([*command, *rank_without_a_batch], cwd=tmp_path, env=environment(), capture_output=True)
    assert done.returncode == 0 and (tmp_path / "large batch" / "models" / "model.pt").exists()
    written = {p.name for p in (tmp_path / "run").iterdir()}
    assert written == {"configs", "docs", "models", "tensorboard", "LICENSE", "report.html"}
    assert (
        read_json(tmp_path / "run" / "configs" / "train.json")["network"]
        == read_json(bundle / "configs" / "train.json")["network"]
    )
    written = {
        name.removeprefix("module."): w
        for name, w in state(tmp_path / "run" / "models" / "last.ckpt")["network"].items()
    }
    assert equal(written, ranks[0]["network"])  # by the first rank, not by whichever came last
    done = subprocess.run([*command, "--num_folds", "6", "--output_dir", str(tmp_path / "few")], cwd=tmp_path, **text)
    assert done.returncode != 0 and "2 processes can't share 1 cases" in done.stderr


@pytest.mark.slow
def test_dicom_images_with_nifti_labels(bundle, shared_data, tmp_path):
    """The label is stored in another orientation than the DICOM series, as converters do."""
    source = shared_data / "dicom" / "odd_series" / "ct_flipped_iop_17slices"
    from monai.transforms import LoadImage

    volume = LoadImage(image_only=True)(str(source))
    label = (np.asarray(volume) > np.percentile(volume, 70)).astype(np.uint8)
    for number in range(3):
        (tmp_path / "data" / "imagesTr").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "imagesTr" / f"case_{number}").symlink_to(source)
        image = nib.as_closest_canonical(nib.Nifti1Image(label, np.asarray(volume.affine)))
        (tmp_path / "data" / "labelsTr").mkdir(exist_ok=True)
        nib.save(image, tmp_path / "data" / "labelsTr" / f"case_{number}.nii.gz")
    more = ("--epochs", "1", "--spacing", "[4,4,4]", "--labels", "['bright']")
    train(bundle, tmp_path / "data", tmp_path / "run", *more)
    assert len(read_json(tmp_path / "run" / "docs" / "split.json")["training"]) == 2
