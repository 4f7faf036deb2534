"""The next image to label: the one on which the network contradicts itself most."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError, reason
from ulite_monai.label.disagreement import dropout_passes, mean_disagreement, segmenter_with_dropout
from ulite_monai.label.work_folder import Model
from ulite_monai.prediction.read_case import read_case
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["Uncertainty"]

logger = logging.getLogger(__name__)

SECONDS = 5.0  # a person waits for the next image; what isn't scored now is scored at the next request


class Uncertainty(Strategy):
    """Asks for the unlabelled image that a model is least sure of.

    Images are scored in the order of their ids, each once for the same weights, for a few seconds a request; of those
    scored, the one with the highest score that this strategy hasn't served is next. Those that lie outside the bundle's
    ranges, can't be read or take too long come last. Threads may share it.

    Args:
        models: a request may name a `model` of them, else it is the first that has weights.
        device: a device's name, or "auto".
    """

    def __init__(self, models: Mapping[str, Model], device: str = "auto") -> None:
        super().__init__("The image on which the masks differ most when features of the network are dropped at random")
        self.models = models
        self.device = device
        self._turn = threading.Lock()
        self._segmenters: dict[Path, Segmenter] = {}
        self._scores: dict[tuple[Path, str], float] = {}

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The id and the score of the next image; None when all are labelled.

        Raises:
            InputError: When there is no such model, or it has no weights.
        """
        model = self._model(request.get("model"))
        images = sorted(datastore.get_unlabeled_images())
        unserved = [i for i in images if "uncertainty" not in datastore.get_image_info(i).get("strategy", {})]
        scores = self._score(model, unserved or images, datastore)
        if not scores:
            return None
        best = max(scores, key=lambda image: scores[image])
        return {"id": best, "weight": scores[best]}

    def _model(self, name: str | None) -> Model:
        if name is None:
            models = list(self.models.values())
            return next((model for model in models if model.weights().is_file()), models[0])
        if name not in self.models:
            raise InputError(f"there is no model {name!r}; there is {', '.join(self.models)}.")
        return self.models[name]

    def _score(self, model: Model, images: Sequence[str], datastore: Datastore) -> dict[str, float]:
        weights, end = model.require_weights(), time.monotonic() + SECONDS
        with self._turn:
            if weights not in self._segmenters:
                self._segmenters = {weights: segmenter_with_dropout(model.served, None, self.device)}
            for image in images:
                if (weights, image) not in self._scores and time.monotonic() < end:
                    self._scores[weights, image] = _score_of(self._segmenters[weights], image, datastore)
            known = {image: self._scores.get((weights, image)) for image in images}
        return {image: score for image, score in known.items() if score is not None}


def _score_of(segmenter: Segmenter, image: str, datastore: Datastore) -> float:
    try:
        case = Case(image, (Path(datastore.get_image_uri(image)),))
        item = case.item()
        if not case.is_image:  # one of another organ could take minutes
            modality = datastore.get_image_info(image).get("Modality", "")
            item["image"] = read_case(case, segmenter.metadata, modality=modality)
        masks = dropout_passes(segmenter, item, seconds=SECONDS).argmax(1).numpy()
    except Exception as error:  # whatever a damaged file provokes
        logger.warning("not scored, %s: %s", image, reason(error))
        return -1.0  # served last
    return mean_disagreement(list(masks), len(segmenter.labels))
