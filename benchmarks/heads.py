"""Whole heads: agreement with another program, time and memory, and whether a changed head keeps its masks.

    python -m benchmarks.heads shared/data [--only example_brain_t1] [--orientations]

No truth is known of these heads. What needs none is consistency: the same head, turned, shifted, mirrored, resampled,
cropped, noisier or shaded, has the same hippocampi. The first masks are brought to the changed grid to be compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from benchmarks.machine import machine
from ulite_monai.io.affine import voxel_volume
from ulite_monai.io.dicom.tree import find_series
from ulite_monai.io.dicom.volume import read_series
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.heads import SegmentedHead
from ulite_monai.prediction.locate import HeadPlaces
from ulite_monai.prediction.read_case import Refused
from ulite_monai.prediction.segmenter import Segmenter

SIDES = ((1, 2), (3, 4))
TRIES = 6


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the public data")
    parser.add_argument("--only", help="of the heads")
    parser.add_argument("--orientations", action="store_true", help="store each head in all 48 orientations, too")
    arguments = parser.parse_args()
    segmenter = Segmenter("hippocampus", device="cpu")
    heads = {name: volume for name, volume in all_heads(arguments.data) if arguments.only in (None, name)}
    print(machine())
    first = {name: segment(segmenter, volume)[0] for name, volume in heads.items()}  # the engines start
    print("\n| head | mL, left and right | asymmetry | intracranial, mL | s | warnings |\n|---|---|---|---|---|---|")
    for name, volume in heads.items():
        found, seconds = segment(segmenter, volume)
        left, right = (millilitres(found.mask, volume.affine, side) for side in SIDES)
        row = f"{left:.2f}, {right:.2f} | {(left - right) / (left + right):+.3f} | {found.intracranial_ml:.0f}"
        print(f"| {name} | {row} | {seconds:.1f} | {' '.join(found.warnings)} |")
    print(f"\nPeak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB.")
    if "example_brain_t1" in heads:
        print_agreement(first["example_brain_t1"], heads["example_brain_t1"], arguments.data)
    for name, volume in heads.items():
        print(f"\n| {name} | Dice with the first mask, left and right | volume, left and right |\n|---|---|---|")
        for millimetres in (4, 8, 12, 16):
            agreed = misplaced(segmenter, first[name], volume, millimetres)
            print(f"| boxes {millimetres} mm off at first, the worst of {TRIES} | {agreed} | |", flush=True)
        lobes = Change("cropped 30 mm around", cropped(volume, first[name], 30.0))
        for change in [lobes, *changes(volume, arguments.orientations)]:
            print(f"| {change.name} | {compared(segmenter, first[name], volume, change)} |", flush=True)


def all_heads(data: Path) -> Iterator[tuple[str, Volume]]:
    yield "example_brain_t1", read_volume(data / "heads" / "example_brain_t1.nii.gz")
    for series in find_series(data / "dicom" / "mr_t1_large_384slices").series:
        yield "mr_t1_large_384slices", read_series(series)
    spec = importlib.util.find_spec("nilearn")
    if spec is not None and spec.submodule_search_locations:
        file = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
        yield "MNI152", read_volume(Path(spec.submodule_search_locations[0]) / file)


def segment(segmenter: Segmenter, volume: Volume) -> tuple[SegmentedHead, float]:
    started = time.perf_counter()
    found = segmenter.heads.segment(volume, segmenter)
    return found, time.perf_counter() - started


def print_agreement(found: SegmentedHead, volume: Volume, data: Path) -> None:
    """Of the whole hippocampi with hippodeep's, which follow another protocol."""
    for side, values in zip("LR", SIDES, strict=True):
        image = nib.load(data / "heads" / f"example_brain_t1_hippodeep_{side}.nii.gz")
        other = np.asarray(image.dataobj) >= 128  # of 255
        own, theirs = (mask.sum() * voxel_volume(volume.affine) / 1000 for mask in (of(found.mask, values), other))
        print(f"\nhippodeep, {side}: Dice {dice(of(found.mask, values), other):.3f}, {own:.2f} mL, theirs {theirs:.2f}")


def compared(segmenter: Segmenter, first: SegmentedHead, volume: Volume, change: Change) -> str:
    """Dice and volumes beside the first ones."""
    try:
        found, _ = segment(segmenter, change.head)
    except Refused as refusal:
        return f"refused: {refusal} | "
    overlaps, volumes = [], []
    for own, before in zip(SIDES, SIDES[::-1] if change.mirrored else SIDES, strict=True):
        expected = moved(of(first.mask, before), change.motion @ volume.affine, change.head) >= 0.5
        overlaps.append(f"{dice(of(found.mask, own), expected):.3f}")
        ratio = millilitres(found.mask, change.head.affine, own) / millilitres(first.mask, volume.affine, before)
        volumes.append(f"{100 * (ratio - 1):+.1f} %")
    return f"{', '.join(overlaps)} | {', '.join(volumes)}{' (warned)' if found.warnings else ''}"


def misplaced(segmenter: Segmenter, first: SegmentedHead, volume: Volume, millimetres: float) -> str:
    """The lowest Dice of each side when the locator errs by so much, in any direction."""
    rng, worst = np.random.default_rng(0), np.ones(2)
    for _ in range(TRIES):
        errors = rng.normal(size=(2, 3))
        errors *= millimetres / np.linalg.norm(errors, axis=1, keepdims=True)
        left, right = (box.corners.mean(0) + error for box, error in zip(first.boxes, errors, strict=True))
        found = segmenter.heads.segment(volume, segmenter, places=HeadPlaces(left, right, 1500.0, 1.0))
        worst = np.minimum(worst, [dice(of(found.mask, side), of(first.mask, side)) for side in SIDES])
    return f"{worst[0]:.3f}, {worst[1]:.3f}"


@dataclass(frozen=True)
class Change:
    """A head that shows the same in another way, and the motion, 4x4 in RAS mm, of what it shows."""

    name: str
    head: Volume
    motion: np.ndarray = field(default_factory=lambda: np.eye(4))
    mirrored: bool = False


def changes(volume: Volume, orientations: bool) -> Iterator[Change]:
    yield from motions(volume)
    yield from grids(volume)
    yield from degraded(volume)
    if orientations:
        for order, flips in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
            turn = np.stack([order, flips], axis=1).astype(float)
            affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.array.shape)
            array = nib.orientations.apply_orientation(volume.array, turn)
            name = f"stored as {''.join(nib.aff2axcodes(affine))}"
            yield Change(name, Volume(array, affine, volume.source))


def motions(volume: Volume) -> Iterator[Change]:
    """By the header alone, which loses nothing, or resampled on the first grid."""
    middle = nib.affines.apply_affine(volume.affine, np.divide(volume.array.shape, 2))
    for axis, name in enumerate(("nodded", "rolled", "turned")):
        for degrees in (10, 20, 30):
            rotation = nib.quaternions.angle_axis2mat(np.radians(degrees), np.eye(3)[axis])
            motion = nib.affines.from_matvec(rotation, middle - rotation @ middle)
            held = Volume(volume.array, motion @ volume.affine, volume.source)
            yield Change(f"{name} by {degrees} degrees, in the header", held, motion)
            if degrees == 20:
                yield Change(f"{name} by {degrees} degrees, resampled", on_grid_of(held, volume), motion)
    motion = nib.affines.from_matvec(np.eye(3), [7.3, -5.2, 3.7])
    held = Volume(volume.array, motion @ volume.affine, volume.source)
    yield Change("shifted, resampled", on_grid_of(held, volume), motion)
    motion = np.diag([-1.0, 1, 1, 1])
    yield Change("mirrored", Volume(volume.array, motion @ volume.affine, volume.source), motion, True)


def grids(volume: Volume) -> Iterator[Change]:
    for spacing in (0.7, 1.0, 1.5, 2.0):
        yield Change(f"resampled to {spacing:g} mm", resampled(volume, [spacing] * 3))
    for axis, name in enumerate(("sagittal", "coronal", "axial")):
        yield Change(f"{name} slices of 3 mm", resampled(volume, [3.0 if n == axis else 1.0 for n in range(3)]))


def degraded(volume: Volume) -> Iterator[Change]:
    rng = np.random.default_rng(0)
    values = volume.array.astype(np.float32)
    bright = np.percentile(values, 98)
    for share in (0.03, 0.06):
        noisy = np.abs(values + rng.normal(0, share * bright, values.shape).astype(np.float32))
        yield Change(f"noise of {100 * share:.0f} %", Volume(noisy, volume.affine, volume.source))
    for number in (1, 2):
        field_ = ndimage.zoom(rng.normal(0, 0.3, (3, 3, 3)), np.divide(values.shape, 3), order=3)
        yield Change(f"bias {number}", Volume(values * np.exp(field_, dtype=np.float32), volume.affine, volume.source))


def on_grid_of(volume: Volume, like: Volume) -> Volume:
    """The volume on another's grid."""
    return Volume(moved(volume.array, volume.affine, like), like.affine, volume.source)


def resampled(volume: Volume, spacing: list[float]) -> Volume:
    """The volume at another spacing, along axes from right to left, front to back and head to foot."""
    order = nib.orientations.io_orientation(volume.affine)[:, 0].astype(int)
    steps = np.asarray(spacing)[order] / volume.spacing
    shape = np.maximum(np.round(np.divide(volume.array.shape, steps)), 1).astype(int)
    affine = volume.affine @ nib.affines.from_matvec(np.diag(steps), (steps - 1) / 2)
    smooth = ndimage.gaussian_filter(volume.array.astype(np.float32), np.maximum(steps - 1, 0) / 2)
    grid = Volume(np.broadcast_to(np.float32(0), shape), affine, volume.source)
    return Volume(moved(smooth, volume.affine, grid, order=3), affine, volume.source)


def cropped(volume: Volume, found: SegmentedHead, around: float) -> Volume:
    """What lies within so many mm of the hippocampi along the volume's axes."""
    voxels = np.argwhere(found.mask)
    margin = np.ceil(around / np.asarray(volume.spacing)).astype(int)
    start = np.maximum(voxels.min(0) - margin, 0)
    part = tuple(slice(a, b + 1) for a, b in zip(start, voxels.max(0) + margin, strict=True))
    return Volume(volume.array[part], volume.affine @ nib.affines.from_matvec(np.eye(3), start), volume.source)


def moved(values: np.ndarray, affine: np.ndarray, onto: Volume, order: int = 1) -> np.ndarray:
    """Values on the grid of another volume."""
    to_values = np.linalg.inv(affine) @ onto.affine
    shape = onto.array.shape
    return ndimage.affine_transform(
        values.astype(np.float32), to_values[:3, :3], to_values[:3, 3], shape, order=order, mode="constant"
    )


def of(mask: np.ndarray, values: tuple[int, int]) -> np.ndarray:
    return np.isin(mask, values)


def millilitres(mask: np.ndarray, affine: np.ndarray, values: tuple[int, int]) -> float:
    return float(of(mask, values).sum()) * voxel_volume(affine) / 1000


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


if __name__ == "__main__":
    main()
