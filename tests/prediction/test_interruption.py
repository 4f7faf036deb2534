"""A run that ends in the middle: what was done stays, and one line says how to go on."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import environment, read_json, write_volume
from tests.io.test_atomic import full_disk, leave_behind
from tests.prediction.conftest import SHAPE, statuses, volume
from ulite_monai.errors import InputError
from ulite_monai.prediction import PredictOptions, predict_cases

NAMES = [f"case_{number:02d}" for number in range(12)]


def refuse_names(monkeypatch, code, after=0, only=".nii.gz"):
    """From the mask number `after` on, the system refuses to name a file."""
    replace, masks = os.replace, []

    def refusing(source, target):
        if str(target).endswith(only):
            masks.append(target)
            if len(masks) > after:
                raise OSError(code, os.strerror(code))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refusing)


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_full_output_ends_the_run_with_one_line(segmenter, make_inputs, tmp_path, monkeypatch, code, jobs):
    make_inputs(*NAMES)
    seen = []
    with monkeypatch.context() as patch:
        refuse_names(patch, code, after=3)
        with pytest.raises(InputError, match=r"can't be written: .*; nothing was left there\. .*go on with --resume"):
            options = PredictOptions(jobs=jobs)
            predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options, lambda result, *_: seen.append(result))
    assert {result.status for result in seen} <= {"done"} and len(seen) <= 3
    report = read_json(tmp_path / "out" / "predictions.json")
    assert len(report["cases"]) == len(report["files"]) == 3
    deadline = time.monotonic() + 60
    while list((tmp_path / "out").glob(".partial*")):  # until the other threads see that it ended
        assert time.monotonic() < deadline
        time.sleep(0.01)
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert list(statuses(results).values()).count("skipped") == 3 and len(results) == len(NAMES)


def test_an_output_that_takes_nothing_is_reported_before_the_first_case(segmenter, make_inputs, tmp_path, monkeypatch):
    make_inputs("a")
    monkeypatch.setattr(segmenter, "_logits", lambda image: pytest.fail("the network ran"))
    refuse_names(monkeypatch, errno.EROFS, only=".json")
    with pytest.raises(InputError, match=r"predictions\.json: can't be written: Read-only file system"):
        predict_cases(tmp_path / "in", tmp_path / "out", segmenter)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_bundles_run_ends_with_one_line_where_the_output_is_full(run_inference, make_inputs, tmp_path, monkeypatch):
    make_inputs("a", "b", "c")
    with monkeypatch.context() as patch, pytest.raises(InputError) as error:
        refuse_names(patch, errno.ENOSPC, after=1)
        run_inference(tmp_path / "in", tmp_path / "out")
    assert "b.nii.gz: can't be written: No space left on device" in str(error.value)
    assert str(error.value).endswith("1 of 3 cases were run; make room, and go on with --resume.")
    assert "\n" not in str(error.value)
    run_inference(tmp_path / "in", tmp_path / "out", resume=True)
    cases = read_json(tmp_path / "out" / "predictions.json")["cases"]
    assert [case["status"] for case in cases] == ["skipped", "done", "done"]


def test_an_interrupted_run_keeps_what_is_done_and_waits_for_nothing(segmenter, make_inputs, tmp_path):
    make_inputs(*NAMES)

    def stop(result, number, total):
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(jobs=2), stop)
    report = read_json(tmp_path / "out" / "predictions.json")
    done = {case["id"] for case in report["cases"]}
    assert {"case_00", "case_01"} <= done and len(done) <= 4
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert {name for name, status in statuses(results).items() if status == "skipped"} == done


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_130(weights, make_inputs, tmp_path):
    """While the network runs on a case that would take a long time."""
    make_inputs("a", "b")
    slow = (
        "import sys, time, ulite_monai.cli as cli; from ulite_monai.prediction.segmenter import Segmenter\n"
        "logits = Segmenter._logits\n"
        "def wait(self, image):\n"
        "    if hasattr(self, 'second'): print('WAITING', flush=True); time.sleep(600)\n"
        "    self.second = True; return logits(self, image)\n"
        "Segmenter._logits = wait; cli.main()"
    )
    command = [sys.executable, "-c", slow, "predict", "-i", "in", "-o", "out", "--ckpt", str(weights), "--jobs", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), start_new_session=True, **pipes)
    seen = []
    while not seen or ("WAITING" not in seen[-1] and seen[-1]):
        seen.append(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)
    _, reported = process.communicate(timeout=300)
    assert process.returncode == 130
    assert reported.splitlines() == ["interrupted: what was done is in out; the same command with --resume goes on."]
    report = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [case["id"] for case in report["cases"]] == ["a"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "predictions.json"]


def test_an_interrupted_resumption_forgets_no_case(segmenter, tmp_path):
    for number in range(3):
        write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number))
    predict_cases(tmp_path / "in", tmp_path / "out", segmenter)

    def stop(result, number, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True), stop)
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(resume=True))
    assert set(statuses(results).values()) == {"skipped"}


@pytest.mark.slow
def test_killed_in_the_middle_leaves_whole_files_and_resumes(weights, tmp_path):
    for number in range(40):
        write_volume(tmp_path / "in" / f"case_{number:02d}.nii.gz", volume(number))
    code = "from ulite_monai.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", "-i", "in", "-o", "out", "--ckpt", str(weights)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(reported(tmp_path / "out")) < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    masks = sorted((tmp_path / "out").glob("case_*.nii.gz"))
    assert 3 <= len(masks) < 40
    for mask in masks:
        assert np.asarray(nib.load(mask).dataobj).shape == SHAPE
    finished = reported(tmp_path / "out")  # a case whose mask was there before its report is done again
    assert 3 <= len(finished) <= len(masks)
    before = {case: (tmp_path / "out" / f"{case}.nii.gz").stat().st_mtime_ns for case in finished}
    for leftover in (tmp_path / "out").glob(".partial*"):
        os.utime(leftover, (0, 0))
    leftover = leave_behind(tmp_path / "out" / "case_39.nii.gz", age=4000)
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0 and "case_39: done" in done.stdout, done.stdout + done.stderr
    assert {case for case in before if f"{case}: skipped" in done.stdout} == set(finished)
    assert len(list((tmp_path / "out").glob("case_*.nii.gz"))) == 40
    assert not leftover.exists() and not list((tmp_path / "out").glob(".*"))
    assert before == {case: (tmp_path / "out" / f"{case}.nii.gz").stat().st_mtime_ns for case in before}


def reported(folder: Path) -> list[str]:
    """The cases that the run's report names so far."""
    report = folder / "predictions.json"
    return [case["id"] for case in json.loads(report.read_text())["cases"]] if report.exists() else []


def test_a_full_disk_is_an_error_with_a_name(segmenter, tmp_path):
    paths = [write_volume(tmp_path / "in" / f"case_{number}.nii.gz", volume(number)) for number in range(2)]
    options = PredictOptions(preview=True, probabilities=True)
    with full_disk(15_000):  # the masks fit, their pictures and probabilities don't
        results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, options)
    for path, result in zip(paths, results, strict=True):
        assert result.status == "failed" and result.input == str(path)
        assert str(tmp_path / "out" / result.id) in result.message and "File too large" in result.message
    for file in (tmp_path / "out").iterdir():
        assert file.name == "predictions.json" or np.asarray(nib.load(file).dataobj).shape == SHAPE
    results = predict_cases(tmp_path / "in", tmp_path / "out", segmenter, PredictOptions(preview=True, resume=True))
    assert statuses(results) == {"case_0": "done", "case_1": "done"}
