"""The README's recipes, run as they are written; only their length is cut."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT, ellipsoids, environment, write_volume

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands():
    """Each shell command of the README on one line."""
    for block in blocks("bash"):
        yield from block.replace("\\\n", " ").strip().splitlines()


SHORTER = " --epochs 1 --batch_size 1"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder that looks like a clone to the commands, with a user's `my_data` and `new_images`."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "bundle", folder / "bundle", ignore=shutil.ignore_patterns("runs", "masks"))
    for number in range(6):
        image, label = ellipsoids((24, 28, 20), seed=number)
        write_volume(folder / "my_data" / "imagesTr" / f"case_{number}.nii.gz", image)
        write_volume(folder / "my_data" / "labelsTr" / f"case_{number}.nii.gz", label)
    shutil.copytree(folder / "my_data" / "imagesTr", folder / "new_images")
    return folder


def run(command, folder):
    command = re.sub(r"\bpython3? ", f"{sys.executable} ", command)
    command = re.sub(r"^ulite ", f"{sys.executable} -c 'from ulite_monai.cli import main; main()' ", command)
    command = command.replace("torchrun ", f"{sys.executable} -m torch.distributed.run ")
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def the_command(*parts):
    (found,) = (command for command in commands() if all(part in command for part in parts))
    return found


@pytest.mark.slow
def test_the_first_command_trains_on_the_sample(workplace):
    pytest.importorskip("nilearn", reason="the sample extra isn't installed")
    training = the_command("sample.json").split(" && ")[-1]
    assert training.startswith("python -m monai.bundle run training")
    run(training + " --epochs 2 --val_interval 1", workplace)
    assert (workplace / "bundle" / "runs" / "sample" / "model.pt").exists()


@pytest.mark.slow
def test_training_evaluating_and_segmenting_ones_own_data(workplace):
    run(the_command("run training", "--output_dir my_run") + SHORTER, workplace)
    run(the_command("evaluate.json"), workplace)
    assert (workplace / "my_evaluation" / "metrics.csv").read_text().count("\n") == 1 + 2 * 2
    run(the_command("inference.json", "--output_dir my_masks"), workplace)
    assert len(list((workplace / "my_masks").glob("case_*.nii.gz"))) == 6
    run(the_command("ulite predict", "--statistics"), workplace)
    names = {path.name for path in (workplace / "my_masks").iterdir()}
    assert names >= {"volumes.csv", "predictions.json", "case_0_preview.png"}
    run(the_command("ulite inspect"), workplace)
    run(the_command("ulite check"), workplace)
    run(the_command("ulite export"), workplace)
    assert (workplace / "network.onnx").exists()
    run(the_command("ckpt_export"), workplace)
    assert (workplace / "network.ts").exists()


@pytest.mark.slow
def test_an_ensemble_of_folds(workplace):
    folds = the_command("for fold in").replace("0 1 2 3 4", "0 1").replace("; done", SHORTER + " --num_folds 3; done")
    run(folds, workplace)
    run(the_command("ulite predict", "my_folds"), workplace)
    report = json.loads((workplace / "my_masks" / "predictions.json").read_text())
    assert [path[-16:] for path in report["ckpt"]] == ["folds/0/model.pt", "folds/1/model.pt"]
    assert {case["status"] for case in report["cases"]} == {"done"}


@pytest.mark.slow
def test_training_in_two_processes(workplace):
    run(the_command("torchrun") + SHORTER, workplace)
    assert list((workplace / "bundle" / "runs").glob("2*/model.pt"))


@pytest.mark.slow
def test_training_on_the_decathlon(workplace, hippocampus):
    (workplace / "data").mkdir()
    (workplace / "data" / "Task04_Hippocampus").symlink_to(hippocampus)
    run(the_command("download_hippocampus"), workplace)
    run(the_command("data/Task04_Hippocampus") + " --epochs 1 --num_folds 100", workplace)


def test_the_python_example():
    (code,) = blocks("python")
    names = {}
    exec(code, names)
    assert tuple(names["logits"].shape) == (1, 3, 35, 51, 37)


def test_the_bundles_folder_is_printed(workplace):
    (command,) = re.findall(r"`(python -m ulite_monai\.bundles hippocampus)`", TEXT)
    assert run(command, workplace).strip() == str(ROOT / "bundle")


def test_every_id_of_the_table_is_an_id_of_the_training_configuration():
    from tests.conftest import read_json

    ids = re.findall(r"`--(\w+)`", "\n".join(line for line in TEXT.splitlines() if line.startswith("| `--")))
    config = read_json(ROOT / "bundle" / "configs" / "train.json")
    assert len(ids) > 12 and set(ids) <= set(config)


def test_the_test_command_is_the_one_of_ci():
    assert "python -m pytest" in (ROOT / ".ci" / "run").read_text() and "&& python -m pytest\n" in TEXT
