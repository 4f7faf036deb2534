"""Files are whole or not there: after an error, on a full disk, after a killed process."""

import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from tests.conftest import write_volume
from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_folder, atomic_path, remove_leftovers
from ulite_monai.io.images import write_mask
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.write_nifti import write_label_map, write_probabilities
from ulite_monai.reports.preview import write_preview
from ulite_monai.reports.volumes import label_volumes, write_volumes_csv
from ulite_monai.training.checkpoints import _save


@contextmanager
def full_disk(after):
    """The system refuses to write more than `after` bytes to a file, as a full disk does in the middle of it."""
    resource = pytest.importorskip("resource", reason="limits of file sizes are POSIX")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def leave_behind(path, process):
    """What the killed process of this number leaves of a file that it was writing to `path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        own, theirs = (f"-{number}-" for number in (temporary.name.split("-")[2], process))
        leftover = temporary.with_name(temporary.name.replace(own, theirs, 1))
        leftover.write_bytes(b"half")
    return leftover


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_whole_or_not_there(tmp_path):
    with atomic_folder(tmp_path / "new") as temporary:
        temporary.mkdir()
        (temporary / "a.txt").write_text("all")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "all"
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "other") as temporary:
        temporary.mkdir()
        raise RuntimeError
    with pytest.raises(InputError, match="new: can't be written"), atomic_folder(tmp_path / "new") as temporary:
        temporary.mkdir()
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    dead = leave_behind(tmp_path / "deep" / "a.nii.gz", dead_process())
    elsewhere = dead.with_name(".partial-0123abcd-1-00000000-a.nii.gz")
    elsewhere.touch()
    with atomic_path(tmp_path / "b.nii.gz") as living:
        living.touch()
        remove_leftovers(tmp_path)
        assert living.exists() and elsewhere.exists() and not dead.exists()
    remove_leftovers(tmp_path / "missing")


MASK = np.random.default_rng(0).integers(0, 3, (48, 40, 6), dtype=np.uint8)


WRITERS = {
    "mask.nii.gz": lambda path, volume: write_label_map(MASK, volume, path),
    "mask.nii": lambda path, volume: write_label_map(MASK, volume, path),
    "probabilities.nii.gz": lambda path, volume: write_probabilities(
        np.random.default_rng(0).random((3, *MASK.shape), dtype=np.float32), volume, path
    ),
    "mask.png": lambda path, volume: write_mask(np.tile(MASK[..., 0], (9, 9)), path, 2),
    "preview.png": lambda path, volume: write_preview(volume.array, MASK, volume.affine, ["one", "two"], path),
    "volumes.csv": lambda path, volume: write_volumes_csv(
        {f"case_{n}": label_volumes(MASK, volume.affine, ["one", "two"]) for n in range(99)}, path
    ),
    "model.pt": lambda path, volume: _save({path: {"weight": torch.zeros(9999)}}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_an_error_with_a_name_and_leaves_no_file(name, tmp_path):
    path = tmp_path / "out" / name
    volume = read_volume(write_volume(tmp_path / "image.nii", MASK.astype(np.float32)))
    WRITERS[name](path, volume)
    assert path.stat().st_size > 1000
    whole = path.read_bytes()
    for former in (whole, None):
        if former is None:
            path.unlink()
        with full_disk(500), pytest.raises(InputError, match=f"{name}: can't be written: File too large"):
            WRITERS[name](path, volume)
        assert [p.read_bytes() for p in path.parent.iterdir()] == ([] if former is None else [whole])
