"""Label maps that images are made from: where they are, and how many images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ulite_monai.datasets.cases import find_cases
from ulite_monai.errors import InputError

__all__ = ["label_maps", "seeded"]


def label_maps(dataset_dir: str | None) -> list[dict[str, Any]]:
    """The volumes below `dataset_dir` as a MONAI data list of label maps, without images.

    Raises:
        InputError: When nothing is there, or what there is are 2D images or DICOM series.
    """
    if not dataset_dir:
        raise InputError("dataset_dir is not set: give the folder of your label maps, --dataset_dir DIR.")
    cases = find_cases(dataset_dir)
    for case in cases:
        if case.is_image or case.series is not None:
            raise InputError(f"{case.image[0]}: is no label map of a volume; take it out of {dataset_dir}.")
    return [case.item() | {"label": str(case.image[0])} for case in cases]


def seeded(items: Iterable[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Each entry of a data list so many times, with a `seed` of its own: the same images each time they are made."""
    return [{**item, "seed": number + count * place} for place, item in enumerate(items) for number in range(count)]
