"""Outputs of a process that works for another: whole files that keep a temporary name until that one names them."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from ulite_monai.io.atomic import temporary_name
from ulite_monai.io.output_folder import OutputFolder, Written

__all__ = ["StagedOutputs"]


class StagedOutputs(OutputFolder):
    """An output folder of which another process keeps the record.

    What is written here becomes an output by that process's `OutputFolder.take` alone. So a process that dies leaves
    nothing half done, and what two processes wrote of one case gets its names once.

    Args:
        folder, overwrite, part: as `OutputFolder` takes them.
        owner: the process that keeps the record, and deletes what it doesn't take; its `THIS_PROCESS`.

    Attributes:
        written: what was written since.
    """

    def __init__(self, folder: str | Path, overwrite: bool, part: str, owner: str) -> None:
        super().__init__(folder, overwrite, part)
        self.owner = owner
        self.written: list[Written] = []

    def _give_names(self, renames: Sequence[tuple[Path, Path]], paths: Collection[Path]) -> None:
        for one in self._written(renames, paths):
            staged = temporary_name(one.path, self.owner)
            os.replace(one.temporary, staged)
            self.written.append(one._replace(temporary=staged))
