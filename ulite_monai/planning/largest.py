"""Whether masks are better with the largest component of a class alone, as validation tells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ulite_monai.datasets.json_file import read_json
from ulite_monai.planning.json_text import write_json
from ulite_monai.reports.evaluation import Evaluation
from ulite_monai.reports.metrics import LabelMetrics, summarize
from ulite_monai.reports.metrics_csv import read_metrics

__all__ = ["choose_largest", "keep_largest"]

logger = logging.getLogger(__name__)

FEWEST_CASES = 5  # that such a choice may rest on


def choose_largest(
    plain: Sequence[LabelMetrics], largest: Sequence[LabelMetrics], labels: Sequence[str]
) -> tuple[list[LabelMetrics], list[int]]:
    """The rows of each class as it is better, and the values of the classes whose largest component alone is.

    Args:
        plain: metrics of the masks as they are.
        largest: of the masks with each class's largest component alone, the same cases in the same order.
        labels: names of the classes, in the order of the label values 1, 2, ...
    """
    before, after = (summarize(rows, labels)["labels"] for rows in (plain, largest))
    keep = [
        value
        for value, name in enumerate(labels, start=1)
        if before[name]["dice"] is not None and after[name]["dice"]["mean"] > before[name]["dice"]["mean"]
    ]
    kept = {labels[value - 1] for value in keep}
    return [new if old.label in kept else old for old, new in zip(plain, largest, strict=True)], keep


def keep_largest(root: Path, evaluation: Path, labels: Sequence[str]) -> bool:
    """Let a trained bundle keep a class's largest component alone where that raised its Dice on the cases it evaluated.

    Args:
        root: the bundle; its configurations get `keep_largest`.
        evaluation: has `metrics.csv` and `largest.csv`, and gets the figures of what is kept.
        labels: names of the classes, in the order of the label values 1, 2, ...

    Returns:
        Whether it does for any class.
    """
    plain, largest = (read_metrics(evaluation / name) for name in ("metrics.csv", "largest.csv"))
    rows, keep = choose_largest(plain, largest, labels)
    if not keep or len({row.case_id for row in rows}) < FEWEST_CASES:
        return False
    write_choice(root, root, keep)
    names = ", ".join(labels[value - 1] for value in keep)
    logger.info("kept alone from now on, because it raised the Dice: the largest component of %s.", names)
    Evaluation(labels, about={"masks": f"the largest component alone of {names}"}, rows=rows).write(evaluation, root)
    return True


def write_choice(root: Path, source: Path, keep: Sequence[int], **values: object) -> None:
    """Write a bundle's `inference.json` and `evaluate.json`, as `source` has them but for what is chosen."""
    for name in ("inference.json", "evaluate.json"):
        write_json(root / "configs" / name, read_json(source / "configs" / name) | {"keep_largest": keep} | values)
