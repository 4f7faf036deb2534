"""A bundle's inference workflow, kept in memory and run on one case after the other."""

from __future__ import annotations

import functools
import itertools
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, SaveImaged
from torch import nn

from ulite_monai.bundles import find_bundles
from ulite_monai.engines.process import choose_device, is_true
from ulite_monai.engines.quiet import silence_noise
from ulite_monai.engines.running_config import literal, running_parser
from ulite_monai.engines.weights import checkpoint_files, load_network, weights_sha256
from ulite_monai.errors import InputError, input_error, reason
from ulite_monai.io.finite import NonFinite
from ulite_monai.io.label_values import with_label_values
from ulite_monai.transforms import LabelsOnInputGridd, LoadVolumed

__all__ = ["Segmentation", "Segmenter"]


SETTINGS = (
    *("spacing", "roi_size", "overlap", "grow_windows"),
    *("flip_axes", "in_channels", "on_nonfinite", "resample_tilt", "straight_boundary", "label_values"),
)
WINDOWS = ("roi_size", "grow_windows", "overlap")
OPTIONS_OF_THEIR_OWN = {
    "bundle_root": "the bundle",
    "dataset_dir": "the input",
    "output_dir": "the output",
    "device": "the device (--device)",
    "ckpt": "the weights (--ckpt)",
    "format": "the format (--format)",
    "force": "what lies outside the ranges (--force)",
    "statistics": "the volumes (--statistics)",
    "preview": "the pictures (--preview)",
    "resume": "what is left as it is (--resume)",
    "overwrite": "what may be replaced (--overwrite)",
}


@dataclass(frozen=True)
class Segmentation:
    """What a bundle made of one case.

    Attributes:
        mask: label map with the values of the bundle's data set, uint8 (uint16 where they exceed 255), on the input's
            grid: shape (i, j, k), or (x, y) of an image.
        probabilities: float32, (classes, *the mask's shape), on the same grid; None unless asked for.
        meta: what is known of the input: `affine` (4x4, voxel to RAS mm), `warnings`, the NIfTI geometry fields.
        inference: in words, whether the network ran in one pass or in windows of which size.
    """

    mask: np.ndarray
    meta: Mapping[str, Any]
    probabilities: np.ndarray | None = None
    inference: str = ""


class Segmenter:
    """Runs the preprocessing, network, inferer and post-processing of a bundle's `inference.json`.

    Args:
        bundle: a shipped bundle's name, or a path, as a training leaves it; a pattern such as `my_folds/*` for the
            ensemble of several. Its configuration is code: name only bundles that you trust.
        ckpt: other weights of the same network, or a pattern for the ensemble of several; None for the bundle's own.
        device: "auto" for a GPU where there is one, or a device's name.
        tta: average the logits over the flips of the image (test-time augmentation), along the configuration's
            `flip_axes` alone: a network that never saw a flip in training fails on it.
        overrides: values of the configuration's ids.

    Attributes:
        labels: names of the classes.
        label_values: the value of each class in masks; None where they are 1, 2, ...
        metadata: the bundle's `metadata.json`.
        ckpts: the weights used; `own_weights` says whether they are the bundle's own.
        overrides: what was given.
        trained: the network as it was trained, or the ensemble; `network` is what runs.
        settings: the configuration's values of what `SETTINGS` names, as far as it has them.
        ids: of the configuration, at its top.
        heads: the `HeadCascade` by which it segments whole heads too; None where the configuration has none.

    Raises:
        InputError: When the bundle, its weights or the device can't be used.
    """

    def __init__(
        self,
        bundle: str | Path = "hippocampus",
        ckpt: str | Path | None = None,
        device: str = "auto",
        tta: bool = False,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        silence_noise()
        bundles = find_bundles(bundle)
        config = bundles[0] / "configs" / "inference.json"
        parser = ConfigParser(_equal_configs(bundles))
        for name in overrides or {}:
            if name in OPTIONS_OF_THEIR_OWN:
                raise InputError(f"{name} isn't set by its id here; give {OPTIONS_OF_THEIR_OWN[name]}.")
            if name.partition("#")[0] not in parser.get():
                raise InputError(f"{config}: has no id {name!r}; see its first lines for those.")
        # As paths, not as text, which a configuration might evaluate.
        own = [folder / "models" / "model.pt" for folder in bundles]
        weights = {} if ckpt is None and len(own) == 1 else {"ckpt": own if ckpt is None else Path(ckpt)}
        given = {"bundle_root": literal(bundles[0]), "device": str(choose_device(device)), **weights}
        parser.update({**given, **(overrides or {})})
        try:
            self._build(parser, bundles[0], tta)
        except Exception as error:  # MONAI wraps what an id's value provokes
            known = input_error(error)
            if known is None:
                raise InputError(f"{config}: {reason(error)}; check the ids given.") from error
            raise known from error
        self.overrides = dict(overrides or {})
        self.own_weights = ckpt is None or _is_own(bundles[0], self.ckpts)

    @classmethod
    def of_running_config(cls) -> Segmenter:
        """The one of the `inference.json` that MONAI is evaluating, with what was overridden there.

        Raises:
            InputError: As for a bundle.
        """
        segmenter = cls.__new__(cls)
        parser = running_parser()
        root = Path(parser.get_parsed_content("bundle_root"))
        segmenter._build(parser, root, tta=False)
        segmenter.overrides = {}
        segmenter.own_weights = _is_own(root, segmenter.ckpts)
        return segmenter

    @classmethod
    def of_file(cls, config: str | Path, **ids: Any) -> Segmenter:
        """The one of a configuration that lies beside a bundle's `inference.json`, with values of its ids.

        Raises:
            InputError: As for a bundle.
        """
        segmenter = cls.__new__(cls)
        parser = ConfigParser(ConfigParser.load_config_file(config))
        root = Path(config).parents[1]
        parser.update({"bundle_root": literal(root), **ids})
        segmenter._build(parser, root, tta=False)
        segmenter.overrides, segmenter.own_weights = ids, True
        return segmenter

    def _build(self, parser: ConfigParser, root: Path, tta: bool) -> None:
        self.tta = tta
        self._turn = threading.Lock()
        self.device = torch.device(parser.get_parsed_content("device"))
        self.metadata = _read_metadata(root / "configs")
        self.labels: list[str] = parser.get_parsed_content("labels")
        if isinstance(self.labels, str) or not self.labels:
            raise InputError(f"labels must be a list of class names such as \"['a','b']\", got {self.labels!r}.")
        self.label_values: list[int] | None = _label_values(parser, self.labels)
        self.ckpts = checkpoint_files(parser.get_parsed_content("ckpt"))
        self.trained = self._load(parser)
        self.ids = frozenset(parser.get())
        self.settings = {name: parser.get_parsed_content(name) for name in SETTINGS if name in parser.get()}
        if self.tta and "flip_axes" not in self.settings:
            raise InputError("the bundle's inference.json has no flip_axes, so it can't average over flips.")
        self.network: nn.Module = parser.get_parsed_content("network")
        self.inferer: Any = parser.get_parsed_content("inferer")
        self.preprocessing: Compose = parser.get_parsed_content("preprocessing")
        steps = parser.get_parsed_content("postprocessing").transforms
        self.postprocessing = [step for step in steps if not isinstance(step, SaveImaged)]
        self.heads: Any = parser.get_parsed_content("heads") if "heads" in parser.get() else None

    def _load(self, parser: ConfigParser) -> nn.Module:
        if "trained" in parser.get():
            return parser.get_parsed_content("trained")
        network: nn.Module = parser.get_parsed_content("network_def")
        if len(self.ckpts) > 1:
            raise InputError("the bundle's inference.json has no id trained, so it can't run several weights.")
        load_network(network, self.ckpts[0])
        return network

    @functools.cached_property
    def weights_sha256(self) -> str:
        """Of the weights; see `ulite_monai.engines.weights.weights_sha256`."""
        return weights_sha256(self.ckpts)

    @property
    def algorithm(self) -> tuple[str, str]:
        """Name and version of what makes the masks: the bundle's, or what other weights are and their first digits."""
        if not self.own_weights:
            return "U-Lite, weights of the user", self.weights_sha256[:12]
        return self.metadata.get("name", "U-Lite"), self.metadata.get("version", "unknown")

    @property
    def takes_volumes(self) -> bool:
        """Whether the bundle segments volumes, be its network of volumes or of slices; else it is for 2D images."""
        return any(isinstance(step, LoadVolumed) for step in self.preprocessing.transforms)

    @property
    def channels(self) -> int:
        """Of the network's input: what the configuration says, else the metadata."""
        stated = self.metadata["network_data_format"]["inputs"]["image"]["num_channels"]
        return int(self.settings.get("in_channels", stated))

    @property
    def on_nonfinite(self) -> NonFinite:
        """What is done about NaN and infinite voxels: "error", or "replace" where the configuration doesn't say."""
        value = self.settings.get("on_nonfinite", "replace")
        if value not in ("error", "replace"):
            raise InputError(f"on_nonfinite must be error or replace, got {value!r}.")
        return value

    @property
    def resamples_tilt(self) -> bool:
        """Whether DICOM series with a gantry tilt are resampled instead of refused."""
        return is_true(self.settings.get("resample_tilt", False))

    def __call__(self, item: Mapping[str, Any], with_probabilities: bool = False) -> Segmentation:
        """Segment one entry of a data list (`image` names the volume, one path per channel); threads may share it.

        Args:
            item: the entry.
            with_probabilities: whether to keep the classes' probabilities.

        Raises:
            Exception: Whatever its files provoke; `ulite_monai.errors.reason` puts it in one line.
        """
        data, inference = self.before_postprocessing(item)
        probabilities = None
        for step in self.postprocessing:
            if with_probabilities and isinstance(step, LabelsOnInputGridd):
                data = step.probabilities(data)
                step = step.argmax
            if with_probabilities and isinstance(step, AsDiscreted):
                probabilities = np.asarray(data["pred"].as_tensor().cpu(), dtype=np.float32)
            data = step(data)
        mask = np.asarray(data["pred"][0].as_tensor().cpu())
        return Segmentation(with_label_values(mask, self.label_values), data["pred"].meta, probabilities, inference)

    def before_postprocessing(self, item: Mapping[str, Any]) -> tuple[dict[Any, Any], str]:
        """The entry with its preprocessed `image` and the logits of it, `pred`; and how the network ran, in words."""
        data: dict[Any, Any] = dict(self.preprocessing(dict(item)))
        image: MetaTensor = data["image"]
        # Compiled networks take one call at a time, and it uses all cores anyway.
        with self._turn, torch.inference_mode():
            logits = self._logits(image.as_tensor()[None].to(self.device))
            inference = getattr(self.inferer, "last_run", "")
        data["pred"] = MetaTensor(logits[0].float(), meta=image.meta, applied_operations=image.applied_operations)
        return data, inference

    def _logits(self, image: torch.Tensor) -> torch.Tensor:
        if not self.tta:
            return self.inferer(image, self.network)
        axes = [axis + 2 for axis in self.settings["flip_axes"]]
        flips = [flip for n in range(len(axes) + 1) for flip in itertools.combinations(axes, n)]
        return sum(self._flipped(image, flip) for flip in flips) / len(flips)  # type: ignore[return-value]

    def _flipped(self, image: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        return self.inferer(image.flip(*axes), self.network).flip(*axes) if axes else self.inferer(image, self.network)


def _label_values(parser: ConfigParser, labels: Sequence[str]) -> list[int] | None:
    values = parser.get_parsed_content("label_values") if "label_values" in parser.get() else None
    if values is not None and (
        len(set(values)) != len(labels) or not all(isinstance(v, int) and v > 0 for v in values)
    ):
        raise InputError(
            f"label_values must be a whole number above 0 for each of the {len(labels)} labels, got {values}."
        )
    return values


def _equal_configs(bundles: Sequence[Path]) -> dict[str, Any]:
    """The `inference.json` of all; networks with other labels or another spacing can't be averaged.

    How windows are laid over a volume follows from how large the volumes of a training were, so folds may differ. What
    was trained on whole volumes runs on patches as well, but not the other way round: those of a bundle that was
    trained on patches are taken, else the first bundle's.
    """
    configs = [ConfigParser.load_config_file(_config(folder)) for folder in bundles]
    first = configs[0]
    for folder, other in zip(bundles, configs, strict=True):
        for name in sorted({*first, *other} - {*WINDOWS}):
            if first.get(name) != other.get(name):
                raise InputError(
                    f"{folder}: was trained with {name} {other.get(name)}, {bundles[0]} with {first.get(name)}; "
                    "an ensemble needs bundles that were trained alike."
                )
    return next((config for config in configs if str(config.get("grow_windows")).lower() == "false"), first)


def _is_own(bundle: Path, files: Sequence[Path]) -> bool:
    """Whether these weights are a bundle's own, wherever they lie: what is at its `models/model.pt`, byte for byte."""
    own = bundle / "models" / "model.pt"
    if len(files) > 1:  # those of its folds
        return all(file.parts[-2:] == own.parts[-2:] and file.parents[2] == bundle for file in files)
    there = own.is_file() and all(file.is_file() for file in files)
    return there and weights_sha256(files) == weights_sha256([own])


def _config(folder: Path) -> Path:
    for name in ("inference.json", "metadata.json"):
        if not (folder / "configs" / name).is_file():
            raise InputError(f"{folder}: has no configs/{name}, so it can't segment.")
    return folder / "configs" / "inference.json"


def _read_metadata(configs: Path) -> dict[str, Any]:
    try:
        return json.loads((configs / "metadata.json").read_text(encoding="utf-8-sig"))
    except OSError:
        raise InputError(f"{configs.parent}: has no configs/metadata.json, so it can't segment.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{configs / 'metadata.json'}: is not valid JSON ({error}).") from None
