"""Files are whole or not there: after an error, on a full disk, after a killed process."""

import os
import subprocess
import sys
import time
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


def leave_behind(path, age):
    """What a process that was killed so many seconds ago leaves of a file that it was writing to `path`."""
    program = f"import os; from ulite_monai.io.atomic import atomic_path\nwith atomic_path({str(path)!r}) as temporary:"
    subprocess.run([sys.executable, "-c", f"{program} temporary.touch(); os._exit(9)"], check=False)
    (leftover,) = path.parent.glob(f".partial-*{path.name}")
    os.utime(leftover, (time.time() - age,) * 2)
    return leftover


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


def test_old_leftovers_go_and_what_may_still_be_written_stays(tmp_path):
    old, new = (leave_behind(tmp_path / "deep" / name, age) for name, age in (("a.nii.gz", 4000), ("b.nii.gz", 3000)))
    with atomic_path(tmp_path / "c.nii.gz") as own:
        own.touch()
        remove_leftovers(tmp_path)
        assert own.exists() and new.exists() and not old.exists()
        remove_leftovers(tmp_path, of_this_process=True)
        assert new.exists() and not own.exists()
        own.touch()
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
