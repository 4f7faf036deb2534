"""The coded meaning of a bundle's labels, as DICOM SEG wants it, from the bundle's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["bundle_metadata", "coded_labels"]

UNCODED = {
    "category": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
    "type": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
}


def coded_labels(metadata: Mapping[str, Any], labels: Sequence[str]) -> list[dict[str, Any]]:
    """One segment a label, in the order of the label values 1, 2, ..., as `write_dicom_seg` takes them.

    Args:
        metadata: a bundle's, whose `label_codes` maps each of its labels to `category`, `type` and `anatomy`.
        labels: names of the classes. Another set than the bundle's is coded as anatomical structures without a
            further meaning: the same name may mean something else there.
    """
    codes = metadata.get("label_codes", {})
    known = set(labels) == set(codes)
    return [
        {"value": value, "name": name, **(codes[name] if known else UNCODED)} for value, name in enumerate(labels, 1)
    ]


def bundle_metadata(bundle_root: str | Path) -> dict[str, Any]:
    """The content of a bundle's `configs/metadata.json`; nothing where there is none."""
    path = Path(bundle_root) / "configs" / "metadata.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
