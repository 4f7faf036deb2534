"""The files of a folder, through links too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ulite_monai.errors import InputError

__all__ = ["files_below", "is_file_or_broken_link"]


def files_below(root: Path) -> Iterator[Path]:
    """Every file below `root`, by name within each folder; links are followed, each folder once.

    A link whose target is missing counts as a file, and so does a folder that can't be listed: whoever reads it says
    so.

    Raises:
        InputError: When `root` itself can't be listed.
    """
    unlisted: list[Path] = []

    def cant_list(error: OSError) -> None:
        if Path(error.filename) == root:
            raise InputError(f"{root}: can't be read: {error.strerror}.") from error
        unlisted.append(Path(error.filename))

    visited: set[str] = set()
    above = {str(parent) for parent in Path(os.path.realpath(root)).parents}  # a link to these leads out of it
    for folder, subfolders, names in os.walk(root, onerror=cant_list, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited or real in above:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders.sort()
        yield from (file for name in sorted(names) if is_file_or_broken_link(file := Path(folder, name)))
    yield from unlisted


def is_file_or_broken_link(path: Path) -> bool:
    """Whether there is a file, or a link to something that isn't there, or something that can't be looked at."""
    try:
        return path.is_file() or (path.is_symlink() and not path.exists())
    except OSError:
        return True
