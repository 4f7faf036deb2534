"""Metrics of one case, and their summary over cases in which no NaN or infinity hides."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.metrics.utils import get_mask_edges
from nibabel.affines import apply_affine
from scipy.spatial import cKDTree

from ulite_monai.io.affine import voxel_volume
from ulite_monai.reports.volumes import MM3_PER_ML

__all__ = ["LabelMetrics", "label_metrics", "overlap", "overlaps", "summarize"]

NSD_TOLERANCE_MM = 1.0
ROUNDING_MM = 1e-5  # of distances on grids whose affine is in 32-bit floats


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

    The last four are None in images whose pixels have no known size.
    """

    case_id: str
    label: str
    status: str
    dice: float | None
    hd95_mm: float | None
    nsd: float | None
    volume_ml: float | None
    reference_ml: float | None

    @property
    def iou(self) -> float | None:
        """Intersection over union, which Dice determines; None where absent."""
        return None if self.dice is None else self.dice / (2 - self.dice)

    @property
    def difference_ml(self) -> float | None:
        """Predicted minus reference volume."""
        if self.volume_ml is None or self.reference_ml is None:
            return None
        return self.volume_ml - self.reference_ml


def label_metrics(
    case_id: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    affine: np.ndarray | None,
    labels: Sequence[str],
) -> list[LabelMetrics]:
    """The metrics of every label of a case.

    Args:
        case_id: the case.
        prediction: label map of whole numbers, 2D or 3D.
        reference: label map of the same shape.
        affine: 4x4, voxel to world in mm, sheared or not; None for an image whose pixels have no known size.
        labels: names of the classes, in the order of the label values 1, 2, ...
    """
    return [
        _one_label(case_id, name, prediction == value, reference == value, affine)
        for value, name in enumerate(labels, start=1)
    ]


def overlap(found: np.ndarray, true: np.ndarray) -> float | None:
    """Dice coefficient of two boolean masks of one shape; None where both are empty."""
    both = int(found.sum()) + int(true.sum())
    return 2 * int((found & true).sum()) / both if both else None


def overlaps(found: np.ndarray, true: np.ndarray, classes: int) -> list[float]:
    """Dice coefficients of two label maps of one shape, for each value 1 to `classes` that either holds."""
    dice = (overlap(found == value, true == value) for value in range(1, classes + 1))
    return [one for one in dice if one is not None]


def _one_label(case_id: str, name: str, found: np.ndarray, true: np.ndarray, affine: np.ndarray | None) -> LabelMetrics:
    volumes = [None if affine is None else int(m.sum()) * voxel_volume(affine) / MM3_PER_ML for m in (found, true)]
    dice = overlap(found, true)
    if dice is None:
        return LabelMetrics(case_id, name, "absent", None, None, None, *volumes)
    if not true.any() or not found.any():
        status = "missed" if true.any() else "invented"
        return LabelMetrics(case_id, name, status, dice, None, None if affine is None else 0.0, *volumes)
    distances = (None, None) if affine is None else _surface_metrics(found, true, affine)
    return LabelMetrics(case_id, name, "both", dice, *distances, *volumes)


def _surface_metrics(found: np.ndarray, true: np.ndarray, affine: np.ndarray) -> tuple[float, float]:
    """HD95 in mm and NSD at 1 mm: MONAI's, but between true positions, which a sheared grid's spacing can't give."""
    edges = get_mask_edges(found, true, always_return_as_numpy=True)
    one, other = (apply_affine(affine, np.argwhere(edge)) for edge in edges)
    distances = [cKDTree(to).query(points)[0] for points, to in ((one, other), (other, one))]
    hd95 = max(float(np.percentile(side, 95)) for side in distances)
    near = sum(int((side <= NSD_TOLERANCE_MM + ROUNDING_MM).sum()) for side in distances)
    return hd95, near / sum(map(len, distances))


def summarize(rows: Sequence[LabelMetrics], labels: Sequence[str]) -> dict[str, Any]:
    """Per label and over the labels: means with spread over cases, and the counts of what the means leave out.

    Dice, IoU and NSD average over all cases but the absent ones, with 0 for a missed or invented structure; HD95 over
    the cases where both hold it, and `missed`, `invented`, `absent` say how many others there are.
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
        "iou": _spread([row.iou for row in rows]),
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
