"""The metadata of a run's own bundle: what it segments, what it was trained on, by which versions."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ulite_monai import __version__
from ulite_monai.engines.versions import versions

__all__ = ["run_metadata", "with_figures"]

OF_THE_SOURCE = ("eval_metrics", "references", "data_source", "data_type", "image_classes", "supported_apps", "heads")


def run_metadata(
    source: Mapping[str, Any],
    labels: Sequence[str],
    channels: int,
    cases: str,
    ranges: Mapping[str, Any],
    values: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The metadata of a bundle that a training leaves.

    Args:
        source: those of the bundle that it runs from.
        labels: names of the classes.
        channels: of an image.
        cases: how many train and validate, in words; see `case_digest`.
        ranges: of the training images; see `training_ranges`.
        values: of the classes in masks; None for 1, 2, ...
    """
    metadata = {name: value for name, value in copy.deepcopy(dict(source)).items() if name not in OF_THE_SOURCE}
    by_name = dict(zip(labels, values or itertools.count(1), strict=False))
    installed = versions()
    dims = len(source["network_data_format"]["inputs"]["image"]["spatial_shape"])
    metadata |= {
        "version": __version__,
        "changelog": {__version__: f"trained on its user's data: {cases}"},
        "monai_version": installed["monai"],
        "pytorch_version": installed["torch"],
        "numpy_version": installed["numpy"],
        "name": f"U-Lite: {', '.join(labels)}",
        "task": f"Segmentation of {', '.join(labels)} in {dims}D images",
        "description": "U-Lite, trained on its user's data. For research use only, not for diagnosis.",
        "authors": "not stated",
        "copyright": "weights: not stated; configurations: the ulite-monai founders, Apache-2.0",
        "data_source": f"its user's data: {cases}",
        "label_classes": "label map: 0 background, " + ", ".join(f"{value} {name}" for name, value in by_name.items()),
        "label_values": by_name,
        "pred_classes": f"{len(labels) + 1} channels of logits: background, {', '.join(labels)}",
        "input_ranges": dict(ranges),
    }
    codes = source.get("label_codes", {})
    if set(codes) != set(labels):  # the same name may mean something else in another set
        metadata.pop("label_codes", None)
    formats = metadata["network_data_format"]
    formats["inputs"]["image"]["num_channels"] = channels
    formats["inputs"]["image"]["modality"] = "/".join(ranges.get("modality", [])) or "n/a"
    formats["inputs"]["image"]["channel_def"] = {str(n): f"image {n}" if n else "image" for n in range(channels)}
    prediction = formats["outputs"]["pred"]
    prediction["num_channels"] = len(labels) + 1
    prediction["channel_def"] = {str(n): name for n, name in enumerate(["background", *labels])}
    return metadata


def with_figures(metadata: Mapping[str, Any], of: str, dice: Mapping[str, float]) -> dict[str, Any]:
    """The metadata with what validation came to.

    Args:
        metadata: of a run's bundle.
        of: what was validated, in words.
        dice: mean Dice of each class by its name; NaN, which a class has that was in no case, is left out.
    """
    figures = {f"dice_{name.replace(' ', '_')}": round(value, 4) for name, value in dice.items() if value == value}
    return {**metadata, "eval_metrics": {"of": of, **figures}}
