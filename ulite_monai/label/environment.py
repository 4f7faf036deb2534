"""Whether MONAI Label can run here, and the command that makes an environment in which it can."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from ulite_monai.errors import InputError

__all__ = ["INSTALL", "require_monai_label"]

# Without their own dependencies: those of MONAI Label bring 8 GB, another torch, and a pydicom it fails with.
ALONE = ("monailabel==0.8.5", "pydicom-seg==0.4.1")

INSTALL = (
    "python3 -m venv label-env && . label-env/bin/activate && "
    "pip install -c ulite_monai/label/constraints.txt -e '.[label]' && "
    f"pip install --no-deps {' '.join(ALONE)}"
)


def require_monai_label() -> None:
    """Check that MONAI Label and what it needs are installed, in versions that work together.

    Raises:
        InputError: When they aren't; it names what is wrong and the command that makes the environment.
    """
    wrong = _wrong()
    if wrong:
        raise InputError(
            f"MONAI Label can't run in this environment ({sys.prefix}): {'; '.join(wrong)}. In a clone of this project "
            f"make one of its own: {INSTALL}"
        )


def _wrong() -> list[str]:
    """One clause for each thing that is missing, too old or too new."""
    wrong = [] if sys.version_info < (3, 13) else [f"Python must be older than 3.13, it is {sys.version.split()[0]}"]
    for requirement in map(Requirement, (*ALONE, *_of_the_extra())):
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} must be {requirement.specifier}, it is {found}")
    return wrong


def _of_the_extra() -> list[str]:
    try:
        lines = requires("ulite-monai") or []
    except PackageNotFoundError:  # run from a checkout
        return []
    return [line.partition(";")[0] for line in lines if 'extra == "label"' in line.replace("'", '"')]
