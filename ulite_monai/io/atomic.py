"""Files that are whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ulite_monai.errors import InputError

__all__ = ["atomic_folder", "atomic_path", "remove_leftovers"]


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
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}; nothing was left there.") from error
    finally:
        with suppress(OSError):  # what went wrong before is what matters
            temporary.unlink(missing_ok=True)


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
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}; nothing was left there.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: str | Path) -> None:
    """Delete what processes of this machine that were killed while writing left in `folder` and below it.

    Args:
        folder: where `atomic_path` wrote; need not exist.
    """
    for path in Path(folder).rglob(f"{PREFIX}-{_host()}-*"):
        process = path.name.removeprefix(f"{PREFIX}-{_host()}-").split("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


PREFIX = ".partial"


def _beside(path: Path) -> Path:
    return path.with_name(f"{PREFIX}-{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name[-40:]}")


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]  # a shared folder has writers elsewhere


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
