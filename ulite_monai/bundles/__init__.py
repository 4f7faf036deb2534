"""Where the shipped bundles are: beside this file in an installed package, at their place in a checkout."""

from __future__ import annotations

from pathlib import Path

from ulite_monai.errors import InputError

__all__ = ["BUNDLES", "find_bundle"]

BUNDLES = {"hippocampus": "bundle", "nuclei": "examples/nuclei_bundle"}


def find_bundle(name: str | Path) -> Path:
    """The folder of a bundle.

    Args:
        name: "hippocampus" or "nuclei" for a shipped one, or a path.

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
