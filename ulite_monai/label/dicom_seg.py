"""DICOM SEG as MONAI Label writes it, with each segment under its own name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.read_volume import read_volume
from ulite_monai.label.saved_label import segments_of

__all__ = ["in_order_of_values", "name_segments_by_value"]


def name_segments_by_value() -> None:
    """Mend MONAI Label, which names segments by their rank: one that is missing shifts the names of the others."""
    from monailabel.datastore import dicom
    from monailabel.endpoints import infer

    for module in (dicom, infer):
        if not hasattr(module.nifti_to_dicom_seg, "__wrapped__"):
            module.nifti_to_dicom_seg = _named(module.nifti_to_dicom_seg)


def in_order_of_values(segments: Sequence[Mapping[str, Any]], values: Sequence[int]) -> list[dict[str, Any]]:
    """The segment of each value, by its `idx`; without one, a viewer lists the segments in the order of their values.

    Raises:
        InputError: When a value has none.
    """
    by_value = {int(segment.get("idx") or rank): segment for rank, segment in enumerate(segments, start=1)}
    missing = [value for value in values if value not in by_value]
    if missing:
        raise InputError(f"label_info names no segment for the value {missing[0]} of the label.")
    return [{"model_name": "ulite-monai", **by_value[value]} for value in values]


def _named(write: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(write)
    def write_named(series_dir: str, label: str, label_info: Any, *rest: Any, **more: Any) -> str:
        values = [int(value) for value in np.unique(read_volume(label).array) if value]
        if not values:
            raise InputError("the label is empty, and DICOM SEG can't hold a label without segments.")
        segments = segments_of({"label_info": label_info})
        return write(series_dir, label, in_order_of_values(segments, values), *rest, **more)

    return write_named
