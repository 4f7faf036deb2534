"""How well the locator finds hippocampi: on synthetic heads of maps it never saw, on real heads, on what is no head.

    python -m benchmarks.locator shared/data [--heads 400] [--ckpt MODEL]

A synthetic head counts where both of its hippocampi, and some tissue around them, lie in its field of view. It is
found where both centres are within 4 mm of the true ones; a refused one isn't.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose

from benchmarks.machine import machine
from ulite_monai.datasets.folds import split
from ulite_monai.datasets.label_maps import label_maps
from ulite_monai.io.dicom.tree import find_series
from ulite_monai.io.dicom.volume import read_series
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.locate import HeadPlaces, locate
from ulite_monai.prediction.read_case import Refused
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.transforms import HeadClassesd, LoadVolumed, SynthesizeFromLabelsd

NEAR = 4.0  # mm
BALL = 14.0  # mm around the centre of each hippocampus
SIZE = 256.0  # mm, the largest field of view
FIRST_SEED = 1_000_000  # no seed of the training's own validation


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the public data")
    parser.add_argument("--heads", type=int, default=400, help="synthetic ones")
    parser.add_argument("--spacing", type=float, default=4.0, help="mm, of the synthetic ones")
    parser.add_argument("--ckpt", type=Path, help="weights; default: the bundle's")
    arguments = parser.parse_args()
    locator = Segmenter("head_locator", arguments.ckpt, device="cpu")
    print(machine())
    print_synthetic(locator, arguments.data / "brain_label_maps", arguments.heads, arguments.spacing)
    print_real(locator, arguments.data)
    print_others(locator, arguments.data)


def print_synthetic(locator: Segmenter, folder: Path, count: int, spacing: float) -> None:
    """The errors on synthetic heads of the maps that training held out."""
    errors, exchanged, volumes, seconds, refused, unsure = [], 0, [], [], [], []
    for volume, label in synthetic_heads(folder, count, spacing):
        truth = [centre(label == side, volume.affine) for side in (1, 2)]
        started = time.perf_counter()
        found = located(locator, volume)
        seconds.append(time.perf_counter() - started)
        if isinstance(found, str):
            refused.append(found)
            errors.append([np.inf, np.inf])
            continue
        places = (found.left, found.right)
        errors.append([float(np.linalg.norm(a - b)) for a, b in zip(places, truth, strict=True)])
        exchanged += np.linalg.norm(found.left - truth[1]) < np.linalg.norm(found.left - truth[0])
        unsure.append(found.confidence)
        if not touches_border(label > 0):
            volumes.append(found.intracranial_ml / (float((label > 0).sum()) * spacing**3 / 1000) - 1)
    centres = np.array(errors)
    print(f"\n{len(centres)} synthetic heads at {spacing:g} mm, of the {len(held_out(folder))} maps held out:")
    print(f"- both centres within {NEAR:g} mm: {100 * (centres.max(1) <= NEAR).mean():.1f} % of the heads, ", end="")
    print(f"{100 * (centres <= NEAR).mean():.1f} % of the centres; refused: {len(refused)}; exchanged: {exchanged}")
    quantiles = np.quantile(centres[np.isfinite(centres)], [0.5, 0.9, 0.95, 0.99, 1])
    print("- error in mm: median {:.2f}, 90 % {:.2f}, 95 % {:.2f}, 99 % {:.2f}, largest {:.1f}".format(*quantiles))
    mean, deviation = 100 * np.mean(volumes), 100 * np.std(volumes)
    print(f"- intracranial volume: {mean:+.1f} ± {deviation:.1f} % ({len(volumes)} that no border cuts)")
    low = np.quantile(unsure, [0.01, 0.05, 0.5])
    print("- confidence: 1 % {:.2f}, 5 % {:.2f}, median {:.2f}".format(*low))
    print(f"- {1000 * np.median(seconds):.0f} ms each")


def print_real(locator: Segmenter, data: Path) -> None:
    """The places in real heads."""
    print("\n| head | left, mm | right, mm | off left | off right | space, mL | confidence |")
    print("|---|---|---|---|---|---|---|")
    head = data / "heads" / "example_brain_t1.nii.gz"
    masks = [nib.load(str(head).replace(".nii.gz", f"_hippodeep_{side}.nii.gz")) for side in "LR"]
    truth = [centre(np.asarray(mask.dataobj) > 0, mask.affine) for mask in masks]
    print_row(locator, "example_brain_t1, against hippodeep", read_volume(head), truth)
    for series in find_series(data / "dicom" / "mr_t1_large_384slices").series:
        print_row(locator, "mr_t1_large_384slices", read_series(series))
    spec = importlib.util.find_spec("nilearn")
    if spec is not None and spec.submodule_search_locations:
        file = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
        template = Path(spec.submodule_search_locations[0]) / file
        by_hand = [np.array([side * 27.0, -21.0, -11.0]) for side in (-1, 1)]
        print_row(locator, "MNI152 of nilearn, against (±27, -21, -11)", read_volume(template), by_hand)


def print_row(locator: Segmenter, name: str, volume: Volume, truth: list[np.ndarray] | None = None) -> None:
    found = located(locator, volume)
    if isinstance(found, str):
        print(f"| {name} | {found} | | | | | |")
        return
    places = (found.left, found.right)
    off = ["", ""] if truth is None else [f"{np.linalg.norm(a - b):.1f}" for a, b in zip(places, truth, strict=True)]
    cells = [", ".join(f"{x:.1f}" for x in place) for place in places]
    print(f"| {name} | {' | '.join([*cells, *off])} | {found.intracranial_ml:.0f} | {found.confidence:.2f} |")


def print_others(locator: Segmenter, data: Path) -> None:
    """What is said of volumes that show no head."""
    print("\n| no head | |\n|---|---|")
    rng = np.random.default_rng(0)
    names = sorted((data / "ct_totalsegmentator_example").glob("*.nii.gz"))
    boxes = sorted((data / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))[:40]
    others = {path.name: read_volume(path) for path in names if "pseudolabels" not in path.name}
    others |= {f"noise {n}": noise(rng, smooth) for n, smooth in enumerate((0, 1, 3))}
    others |= {"nothing": Volume(np.zeros((128, 128, 128), np.float32), np.diag([2.0, 2, 2, 1]), Path("nothing"))}
    for name, volume in others.items():
        print(f"| {name} | {told(located(locator, volume))} |")
    found = [told(located(locator, read_volume(path))) for path in boxes]
    print(f"| {len(boxes)} boxes of Task04 | {sum('found' in one for one in found)} found; {found[0]} |")


def noise(rng: np.random.Generator, smooth: int) -> Volume:
    values = torch.from_numpy(rng.random((1, 1, *[128 // 2**smooth] * 3), np.float32))
    values = torch.nn.functional.interpolate(values, size=[128] * 3, mode="trilinear")
    return Volume(values[0, 0].numpy(), np.diag([2.0, 2.0, 2.0, 1.0]), Path("noise"))


def synthetic_heads(folder: Path, count: int, spacing: float) -> Iterator[tuple[Volume, np.ndarray]]:
    """Images, and the classes of their voxels, 1 and 2 for a ball in each hippocampus, of the maps held out."""
    load = Compose([LoadVolumed("label"), HeadClassesd("label", radius=BALL)])
    maps = [load(item) for item in held_out(folder)]
    size = [round(SIZE / spacing)] * 3
    synthesize = SynthesizeFromLabelsd("label", spacing=spacing, size=size, empty_share=0.0)
    seed = FIRST_SEED
    while count:
        made = synthesize({**maps[seed % len(maps)], "seed": seed})
        seed += 1
        label, affine = made["label"][0].numpy(), made["label"].affine.numpy()
        if all((label == side).any() and not touches_border(label == side) for side in (1, 2)):
            count -= 1
            yield Volume(made["image"][0].numpy(), affine, Path(f"synthetic {seed}")), label


def held_out(folder: Path) -> list[dict]:
    return split(label_maps(str(folder)), "validate", 0, 5, 0)


def located(locator: Segmenter, volume: Volume) -> HeadPlaces | str:
    try:
        return locate(volume, locator)
    except Refused as refusal:
        return str(refusal)


def told(found: HeadPlaces | str) -> str:
    return found if isinstance(found, str) else f"found: {found.intracranial_ml:.0f} mL, {found.confidence:.2f}"


def centre(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0) @ affine[:3, :3].T + affine[:3, 3]


def touches_border(mask: np.ndarray) -> bool:
    return any(mask.take(end, axis).any() for axis in range(3) for end in (0, -1))


if __name__ == "__main__":
    main()
