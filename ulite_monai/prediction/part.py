"""A share of a cohort, for one of several runs that know nothing of each other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError

__all__ = ["Part"]

ARRAY = "SLURM_ARRAY_TASK_"
PARTS = "predictions.part-"  # how the names of their records begin


@dataclass(frozen=True)
class Part:
    """The `number`-th of `of` parts of a cohort; a case's part follows from a hash of its id.

    So every run finds its own cases by itself, and a case that is added later moves no other.

    Attributes:
        number: 1 to `of`.
        of: how many parts there are.

    Raises:
        InputError: When there is no such part.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise InputError(f"--part {self.number}/{self.of}: the parts are 1/{self.of} to {self.of}/{self.of}.")

    @classmethod
    def of_text(cls, text: str, environment: Mapping[str, str]) -> Part:
        """The part that a user typed.

        Args:
            text: "2/4", or "slurm" for the task of a job array that this process is.
            environment: the process's; nothing of it is read unless the text is "slurm".

        Raises:
            InputError: When the text isn't one of these, or the array's numbers don't follow one another.
        """
        if text == "slurm":
            return _of_slurm(environment)
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if match is None:
            raise InputError(f"--part takes K/N, the K-th of N parts (2/4, say), or slurm, got {text!r}.")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """What its record is named by."""
        return f"part-{self.number}-of-{self.of}"

    def holds(self, case_id: str) -> bool:
        """Whether a case is in this part."""
        return int(hashlib.sha256(case_id.encode()).hexdigest(), 16) % self.of == self.number - 1

    def require_same_number(self, folder: Path) -> None:
        """Check that no record in a folder is of another number of parts, which can't be merged with these.

        Raises:
            InputError: When one is.
        """
        others = sorted({path.stem.rpartition("-of-")[2] for path in folder.glob(f"{PARTS}*.json")} - {str(self.of)})
        if others:
            raise InputError(
                f"{folder}: holds records of {others[0]} parts, and this is one of {self.of}; give the same number, or "
                f"first merge those (ulite merge {folder}) and delete {PARTS}*-of-{others[0]}.json."
            )

    def plan(self, cases: Sequence[Case]) -> dict[str, Any]:
        """What the part's record says of it: its cases, and of all cases how many there are and a digest of their ids.

        Args:
            cases: of all parts.
        """
        ids = sorted(case.id for case in cases)
        digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
        own = [case_id for case_id in ids if self.holds(case_id)]
        return {"number": self.number, "of": self.of, "cases": own, "of_cases": len(ids), "of_cases_sha256": digest}


def _of_slurm(environment: Mapping[str, str]) -> Part:
    """By ID, MIN and COUNT of the job array."""
    texts = {name: environment.get(ARRAY + name, "") for name in ("ID", "MIN", "COUNT")}
    absent = [ARRAY + name for name, text in texts.items() if not text.isdigit()]
    if absent:
        raise InputError(
            f"--part slurm: {', '.join(absent)} isn't set to a number, so this is no task of a Slurm job array; submit "
            "it with sbatch --array=1-N, or give --part K/N."
        )
    number, first, count = (int(text) for text in texts.values())
    last = environment.get(ARRAY + "MAX", str(first + count - 1))
    if number - first >= count or last != str(first + count - 1):
        raise InputError(
            f"--part slurm: the {count} tasks of the job array, {first} to {last}, don't follow one another; submit it "
            "with --array=1-N, or give --part K/N."
        )
    return Part(number - first + 1, count)
