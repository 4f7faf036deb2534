"""Training on what annotators have saved: from the served weights on, into a new version, kept if it is better."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai.bundle
import torch
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask
from PIL import Image

from ulite_monai.datasets.cases import stem
from ulite_monai.errors import InputError, reason, report_input_errors_in_one_line
from ulite_monai.io.images import is_image_file
from ulite_monai.io.read_volume import read_volume
from ulite_monai.io.write_nifti import smallest_label_dtype, write_label_map
from ulite_monai.label.saved_label import label_of_image, label_of_volume, segments_of
from ulite_monai.label.validation import mean_dice
from ulite_monai.label.work_folder import Model, Result
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["BundleTraining", "TrainOptions"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainOptions:
    """What a request for a training may say.

    Attributes:
        max_epochs: epochs at most; it ends earlier when the validation doesn't improve.
        val_split: part of the labelled cases that validates; 0 trains on all, and the result is taken as it is.
        pretrained: whether to start from the served weights.
    """

    max_epochs: int = 50
    val_split: float = 0.2
    pretrained: bool = True

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> TrainOptions:
        """Those of a request; it may hold anything else beside.

        Raises:
            InputError: When a value is out of range.
        """
        options = cls(**{name: request[name] for name in cls.__annotations__ if name in request})
        if isinstance(options.max_epochs, bool) or not isinstance(options.max_epochs, int) or options.max_epochs < 1:
            raise InputError(f"max_epochs must be a whole number of at least 1, got {options.max_epochs!r}.")
        if not isinstance(options.val_split, int | float) or not 0 <= options.val_split < 1:
            raise InputError(f"val_split must be at least 0 and below 1, got {options.val_split!r}.")
        if not isinstance(options.pretrained, bool):
            raise InputError(f"pretrained must be true or false, got {options.pretrained!r}.")
        return options


class BundleTraining(TrainTask):
    """Trains one model by its bundle's `train.json`. MONAI Label runs it in a process of its own.

    Args:
        model: where the bundle and its versions are.
        device: a device's name, or "auto".
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        super().__init__(model.metadata["description"])
        self.model = model
        self.device = device

    def config(self) -> dict[str, Any]:
        """The options that a viewer offers."""
        return dict(vars(TrainOptions()))

    def stats(self) -> dict[str, Any]:
        """What the newest training came to, in the words that viewers know; empty before the first."""
        results = self.model.results()
        if not results:
            return {}
        newest = results[max(results)]
        return {
            "version": self.model.version,
            "epoch": newest.epochs,
            "total_epochs": newest.epochs,
            "total_time": f"{newest.seconds:.0f} s",
            "best_metric": (newest.dice if newest.accepted else newest.dice_before) or 0.0,
            "verdict": newest.verdict,
        }

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; the result is in the model's newest version.

        Raises:
            InputError: When there is no label that can be trained on.
        """
        report_input_errors_in_one_line()
        options, started = TrainOptions.of(request), time.monotonic()
        pairs = sorted(datastore.datalist(), key=lambda pair: str(pair["image"]))
        left_out = dict(getattr(datastore, "unusable", {}))
        if not pairs and not left_out:
            raise InputError("there are no labels yet: save one with the tag final, then train.")
        before = self.model.served
        folder = self.model.new_version()
        logger.info("model %s: version %s is trained from %s.", self.model.name, folder.name, before.name)
        items = self._usable(pairs, folder, datastore, left_out)
        training, validation = _split(items, options.val_split)
        weights = self.model.weights()
        there = weights.is_file()
        self._train(folder, training, validation, options, weights if options.pretrained and there else None)
        dice_before = self._dice(before, validation) if there else None
        dice = self._dice(folder, validation)
        accepted, verdict = _verdict(dice, dice_before)
        verdict += f" Left out: {_listed(left_out)}" if left_out else ""
        result = Result(
            accepted=accepted,
            verdict=verdict,
            dice=dice,
            dice_before=dice_before,
            training=[item["case_id"] for item in training],
            validation=[item["case_id"] for item in validation],
            epochs=options.max_epochs,
            seconds=time.monotonic() - started,
        )
        self.model.finish(folder, result)
        logger.info("model %s, version %s: %s", self.model.name, folder.name, verdict)
        return {"version": folder.name, "accepted": accepted, "verdict": verdict}

    def _usable(
        self, pairs: Sequence[Mapping[str, Any]], folder: Path, datastore: Datastore, left_out: dict[str, str]
    ) -> list[dict[str, Any]]:
        """A data list of the pairs that can be trained on; of the others, `left_out` says why not."""
        items = []
        for pair in pairs:
            case_id = stem(Path(pair["image"]))
            try:
                segments = segments_of(datastore.get_label_info(case_id, DefaultLabelTag.FINAL))
                items.append(self._item(Path(pair["image"]), Path(pair["label"]), case_id, segments, folder))
            except Exception as error:  # whatever a damaged file provokes
                left_out[case_id] = reason(error)
                logger.warning("the label of %s is left out: %s", case_id, left_out[case_id])
        if not items:
            raise InputError(f"no label can be trained on. {_listed(left_out)}")
        return items

    def _item(
        self, image: Path, label: Path, case_id: str, segments: Sequence[Mapping[str, Any]], folder: Path
    ) -> dict[str, Any]:
        """An entry of a data list whose label is on its image's grid, with the bundle's values."""
        if is_image_file(image):
            array = label_of_image(image, label, self.model.labels, segments)
            if len(self.model.labels) > 1 or 1 not in self.model.labels.values():
                # else it may number its objects, which the bundle's training makes use of
                label = folder / "labels" / f"{case_id}.png"
                label.parent.mkdir(exist_ok=True)
                Image.fromarray(array.T.astype(smallest_label_dtype(array))).save(label)
            return {"image": str(image), "label": str(label), "case_id": case_id}
        volume = read_volume(image, "replace")
        path = folder / "labels" / f"{case_id}.nii.gz"
        write_label_map(label_of_volume(volume, label, self.model.labels, segments), volume, path)
        return {"image": str(image), "label": str(path), "case_id": case_id}

    def _train(
        self,
        folder: Path,
        training: Sequence[dict[str, Any]],
        validation: Sequence[dict[str, Any]],
        options: TrainOptions,
        start: Path | None,
    ) -> None:
        configs = self.model.bundle / "configs"
        overrides: dict[str, Any] = {
            "bundle_root": str(self.model.bundle),
            "output_dir": str(folder),
            "ckpt_dir": str(folder / "models"),
            "init_weights": None if start is None else str(start),
            "epochs": options.max_epochs,
            "train#trainer#max_epochs": "@epochs",  # a bundle may have a number there
            "train#dataset#data": list(training),
            "validate#dataset#data": list(validation or training),
            "fold": 0 if validation else "all",  # on all cases there is nothing to validate with
            "on_nonfinite": "replace",  # as inference does
            "run_bundle#ranges": self.model.metadata.get("input_ranges"),  # a few labels don't narrow what is served
        }
        if self.device != "auto":
            overrides["device"] = self.device
        monai.bundle.run(
            run_id="run",
            init_id=None,
            final_id=None,
            meta_file=str(configs / "metadata.json"),
            config_file=str(configs / "train.json"),
            **overrides,
        )

    def _dice(self, bundle: Path, items: Sequence[dict[str, Any]]) -> float | None:
        if not items:
            return None
        with torch.random.fork_rng():
            return mean_dice(Segmenter(bundle, device=self.device), items)


def _split(items: list[dict[str, Any]], val_split: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The training and the validation part; one case trains, and by their ids the same ones validate next time."""
    dealt = sorted(items, key=lambda item: hashlib.sha256(item["case_id"].encode()).hexdigest())
    wanted = max(1, round(len(items) * val_split)) if val_split else 0
    count = min(wanted, len(items) - 1)
    return dealt[count:], dealt[:count]


def _listed(left_out: Mapping[str, str]) -> str:
    return " ".join(f"{case_id}: {why.rstrip('.')}." for case_id, why in sorted(left_out.items()))


def _verdict(dice: float | None, before: float | None) -> tuple[bool, str]:
    if dice is None:
        return True, "there was nothing to validate on; the new weights are served."
    if before is None:
        return True, f"mean Dice {dice:.5f} on the validation cases; the first weights of this model are served."
    if dice < before:
        return False, f"mean Dice {dice:.5f} on the validation cases, {before:.5f} before: worse, not served."
    return True, f"mean Dice {dice:.5f} on the validation cases, {before:.5f} before; the new weights are served."
