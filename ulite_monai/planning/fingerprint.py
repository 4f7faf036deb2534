"""What a labelled data set looks like: each case read once, its sizes, intensities and structures as plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from ulite_monai.datasets.cases import first_image
from ulite_monai.datasets.labelled_set import LabelledSet
from ulite_monai.engines.memory import free_memory
from ulite_monai.engines.process import cores
from ulite_monai.errors import InputError
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.grids import on_grid_of
from ulite_monai.io.images import is_image_file, read_label_image, read_rgb
from ulite_monai.io.read_volume import load_readers
from ulite_monai.io.references import header_grid, header_is_enough, read_reference, read_references, referred_file
from ulite_monai.io.volume import require_same_grid

__all__ = ["fingerprint"]

SAMPLED = 10_000  # labelled voxels of a case whose intensities count, as in nnU-Net
MOST_THREADS = 8
BYTES_A_VOXEL = 24  # of a channel of a volume, with its label and what is computed of both at a time
MEMORY_SHARE = 0.5  # of what is free
UNKNOWN_VOXELS = 64 * 2**20  # of a volume whose header isn't read ahead


def fingerprint(cases: LabelledSet, tell: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """The fingerprint of a labelled data set, plain data that JSON holds.

    Axes are those to work in: right, anterior, superior of a volume; x and y of an image, where lengths are in pixels.

    Args:
        cases: the data set.
        tell: called with the number of cases done and of all.

    Returns:
        `kind` ("volumes" or "images"), `channels`, `modality`, `classes`, `instances`; `intensities` of all labelled
        voxels by channel (percentiles, mean, sd); and `cases`, a dictionary each: `shape`, `spacing`, `axes` as
        stored, `range` of the values, `empty` share of voxels at the minimum, `filled` shape of what isn't, and
        `classes`, by name the `volume`, `extent`, `components` and the `largest` component's extent.

    Raises:
        InputError: When a case can't be read.
    """
    images = _require_alike(cases.items)
    classes = dict(zip(cases.values, cases.names, strict=True))
    load_readers(path for item in cases.items for path in (*_channels(item), item["label"]))
    described, samples = [], []

    def read(item: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        return (_image if images else _volume)(item, classes, cases.instances)

    with ThreadPoolExecutor(_threads(cases.items, images)) as pool:
        for number, (case, sample) in enumerate(pool.map(read, cases.items), start=1):
            described.append(case)
            samples.append(sample)
            if tell is not None:
                tell(number, len(cases.items))
    found = {case.pop("modality", None) for case in described}
    modality = cases.modality or (found.pop() if len(found) == 1 else None)
    return {
        "kind": "images" if images else "volumes",
        "channels": len(samples[0]),
        "modality": modality,
        "classes": list(cases.names),
        "instances": cases.instances,
        "intensities": [_summary(channel) for channel in np.concatenate(samples, axis=1)],
        "cases": described,
    }


def _require_alike(items: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all cases are images; an error where only some are, or channels are missing."""
    first = items[0]
    for item in items[1:]:
        if is_image_file(first_image(item)) != is_image_file(first_image(first)):
            raise InputError(f"{first_image(first)} and {first_image(item)}: a volume and a 2D image; separate them.")
        if len(_channels(item)) != len(_channels(first)):
            file, counts = referred_file(first_image(item)), (len(_channels(item)), len(_channels(first)))
            raise InputError(f"{file}: the case has {counts[0]} channels, {first['case_id']} {counts[1]}.")
    return is_image_file(first_image(first))


def _channels(item: Mapping[str, Any]) -> Sequence[Any]:
    return item["image"] if isinstance(item["image"], list | tuple) else [item["image"]]


def _threads(items: Sequence[Mapping[str, Any]], images: bool) -> int:
    """As many as there are cores, but no more than the memory holds volumes of the largest size."""
    if images:
        return min(cores(), MOST_THREADS)
    largest = max(_voxels(first_image(item)) for item in items)
    held = MEMORY_SHARE * free_memory(torch.device("cpu")) / (BYTES_A_VOXEL * largest * len(_channels(items[0])))
    return max(1, min(cores(), MOST_THREADS, int(held)))


def _voxels(path: str) -> int:
    return math.prod(header_grid(path)[0]) if header_is_enough(path) else UNKNOWN_VOXELS


def _volume(item: Mapping[str, Any], classes: Mapping[int, str], instances: bool) -> tuple[dict[str, Any], np.ndarray]:
    stored = read_reference(str(item["label"]))
    if stored.drawn_on:  # a DICOM SEG, which leaves empty slices out
        image = read_reference(first_image(item), "replace", resample_tilt=True)
        stored.array, stored.affine = on_grid_of(image, stored), image.affine
    label = _turned(stored.array, stored.affine)
    del stored
    channels: list[np.ndarray] = []
    case: dict[str, Any] = {}
    volumes = read_references([str(path) for path in _channels(item)], "replace", resample_tilt=True)
    for volume in volumes:
        require_same_grid(volumes[0], volume)
        orientation = nib.orientations.io_orientation(volume.affine)
        case = {
            "id": str(item["case_id"]),
            "spacing": _rounded(np.asarray(spacing_of(volume.affine))[np.argsort(orientation[:, 0])]),
            "axes": "".join(nib.orientations.ornt2axcodes(orientation)),
            "modality": volume.source.modality if isinstance(volume.source, DicomSeries) else None,
        }
        channels.append(_turned(volume.array, volume.affine))
    return _described(case, channels, label > 0 if instances else label, classes)


def _turned(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return nib.orientations.apply_orientation(array, nib.orientations.io_orientation(affine))


def _image(item: Mapping[str, Any], classes: Mapping[int, str], instances: bool) -> tuple[dict[str, Any], np.ndarray]:
    colours = read_rgb(item["image"])
    label = read_label_image(item["label"])
    grey = bool((colours == colours[..., :1]).all())
    case = {"id": str(item["case_id"]), "spacing": [1.0, 1.0], "axes": "xy", "grey": grey}
    return _described(case, list(np.moveaxis(colours, -1, 0)), label > 0 if instances else label, classes)


def _described(
    case: dict[str, Any], channels: Sequence[np.ndarray], label: np.ndarray, classes: Mapping[int, str]
) -> tuple[dict[str, Any], np.ndarray]:
    """The case with what its voxels tell, and a sample of its labelled voxels, `(channels, voxels)`."""
    shape = channels[0].shape
    lowest = [channel.min() for channel in channels]
    above = np.logical_or.reduce([channel > low for channel, low in zip(channels, lowest, strict=True)])
    box = ndimage.find_objects(above.view(np.uint8))
    case |= {
        "shape": list(shape),
        "range": [[float(low), float(channel.max())] for channel, low in zip(channels, lowest, strict=True)],
        "empty": round(1 - float(above.mean()), 4),
        "filled": [part.stop - part.start for part in box[0]] if box else list(shape),
        "classes": _structures(label, classes, np.asarray(case["spacing"])),
    }
    places = np.flatnonzero(np.isin(label, list(classes))) if label.shape == shape else np.zeros(0, dtype=int)
    if len(places) > SAMPLED:
        places = np.random.default_rng(0).choice(places, SAMPLED, replace=False)
    return case, np.stack([channel.ravel()[places] for channel in channels]).astype(np.float32)


def _structures(label: np.ndarray, classes: Mapping[int, str], spacing: np.ndarray) -> dict[str, dict[str, Any]]:
    """Volume, extents and number of components of each class that a label map holds."""
    whole = label.astype(np.int32)
    boxes = ndimage.find_objects(whole, max_label=max(classes))
    found = {}
    for value, name in classes.items():
        box = boxes[value - 1]
        if box is None:
            continue
        mask = whole[box] == value
        parts, count = ndimage.label(mask, np.ones([3] * mask.ndim))
        sizes = np.bincount(parts.ravel())[1:]
        largest = ndimage.find_objects(parts)[int(sizes.argmax())]
        found[name] = {
            "volume": round(float(sizes.sum() * spacing.prod()), 2),
            "extent": _rounded([part.stop - part.start for part in box] * spacing),
            "components": count,
            "largest": _rounded([part.stop - part.start for part in largest] * spacing),
        }
    return found


def _summary(values: np.ndarray) -> dict[str, float]:
    if not values.size:
        return {}
    low, median, high = np.percentile(values, (0.5, 50, 99.5))
    known = {
        "low": low,
        "median": median,
        "high": high,
        "mean": values.mean(dtype=float),
        "sd": values.std(dtype=float),
    }
    return {name: float(f"{value:.6g}") for name, value in known.items()}


def _rounded(values: Any) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
