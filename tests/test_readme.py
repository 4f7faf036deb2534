"""The recipes of README.md and of docs/, run as they are written; only their length is cut."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import typer

from tests.conftest import ROOT, ellipsoids, environment, read_json, write_volume

PAGES = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
ELSEWHERE = re.compile(r"pip install|^ulite serve|my_better_run")  # downloads; MONAI Label's environment: tests/label
SHORTER, QUICKER = " --epochs 1 --batch_size 1", "--hours 0.004"
OUTPUT = re.compile(r"(?: -o| --output_dir| --filepath) (\S+)")


def commands(page):
    """Each shell command of a page on one line."""
    for block in re.findall(r"```bash\n(.*?)```", TEXTS[page], flags=re.DOTALL):
        yield from block.replace("\\\n", " ").strip().splitlines()


def recipes(page):
    """Those that run in this environment, without a network."""
    return [command for command in commands(page) if not ELSEWHERE.search(command)]


def shortened(command):
    command = command.replace("--folds 5", "--folds 2")
    command = re.sub(r"--hours [\d.]+", QUICKER, command)
    return command + SHORTER if "run training" in command else command


def run(command, folder):
    command = re.sub(r"\bpython3? ", f"{sys.executable} ", command)
    command = re.sub(r"^ulite ", f"{sys.executable} -c 'from ulite_monai.cli import main; main()' ", command)
    command = command.replace("torchrun ", f"{sys.executable} -m torch.distributed.run ")
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment(), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder that looks like a clone to the commands, with a user's `my_data` and `new_images`."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "bundle", folder / "bundle", ignore=shutil.ignore_patterns("runs", "masks"))
    for number in range(6):
        image, label = ellipsoids((24, 28, 20), seed=number)
        write_volume(folder / "my_data" / "imagesTr" / f"case_{number}.nii.gz", image)
        write_volume(folder / "my_data" / "labelsTr" / f"case_{number}.nii.gz", label)
    names = {"labels": {"background": 0, "tumour": 1, "oedema": 2}, "file_ending": ".nii.gz"}
    (folder / "my_data" / "dataset.json").write_text(json.dumps(names))
    shutil.copytree(folder / "my_data" / "imagesTr", folder / "new_images")
    return folder


@pytest.fixture(scope="module")
def follow(clone):
    """A function that runs a recipe, unless another page had it, and finds what it says that it writes."""
    followed = set()

    def run_once(command):
        if command not in followed:
            run(shortened(command), clone)
            followed.add(command)
        for output in OUTPUT.findall(command):
            assert (clone / output).exists(), command

    (training,) = (command for command in recipes("README.md") if command.startswith("ulite train"))
    run_once(training)
    return run_once


def copy_some(dataset, folder, cases=6):
    """The first cases of a data set in the Decathlon's layout."""
    content = read_json(dataset / "dataset.json")
    content["training"] = content["training"][:cases]
    for entry in content["training"]:
        for path in entry.values():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(dataset / path, folder / path)
    (folder / "dataset.json").write_text(json.dumps(content))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if recipes(page)])
def test_the_recipes_of_a_page(page, clone, follow, request):
    if any("Task04" in command for command in recipes(page)):
        copy_some(request.getfixturevalue("hippocampus"), clone / "data" / "Task04_Hippocampus")
    for command in recipes(page):
        follow(command)


@pytest.mark.slow
def test_the_first_command_trains_on_the_sample(clone):
    pytest.importorskip("nilearn", reason="the sample extra isn't installed")
    (command,) = (command for command in commands("README.md") if "sample.json" in command)
    training = command.split(" && ")[-1]
    assert training.startswith("python -m monai.bundle run training")
    run(training + " --epochs 2 --val_interval 1", clone)
    assert (clone / "bundle" / "runs" / "sample" / "models" / "model.pt").exists()


@pytest.mark.slow
def test_what_the_recipes_write_is_what_the_pages_say(clone, follow):
    (training,) = (command for command in recipes("README.md") if command.startswith("ulite train"))
    for command in recipes("README.md")[recipes("README.md").index(training) :]:
        follow(command)
    listed = re.findall(r"^\| `(\w+/[\w.]*)`", TEXTS["docs/train.md"], flags=re.MULTILINE)
    assert len(listed) == 5 and all((clone / "my_run" / name).exists() for name in listed)
    masks = {path.name for path in (clone / "my_masks").iterdir()}
    assert masks >= {"volumes.csv", "predictions.json", *(f"case_{n}.nii.gz" for n in range(6)), "case_0_preview.png"}
    assert len(list((clone / "my_run_masks").glob("case_*.nii.gz"))) == 6
    assert (clone / "my_evaluation" / "metrics.csv").read_text().count("\n") == 1 + 6 * 2
    assert read_json(clone / "my_evaluation" / "summary.json")["cases"] == 6
    labels = read_json(clone / "my_run" / "configs" / "inference.json")["labels"]
    assert labels == ["tumour", "oedema"]


@pytest.mark.slow
def test_an_ensemble_of_folds(clone, follow):
    for command in recipes("docs/train.md"):
        if "my_folds" in command:
            follow(command)
    report = json.loads((clone / "my_fold_masks" / "predictions.json").read_text())
    assert report["ckpt"] == [f"my_folds/fold{fold}/models/model.pt" for fold in (0, 1)]
    assert {case["status"] for case in report["cases"]} <= {"done", "empty"}


@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if "```python" in text])
def test_the_python_examples(page):
    for code in re.findall(r"```python\n(.*?)```", TEXTS[page], flags=re.DOTALL):
        names = {}
        exec(code, names)
        assert tuple(names["logits"].shape) == (1, 3, 35, 51, 37)


def test_the_bundles_folder_is_printed(tmp_path):
    (command,) = re.findall(r"`(python -m ulite_monai\.bundles hippocampus)`", TEXTS["docs/train.md"])
    assert run(command, tmp_path).strip() == str(ROOT / "bundle")


def options_of_table(page, head):
    """The options in the first column of a page's tables with this head."""
    tables = re.findall(rf"^\| {head} \|.*\n((?:\|.*\n)+)", TEXTS[page], flags=re.MULTILINE)
    rows = [line for line in "".join(tables).splitlines() if line.startswith("| `--")]
    return re.findall(r"`--([\w-]+)[`\s]", "\n".join(rows))


def options_of_command(name):
    from ulite_monai.cli import app

    return {name for parameter in typer.main.get_command(app).commands[name].params for name in parameter.opts}


def test_every_id_of_the_table_is_an_id_of_the_training_configuration():
    ids = options_of_table("docs/train.md", "id")
    assert len(ids) > 20 and set(ids) <= set(read_json(ROOT / "bundle" / "configs" / "train.json"))


def test_every_option_of_ulite_train_is_told():
    text = TEXTS["docs/train.md"].split("## By MONAI's command")[0]
    told = set(re.findall(r"`(--[a-z-]+)", text))
    assert {name for name in options_of_command("train") if name.startswith("-")} - told == {"-o", "--output"}


def test_every_option_of_the_table_is_an_option_of_ulite_predict():
    known = options_of_command("predict")
    options = {f"--{option}" for option in options_of_table("docs/segment.md", "option")}
    assert len(options) > 12 and options <= known
    assert known - options - {"-i", "-o", "--input", "--output", "--help"} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", TEXTS[page])
    missing = [target for target in targets if not (PAGES[page].parent / target).exists()]
    assert not missing
