"""Labels as annotators save them: whether one can be trained on, and how it looks on its image's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ulite_monai.errors import InputError
from ulite_monai.io.grids import on_grid_of
from ulite_monai.io.images import IMAGE_SUFFIXES, is_image_file
from ulite_monai.io.read_volume import ITK_SUFFIXES, NIFTI_SUFFIXES, read_volume
from ulite_monai.io.volume import Volume
from ulite_monai.label.grids import with_values_of

__all__ = ["label_of_image", "label_of_volume", "require_label", "segments_of"]


def segments_of(info: Any) -> Sequence[Mapping[str, Any]]:
    """The segments that a viewer names in what it sends beside a label; none where it names none.

    Raises:
        InputError: When it isn't what viewers send.
    """
    if not isinstance(info, dict):
        raise InputError(f"what is sent beside a label must be a JSON object, got {info!r:.80}.")
    segments = info.get("label_info") or []
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise InputError(
            f'label_info must be a list of objects such as {{"name": "...", "idx": 1}}, got {segments!r:.80}.'
        )
    for segment in segments:
        if not isinstance(segment.get("idx", 0), int) or not isinstance(segment.get("name", ""), str):
            raise InputError(f"idx of a segment must be a whole number and name a text, got {segment!r:.80}.")
    return segments


def require_label(
    image: str | Path, label: str | Path, models: Sequence[Mapping[str, int]], segments: Sequence[Mapping[str, Any]]
) -> None:
    """Check that at least one model can be trained on a label.

    Args:
        image: the image's file.
        label: the label's file.
        models: each model's classes and their values.
        segments: as `segments_of` returns them.

    Raises:
        InputError: When the label's file, grid, names or values rule it out.
    """
    suffixes = IMAGE_SUFFIXES if is_image_file(image) else (*NIFTI_SUFFIXES, *ITK_SUFFIXES)
    if not str(label).lower().endswith(suffixes):
        raise InputError(f"{label}: its name must end in one of {', '.join(suffixes)}.")
    volume = None if is_image_file(image) else read_volume(image, "replace")
    wrong: InputError | None = None
    for classes in models:
        try:
            if volume is None:
                label_of_image(image, label, classes, segments)
            else:
                label_of_volume(volume, label, classes, segments)
            return
        except InputError as error:
            wrong = wrong or error
    if wrong is not None:
        raise wrong


def label_of_volume(
    volume: Volume, label: str | Path, classes: Mapping[str, int], segments: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    """The label map on its volume's grid, with the values that a bundle gives its classes; shape (i, j, k).

    Raises:
        InputError: When the label can't be read, has another grid, or other classes.
    """
    array = with_values_of(classes, on_grid_of(volume, read_volume(label)), segments, label)
    _require_values(array, classes, label)
    return array


def label_of_image(
    image: str | Path, label: str | Path, classes: Mapping[str, int], segments: Sequence[Mapping[str, Any]] = ()
) -> np.ndarray:
    """The label map of a 2D image, shape (x, y); where there is one class, a mask may hold any value.

    Raises:
        InputError: When the label can't be read, has another size, or other classes.
    """
    try:
        with Image.open(image) as picture, Image.open(label) as drawn:
            size, array = picture.size, np.asarray(drawn).T
    except OSError as error:
        raise InputError(f"{label}: it or its image {image} can't be read ({error}).") from None
    if array.shape != size:
        raise InputError(f"{label}: must be of one channel and its image's size {size}, its shape is {array.shape}.")
    if len(classes) <= 1:  # a network of one channel has no label values
        value = next(iter(classes.values()), 1)
        return (array > 0).astype(np.min_scalar_type(value)) * np.min_scalar_type(value).type(value)
    array = with_values_of(classes, array, segments, label)
    _require_values(array, classes, label)
    return array


def _require_values(array: np.ndarray, classes: Mapping[str, int], label: str | Path) -> None:
    unknown = sorted(set(np.unique(array).tolist()) - {0, *classes.values()})
    if unknown:
        known = ", ".join(f"{value} {name}" for name, value in classes.items())
        raise InputError(f"{label}: has the value {unknown[0]:g}, the bundle's are 0 background, {known}.")
