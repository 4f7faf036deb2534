"""An evaluation: metrics of masks against references, case by case, and all that it leaves in a folder."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.engines.versions import versions
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.write_nifti import smallest_label_dtype
from ulite_monai.reports.html import write_report
from ulite_monai.reports.metrics import LabelMetrics, label_metrics, summarize
from ulite_monai.reports.metrics_csv import write_metrics
from ulite_monai.reports.worst_cases import WorstCases

__all__ = ["Evaluation"]

logger = logging.getLogger(__name__)


class Evaluation:
    """Compares masks with references and writes what it came to.

    Args:
        labels: names of the classes, in the order of the label values 1, 2, ...
        pictures: how many of the worst cases are drawn.
        about: what is evaluated, in plain values for the summary.
        rows: of cases that were measured before.
    """

    def __init__(
        self,
        labels: Sequence[str],
        pictures: int = 0,
        about: Mapping[str, Any] | None = None,
        rows: Sequence[LabelMetrics] = (),
    ) -> None:
        self.labels = labels
        self.about = dict(about or {})
        self.rows = list(rows)
        self.refused: dict[str, str] = {}
        self.worst = WorstCases(pictures)
        self.digests = {} if rows else {"masks": hashlib.sha256(), "references": hashlib.sha256()}

    def add(
        self,
        case_id: str,
        mask: np.ndarray,
        reference: np.ndarray,
        affine: np.ndarray | None,
        image: str | None = None,
        ignore: np.ndarray | None = None,
    ) -> list[LabelMetrics]:
        """Measure a case; returns its metrics, one a label.

        Args:
            case_id: the case.
            mask: label map of whole numbers >= 0, 2D or 3D.
            reference: label map on the same grid.
            affine: 4x4, voxel indices to RAS mm; None for an image whose pixels have no known size.
            image: names the file or the DICOM series, as `read_reference` takes it, for pictures; None for none.
            ignore: mask of the same shape: what counts in neither; None for none.
        """
        if ignore is not None:
            mask, reference = (np.where(ignore, 0, one) for one in (mask, reference))
        mask, reference = (one.astype(smallest_label_dtype(one), copy=False) for one in (mask, reference))
        rows = label_metrics(case_id, mask, reference, affine, self.labels)
        self.rows += rows
        self.worst.add(rows, image, mask, reference, affine)
        for digest, array in zip(self.digests.values(), (mask, reference), strict=True):
            digest.update(repr((case_id, array.shape)).encode() + array.astype(np.uint16).tobytes())
        return rows

    def refuse(self, case_id: str, reason: str) -> None:
        """Record a case that can't be measured, and say why."""
        self.refused[case_id] = reason
        logger.warning("not evaluated: %s", reason)

    def write(self, folder: Path, bundle: Path | None = None) -> Path:
        """Write `metrics.csv`, `summary.json`, pictures and `report.html`, and log what it came to.

        Args:
            folder: made if needed.
            bundle: that made the masks, which the report tells of; None for masks of another program.

        Returns:
            The report.
        """
        write_metrics(self.rows, folder / "metrics.csv")
        summary = summarize(self.rows, self.labels) | {
            "not_evaluated": self.refused,
            "about": self.about,
            "digests": {name: digest.hexdigest()[:16] for name, digest in self.digests.items()},
            "versions": versions(),
        }
        with atomic_path(folder / "summary.json") as path:
            path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        self.worst.draw(folder, self.labels)
        report = write_report(bundle, folder, folder / "report.html")
        for name, entry in summary["labels"].items():
            logger.info("%s", _sentence(name, entry))
        refused = f", {len(self.refused)} not evaluated" if self.refused else ""
        logger.info("%d cases%s; see %s.", summary["cases"], refused, report)
        return report


def _sentence(name: str, entry: Mapping[str, Any]) -> str:
    if entry["dice"] is None:
        return f"{name}: in no case, neither predicted nor in the reference"
    text = f"{name}: Dice {entry['dice']['mean']:.4f} ± {entry['dice']['std']:.4f}, IoU {entry['iou']['mean']:.4f}"
    if entry["hd95_mm"] is not None:
        text += f", HD95 {entry['hd95_mm']['mean']:.2f} mm over {entry['hd95_mm']['n']} cases"
    if entry["nsd_1mm"] is not None:
        text += f", NSD at 1 mm {entry['nsd_1mm']['mean']:.4f}, volume {entry['difference_ml']['mean']:+.3f} mL"
    counts = [f"{entry[status]} {status}" for status in ("missed", "invented", "absent") if entry[status]]
    return text + (f" ({', '.join(counts)})" if counts else "")
