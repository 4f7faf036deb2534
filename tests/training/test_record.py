"""The record of a training, and the commands that it prints at its end."""

import json
import logging
import shlex
import sys

import pytest

from ulite_monai.training import print_next_steps, record_run

NETWORK = ["--network_def#features", "[8,16,32]", "--network_def::act=RELU"]


@pytest.fixture
def printed(bundle, tmp_path, monkeypatch, caplog):
    def run(settings, *typed):
        monkeypatch.setattr(sys, "argv", ["__main__.py", "run", "--network_definition", "1", *typed])
        with caplog.at_level(logging.INFO):
            print_next_steps(bundle, {"dataset_dir": "DATA", "ckpt_dir": str(tmp_path), "fold": 0} | settings)
        return [shlex.split(message.split(": ", 1)[1]) for message in caplog.messages]

    return run


def test_they_repeat_what_differs(printed, tmp_path):
    evaluate, use = printed({"labels": ["a", "b"], "fold": 2, "epochs": 3})
    assert evaluate[-6:] == ["--ckpt", str(tmp_path / "model.pt"), "--labels", "['a', 'b']", "--fold", "2"]
    assert use[-4:] == ["--labels", "['a', 'b']", "--output_dir", "MASKS"]


def test_they_repeat_what_was_typed_of_the_network(printed):
    evaluate, use = printed({}, "--epochs", "3", *NETWORK)
    assert evaluate[-3:] == NETWORK and use[-5:-2] == NETWORK


def test_without_labelled_data_only_the_use(printed):
    assert len(printed({"dataset_dir": None})) == 1


def test_the_record_lies_beside_the_weights_too(tmp_path):
    settings = {"dataset_dir": "DATA", "ckpt_dir": str(tmp_path / "weights"), "labels": ["a"]}
    record_run(tmp_path / "run", settings, [{"image": "a.nii.gz"}], [])
    for folder in ("run", "weights"):
        assert json.loads((tmp_path / folder / "run.json").read_text())["settings"] == settings
