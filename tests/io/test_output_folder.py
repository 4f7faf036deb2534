"""What this program wrote is known by its record; nothing else is replaced, and a case is written whole."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import write_volume
from ulite_monai.errors import InputError
from ulite_monai.io import output_folder
from ulite_monai.io.atomic import OutputLost, atomic_path
from ulite_monai.io.output_folder import RECORD, OutputFolder, require_apart, written_below
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.write_nifti import write_label_map

JOURNAL = ".predictions.jsonl"
SOMEBODY_ELSES = "is there already and wasn't written by this program, or was changed since; .* --overwrite"
MASK = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)


def write(folder, *names, text="ours"):
    with folder.writing([folder.folder / name for name in names]):
        for name in names:
            with atomic_path(folder.folder / name) as path:
                path.write_text(text)


def refuse(folder, name):
    with pytest.raises(InputError, match=rf"{name}: {SOMEBODY_ELSES}"):
        OutputFolder(folder).require_free([folder / name])
    OutputFolder(folder, overwrite=True).require_free([folder / name])


def test_what_it_wrote_may_be_replaced_by_a_later_run(tmp_path):
    outputs = OutputFolder(tmp_path / "out")
    write(outputs, "a.txt", "sub/b.txt")
    outputs.write_record({"cases": []})
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["cases"] == [] and list(record["files"]) == ["a.txt", "sub/b.txt"]
    assert record["files"]["a.txt"]["bytes"] == 4 and len(record["files"]["a.txt"]["sha256"]) == 64
    later = OutputFolder(tmp_path / "out")
    later.require_free([tmp_path / "out" / name for name in ("a.txt", "sub/b.txt", "new.txt", RECORD)])
    assert later.is_intact(tmp_path / "out" / "a.txt") and not later.is_intact(tmp_path / "out" / "new.txt")


@pytest.mark.parametrize("name", ["a.nii.gz", "a_preview.png", "volumes.csv", RECORD])
def test_what_somebody_else_wrote_stays(tmp_path, name):
    (tmp_path / name).write_text("[]")
    refuse(tmp_path, name)
    outputs = OutputFolder(tmp_path)
    with pytest.raises(InputError, match=SOMEBODY_ELSES):
        write(outputs, name) if name != RECORD else outputs.write_record({})
    assert (tmp_path / name).read_text() == "[]"


@pytest.mark.parametrize("name", ["a.csv", RECORD])
def test_what_was_changed_since_stays(tmp_path, name):
    outputs = OutputFolder(tmp_path)
    write(outputs, "a.csv")
    outputs.write_record({"cases": []})
    path = tmp_path / name
    path.write_text(path.read_text().replace("ours", "mine").replace('"cases": []', '"cases": [1]'))
    refuse(tmp_path, name)


@pytest.mark.parametrize("change", ["voxels", "affine"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_whose_voxels_or_place_was_corrected_stays(tmp_path, suffix, change):
    image = read_volume(write_volume(tmp_path / "image.nii", np.ones((3, 4, 5), np.float32)))
    outputs, path = OutputFolder(tmp_path / "out"), tmp_path / "out" / f"mask{suffix}"
    with outputs.writing([path]):
        write_label_map(MASK, image, path)
    outputs.write_record({})
    OutputFolder(tmp_path / "out").require_free([path])
    mask = nib.load(path)
    voxels = np.array(mask.dataobj)
    if change == "voxels":
        voxels[2, 3, 4] = 0
        corrected = nib.Nifti1Image(voxels, mask.affine, mask.header)
    else:
        corrected = nib.Nifti1Image(voxels, mask.affine + np.eye(4)[:, [3, 3, 3, 0]], mask.header)
    nib.save(corrected, path)
    refuse(tmp_path / "out", f"mask{suffix}")


def test_a_killed_run_knows_its_files_the_next_time(tmp_path):
    """Killed between the names and the record; the last line of its journal may be cut."""
    outputs = OutputFolder(tmp_path)
    write(outputs, "a.txt")
    outputs.write_record({})
    write(outputs, "a.txt", text="newer")
    write(outputs, "b.txt")
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write('{"c.txt": {"by')
    later = OutputFolder(tmp_path)
    later.require_free([tmp_path / "a.txt", tmp_path / "b.txt"])
    write(later, "c.txt")
    assert written_below([tmp_path]) == {os.path.realpath(tmp_path / name) for name in ("a.txt", "b.txt", "c.txt")}
    later.write_record({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", "c.txt", RECORD]
    OutputFolder(tmp_path).require_free([tmp_path / name for name in ("a.txt", "b.txt", "c.txt")])


def test_it_writes_nowhere_else(tmp_path):
    outputs = OutputFolder(tmp_path / "out")
    for path in (tmp_path / "x", tmp_path / "out" / ".." / "x", tmp_path / "out" / "a" / ".." / ".." / "x"):
        with pytest.raises(InputError, match="x: lies outside the output folder"):
            outputs.require_free([path])
    (tmp_path / "out" / "a.txt").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a\.txt: is a folder"):
        OutputFolder(tmp_path / "out", overwrite=True).require_free([tmp_path / "out" / "a.txt"])


def test_all_or_none(tmp_path):
    """After an error in the middle nothing is there, and what was there before is still."""
    outputs = OutputFolder(tmp_path)
    write(outputs, "a.txt")
    with pytest.raises(RuntimeError), outputs.writing([tmp_path / "a.txt", tmp_path / "b.txt"]):
        for name in ("a.txt", "b.txt"):
            with atomic_path(tmp_path / name) as path:
                path.write_text("new")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == [JOURNAL, "a.txt"]


def test_a_name_that_the_system_refuses_takes_the_others_back(tmp_path, monkeypatch):
    outputs, replace = OutputFolder(tmp_path), os.replace
    write(outputs, "b.txt")
    outputs.write_record({})

    def refuse_b(source, target):
        if str(target).endswith("b.txt"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse_b)
    with pytest.raises(OutputLost, match=r"b\.txt: can't be written: No space left on device; nothing was left there"):
        write(outputs, "a.txt", "b.txt", text="newer")
    monkeypatch.undo()
    outputs.write_record({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", RECORD]
    OutputFolder(tmp_path).require_free([tmp_path / "b.txt"])  # as it was


def test_after_its_end_nothing_gets_a_name(tmp_path):
    outputs = OutputFolder(tmp_path)
    outputs.close()
    with pytest.raises(InputError, match="the run was stopped"):
        write(outputs, "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_two_cases_of_one_file_and_inputs_are_named(tmp_path, monkeypatch):
    paths_of = {"a (in/a.nii)": [tmp_path / "a.png"], "A (in/A.nii)": [tmp_path / "A.png"]}
    monkeypatch.setattr(output_folder, "_ignores_case", lambda folder: False)
    require_apart(paths_of)
    with pytest.raises(InputError, match=r"A\.png: is an input and would be overwritten"):
        require_apart(paths_of, [tmp_path / "A.png"])
    monkeypatch.setattr(output_folder, "_ignores_case", lambda folder: True)
    with pytest.raises(InputError, match=r"a \(in/a\.nii\) and A \(in/A\.nii\) would both write .*A\.png"):
        require_apart(paths_of)


def test_whether_a_system_ignores_case_is_seen_by_looking(tmp_path):
    (tmp_path / "data").mkdir()
    assert output_folder._ignores_case(tmp_path / "data" / "new" / "out") == (tmp_path / "DATA").exists()
    (tmp_path / "DATA").mkdir(exist_ok=True)
    assert output_folder._ignores_case(tmp_path / "data")
