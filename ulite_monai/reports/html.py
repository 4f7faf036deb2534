"""`report.html`: what a training and an evaluation came to, in one file that needs nothing else."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulite_monai.engines.versions import versions
from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.reports.metrics import STATUSES, LabelMetrics, mean_dice_by_case
from ulite_monai.reports.metrics_csv import read_metrics
from ulite_monai.reports.page import MOST_ROWS, render_page
from ulite_monai.reports.plots import agreement_plot, colour_of, curve_plots, distribution_plot, volume_plot
from ulite_monai.reports.worst_cases import SLICES

__all__ = ["write_report"]

MOST_BYTES = 5_000_000  # of slices; what lies beyond is left out, and the page says so
MOST_VOLUME_PLOTS = 8  # classes
MOST_CAPTIONS = 5  # classes above a case's slices, the worst ones

# Attribute of `LabelMetrics`, name below the axis, best value.
DISTRIBUTIONS = (
    ("dice", "Dice", 1.0),
    ("nsd", "NSD at 1 mm", 1.0),
    ("hd95_mm", "HD95, mm", None),
    ("assd_mm", "mean surface distance, mm", None),
)


def write_report(folder: str | Path | None, evaluation: str | Path | None = None, to: str | Path | None = None) -> Path:
    """Write a report.

    Args:
        folder: a bundle, whose plan, curve, split and versions are told where it has them; None for masks that no
            bundle of ours made.
        evaluation: the folder that an evaluation wrote; None for a report of the training alone.
        to: the file, replaced if it exists, never half written; by default `report.html` in `folder`, or in
            `evaluation` where there is no `folder`.

    Returns:
        The file.

    Raises:
        InputError: When the evaluation's `metrics.csv` or `summary.json` can't be read, or the system refuses to write.
        ValueError: When there is nothing to report.
    """
    home = folder if folder is not None else evaluation
    if home is None:
        raise ValueError("there is neither a bundle nor an evaluation to report.")
    path = Path(home) / "report.html" if to is None else Path(to)
    content = {"bundle": None, "result": None, "versions": versions(), "written": time.strftime("%Y-%m-%d %H:%M")}
    if folder is not None:
        content["bundle"] = _bundle(Path(folder))
    if evaluation is not None:
        content["result"] = _result(Path(evaluation))
    with atomic_path(path) as temporary:
        temporary.write_text(render_page("report.html", content), encoding="utf-8")
    return path


def _result(folder: Path) -> dict[str, Any]:
    """Of an evaluation: its summary, its rows with the worst case first, and its plots."""
    rows = read_metrics(folder / "metrics.csv")
    summary = _json(folder / "summary.json")
    if not isinstance(summary, dict) or "labels" not in summary:
        raise InputError(f"{folder / 'summary.json'}: isn't the summary of an evaluation; evaluate again.")
    labels = list(summary["labels"])
    by_case = mean_dice_by_case(rows)
    rows.sort(key=lambda row: (by_case.get(row.case_id, 1.0), row.case_id))
    flat = all(row.reference_ml is None for row in rows)
    slices, left_out = _slices(folder / SLICES)
    return {
        "summary": summary,
        "labels": labels,
        "colours": {label: colour_of(n) for n, label in enumerate(labels)},
        "flat": flat,
        "counts": {status: sum(row.status == status for row in rows) for status in STATUSES},
        "case_dice": by_case,
        "rows": rows[:MOST_ROWS],
        "rows_left_out": max(0, len(rows) - MOST_ROWS),
        "distributions": _distributions(rows, labels),
        "volumes": [] if flat else _volumes(rows, summary["labels"]),
        "most_volume_plots": MOST_VOLUME_PLOTS,
        "slices": slices,
        "slices_left_out": left_out,
        "of_case": {one["case"]: _worst_first(rows, one["case"]) for one in slices},
        "most_captions": MOST_CAPTIONS,
    }


def _distributions(rows: Sequence[LabelMetrics], labels: Sequence[str]) -> list[str]:
    known = [of for of in DISTRIBUTIONS if any(getattr(row, of[0]) is not None for row in rows)]
    return [distribution_plot(rows, labels, metric, name, best) for metric, name, best in known]


def _volumes(rows: Sequence[LabelMetrics], labels: Mapping[str, Any]) -> list[dict[str, Any]]:
    drawn: list[dict[str, Any]] = []
    for number, (label, entry) in enumerate(labels.items()):
        agreement = entry.get("agreement_ml")
        plots = []
        if len(drawn) < MOST_VOLUME_PLOTS and any(row.label == label and row.status != "absent" for row in rows):
            colour = colour_of(number)
            plots = [volume_plot(rows, label, colour), agreement_plot(rows, label, colour, agreement)]
        drawn.append({"label": label, "agreement": agreement, "plots": plots})
    return drawn


def _worst_first(rows: Sequence[LabelMetrics], case: str) -> list[LabelMetrics]:
    """The structures of a case, by their Dice."""
    known = [row for row in rows if row.case_id == case and row.dice is not None]
    return sorted(known, key=lambda row: row.dice or 0.0) if len(known) > MOST_CAPTIONS else known


def _slices(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The worst cases whose slices fit, and how many don't."""
    cases = _json(path) or []
    sizes = [len(json.dumps(case)) for case in cases]
    fitting = sum(sum(sizes[: n + 1]) <= MOST_BYTES for n in range(len(sizes)))
    return cases[:fitting], len(cases) - fitting


def _bundle(folder: Path) -> dict[str, Any]:
    """Of a bundle: what its files say of its training."""
    metadata = _json(folder / "configs" / "metadata.json") or {}
    figures = metadata.get("eval_metrics", {})
    plan = _json(folder / "docs" / "plan.json") or {}
    # The bundle of an ensemble has a curve in each of its folds.
    curves = [_rows(path) for path in sorted([*folder.glob("docs/curve.csv"), *folder.glob("fold*/docs/curve.csv")])]
    return {
        "name": metadata.get("name", folder.resolve().name),
        "version": metadata.get("version"),
        "data": metadata.get("data_source"),
        "figures_of": figures.get("of"),
        "figures": {name.removeprefix("dice_"): value for name, value in figures.items() if name.startswith("dice_")},
        "ranges": metadata.get("input_ranges", {}),
        "choices": [{**choice, "value": _words(choice.get("value"))} for choice in plan.get("choices", [])],
        "curves": [curve_plots(curve) for curve in curves if curve and {"epoch", "loss"} <= curve[0].keys()],
        "split": _json(folder / "docs" / "split.json") or {},
    }


def _words(value: Any) -> str:
    """A value of a plan as a person writes it: sizes as 1 x 2 x 3."""
    if isinstance(value, list) and all(isinstance(one, int | float) for one in value):
        return " x ".join(f"{one:g}" for one in value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def _json(path: Path) -> Any:
    """The content of a file; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read ({error}); write it again.") from error


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
