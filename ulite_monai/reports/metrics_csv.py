"""Metrics of cases in a CSV file: a row per case and label."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.reports.metrics import LabelMetrics

__all__ = ["read_metrics", "write_metrics"]

# Those in millimetres and millilitres are empty for 2D images.
NUMBERS = ("dice", "iou", "hd95_mm", "nsd_1mm", "volume_ml", "reference_ml", "difference_ml", "assd_mm")


def write_metrics(rows: Iterable[LabelMetrics], path: str | Path) -> None:
    """Write the columns case, label, status and the metrics to six digits; unknown ones stay empty.

    Args:
        rows: any number of cases.
        path: `.csv`; replaced if it exists, never half written.

    Raises:
        InputError: When the system refuses to write.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("case", "label", "status", *NUMBERS))
        writer.writerows(_cells(row) for row in rows)


def read_metrics(path: str | Path) -> list[LabelMetrics]:
    """Read what `write_metrics` wrote.

    Raises:
        InputError: When there is no such file, or it isn't such a file.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            return [_row(cells) for cells in csv.DictReader(file)]
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}.") from error
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: isn't a metrics.csv of an evaluation ({error}).") from error


def _cells(row: LabelMetrics) -> list[str]:
    numbers = (row.dice, row.iou, row.hd95_mm, row.nsd, row.volume_ml, row.reference_ml, row.difference_ml, row.assd_mm)
    return [row.case_id, row.label, row.status, *("" if n is None else f"{n:.6g}" for n in numbers)]


def _row(cells: dict[str, str]) -> LabelMetrics:
    dice, hd95, nsd, volume, reference = (
        _number(cells[name]) for name in ("dice", "hd95_mm", "nsd_1mm", "volume_ml", "reference_ml")
    )
    assd = _number(cells.get("assd_mm"))  # which evaluations before 0.6.0 didn't measure
    return LabelMetrics(cells["case"], cells["label"], cells["status"], dice, hd95, nsd, volume, reference, assd)


def _number(cell: str | None) -> float | None:
    return float(cell) if cell else None
