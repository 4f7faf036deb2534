"""Metrics of one case, and their summary over cases in which no NaN or infinity hides."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

__all__ = ["LabelMetrics", "label_metrics", "summarize"]

NSD_TOLERANCE_MM = 1.0


@dataclass(frozen=True)
class LabelMetrics:
    """How one label of one case compares with the reference.

    Attributes:
        case_id: the case.
        label: the class's name.
        status: "both" where prediction and reference hold the label, "missed" where only the reference does,
            "invented" where only the prediction does, "absent" where neither does.
        dice: Dice coefficient; 0 where missed or invented, None where absent.
        hd95_mm: 95th percentile of the surface distances, the larger of both directions; None unless in both.
        nsd: normalised surface Dice at 1 mm; 0 where missed or invented, None where absent.
        volume_ml: predicted volume.
        reference_ml: volume of the reference.
    """

    case_id: str
    label: str
    status: str
    dice: float | None
    hd95_mm: float | None
    nsd: float | None
    volume_ml: float
    reference_ml: float

    @property
    def difference_ml(self) -> float:
        """Predicted minus reference volume."""
        return self.volume_ml - self.reference_ml


def label_metrics(
    case_id: str, prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], labels: Sequence[str]
) -> list[LabelMetrics]:
    """The metrics of every label of a case.

    Args:
        case_id: the case.
        prediction: label map of whole numbers, 2D or 3D.
        reference: label map of the same shape.
        spacing: voxel size in mm, one per axis.
        labels: names of the classes, in the order of the label values 1, 2, ...
    """
    return [
        _one_label(case_id, name, prediction == value, reference == value, spacing)
        for value, name in enumerate(labels, start=1)
    ]


def _one_label(case_id: str, name: str, found: np.ndarray, true: np.ndarray, spacing: Sequence[float]) -> LabelMetrics:
    voxel_ml = float(np.prod(spacing)) / 1000
    volumes = int(found.sum()) * voxel_ml, int(true.sum()) * voxel_ml
    if not true.any() and not found.any():
        return LabelMetrics(case_id, name, "absent", None, None, None, *volumes)
    if not true.any() or not found.any():
        status = "missed" if true.any() else "invented"
        return LabelMetrics(case_id, name, status, 0.0, None, 0.0, *volumes)
    dice = 2 * int((found & true).sum()) / (int(found.sum()) + int(true.sum()))
    y_pred, y = (torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (found, true))
    step = [float(s) for s in spacing]
    hd95 = compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=step)
    nsd = compute_surface_dice(y_pred, y, [NSD_TOLERANCE_MM], include_background=True, spacing=step)
    return LabelMetrics(case_id, name, "both", dice, float(hd95), float(nsd), *volumes)


def summarize(rows: Sequence[LabelMetrics], labels: Sequence[str]) -> dict[str, Any]:
    """Per label and over the labels: means with spread over cases, and the counts of what the means leave out.

    Dice and NSD average over all cases but the absent ones, with 0 for a missed or invented structure; HD95 over the
    cases where both hold it, and `missed`, `invented`, `absent` say how many others there are.
    """
    per_label = {name: _summarize_label([row for row in rows if row.label == name]) for name in labels}
    means = [entry["dice"]["mean"] for entry in per_label.values() if entry["dice"] is not None]
    return {
        "cases": len({row.case_id for row in rows}),
        "mean_dice": statistics.fmean(means) if means else None,
        "labels": per_label,
    }


def _summarize_label(rows: Sequence[LabelMetrics]) -> dict[str, Any]:
    return {
        **{status: sum(row.status == status for row in rows) for status in ("both", "missed", "invented", "absent")},
        "dice": _spread([row.dice for row in rows]),
        "hd95_mm": _spread([row.hd95_mm for row in rows]),
        "nsd_1mm": _spread([row.nsd for row in rows]),
        "difference_ml": _spread([row.difference_ml for row in rows]),
    }


def _spread(values: Sequence[float | None]) -> Mapping[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "n": len(known),
        "mean": statistics.fmean(known),
        "std": statistics.pstdev(known),
        "min": min(known),
        "median": statistics.median(known),
        "max": max(known),
    }
