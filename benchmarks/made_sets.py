"""Data sets that aren't at hand, made for trying plans and trainings: their time, memory and geometry, not accuracy.

`python -m benchmarks.made_sets thick-ct DATA FOLDER` cuts slices of 5 mm out of `ct_totalsegmentator_example` in DATA,
a deformed copy a case. `python -m benchmarks.made_sets atrium FOLDER --cases 80` makes heart-like volumes of 576x576x88
voxels: a bright chamber with veins, the class, beside others that look like it, in textured tissue and noise. Cases
after the eighth are links to the first eight.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.transforms import Rand3DElastic
from scipy import ndimage

THICK = (0.8, 0.8, 5.0)
ORGANS = 6  # the largest of the example's classes
SHAPE, SPACING = (576, 576, 88), (0.625, 0.625, 1.25)
DIFFERENT = 8


def thick_ct(data: Path, folder: Path, cases: int) -> None:
    """Write deformed copies of the example with thick slices."""
    source = data / "ct_totalsegmentator_example"
    image, label = (nib.load(source / f"ct_122x101x112{end}.nii.gz") for end in ("", "_pseudolabels"))
    values = np.asarray(label.dataobj).astype(np.int32)
    largest = 1 + np.argsort(np.bincount(values.ravel())[1:])[::-1][:ORGANS]
    classes = sum((number * (values == value) for number, value in enumerate(largest, 1)), np.zeros_like(values))
    zoom = np.array(image.header.get_zooms()[:3]) / THICK
    stacked = np.stack([np.asarray(image.dataobj, dtype=np.float32), classes.astype(np.float32)])
    for number in range(cases):
        deform = Rand3DElastic((6, 8), (40, 80), prob=1.0, rotate_range=(0.1, 0.1, 0.1), scale_range=(0.1, 0.1, 0.1))
        deform.set_random_state(seed=number)
        grey = deform(stacked[:1], mode="bilinear", padding_mode="border", randomize=True)
        deform.set_random_state(seed=number)
        parts = deform(stacked[1:], mode="nearest", padding_mode="zeros", randomize=True)
        affine = np.diag([*THICK, 1.0])
        write(folder, number, ndimage.zoom(np.asarray(grey[0]), zoom, order=1), np.asarray(parts[0]), zoom, affine)


def write(
    folder: Path, number: int, image: np.ndarray, parts: np.ndarray, zoom: np.ndarray, affine: np.ndarray
) -> None:
    label = ndimage.zoom(parts, zoom, order=0).astype(np.uint8)
    for name, array in (("imagesTr", np.round(image).astype(np.int16)), ("labelsTr", label)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine), folder / name / f"case_{number:02d}.nii.gz")


def atrium(folder: Path, cases: int) -> None:
    """Write heart-like volumes."""
    for number in range(cases):
        if number < DIFFERENT:
            image, label = heart(np.random.default_rng(number))
            write(folder, number, image, label, np.ones(3), np.diag([*SPACING, 1.0]))
            continue
        for name in ("imagesTr", "labelsTr"):
            os.link(
                folder / name / f"case_{number % DIFFERENT:02d}.nii.gz", folder / name / f"case_{number:02d}.nii.gz"
            )


def heart(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A volume and its label: ellipsoidal chambers with irregular walls 3 mm apart, veins that leave the first."""
    coarse = [side // 4 for side in SHAPE]
    spacing = np.multiply(SPACING, 4)
    grid = np.stack(np.meshgrid(*map(np.arange, coarse), indexing="ij"), axis=-1) * spacing
    middle = np.multiply(coarse, spacing) / 2 + random.uniform(-8, 8, 3)
    bumps = ndimage.gaussian_filter(random.normal(size=coarse), 3) * 4
    chambers = np.zeros(coarse, np.uint8)
    for value, (shift, radii) in enumerate(
        [
            ((0, -20, 8), (38, 26, 24)),
            ((38, 24, 2), (28, 40, 26)),
            ((-42, 26, 0), (26, 38, 26)),
            ((4, 52, 16), (16, 16, 40)),
        ],
        start=1,
    ):
        distance = np.linalg.norm((grid - middle - shift) / (radii * random.uniform(0.85, 1.15, 3)), axis=-1)
        chambers[(distance + bumps < 1) & (chambers == 0)] = value
    for side in (-1, 1):
        axis = np.linalg.norm((grid - middle - (0, -26, 14))[..., 1:] / 6, axis=-1)
        chambers[(axis < 1) & (side * (grid - middle)[..., 0] > 20) & (abs(grid - middle)[..., 0] < 60)] = 1
    walls = ndimage.maximum_filter(chambers, 3) != ndimage.minimum_filter(np.where(chambers, chambers, 255), 3)
    tissue = 120 + 60 * ndimage.gaussian_filter(random.normal(size=coarse), 2)
    body = np.linalg.norm((grid - middle)[..., :2] / (150, 110), axis=-1) < 1
    grey = np.where(chambers > 0, np.where(walls, 150, 320), tissue) * body
    zoom = np.divide(SHAPE, coarse)
    image = ndimage.zoom(grey.astype(np.float32), zoom, order=1)
    image = np.abs(image * random.uniform(0.6, 1.6) + random.normal(0, 25, SHAPE).astype(np.float32))
    label = ndimage.zoom(((chambers == 1) & ~walls).astype(np.float32), zoom, order=1) > 0.5
    return image, label.astype(np.uint8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("thick-ct", "atrium"))
    parser.add_argument("folders", type=Path, nargs="+", help="of the data that thick-ct is made from, and to write to")
    parser.add_argument("--cases", type=int, default=8)
    given = parser.parse_args()
    if given.kind == "thick-ct":
        thick_ct(*given.folders, given.cases)
    else:
        atrium(*given.folders, given.cases)
