"""Where a server puts what comes with a request and what is made of it: a folder that is its user's alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

__all__ = ["PrivateFolder"]


class PrivateFolder:
    """A folder for temporary files that are removed when the request that needed them ends, however it ends.

    MONAI Label makes temporary files by Python's `tempfile` in many places. After `install`, that module puts them into
    the request's own folder inside `opened`, and into the system's elsewhere.

    Args:
        path: the folder; it is made if need be, and becomes unreadable to other users.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._system = tempfile.gettempdir()  # before `install`
        self._of_this_request: ContextVar[Path | None] = ContextVar("folder", default=None)
        self._open: set[Path] = set()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)

    @property
    def current(self) -> Path | None:
        """The folder of the request that is being answered."""
        return self._of_this_request.get()

    def install(self) -> None:
        """Let `tempfile` put its files here."""
        tempfile.gettempdir = lambda: str(self.current or self._system)

    @contextmanager
    def opened(self) -> Iterator[Path]:
        """A new folder in it, removed at the end of the block."""
        folder = Path(tempfile.mkdtemp(dir=self.path))
        self._open.add(folder)
        before = self._of_this_request.set(folder)
        try:
            yield folder
        finally:
            self._of_this_request.reset(before)
            self._open.discard(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def empty(self) -> None:
        """Remove what a process that was killed has left, and whatever no request of this process is using."""
        for path in set(self.path.iterdir()) - self._open:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
