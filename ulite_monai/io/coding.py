"""The coded meaning and the colours of a bundle's labels, as DICOM SEG wants them, from the bundle's metadata."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["COLOURS", "coded_labels"]

# Okabe and Ito's colours, which colour-blind people can distinguish; those that stand out on grey come first.
COLOURS = ("#E69F00", "#56B4E9", "#D55E00", "#009E73", "#F0E442", "#CC79A7", "#0072B2")

UNCODED = {
    "category": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
    "type": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
}


def coded_labels(
    metadata: Mapping[str, Any], labels: Sequence[str], values: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """One segment a label, in their order, as `write_dicom_seg` takes them.

    Args:
        metadata: a bundle's, whose `label_codes` maps each of its labels to `category`, `type`, and perhaps
            `laterality`, `anatomy` and `colour`.
        labels: names of the classes. Another set than the bundle's is coded as anatomical structures without a
            further meaning: the same name may mean something else there. Its colours are those of pictures.
        values: of the labels; None for 1, 2, ...
    """
    codes = metadata.get("label_codes", {})
    known = set(labels) == set(codes)
    return [
        {"value": value, "name": name, "colour": colour, **(codes[name] if known else UNCODED)}
        for value, name, colour in zip(values or itertools.count(1), labels, itertools.cycle(COLOURS), strict=False)
    ]
