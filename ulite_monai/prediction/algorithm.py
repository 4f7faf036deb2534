"""What an output names as its maker: the bundle, or weights that aren't the bundle's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulite_monai.io.coding import bundle_metadata
from ulite_monai.runtime.weights import checkpoint_files, weights_sha256

__all__ = ["algorithm", "is_own", "metadata_of_output"]


def is_own(bundle_root: str | Path, files: Sequence[Path]) -> bool:
    """Whether these weights are those that a bundle's values describe, wherever they and the bundle lie.

    Its metadata says which they are, by their SHA-256 (`weights_sha256`); a bundle that doesn't is taken to describe
    what is at its `models/model.pt`.
    """
    if not all(file.is_file() for file in files):
        return False
    own = Path(bundle_root) / "models" / "model.pt"
    stated = bundle_metadata(bundle_root).get("weights_sha256") or (own.is_file() and weights_sha256([own]))
    return weights_sha256(files) == stated


def algorithm(metadata: Mapping[str, Any], other_weights: str | None) -> tuple[str, str]:
    """Name and version: the bundle's, or with other weights what they are and the first of their digits.

    Args:
        metadata: the bundle's.
        other_weights: SHA-256 of weights that aren't the bundle's own, as hexadecimal digits.
    """
    if other_weights is None:
        return metadata.get("name", "U-Lite"), metadata.get("version", "unknown")
    return "U-Lite, weights of the user", other_weights[:12]


def metadata_of_output(bundle_root: str | Path, ckpt: str | Path) -> dict[str, Any]:
    """A bundle's metadata with the name and version of what an output of `ckpt` is made by.

    Args:
        bundle_root: the bundle.
        ckpt: the weights, or a pattern.
    """
    metadata = bundle_metadata(bundle_root)
    files = [file for file in checkpoint_files(ckpt) if file.is_file()]
    other = files and not is_own(bundle_root, files)
    name, version = algorithm(metadata, weights_sha256(files) if other else None)
    return metadata | {"name": name, "version": version}
