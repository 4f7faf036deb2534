"""One's own model: what a training leaves, served, trained on and taken out again."""

import itertools
import json

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import read_json
from tests.label.conftest import serving, ulite

pytestmark = pytest.mark.slow


def predicted(python, image, bundle, folder, name):
    done = ulite(python, "predict", "-i", image, "-o", folder / name, "--bundle", bundle, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return nib.load(folder / name)


def served(server, case, folder, name):
    answer = server.infer(case, model="my_run")
    assert answer.status_code == 200, answer.text
    (folder / name).write_bytes(answer.content)
    return nib.load(folder / name)


def assert_same(one, other):
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj)) and np.asarray(one.dataobj).any()
    assert one.header == other.header


def test_a_run_is_served_learns_and_leaves_a_bundle(label_python, my_run, cases, tmp_path):
    (tmp_path / "studies").mkdir()
    labelled, new = cases[:4], cases[4]
    for image, _ in [*labelled, new]:
        (tmp_path / "studies" / image.name).write_bytes(image.read_bytes())
    wide = nib.load(new[0])
    wide = nib.Nifti1Image(np.asarray(wide.dataobj), wide.affine @ np.diag([4, 4, 4, 1]))
    nib.save(wide, tmp_path / "studies" / "wide.nii.gz")
    name = new[0].name.removesuffix(".nii.gz")
    run = {path: path.stat().st_mtime_ns for path in my_run.rglob("*")}
    with serving(label_python, tmp_path, tmp_path / "studies", "--bundle", my_run) as server:
        assert server.get("/info/").json()["models"]["my_run"]["labels"] == {"head": 1, "tail": 2}
        first = served(server, name, tmp_path, "first.nii.gz")
        assert_same(first, predicted(label_python, new[0], my_run, tmp_path, "expected.nii.gz"))
        refused = server.infer("wide", model="my_run")
        assert refused.status_code == 422 and "mm" in refused.json()["detail"], refused.text

        for (image, label), segment in zip(labelled, itertools.cycle(["head", "anterior"]), strict=False):
            segments = [{"name": segment, "idx": 1}, {"name": "tail", "idx": 2}]
            answer = server.save_label(image.name.removesuffix(".nii.gz"), label, label_info=segments)
            assert answer.status_code == (200 if segment == "head" else 422), answer.text
        state = server.train("my_run", max_epochs=2, val_split=0)
        assert state["status"] == "DONE", state["details"]
        assert server.infer(name, "json", "my_run").json()["version"] == 1
        second = served(server, name, tmp_path, "second.nii.gz")
        assert not np.array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj))
    assert {path: path.stat().st_mtime_ns for path in my_run.rglob("*")} == run

    done = ulite(label_python, "serve", "--work", "work", "--export", "my_run", "better", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_same(second, predicted(label_python, new[0], "better", tmp_path, "exported.nii.gz"))
    one, other = (read_json(bundle / "configs" / "metadata.json") for bundle in (my_run, tmp_path / "better"))
    assert one["input_ranges"] and other["input_ranges"] == one["input_ranges"]  # few labels narrow nothing
    assert other["version"] == one["version"] + "+label.1"
    assert other["version"] in json.dumps(read_json(tmp_path / "predictions.json"))
    train = read_json(tmp_path / "better" / "configs" / "train.json")
    own = read_json(my_run / "configs" / "train.json")
    assert {name for name in own if train.get(name) != own[name]} <= {"epochs", "fold", "on_nonfinite"}
    assert train["epochs"] == 2 and str(tmp_path) not in json.dumps(train)
