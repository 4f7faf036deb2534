"""Segmentation of all images of a datastore; one that fails doesn't lose the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from ulite_monai.errors import InputError, reason

__all__ = ["SegmentAll"]

logger = logging.getLogger(__name__)


class SegmentAll(BatchInferTask):
    """Segments one image after the other and saves each mask as a label, by default with the tag `original`."""

    def __call__(
        self, request: Mapping[str, Any], datastore: Datastore, infer: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        """Returns for each image id the label's id, or why there is none.

        Args:
            request: `model`; `images`: all, labeled, unlabeled, or a list of ids; `label_tag`; `max_batch_size`.
            datastore: where the images are and the labels go.
            infer: the app's.

        Raises:
            InputError: At the end, when every image failed.
        """
        images = sorted(self.get_images(request, datastore))
        images = images[: request.get("max_batch_size") or None]
        tag = request.get("label_tag", DefaultLabelTag.ORIGINAL)
        results, failures = {}, []
        for number, image in enumerate(images, start=1):
            try:
                done = infer({**request, "image": image, "save_label": True, "label_tag": tag}, datastore)
                Path(done["file"]).unlink(missing_ok=True)
                results[image] = {"label": done["label"]}
            except Exception as error:
                failures.append(f"{image}: {reason(error)}")
                results[image] = {"error": reason(error)}
            logger.info("[%d/%d] %s: %s", number, len(images), image, results[image].get("error", "done"))
        if failures and len(failures) == len(images):
            raise InputError("no image could be segmented:\nerror: " + "\nerror: ".join(failures))
        return results
