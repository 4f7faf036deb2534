"""Prints the table of a model card from the metrics of its cases: `python -m ulite_monai.reports.table CSV ...`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ulite_monai.errors import InputError, report_input_errors_in_one_line
from ulite_monai.reports.metrics import LabelMetrics, summarize
from ulite_monai.reports.metrics_csv import read_metrics

__all__ = ["markdown_table"]


def markdown_table(rows: Sequence[LabelMetrics]) -> str:
    """A Markdown table with a line a label: means with their deviation over cases, and the worst case.

    Args:
        rows: the cases of one or more evaluations, each case once.

    Raises:
        InputError: When a case is there twice, so that the folds can't be those of one split.
    """
    names = list(dict.fromkeys(row.label for row in rows))
    if len({(row.case_id, row.label) for row in rows}) < len(rows):
        raise InputError("a case is in these files twice; give each fold once.")
    labels = summarize(rows, names)["labels"]
    flat = all(entry["nsd_1mm"] is None for entry in labels.values())
    columns = FLAT if flat else FLAT | MILLIMETRES
    lines = [f"| | cases | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for name, entry in labels.items():
        cells = [_cell(entry[key], spread) for key, spread in columns.values()]
        lines.append(f"| {name} | {sum(entry[status] for status in STATUSES)} | {' | '.join(cells)} |")
    return "\n".join(lines)


STATUSES = ("both", "missed", "invented", "absent")
FLAT = {"Dice": ("dice", "mean"), "worst Dice": ("dice", "min"), "IoU": ("iou", "mean")}
MILLIMETRES = {
    "HD95, mm": ("hd95_mm", "mean"),
    "NSD at 1 mm": ("nsd_1mm", "mean"),
    "volume error, mL": ("difference_ml", "mean"),
}


def _cell(spread: Mapping[str, Any] | None, value: str) -> str:
    if spread is None:
        return ""
    return f"{spread[value]:.4f}" + (f" ± {spread['std']:.4f}" if value == "mean" else "")


if __name__ == "__main__":
    report_input_errors_in_one_line()
    if len(sys.argv) < 2:
        raise InputError("give the metrics.csv of one evaluation or more.")
    sys.stdout.write(markdown_table([row for path in sys.argv[1:] for row in read_metrics(path)]) + "\n")
