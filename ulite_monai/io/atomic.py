"""Files that are whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ulite_monai.errors import InputError

__all__ = [
    "THIS_PROCESS",
    "OutputLost",
    "all_or_none",
    "atomic_folder",
    "atomic_path",
    "cant_be_written",
    "give_names",
    "remove_leftovers",
    "temporary_name",
]


class OutputLost(InputError):
    """The disk is full or can't be written to, so whatever comes next can't be written either."""


Renames = list[tuple[Path, Path]]  # from the temporary name to the file's own

_postponed: ContextVar[Renames | None] = ContextVar("postponed", default=None)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends without an error.

    The temporary file lies in the same folder (made if need be), is hidden, and keeps the end of the name, because
    writers choose their format by the suffix. After an error nothing of it is left, and what was at `path` stays.

    Args:
        path: the file to write.

    Raises:
        InputError: When the system refuses to write: a full disk, a folder without permission. Names `path`.
    """
    path = Path(path)
    temporary = temporary_name(path)
    postponed = _postponed.get()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        if postponed is None:
            os.replace(temporary, path)
            _flush_folder(path.parent)
        else:
            postponed.append((temporary, path))
    except OSError as error:
        raise cant_be_written(path, error) from error
    finally:
        if postponed is None or (temporary, path) not in postponed:
            _delete(temporary)


def give_names(renames: Sequence[tuple[Path, Path]]) -> None:
    """Rename each (temporary file, path), all of them or none.

    Raises:
        InputError: When the system refuses one; those that were renamed are deleted again.
    """
    done: list[Path] = []
    for temporary, path in renames:
        try:
            os.replace(temporary, path)
            done.append(path)
            _flush_folder(path.parent)
        except OSError as error:
            for other in done:
                _delete(other)
            raise cant_be_written(path, error) from error


@contextmanager
def all_or_none(name: Callable[[Sequence[tuple[Path, Path]]], None] = give_names) -> Iterator[None]:
    """What `atomic_path` writes inside, in this thread, gets its names when the block ends: all of it or nothing.

    Args:
        name: called with all (temporary file, path) once they are written, to rename them.

    Raises:
        InputError: When the system refuses to rename one.
    """
    renames: Renames = []
    token = _postponed.set(renames)
    try:
        yield
        name(renames)
    finally:
        _postponed.reset(token)
        for temporary, _ in renames:
            _delete(temporary)


def cant_be_written(path: Path, error: OSError) -> InputError:
    """What to raise when the system refuses to write `path`."""
    kind = OutputLost if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS) else InputError
    return kind(f"{path}: can't be written: {error.strerror or error}; nothing was left there.")


def _delete(path: Path) -> None:
    with suppress(OSError):  # what went wrong before is what matters
        path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A path for a temporary folder, which becomes the new folder `path` when the block ends without an error.

    The block makes the folder; after an error nothing of it is left.

    Args:
        path: the folder; nothing may be there.

    Raises:
        InputError: When the system refuses to write. Names `path`.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise cant_be_written(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: str | Path, of_this_process: bool = False) -> None:
    """Delete what processes that were killed while writing left in `folder` and below it.

    Args:
        folder: where `atomic_path` wrote; need not exist.
        of_this_process: delete what this process is writing there, because it is about to end. Otherwise only what is
            an hour old is deleted: another process may be writing there, on another machine.
    """
    for path in Path(folder).rglob(f"{PREFIX}-{THIS_PROCESS if of_this_process else ''}*"):
        with suppress(OSError):  # its writer may have finished
            if of_this_process or time.time() - path.lstat().st_mtime > ABANDONED:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else _delete(path)


PREFIX = ".partial"
THIS_PROCESS = uuid.uuid4().hex[:8]
ABANDONED = 3600  # seconds


def temporary_name(path: Path, process: str = THIS_PROCESS) -> Path:
    """A hidden name beside `path` that nothing has, which `remove_leftovers` knows as that process's."""
    return path.with_name(f"{PREFIX}-{process}-{uuid.uuid4().hex[:8]}-{path.name[-40:]}")


def _flush(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder can't be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
