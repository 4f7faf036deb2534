"""The files of a folder, through links too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files_below", "is_file_or_broken_link"]


def files_below(root: Path) -> Iterator[Path]:
    """Every file below `root`, by name within each folder; links are followed, each folder once.

    A link whose target is missing counts as a file: whoever reads it says so.
    """
    visited: set[str] = set()
    above = {str(parent) for parent in Path(os.path.realpath(root)).parents}  # a link to these leads out of it
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited or real in above:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders.sort()
        yield from (file for name in sorted(names) if is_file_or_broken_link(file := Path(folder, name)))


def is_file_or_broken_link(path: Path) -> bool:
    """Whether there is a file, or a link to something that isn't there."""
    return path.is_file() or (path.is_symlink() and not path.exists())
