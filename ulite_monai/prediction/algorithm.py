"""What an output names as its maker: the bundle, or weights that aren't the bundle's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulite_monai.engines.weights import weights_sha256

__all__ = ["algorithm", "is_own"]


def is_own(bundle_root: str | Path, files: Sequence[Path]) -> bool:
    """Whether these weights are a bundle's own, wherever they lie: what is at its `models/model.pt`, byte for byte."""
    own = Path(bundle_root) / "models" / "model.pt"
    if not own.is_file() or not all(file.is_file() for file in files):
        return False
    return weights_sha256(files) == weights_sha256([own])


def algorithm(metadata: Mapping[str, Any], other_weights: str | None) -> tuple[str, str]:
    """Name and version: the bundle's, or with other weights what they are and the first of their digits.

    Args:
        metadata: the bundle's.
        other_weights: SHA-256 of weights that aren't the bundle's own, as hexadecimal digits.
    """
    if other_weights is None:
        return metadata.get("name", "U-Lite"), metadata.get("version", "unknown")
    return "U-Lite, weights of the user", other_weights[:12]
