"""What a researcher asks of a head: each hippocampus, how the sides differ, and both beside the intracranial volume."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ulite_monai.io.atomic import atomic_path
from ulite_monai.reports.volumes import LabelVolume

__all__ = ["SIDES", "head_measures", "write_heads_csv"]

SIDES = ("left", "right")


def head_measures(volumes: Sequence[LabelVolume], intracranial_ml: float) -> dict[str, float]:
    """Volumes of a head's hippocampi, by names that end in their unit.

    Args:
        volumes: of the parts, whose names begin with "left" or "right".
        intracranial_ml: the volume within the skull.

    Returns:
        `<part>_ml` of each part, `left_ml` and `right_ml` of both hippocampi, `intracranial_ml`; `asymmetry`, (left -
        right) / (left + right), from -1 to 1, as Guadalupe et al. (Brain Imaging and Behavior 11:1497, 2017) define
        it, not there where both are empty; and `<part>_permille`, `left_permille`, `right_permille` of the
        intracranial volume.
    """
    parts = {volume.label.replace(" ", "_"): volume.volume_ml or 0.0 for volume in volumes}
    left, right = (sum(ml for name, ml in parts.items() if name.startswith(side)) for side in SIDES)
    all_ml = {**parts, "left": left, "right": right}
    measures = {f"{name}_ml": ml for name, ml in all_ml.items()} | {"intracranial_ml": intracranial_ml}
    if left + right:
        measures["asymmetry"] = (left - right) / (left + right)
    return measures | {f"{name}_permille": 1000 * ml / intracranial_ml for name, ml in all_ml.items()}


def write_heads_csv(measures_by_case: Mapping[str, Mapping[str, float]], path: str | Path) -> None:
    """Write a row per head with a column per measure; what a head doesn't have stays empty.

    Args:
        measures_by_case: case id to its measures, as `head_measures` gives them.
        path: `.csv`; replaced if it exists, never half written.

    Raises:
        InputError: When the system refuses to write.
    """
    columns = list(dict.fromkeys(name for measures in measures_by_case.values() for name in measures))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", *columns])
        for case, measures in measures_by_case.items():
            writer.writerow([case, *(f"{measures[name]:.6g}" if name in measures else "" for name in columns)])
