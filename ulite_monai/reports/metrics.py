"""Metrics of one case, and their summary over cases in which no NaN or infinity hides."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.metrics.utils import get_mask_edges
from nibabel.affines import apply_affine
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree

from ulite_monai.io.affine import voxel_volume
from ulite_monai.io.write_nifti import smallest_label_dtype
from ulite_monai.reports.spread import agreement, spread
from ulite_monai.reports.volumes import MM3_PER_ML

__all__ = ["STATUSES", "LabelMetrics", "label_metrics", "mean_dice_by_case", "overlap", "overlaps", "summarize"]

STATUSES = ("both", "missed", "invented", "absent")

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
        assd_mm: mean of the surface distances of both directions; None unless in both.

    Millimetres, millilitres and NSD are None in images whose pixels have no known size.
    """

    case_id: str
    label: str
    status: str
    dice: float | None
    hd95_mm: float | None
    nsd: float | None
    volume_ml: float | None
    reference_ml: float | None
    assd_mm: float | None = None

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
    ignore: np.ndarray | None = None,
) -> list[LabelMetrics]:
    """The metrics of every label of a case.

    Args:
        case_id: the case.
        prediction: label map of whole numbers >= 0, 2D or 3D.
        reference: label map of the same shape.
        affine: 4x4, voxel to world in mm, sheared or not; None for an image whose pixels have no known size.
        labels: names of the classes, in the order of the label values 1, 2, ...
        ignore: mask of the same shape: voxels that count as background in both; None for none.
    """
    if ignore is not None:
        prediction, reference = (np.where(ignore, 0, mask) for mask in (prediction, reference))
    masks = [mask.astype(smallest_label_dtype(mask), copy=False) for mask in (prediction, reference)]
    boxes = [find_objects(mask, len(labels)) for mask in masks]
    rows = []
    for value, (name, *both) in enumerate(zip(labels, *boxes, strict=True), start=1):
        box = _around([one for one in both if one is not None], prediction.ndim)
        rows.append(_one_label(case_id, name, masks[0][box] == value, masks[1][box] == value, affine))
    return rows


def _around(boxes: Sequence[tuple[slice, ...]], dims: int) -> tuple[slice, ...]:
    """The box that holds all boxes; an empty one around none."""
    if not boxes:
        return (slice(0),) * dims
    return tuple(
        slice(min(one.start for one in axis), max(one.stop for one in axis)) for axis in zip(*boxes, strict=True)
    )


def overlap(found: np.ndarray, true: np.ndarray) -> float | None:
    """Dice coefficient of two boolean masks of one shape; None where both are empty."""
    both = int(found.sum()) + int(true.sum())
    return 2 * int((found & true).sum()) / both if both else None


def overlaps(found: np.ndarray, true: np.ndarray, classes: int) -> list[float]:
    """Dice coefficients of two label maps of one shape, for each value 1 to `classes` that either holds."""
    dice = (overlap(found == value, true == value) for value in range(1, classes + 1))
    return [one for one in dice if one is not None]


def _one_label(case_id: str, name: str, found: np.ndarray, true: np.ndarray, affine: np.ndarray | None) -> LabelMetrics:
    voxel_ml = None if affine is None else voxel_volume(affine) / MM3_PER_ML
    volume, reference = (None if voxel_ml is None else int(mask.sum()) * voxel_ml for mask in (found, true))
    dice = overlap(found, true)
    if dice is None:
        return LabelMetrics(case_id, name, "absent", None, None, None, volume, reference)
    if not true.any() or not found.any():
        status = "missed" if true.any() else "invented"
        return LabelMetrics(case_id, name, status, dice, None, None if affine is None else 0.0, volume, reference)
    hd95, nsd, assd = (None, None, None) if affine is None else _surface_metrics(found, true, affine)
    return LabelMetrics(case_id, name, "both", dice, hd95, nsd, volume, reference, assd)


def _surface_metrics(found: np.ndarray, true: np.ndarray, affine: np.ndarray) -> tuple[float, float, float]:
    """HD95 in mm, NSD at 1 mm, mean distance in mm: MONAI's, but between true positions, also on a sheared grid."""
    edges = get_mask_edges(found, true)
    one, other = (apply_affine(affine, np.argwhere(edge)) for edge in edges)
    distances = [cKDTree(to).query(points)[0] for points, to in ((one, other), (other, one))]
    hd95 = max(float(np.percentile(side, 95)) for side in distances)
    near = sum(int((side <= NSD_TOLERANCE_MM + ROUNDING_MM).sum()) for side in distances)
    return hd95, near / sum(map(len, distances)), float(np.concatenate(distances).mean())


def mean_dice_by_case(rows: Sequence[LabelMetrics]) -> dict[str, float]:
    """Of each case, by its id, the mean Dice over the labels that it or its reference holds; others are left out."""
    dice: dict[str, list[float]] = {}
    for row in rows:
        if row.dice is not None:
            dice.setdefault(row.case_id, []).append(row.dice)
    return {case: statistics.fmean(values) for case, values in dice.items()}


def summarize(rows: Sequence[LabelMetrics], labels: Sequence[str]) -> dict[str, Any]:
    """Per label and over the labels: means with spread over cases, and the counts of what the means leave out.

    Dice, IoU and NSD average over all cases but the absent ones, with 0 for a missed or invented structure; surface
    distances over the cases where both hold it, and `missed`, `invented`, `absent` say how many others there are. So
    that these don't flatter the agreement of the volumes, absent ones aren't part of it.
    """
    per_label = {name: _summarize_label([row for row in rows if row.label == name]) for name in labels}
    means = [entry["dice"]["mean"] for entry in per_label.values() if entry["dice"] is not None]
    by_case = mean_dice_by_case(rows)
    return {
        "cases": len({row.case_id for row in rows}),
        "mean_dice": statistics.fmean(means) if means else None,
        "case_dice": spread(list(by_case.values())),
        "worst_case": min(by_case, key=by_case.__getitem__, default=None),
        "labels": per_label,
    }


def _summarize_label(rows: Sequence[LabelMetrics]) -> dict[str, Any]:
    present = [row for row in rows if row.status != "absent"]
    worst = min(present, key=lambda row: row.dice or 0.0, default=None)
    return {
        **{status: sum(row.status == status for row in rows) for status in STATUSES},
        "worst_case": worst.case_id if worst else None,
        "dice": spread([row.dice for row in rows]),
        "iou": spread([row.iou for row in rows]),
        "hd95_mm": spread([row.hd95_mm for row in rows]),
        "assd_mm": spread([row.assd_mm for row in rows]),
        "nsd_1mm": spread([row.nsd for row in rows]),
        "difference_ml": spread([row.difference_ml for row in rows]),
        "agreement_ml": agreement([row.difference_ml for row in present if row.difference_ml is not None]),
    }
