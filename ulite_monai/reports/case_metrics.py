"""Collects the metrics of an evaluation case by case and writes them as CSV and JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from ulite_monai.io.atomic import atomic_path
from ulite_monai.reports.metrics import LabelMetrics, label_metrics, summarize
from ulite_monai.reports.metrics_csv import write_metrics
from ulite_monai.reports.worst_cases import WorstCases

__all__ = ["CaseMetrics"]

logger = logging.getLogger(__name__)


class CaseMetrics:
    """Handler of an evaluator that compares `pred` with `label`, label maps on the same grid.

    Args:
        output_dir: gets `metrics.csv`, a row per case and label, and `summary.json`; made if needed.
        labels: names of the classes, in the order of the label values 1, 2, ...
        pictures: how many of the worst cases are drawn, as `worst_1_<case id>.png` and so on.
    """

    def __init__(self, output_dir: str | Path, labels: Sequence[str], pictures: int = 0) -> None:
        self.output_dir = Path(output_dir)
        self.labels = labels
        self.rows: list[LabelMetrics] = []
        self.pictures = pictures
        self.worst = WorstCases(pictures)

    def attach(self, engine: Engine) -> None:
        """Follow the iterations of `engine`."""
        engine.add_event_handler(Events.STARTED, self.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def clear(self) -> None:
        """Forget all cases."""
        self.rows.clear()
        self.worst.cases.clear()

    def __call__(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for data, output in zip(batch, outputs, strict=True):
            prediction, reference = (np.asarray(torch.as_tensor(output[key][0]).cpu()) for key in ("pred", "label"))
            affine = np.asarray(output["pred"].affine, dtype=np.float64) if prediction.ndim == 3 else None
            case_id = str(data.get("case_id", len(self.rows)))
            rows = label_metrics(case_id, prediction, reference, affine, self.labels)
            self.rows += rows
            if self.pictures:
                self.worst.add(rows, str(data["image"].meta["filename_or_obj"]), prediction, reference)

    def write(self) -> None:
        """Write the files and pictures, and log the summary."""
        write_metrics(self.rows, self.output_dir / "metrics.csv")
        summary = summarize(self.rows, self.labels)
        with atomic_path(self.output_dir / "summary.json") as path:
            path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        self.worst.draw(self.output_dir, self.labels)
        for name, entry in summary["labels"].items():
            logger.info("%s", _sentence(name, entry))
        logger.info("%d cases; see %s.", summary["cases"], self.output_dir / "metrics.csv")


def _sentence(name: str, entry: dict) -> str:
    if entry["dice"] is None:
        return f"{name}: in no case, neither predicted nor in the reference"
    text = f"{name}: Dice {entry['dice']['mean']:.4f} ± {entry['dice']['std']:.4f}, IoU {entry['iou']['mean']:.4f}"
    if entry["hd95_mm"] is not None:
        text += f", HD95 {entry['hd95_mm']['mean']:.2f} mm over {entry['hd95_mm']['n']} cases"
    if entry["nsd_1mm"] is not None:
        text += f", NSD at 1 mm {entry['nsd_1mm']['mean']:.4f}, volume {entry['difference_ml']['mean']:+.3f} mL"
    counts = [f"{entry[status]} {status}" for status in ("missed", "invented", "absent") if entry[status]]
    return text + (f" ({', '.join(counts)})" if counts else "")
