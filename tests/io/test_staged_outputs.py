"""What another process wrote becomes an output when the one that keeps the record takes it, and not before."""

import json

import pytest

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import THIS_PROCESS, atomic_path, remove_leftovers
from ulite_monai.io.output_folder import OutputFolder
from ulite_monai.io.staged_outputs import StagedOutputs


def stage(folder, text, *names):
    outputs = StagedOutputs(folder, overwrite=False, part="", owner=THIS_PROCESS)
    with outputs.writing([folder / name for name in names]):
        for name in names:
            with atomic_path(folder / name) as path:
                path.write_text(text)
    return outputs.written


def seen(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".partial"))


def test_files_get_their_names_once_they_are_taken(tmp_path):
    outputs = OutputFolder(tmp_path)
    written = stage(tmp_path, "a mask", "sub/a.txt", "a.png")
    assert seen(tmp_path) == []
    outputs.take(written)
    outputs.write_record({})
    assert seen(tmp_path) == ["a.png", "a.txt", "predictions.json"]
    assert list(json.loads((tmp_path / "predictions.json").read_text())["files"]) == ["a.png", "sub/a.txt"]
    assert OutputFolder(tmp_path).is_intact(tmp_path / "sub" / "a.txt")


def test_what_nobody_takes_is_deleted_by_its_owner(tmp_path):
    stage(tmp_path, "done twice", "a.txt")
    remove_leftovers(tmp_path, of_this_process=True)
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_file_is_never_replaced(tmp_path):
    written = stage(tmp_path, "ours", "a.txt")
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InputError, match="wasn't written by this program"):
        OutputFolder(tmp_path).take(written)
    with pytest.raises(InputError, match="wasn't written by this program"):
        StagedOutputs(tmp_path, False, "", THIS_PROCESS).require_free([tmp_path / "a.txt"])
    assert (tmp_path / "a.txt").read_text() == "mine"
