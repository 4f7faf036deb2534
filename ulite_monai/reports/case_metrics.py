"""The evaluation that a MONAI evaluator does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.transforms import KeepLargestConnectedComponent

from ulite_monai.reports.evaluation import Evaluation
from ulite_monai.reports.metrics import LabelMetrics, label_metrics
from ulite_monai.reports.metrics_csv import write_metrics

__all__ = ["CaseMetrics"]


class CaseMetrics:
    """Handler of an evaluator that compares `pred` with `label`, label maps on the same grid.

    Voxels whose `label` is above the number of classes don't count.

    Args:
        output_dir: gets `metrics.csv`, a row per case and label, `summary.json` and `report.html`; made if needed.
        labels: names of the classes, in the order of the label values 1, 2, ...
        pictures: how many of the worst cases are drawn, as `worst_1_<case id>.png` and so on.
        bundle: the folder of the bundle that is evaluated, for the report; None for one without it.
        largest: whether to write `largest.csv`, too: the metrics of each class's largest component alone.
    """

    def __init__(
        self,
        output_dir: str | Path,
        labels: Sequence[str],
        pictures: int = 0,
        bundle: str | Path | None = None,
        largest: bool = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.labels = labels
        self.pictures = pictures
        self.bundle = None if bundle is None else Path(bundle)
        self.largest = KeepLargestConnectedComponent(range(1, len(labels) + 1), is_onehot=False) if largest else None
        self.largest_rows: list[LabelMetrics] = []

    def attach(self, engine: Engine) -> None:
        """Follow the iterations of `engine`."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self) -> None:
        """Begin without any case."""
        self.evaluation = Evaluation(self.labels, self.pictures)
        self.largest_rows.clear()

    def __call__(self, engine: Engine) -> None:
        batch: Any = engine.state.batch
        outputs: Any = engine.state.output
        for data, output in zip(batch, outputs, strict=True):
            mask, reference = (np.asarray(torch.as_tensor(output[key][0]).cpu()) for key in ("pred", "label"))
            affine = np.asarray(output["pred"].affine, dtype=np.float64) if mask.ndim == 3 else None
            case_id = str(data.get("case_id", len(self.evaluation.rows)))
            image = str(data["image"].meta["filename_or_obj"])
            ignore = reference > len(self.labels)
            rows = self.evaluation.add(case_id, mask, reference, affine, image, ignore)
            if self.largest is not None:
                kept = np.asarray(self.largest(mask.astype(np.int32)[None]))[0]
                if not np.array_equal(kept, mask):  # surface distances take their time
                    rows = label_metrics(case_id, kept, reference, affine, self.labels, ignore)
                self.largest_rows += rows

    def write(self) -> None:
        """Write the files and pictures, and log the summary."""
        if self.largest is not None:
            write_metrics(self.largest_rows, self.output_dir / "largest.csv")
        self.evaluation.write(self.output_dir, self.bundle)
