"""Training on the server: what it learns, what it keeps, and what a kill leaves."""

import itertools
import json
import shutil
import signal
import time

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch

from tests.label.conftest import serving, ulite

pytestmark = pytest.mark.slow


@pytest.fixture
def weak_bundle(bundle, tmp_path):
    """The hippocampus bundle with weights that were spoilt by noise."""
    folder = shutil.copytree(bundle, tmp_path / "weak", ignore=shutil.ignore_patterns("runs"))
    weights = torch.load(folder / "models" / "model.pt", weights_only=True)
    random = torch.Generator().manual_seed(0)
    for tensor in weights.values():
        if tensor.ndim > 1:
            tensor += 0.8 * tensor.std() * torch.randn(tensor.shape, generator=random)
    torch.save(weights, folder / "models" / "model.pt")
    return folder


@pytest.fixture
def studies(tmp_path):
    (tmp_path / "studies").mkdir()
    return tmp_path / "studies"


def add(studies, cases):
    for image, _ in cases:
        shutil.copy(image, studies)


def name_of(case):
    return case[0].name.removesuffix(".nii.gz")


def label(server, cases):
    for case in cases:
        answer = server.save_label(name_of(case), case[1])
        assert answer.status_code == 200, answer.text


def mean_dice(server, cases, tmp_path, model):
    dice = []
    for image, reference in cases:
        answer = server.infer(name_of((image, reference)), model=model)
        assert answer.status_code == 200, answer.text
        (tmp_path / "mask.nii.gz").write_bytes(answer.content)
        mask, truth = (np.asarray(nib.load(path).dataobj) for path in (tmp_path / "mask.nii.gz", reference))
        for value in (1, 2):
            both = (mask == value).sum() + (truth == value).sum()
            dice.append(2 * ((mask == value) & (truth == value)).sum() / both)
    return float(np.mean(dice))


def results(server, model):
    files = sorted((server.work / "model" / model / "versions").glob("*/result.json"))
    return [json.loads(file.read_text()) for file in files]


def test_it_learns_from_labels_and_serves_the_better_weights_at_once(
    label_python, weak_bundle, cases, studies, tmp_path
):
    labelled, held_out = cases[:10], cases[10:16]
    add(studies, labelled + held_out)
    original = (weak_bundle / "models" / "model.pt").read_bytes()
    with serving(label_python, tmp_path, studies, "--bundle", weak_bundle) as server:
        label(server, labelled)
        before = mean_dice(server, held_out, tmp_path, "weak")
        state = server.train("weak", max_epochs=25, val_split=0.2)
        assert state["status"] == "DONE", state["details"]
        assert any("epoch 25/25" in line for line in state["details"])
        after = mean_dice(server, held_out, tmp_path, "weak")
        print(f"mean Dice on held-out cases: {before:.3f} before, {after:.3f} after")
        assert before < 0.6 and after > before + 0.1
        (result,) = results(server, "weak")
        assert result["accepted"] and result["dice"] > result["dice_before"]
        assert len(result["training"]) == 8 and len(result["validation"]) == 2
        assert server.infer(name_of(cases[0]), "json", "weak").json()["version"] == 1
        stats = server.get("/info/").json()["train_stats"]["weak"]
        assert stats["version"] == 1 and stats["best_metric"] == pytest.approx(result["dice"])
    assert (weak_bundle / "models" / "model.pt").read_bytes() == original
    done = ulite(label_python, "serve", "--work", "work", "--export", "weak", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    image = held_out[0][0]
    done = ulite(label_python, "predict", "-i", image, "-o", "exported.nii.gz", "--bundle", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, is_split in (("bundle", True), ("versions/0001", False)):  # labels of users may follow another protocol
        inference = server.work / "model" / "weak" / name / "configs" / "inference.json"
        assert json.loads(inference.read_text())["straight_boundary"] is is_split


def test_a_worse_result_is_not_served_and_says_so(label_python, cases, studies, tmp_path):
    add(studies, cases[:4])
    with serving(label_python, tmp_path, studies) as server:
        label(server, cases[:4])
        before = server.infer(name_of(cases[0])).content
        state = server.train(max_epochs=1, val_split=0.5, pretrained=False)
        assert state["status"] == "DONE" and "worse, not served" in state["details"][-1]
        (result,) = results(server, "hippocampus")
        assert not result["accepted"] and result["dice"] < result["dice_before"]
        after = server.infer(name_of(cases[0]))
        assert after.content == before
        assert "worse" in server.get("/info/").json()["train_stats"]["hippocampus"]["verdict"]


def test_no_labels_one_label_and_labels_as_a_viewer_saves_them(label_python, cases, studies, tmp_path):
    add(studies, cases[:2])
    with serving(label_python, tmp_path, studies) as server:
        answer = server.post("/train/hippocampus", json={})
        assert answer.status_code == 422 and "there are no labels yet" in answer.json()["detail"]

        # Empty slices left out, as DICOM SEG does, and the segments in a viewer's own order.
        truth = nib.load(cases[0][1])
        array = np.asarray(truth.dataobj).astype(np.uint8)
        first, *_, last = np.flatnonzero(array.any((0, 1)))
        assert (first, last) != (0, array.shape[2] - 1)
        affine = truth.affine.copy()
        affine[:, 3] = truth.affine @ [0, 0, first, 1]
        cut = np.choose(array, [0, 2, 1]).astype(np.uint8)[:, :, first : last + 1]
        nib.save(nib.Nifti1Image(cut, affine), tmp_path / "label.nii.gz")
        segments = [{"name": "posterior", "idx": 1}, {"name": "anterior", "idx": 2}]
        answer = server.save_label(name_of(cases[0]), tmp_path / "label.nii.gz", label_info=segments)
        assert answer.status_code == 200, answer.text

        state = server.train(max_epochs=1, val_split=0.2)
        assert state["status"] == "DONE", state["details"]
        trained_on = server.work / "model/hippocampus/versions/0001/labels" / cases[0][0].name
        assert np.array_equal(np.asarray(nib.load(trained_on).dataobj), array)

        label(server, cases[1:2])
        state = server.train(max_epochs=1, val_split=0)
        assert state["status"] == "DONE" and "nothing to validate on" in state["details"][-1]
        assert [len(result["training"]) for result in results(server, "hippocampus")] == [1, 2]
        assert server.infer(name_of(cases[0]), "json").json()["version"] == 2


def test_a_label_that_cannot_be_trained_on_is_left_out_and_named(label_python, cases, studies, tmp_path):
    add(studies, cases[:4])
    final = studies / "labels" / "final"
    final.mkdir(parents=True)
    good, moved, damaged, other = (final / case[0].name for case in cases[:4])
    shutil.copy(cases[0][1], good)
    truth = nib.load(cases[1][1])
    nib.save(nib.Nifti1Image(np.asarray(truth.dataobj), truth.affine + np.diag([0, 0, 0.7, 0])), moved)
    damaged.write_bytes(b"nothing")
    truth = nib.load(cases[3][1])
    nib.save(nib.Nifti1Image(7 * (np.asarray(truth.dataobj) > 0).astype(np.uint8), truth.affine), other)
    with serving(label_python, tmp_path, studies) as server:
        state = server.train(max_epochs=1, val_split=0)
        assert state["status"] == "DONE", state["details"]
        (result,) = results(server, "hippocampus")
        assert result["training"] == [name_of(cases[0])]
        verdict = server.get("/info/").json()["train_stats"]["hippocampus"]["verdict"]
        for words in (
            f"Left out: {name_of(cases[1])}: ",
            "its voxels aren't voxels of its image",
            f"{name_of(cases[2])}: ",
            f"{name_of(cases[3])}: ",
            "has the value 7, the bundle's are 0 background, 1 anterior, 2 posterior.",
        ):
            assert words in verdict and words in result["verdict"], words


def test_a_kill_in_the_middle_of_a_training_loses_nothing(label_python, cases, studies, tmp_path):
    add(studies, cases[:4])
    with serving(label_python, tmp_path, studies) as server:
        label(server, cases[:3])
        state = server.train(max_epochs=1, val_split=0)
        assert state["status"] == "DONE", state["details"]
        mask = server.infer(name_of(cases[3])).content
        assert server.post("/train/hippocampus", json={"max_epochs": 1000}).status_code == 200
        interrupted = server.work / "model" / "hippocampus" / "versions" / "0002"
        for _ in itertools.takewhile(lambda _: not (interrupted / "models" / "model.pt").exists(), range(240)):
            time.sleep(0.25)
        assert (interrupted / "models" / "model.pt").exists()
        server.kill(signal.SIGKILL)
    with serving(label_python, tmp_path, studies) as server:
        assert server.get("/info/").json()["datastore"]["label_tags"] == {"final": 3}
        for case in cases[:3]:
            back = server.get("/datastore/label", params={"label": name_of(case), "tag": "final"})
            assert back.content == case[1].read_bytes()
        assert server.infer(name_of(cases[3])).content == mask
        assert server.infer(name_of(cases[3]), "json").json()["version"] == 1
        state = server.train(max_epochs=1, val_split=0)
        assert state["status"] == "DONE" and not (interrupted / "result.json").exists()
        assert server.infer(name_of(cases[3]), "json").json()["version"] == 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_training_ends_with_its_server(label_python, cases, studies, tmp_path, how):
    add(studies, cases[:3])
    with serving(label_python, tmp_path, studies) as server:
        label(server, cases[:3])
        assert server.post("/train/hippocampus", json={"max_epochs": 1000}).status_code == 200
        version = server.work / "model" / "hippocampus" / "versions" / "0001"
        for _ in itertools.takewhile(lambda _: not (version / "models" / "model.pt").exists(), range(480)):
            time.sleep(0.25)
        assert (version / "models" / "model.pt").exists()
        started = psutil.Process(server.process.pid).children(recursive=True)
        assert started
        server.process.send_signal(how)  # to the server alone, as a service manager does
        server.process.wait(timeout=60)
        _, alive = psutil.wait_procs(started, timeout=60)
        assert not alive
        left = {path: path.stat().st_mtime_ns for path in server.work.rglob("*")}
        time.sleep(2)
        assert {path: path.stat().st_mtime_ns for path in server.work.rglob("*")} == left


def test_two_models_and_one_without_weights(label_python, bundle, weak_bundle, cases, studies, tmp_path):
    (weak_bundle / "models" / "model.pt").unlink()
    add(studies, cases[:2])
    with serving(label_python, tmp_path, studies, "--bundle", "hippocampus", "--bundle", weak_bundle) as server:
        info = server.get("/info/").json()
        assert list(info["models"]) == ["hippocampus"] and set(info["trainers"]) == {"hippocampus", "weak"}
        answer = server.infer(name_of(cases[0]), model="weak")
        assert answer.status_code == 422 and "the model weak has no weights yet" in answer.json()["detail"]
        label(server, cases[:2])
        state = server.train("weak", max_epochs=1, val_split=0.5)
        assert state["status"] == "DONE" and "the first weights of this model" in state["details"][-1]
        assert set(server.get("/info/").json()["models"]) == {"hippocampus", "weak"}
        assert server.infer(name_of(cases[0]), "json", "weak").json()["version"] == 1


def test_a_viewer_trains_all_models_asks_whether_one_runs_and_stops_it(label_python, cases, studies, tmp_path):
    add(studies, cases[:2])
    with serving(label_python, tmp_path, studies) as server:
        label(server, cases[:2])
        assert server.get("/train/?check_if_running=true").status_code == 404
        answer = server.post("/train/", json={"hippocampus": {"max_epochs": 0}})
        assert answer.status_code == 422
        answer = server.post("/train/", json={"hippocampus": {"max_epochs": 1000, "val_split": 0}})
        assert answer.status_code == 200 and "hippocampus" in answer.json()
        running = server.work / "model" / "hippocampus" / "versions" / "0001" / "models" / "model.pt"
        for _ in itertools.takewhile(lambda _: not running.exists(), range(240)):
            time.sleep(0.25)
        assert server.get("/train/?check_if_running=true").json()["status"] == "RUNNING"
        assert server.post("/train/hippocampus", json={}).status_code == 429
        assert server.request("DELETE", "/train/").json()["status"] == "STOPPED"
        assert server.infer(name_of(cases[0]), "json").json()["version"] == 0
