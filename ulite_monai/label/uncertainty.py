"""The next image to label: the one on which the network and its mirror image disagree most."""

from __future__ import annotations

import itertools
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from ulite_monai.errors import InputError, reason
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.volume import Volume
from ulite_monai.label.segment_task import BundleSegmentation
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.metrics import overlap

__all__ = ["Uncertainty", "flip_disagreement"]

logger = logging.getLogger(__name__)

SECONDS = 5.0  # a person waits for the next image; what isn't scored now is scored at the next request


def flip_disagreement(segmenter: Segmenter, volume: Volume) -> float:
    """How much the masks of a volume and of its mirror images differ, from 0 (not at all) to 1.

    Args:
        segmenter: a bundle of volumes whose configuration names `flip_axes`: axes of right, anterior, superior.
        volume: what to segment.

    Returns:
        One minus the mean Dice coefficient over pairs of masks and classes; 1 where every mask is empty.

    Raises:
        InputError: When the bundle names no flips.
    """
    axes = segmenter.settings.get("flip_axes")
    if not axes:
        raise InputError("the bundle's inference.json has no flip_axes, so its masks can't be compared over flips.")
    order = list(nib.orientations.io_orientation(volume.affine)[:, 0].astype(int))
    turns = [(), *((order.index(axis),) for axis in axes)]
    masks = [_mask_of_mirrored(segmenter, volume, turn) for turn in turns]
    values = range(1, len(segmenter.labels) + 1)
    dice = [overlap(a == v, b == v) for a, b in itertools.combinations(masks, 2) for v in values]
    return 1 - statistics.fmean([one for one in dice if one is not None] or [0.0])


def _mask_of_mirrored(segmenter: Segmenter, volume: Volume, axes: tuple[int, ...]) -> np.ndarray:
    mirrored = replace(volume, array=np.flip(volume.array, axes).copy(), warnings=[])
    return np.flip(segmenter({"image": [mirrored]}).mask, axes)


class Uncertainty(Strategy):
    """Asks for the unlabelled image that a model is least sure of.

    Images are scored in the order of their ids, each once for the same weights, for a few seconds a request; of those
    scored, the one with the highest score that this strategy hasn't served is next.

    Args:
        tasks: the models' segmentation tasks; a request may name a `model`, else it is the first.
    """

    def __init__(self, tasks: Mapping[str, BundleSegmentation]) -> None:
        super().__init__("The image on which the masks of the volume and of its mirror image differ most")
        self.tasks = tasks
        self._scores: dict[tuple[Path, str], float] = {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The id and the score of the next image; None when all are labelled.

        Raises:
            InputError: When there is no such model, or it has no weights or no flips.
        """
        name = request.get("model") or next(iter(self.tasks))
        if name not in self.tasks:
            raise InputError(f"there is no model {name!r}; there is {', '.join(self.tasks)}.")
        images = sorted(datastore.get_unlabeled_images())
        unserved = [i for i in images if "uncertainty" not in datastore.get_image_info(i).get("strategy", {})]
        scores = self._score(self.tasks[name], unserved or images, datastore)
        if not scores:
            return None
        best = max(scores, key=lambda image: scores[image])
        return {"id": best, "weight": scores[best]}

    def _score(self, task: BundleSegmentation, images: Sequence[str], datastore: Datastore) -> dict[str, float]:
        segmenter, end = task.segmenter(), time.monotonic() + SECONDS
        for image in images:
            key = (segmenter.ckpt, image)
            if key not in self._scores and time.monotonic() < end:
                self._scores[key] = _score_of(segmenter, datastore.get_image_uri(image))
        known = {image: self._scores.get((segmenter.ckpt, image)) for image in images}
        return {image: score for image, score in known.items() if score is not None}


def _score_of(segmenter: Segmenter, path: str) -> float:
    try:
        volume = read_volume(path, "replace")
    except InputError as error:
        logger.warning("not scored, %s", reason(error))
        return -1.0  # served last
    return flip_disagreement(segmenter, volume)
