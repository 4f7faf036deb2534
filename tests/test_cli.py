"""The command `ulite`, as a person types it."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

import ulite_monai
from tests.conftest import environment, expected_mask, run_bundle, write_volume
from ulite_monai.cli import _setting, _summary
from ulite_monai.prediction.options import CaseResult
from ulite_monai.reports.volumes import LabelVolume

COMMAND = [sys.executable, "-W", "ignore", "-c", "from ulite_monai.cli import main; main()"]


def ulite(*arguments, cwd):
    options = {"cwd": cwd, "env": environment() | {"COLUMNS": "200"}, "capture_output": True, "text": True}
    return subprocess.run([*COMMAND, *map(str, arguments)], timeout=600, **options)


def volume(seed=0):
    return np.random.default_rng(seed).normal(100, 30, (30, 34, 26)).astype(np.float32)


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path):
    done = ulite("--help", cwd=tmp_path)
    assert done.returncode == 0 and all(
        name in done.stdout for name in ("predict", "inspect", "check", "evaluate", "export", "serve", "diagnosis")
    )
    code = "import sys, ulite_monai.cli; print(sorted({'torch', 'monai', 'numpy', 'nibabel'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("null", None), ("None", None), ("true", True), ("True", True), ("2e9", 2e9), ("1_000", 1000)],
        *[("[1.0,2]", [1.0, 2]), ("(1, 2)", (1, 2)), ('{"a": null}', {"a": None}), ("cuda:0", "cuda:0"), ("", "")],
    ],
)
def test_a_setting_is_read_as_json_or_python_writes_it(text, value):
    assert _setting(f"id={text}") == ("id", value)


@pytest.mark.slow
def test_predict(weights, tmp_path):
    for number in range(2):
        write_volume(tmp_path / "in put" / f"case_{number}.nii.gz", volume(number))
    done = ulite("predict", "-i", "in put", "-o", "out", "--ckpt", weights, "--statistics", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[1/2] case_0: done" in done.stdout and "anterior, mL" in done.stdout
    assert nib.load(tmp_path / "out" / "case_1.nii.gz").shape == (30, 34, 26)
    assert (tmp_path / "out" / "volumes.csv").read_text().count("\n") == 1 + 4


def shown(results, labels, width=80):
    """What ends a run, as a terminal of so many columns shows it."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(_summary(results, labels, width))
    return console.export_text().splitlines()


def test_the_table_that_ends_a_run_is_readable_whatever_the_number_of_classes():
    labels = [f"class number {value}" for value in range(1, 31)]
    volumes = [LabelVolume(label, value, value - 1, (value - 1) / 8, None) for value, label in enumerate(labels, 1)]
    case, other = (CaseResult(name, "", volumes=volumes, seconds=1.25) for name in ("a case", "other"))
    lines = shown([case], labels)
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in lines]
    assert all([one.label, f"{one.volume_ml:.3f}"] in rows for one in volumes)
    assert any("a case" in line and "29 of 30" in line for line in lines)
    failed = CaseResult("odd", "", "failed")
    lines = shown([case, other, failed], labels)
    assert sum("29 of 30" in line for line in lines) == 2 and "volumes.csv" in lines[-1] and len(lines) < 12
    boxed = CaseResult("box", "", volumes=volumes[4:5], seconds=1.25)
    mixed = shown([case, boxed], labels[:2] + labels[4:5], 120)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in mixed]
    assert ["box", "done", "", "", "0.500", "1.2"] in rows
    few = CaseResult("a case", "", volumes=volumes[:2], seconds=1.25)
    row = next(line for line in shown([few], labels[:2]) if "a case" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["a case", "done", "0.000", "0.125", "1.2"]


@pytest.mark.slow
def test_predict_imports_no_training(weights, tmp_path):
    """Half of MONAI's import is for what no prediction needs; the mask is that of a process that has all of it."""
    image = write_volume(tmp_path / "a.nii.gz", volume())
    code = (
        "import sys; from ulite_monai.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "names = {'ignite', 'pandas', 'sympy', 'scipy.signal', 'monai', 'scipy.ndimage'}\n"
        "print('LOADED', sorted(names & set(sys.modules)))"
    )
    arguments = ["predict", "-i", image, "-o", "out", "--ckpt", weights, "--preview"]
    options = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)], **options)
    assert done.returncode == 0, done.stderr
    assert "LOADED ['monai', 'scipy.ndimage']" in done.stdout
    assert (tmp_path / "out" / "a_preview.png").stat().st_size > 0
    whole = ulite_monai.predict(str(image), ckpt=weights, device="cpu")
    assert np.array_equal(np.asarray(nib.load(tmp_path / "out" / "a.nii.gz").dataobj), np.asarray(whole.dataobj))


@pytest.mark.slow
def test_what_isnt_typed_is_the_bundles_own(bundle, weights, tmp_path):
    """A bundle that says which engine runs it, and has no id for threads, is run as it says."""
    shutil.copytree(bundle, tmp_path / "mine", ignore=shutil.ignore_patterns("runs", "docs"))
    path = tmp_path / "mine" / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["engine"] = "torch"
    del config["threads"]
    del config["heads"]["ids"]["threads"]
    config["network"] = config["network"].replace(", @threads", "")
    path.write_text(json.dumps(config))
    image = write_volume(tmp_path / "a.nii.gz", volume())
    done = ulite("predict", "-i", image, "-o", "out", "--bundle", "mine", "--ckpt", weights, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert (report["engine"], report["precision"], report["overrides"]) == ("torch", "float32", {})
    typed = ("--bundle", "mine", "--ckpt", weights, "--threads", "1")
    done = ulite("predict", "-i", image, "-o", "out", *typed, cwd=tmp_path)
    assert done.returncode == 1 and "has no id 'threads'" in done.stderr


@pytest.mark.slow
def test_predict_ends_with_1_when_a_case_failed(weights, tmp_path):
    write_volume(tmp_path / "in" / "good.nii.gz", volume())
    (tmp_path / "in" / "bad.nii.gz").write_bytes(b"not a volume")
    done = ulite("predict", "-i", "in", "-o", "out", "--ckpt", weights, cwd=tmp_path)
    assert done.returncode == 1 and "bad: failed" in done.stdout and "good: done" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "-i", "gone", "-o", "out", "--ckpt", "gone.pt"], "gone.pt: no such checkpoint"),
        (["predict", "-i", "gone", "-o", "out", "--bundle", "liver"], "liver: is no bundle"),
        (["predict", "-i", "gone", "-o", "out", "--format", "stl"], "nifti, dicom-seg or both"),
        (["inspect", "gone"], "gone: no such file or folder"),
        (["check", "gone"], "gone: no such file or folder"),
        (["evaluate", "liver", "--dataset", "gone", "-o", "out"], "liver: is no bundle"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line(arguments, words, tmp_path):
    done = ulite(*arguments, cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr


def test_inspect_a_folder_of_files(tmp_path):
    write_volume(tmp_path / "in" / "a.nii.gz", volume(), np.diag([-1, 1, 2.5, 1]))
    done = ulite("inspect", "in", cwd=tmp_path)
    assert done.returncode == 0
    assert "30x34x26" in done.stdout and "1x1x2.5" in done.stdout and "LAS" in done.stdout and "usable" in done.stdout
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"")
    done = ulite("inspect", "in", cwd=tmp_path)
    assert done.returncode == 1 and "b: " in done.stdout and "b.nii.gz" in done.stdout


def test_inspect_a_dicom_tree(shared_data, tmp_path):
    done = ulite("inspect", shared_data / "dicom" / "odd_series", cwd=tmp_path)
    assert done.returncode == 1 and "unevenly spaced" in done.stdout
    assert done.stdout.count("usable") >= 2 and "88x128x17" in done.stdout


def test_inspect_names_what_it_cant_read_and_lists_the_rest(tmp_path, monkeypatch):
    """Whatever a reader raises; a 64-bit NRRD provoked a TypeError."""
    from ulite_monai.datasets import inspect

    for name in ("a", "b"):
        write_volume(tmp_path / "in" / f"{name}.nii.gz", volume())
    read = inspect.read_references

    def failing(references, *more):
        if str(references[0]).endswith("a.nii.gz"):
            raise TypeError("no such pixel type")
        return read(references, *more)

    monkeypatch.setattr(inspect, "read_references", failing)
    first, second = inspect.inspect_path(tmp_path / "in").rows
    assert first.problem == f"{tmp_path / 'in' / 'a.nii.gz'}: TypeError: no such pixel type"
    assert second.problem is None and second.size == (30, 34, 26)


@pytest.mark.slow
def test_predict_prints_its_results_alone(weights, tmp_path):
    """Nothing on standard error but what a user can act on."""
    image = write_volume(tmp_path / "a.nii.gz", volume())
    command = [sys.executable, "-c", "from ulite_monai.cli import main; main()", "predict", "-i", str(image)]
    shown = {name: value for name, value in environment().items() if name != "PYTHONWARNINGS"}
    options = {"cwd": tmp_path, "env": shown, "capture_output": True, "text": True}
    done = subprocess.run([*command, "-o", "out"], **options)
    assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.slow
def test_check_a_good_and_a_bad_data_set(make_dataset, tmp_path):
    dataset = make_dataset(cases=3)
    done = ulite("check", dataset, cwd=tmp_path)
    assert done.returncode == 0 and "3 cases, 0 errors, 2 warnings" in done.stdout
    image = dataset / "imagesTr" / "case_0.nii.gz"
    os.replace(dataset / "imagesTr" / "case_1.nii.gz", image)
    (dataset / "imagesTr" / "case_1.nii.gz").write_bytes(image.read_bytes())
    done = ulite("check", dataset, cwd=tmp_path)
    assert done.returncode == 0 and "3 cases, 0 errors, 3 warnings" in done.stdout
    assert "case_0, case_1: their images are the same file" in done.stdout
    label = nib.load(dataset / "labelsTr" / "case_2.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(label.dataobj)[1:], label.affine), dataset / "labelsTr" / "case_2.nii.gz")
    done = ulite("check", dataset, cwd=tmp_path)
    assert done.returncode == 1 and "3 cases, 1 errors, 1 warnings" in done.stdout  # voxels aren't read any more
    assert "labelsTr/case_2.nii.gz: has shape (23, 28, 20)" in done.stdout


def test_check_counts_labels_against_dataset_json(make_dataset, tmp_path):
    dataset = make_dataset(cases=3)
    entries = [{"image": f"imagesTr/case_{n}.nii.gz", "label": f"labelsTr/case_{n}.nii.gz"} for n in range(3)]
    (dataset / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "a"}, "training": entries}))
    done = ulite("check", dataset, cwd=tmp_path)
    assert done.returncode == 1 and "3 errors" in done.stdout and "[2]" in done.stdout
    assert ulite("check", dataset, "--labels", "2", cwd=tmp_path).returncode == 0


def test_check_a_folder_of_nnunet(make_dataset, tmp_path):
    dataset = make_dataset(cases=3)
    for path in (dataset / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    content = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": 3}
    (dataset / "dataset.json").write_text(json.dumps(content))
    done = ulite("check", dataset, cwd=tmp_path)
    assert done.returncode == 0 and "3 cases, 0 errors" in done.stdout


def test_check_images_with_instance_masks(shared_data, tmp_path):
    names = sorted(path.name for path in (shared_data / "dsb2018" / "images").iterdir())[:3]
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for name in names:
            (tmp_path / "data" / part / name).symlink_to(shared_data / "dsb2018" / part / name)
    done = ulite("check", tmp_path / "data", cwd=tmp_path)
    assert done.returncode == 0 and "3 cases, 0 errors" in done.stdout and "256x256" in done.stdout


def test_a_series_description_is_shown_as_it_is(tmp_path):
    pytest.importorskip("pydicom", reason="the dicom extra isn't installed")
    from tests.io.conftest import make_slice

    (tmp_path / "in").mkdir()
    for k in range(3):
        ds = make_slice(np.zeros((4, 5, 3), np.int16), np.eye(4), k)
        ds.SeriesDescription = "t1 [left] [/fl3d]"
        ds.save_as(tmp_path / "in" / str(k), enforce_file_format=True)
    done = ulite("inspect", "in", cwd=tmp_path)
    assert done.returncode == 0 and "t1 [left] [/fl3d]" in done.stdout, done.stderr


@pytest.fixture
def labelled(tmp_path):
    """Three cases whose labels are what the network of `weights` makes of them, but for one voxel of one of them."""
    for number in range(3):
        label = expected_mask(volume(number))
        if number == 0:
            label[tuple(np.argwhere(label == 1)[0])] = 2
        write_volume(tmp_path / "data" / "imagesTr" / f"case_{number}.nii.gz", volume(number))
        write_volume(tmp_path / "data" / "labelsTr" / f"case_{number}.nii.gz", label)
    return tmp_path / "data"


@pytest.mark.slow
def test_evaluate(labelled, weights, tmp_path):
    arguments = ("--dataset", labelled, "--ckpt", weights, "--set", "straight_boundary=false")
    done = ulite("evaluate", "hippocampus", *arguments, "-o", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = metrics(tmp_path / "out")
    assert [(row["case"], row["label"]) for row in rows] == [
        (f"case_{number}", label) for number in range(3) for label in ("anterior", "posterior")
    ]
    assert all(float(row["dice"]) == 1 for row in rows[2:]) and 0.999 < min(float(row["dice"]) for row in rows[:2]) < 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["cases"] == 3 and summary["labels"]["anterior"]["dice"]["mean"] > 0.999
    lines = done.stderr.strip().splitlines()
    assert [line.split(":")[0] for line in lines[-3:]] == ["anterior", "posterior", "3 cases; see out/report.html."]
    assert len(list((tmp_path / "out").glob("worst_*.png"))) == 3
    report = (tmp_path / "out" / "report.html").read_text()
    assert all(words in report for words in ("<h1>Hippocampus", "case_2", 'type="range"', "trained on"))
    done = ulite("evaluate", "hippocampus", *arguments, "-o", "one", *FOLD, cwd=tmp_path)
    assert done.returncode == 0 and len(metrics(tmp_path / "one")) == 2, done.stderr
    odd = shutil.copytree(labelled, tmp_path / "@50% #2 $x")
    done = ulite("evaluate", "hippocampus", "--dataset", odd, *arguments[2:], "-o", "#out", *FOLD, cwd=tmp_path)
    assert metrics(tmp_path / "#out") == metrics(tmp_path / "one"), done.stderr


@pytest.mark.slow
def test_evaluate_any_masks(labelled, tmp_path):
    shutil.copytree(labelled / "labelsTr", tmp_path / "masks")
    (tmp_path / "masks" / "case_1.nii.gz").unlink()
    done = ulite("evaluate", "--masks", "masks", "--references", labelled, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.splitlines()[0] == "not evaluated: case_1: masks holds no mask of it."
    assert done.stderr.splitlines()[-1] == "2 cases, 1 not evaluated; see masks_evaluation/report.html."
    assert {row["dice"] for row in metrics(tmp_path / "masks_evaluation")} == {"1"}
    done = ulite("evaluate", "hippocampus", "--masks", "masks", cwd=tmp_path)
    assert done.returncode == 1 and "give a BUNDLE with --dataset DIR, or --masks DIR with --ref" in done.stderr


FOLD = ("--fold", "0", "--set", "num_folds=3")


def metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--fold", "9"], "fold must be all, or 0 to num_folds - 1"),
        (["--fold", "first"], "fold must be all, or 0 to num_folds - 1"),
        (["--set", "spaceing=[1,1,1]"], "spaceing: no configuration has this id; did you mean --spacing?"),
        (["--ckpt", "gone.pt"], "gone.pt: no such checkpoint"),
        (["--set", "labels=['one']"], "case_0.nii.gz: holds label values [2], which no class has"),
    ],
    ids=str,
)
def test_an_evaluation_that_cant_be_done_is_a_line_for_each_reason(more, words, labelled, tmp_path):
    done = ulite("evaluate", "hippocampus", "--dataset", labelled, "-o", "out", *more, cwd=tmp_path)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert all(line.strip().startswith("error: ") for line in done.stderr.splitlines()), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_bundle_without_an_evaluation_is_named(bundle, labelled, tmp_path):
    shutil.copytree(bundle, tmp_path / "mine", ignore=shutil.ignore_patterns("runs", "docs", "evaluate.json"))
    done = ulite("evaluate", "mine", "--dataset", labelled, "-o", "out", cwd=tmp_path)
    assert done.returncode == 1 and "mine: has no configs/evaluate.json, so it can't be evaluated." in done.stderr


@pytest.mark.slow
def test_export(weights, tmp_path):
    done = ulite("export", "hippocampus", "--to", "torchscript", "-o", "net.ts", "--ckpt", weights, cwd=tmp_path)
    assert done.returncode == 0 and "net.ts" in done.stdout and (tmp_path / "net.ts").exists()
    done = ulite("export", "hippocampus", "--to", "onnx", "-o", "net.ts", "--ckpt", weights, cwd=tmp_path)
    assert done.returncode == 1 and "must end in .onnx" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_one_odd_file_never_loses_the_list(tmp_path):
    from tests.io.test_itk_image import VALUES, nrrd

    write_volume(tmp_path / "in" / "good.nii.gz", volume())
    nrrd(tmp_path / "in" / "int64.nrrd", VALUES.astype(np.int64), "longlong")
    (tmp_path / "in" / "bad.nrrd").write_bytes(b"NRRD0004\ntype: block\n")
    done = ulite("inspect", "in", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    verdicts = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("│")}
    assert [("usable" in verdicts[name]) for name in ("good", "int64", "bad")] == [True, True, False]


def mended(path):
    """A volume whose header nibabel mends: its first voxel size is negative."""
    image = nib.Nifti1Image(volume(), np.eye(4))
    image.set_qform(np.eye(4), 1)
    image.set_sform(None, 0)
    content = bytearray(image.to_bytes())
    content[80:84] = np.float32(-1).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.slow
def test_every_command_reports_a_mended_header_once(bundle, weights, tmp_path):
    path = mended(tmp_path / "data" / "imagesTr" / "a.nii")
    write_volume(tmp_path / "data" / "labelsTr" / "a.nii.gz", np.ones((30, 34, 26), np.uint8))
    config = str(bundle / "configs/inference.json")
    run = ("run", "--bundle_root", str(bundle), "--config_file", config, "--ckpt", str(weights))
    for done in (
        ulite("predict", "-i", path, "-o", "out", "--ckpt", weights, cwd=tmp_path),
        ulite("inspect", path, cwd=tmp_path),
        ulite("check", "data", cwd=tmp_path),
        run_bundle(*run, "--dataset_dir", str(path), "--output_dir", str(tmp_path / "by bundle"), cwd=tmp_path),
    ):
        assert done.returncode == 0, done.stderr
        assert (done.stdout + done.stderr).count("pixdim[1,2,3] should be positive") == 1, done.stdout + done.stderr
