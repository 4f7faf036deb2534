"""Metrics by hand: known shapes, missing structures, and no NaN in a summary."""

import json

import numpy as np
import pytest
import scipy
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from ulite_monai.reports.metrics import label_metrics, summarize

LABELS = ["a", "b"]


def boxes(**slices):
    array = np.zeros((20, 20, 20), np.uint8)
    for value, name in enumerate(LABELS, start=1):
        if name in slices:
            array[slices[name]] = value
    return array


BOX = np.s_[4:10, 4:10, 4:10]
MOVED = np.s_[6:12, 4:10, 4:10]


def test_equal_masks():
    first, second = label_metrics("case", boxes(a=BOX), boxes(a=BOX), np.eye(4), LABELS)
    assert (first.dice, first.hd95_mm, first.nsd, first.difference_ml, first.status) == (1.0, 0.0, 1.0, 0.0, "both")
    assert (second.dice, second.hd95_mm, second.nsd, second.status) == (None, None, None, "absent")


def test_a_moved_box():
    row, _ = label_metrics("case", boxes(a=MOVED), boxes(a=BOX), np.eye(4), LABELS)
    assert row.dice == pytest.approx(2 * 4 * 36 / (2 * 216))
    assert row.hd95_mm == pytest.approx(2.0)
    assert 0 < row.nsd < 1


def test_spacing_scales_distances_and_volumes():
    row, _ = label_metrics("case", boxes(a=MOVED), boxes(a=np.s_[4:10, 4:10, 4:11]), np.diag([3, 1, 2, 1]), LABELS)
    assert row.hd95_mm == pytest.approx(6.0)
    assert row.volume_ml == pytest.approx(216 * 6 / 1000) and row.reference_ml == pytest.approx(252 * 6 / 1000)
    assert row.difference_ml == pytest.approx(-36 * 6 / 1000)


def points_of(mask, affine):
    edge = mask & ~scipy.ndimage.binary_erosion(mask)
    return np.argwhere(edge) @ affine[:3, :3].T


def test_a_sheared_grid_has_true_volumes_and_distances():
    """Against the definition: all distances between the surfaces' voxels where they really lie."""
    affine = np.array([[1, 0.5, 0.2, 0], [0, 1.1, 0.3, 0], [0, 0, 0.8, 0], [0, 0, 0, 1]])
    found, true = boxes(a=np.s_[7:13, 7:14, 5:12]), boxes(a=BOX)
    row, _ = label_metrics("case", found, true, affine, LABELS)
    assert row.volume_ml == pytest.approx(6 * 7 * 7 * 1.1 * 0.8 / 1000)
    every = scipy.spatial.distance.cdist(points_of(found == 1, affine), points_of(true == 1, affine))
    sides = every.min(axis=1), every.min(axis=0)
    assert row.hd95_mm == pytest.approx(max(np.percentile(side, 95) for side in sides))
    assert row.nsd == pytest.approx(np.mean(np.concatenate(sides) <= 1))
    along = np.diag([*np.linalg.norm(affine[:3, :3], axis=0), 1])
    orthogonal, _ = label_metrics("case", found, true, along, LABELS)
    assert orthogonal.hd95_mm != pytest.approx(row.hd95_mm) and orthogonal.volume_ml != pytest.approx(row.volume_ml)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 2.5)])
def test_a_straight_grid_has_monais_distances(spacing):
    random = np.random.default_rng(0)
    found, true = (scipy.ndimage.gaussian_filter(random.normal(size=(20, 20, 20)), 2) > 0.02 for _ in range(2))
    row, _ = label_metrics("case", found.astype(np.uint8), true.astype(np.uint8), np.diag([*spacing, 1]), LABELS)
    one, other = (torch.from_numpy(mask)[None, None] for mask in (found, true))
    hd95 = compute_hausdorff_distance(one, other, include_background=True, percentile=95, spacing=spacing)
    nsd = compute_surface_dice(one, other, [1.0], include_background=True, spacing=spacing)
    assd = compute_average_surface_distance(one, other, include_background=True, symmetric=True, spacing=spacing)
    assert (row.hd95_mm, row.nsd, row.assd_mm) == pytest.approx((float(hd95), float(nsd), float(assd)))


def test_what_is_ignored_counts_in_neither():
    found, true = boxes(a=BOX, b=np.s_[14:18, 14:18, 14:18]), boxes(a=MOVED)
    ignore = np.zeros(true.shape, bool)
    ignore[:6], ignore[10:12], ignore[14:] = True, True, True
    first, second = label_metrics("case", found, true, np.eye(4), LABELS, ignore)
    assert (first.dice, first.hd95_mm, second.status) == (1.0, 0.0, "absent")
    assert first.volume_ml == first.reference_ml == pytest.approx(4 * 36 / 1000)
    assert found[4, 4, 4] == 1  # not the caller's arrays


def test_missed_and_invented_count_as_zero_and_apart():
    missed = label_metrics("1", boxes(), boxes(a=BOX), np.eye(4), LABELS)
    invented = label_metrics("2", boxes(a=BOX), boxes(), np.eye(4), LABELS)
    good = label_metrics("3", boxes(a=BOX), boxes(a=BOX), np.eye(4), LABELS)
    summary = summarize([*missed, *invented, *good], LABELS)
    entry = summary["labels"]["a"]
    assert (entry["both"], entry["missed"], entry["invented"], entry["absent"]) == (1, 1, 1, 0)
    assert entry["dice"]["mean"] == pytest.approx(1 / 3) and entry["dice"]["n"] == 3
    zero = {"n": 1, "mean": 0.0, "ci95": None, "std": 0.0, "min": 0.0, "median": 0.0, "max": 0.0}
    assert entry["hd95_mm"] == zero and entry["worst_case"] in ("1", "2") and entry["agreement_ml"]["n"] == 3
    assert summary["labels"]["b"]["dice"] is None and summary["labels"]["b"]["absent"] == 3
    assert summary["mean_dice"] == pytest.approx(1 / 3) and summary["cases"] == 3
    json.dumps(summary, allow_nan=False)


def test_an_image_without_a_spacing_has_overlaps_alone():
    found, true = np.zeros((2, 20, 20), np.uint8)
    found[4:10, 4:10], true[6:12, 4:10] = 1, 1
    (row,) = label_metrics("image", found, true, None, ["a"])
    assert row.dice == pytest.approx(2 / 3) and row.iou == pytest.approx(24 / 48)
    assert (row.hd95_mm, row.nsd, row.volume_ml, row.reference_ml, row.difference_ml) == (None,) * 5
    entry = summarize([row], ["a"])["labels"]["a"]
    assert entry["iou"]["mean"] == pytest.approx(0.5) and entry["hd95_mm"] is None and entry["nsd_1mm"] is None
