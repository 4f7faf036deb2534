"""Where the shipped bundles are: beside this file in an installed package, at their place in a checkout."""

from __future__ import annotations

import glob
from pathlib import Path

from ulite_monai.errors import InputError

__all__ = ["BUNDLES", "find_bundle", "find_bundles"]

BUNDLES = {"hippocampus": "bundle", "nuclei": "examples/nuclei_bundle", "head_locator": "examples/head_locator"}


def find_bundle(name: str | Path) -> Path:
    """The folder of a bundle.

    Args:
        name: "hippocampus", "nuclei" or "head_locator" for a shipped one, or a path.

    Raises:
        InputError: When there is no such bundle.
    """
    if str(name) in BUNDLES:
        installed = Path(__file__).parent / str(name)
        return installed if installed.is_dir() else Path(__file__).parents[2] / BUNDLES[str(name)]
    folder = Path(name).expanduser()
    if not (folder / "configs").is_dir():
        raise InputError(f"{name}: is no bundle; give {', '.join(BUNDLES)} or a folder that holds configs/.")
    return folder


def find_bundles(name: str | Path) -> list[Path]:
    """The folders of the bundles that a name, a path, or a pattern such as `my_folds/*` means, in their names' order.

    Raises:
        InputError: When there is none.
    """
    path = Path(name).expanduser()
    found = [] if str(name) in BUNDLES or path.exists() else sorted(map(Path, glob.glob(str(path))))
    return [folder for folder in found if (folder / "configs").is_dir()] or [find_bundle(name)]
