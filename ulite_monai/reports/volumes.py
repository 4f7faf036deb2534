"""How much of each label a mask holds: voxels, millilitres, mean intensity."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulite_monai.io.affine import voxel_volume
from ulite_monai.io.atomic import atomic_path

__all__ = ["LabelVolume", "label_volumes", "write_volumes_csv"]

COLUMNS = ("case", "label", "voxels", "volume_ml", "mean_intensity")
MM3_PER_ML = 1000


@dataclass(frozen=True)
class LabelVolume:
    """How much of one label a mask holds.

    Attributes:
        label: the class's name.
        value: its value in the mask.
        voxels: how many voxels; in a 2D mask, pixels.
        volume_ml: their volume in mL; None in 2D.
        mean_intensity: the image's mean over them, in the image's unit; None where there are none or no image.
    """

    label: str
    value: int
    voxels: int
    volume_ml: float | None
    mean_intensity: float | None


def label_volumes(
    mask: np.ndarray,
    affine: np.ndarray | None,
    labels: Sequence[str],
    image: np.ndarray | None = None,
    values: Sequence[int] | None = None,
) -> list[LabelVolume]:
    """The volume of every label, the absent ones too.

    Args:
        mask: label map of integers >= 0, shape (i, j, k), or (x, y) for a 2D image.
        affine: 4x4, voxel indices to mm, sheared or not. Not used in 2D.
        labels: names of the classes.
        image: finite intensities, of the mask's shape.
        values: of the classes in the mask; None for 1, 2, ...

    Raises:
        ValueError: When the mask holds a value without a name, the image has another shape, or a 3D mask comes
            without an affine.
    """
    if image is not None and image.shape != mask.shape:
        raise ValueError(f"the image has shape {image.shape}, its mask {mask.shape}.")
    values = range(1, len(labels) + 1) if values is None else values
    highest = max(int(mask.max(initial=0)), *values)
    counts = _sums(mask, None, highest)
    unnamed = set(np.flatnonzero(counts).tolist()) - {0, *values}
    if unnamed:
        raise ValueError(f"the mask holds the value {max(unnamed)}, which none of the {len(labels)} labels has.")
    voxel_ml = None if mask.ndim == 2 else _voxel_ml(affine)
    totals = None if image is None else _sums(mask, image, highest)
    return [
        LabelVolume(
            label=name,
            value=value,
            voxels=int(counts[value]),
            volume_ml=None if voxel_ml is None else int(counts[value]) * voxel_ml,
            mean_intensity=None if totals is None or not counts[value] else float(totals[value] / counts[value]),
        )
        for value, name in zip(values, labels, strict=True)
    ]


def write_volumes_csv(rows_by_case: Mapping[str, Sequence[LabelVolume]], path: str | Path) -> None:
    """Write a row per case and label: case, label, voxels, volume_ml, mean_intensity; unknown numbers stay empty.

    Args:
        rows_by_case: case id to its volumes.
        path: `.csv`; replaced if it exists, never half written.

    Raises:
        InputError: When the system refuses to write.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_cells(case, row) for case, rows in rows_by_case.items() for row in rows)


def _voxel_ml(affine: np.ndarray | None) -> float:
    if affine is None or affine.shape != (4, 4):
        raise ValueError(f"a 3D mask needs a 4x4 affine, not {affine!r}.")
    return voxel_volume(affine) / MM3_PER_ML


def _sums(mask: np.ndarray, weights: np.ndarray | None, highest: int) -> np.ndarray:
    """The weights (1 if None) summed over each value 0 to `highest`."""
    # Slice by slice, because bincount makes 8-byte copies of all it counts.
    totals = np.zeros(highest + 1)
    for n, section in enumerate(mask):
        section_weights = None if weights is None else weights[n].ravel()
        totals += np.bincount(section.ravel(), section_weights, minlength=highest + 1)
    return totals


def _cells(case: str, row: LabelVolume) -> list[str]:
    numbers = (row.volume_ml, row.mean_intensity)
    return [case, row.label, str(row.voxels), *("" if n is None else f"{n:.6g}" for n in numbers)]
