"""A bundle's inference workflow, kept in memory and run on one case after the other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import SaveImaged
from torch import nn

from ulite_monai.bundles import find_bundle
from ulite_monai.errors import InputError
from ulite_monai.runtime.process import choose_device
from ulite_monai.runtime.weights import load_network

__all__ = ["Segmentation", "Segmenter"]


@dataclass(frozen=True)
class Segmentation:
    """What a bundle made of one case.

    Attributes:
        mask: label map, uint8, on the input's grid: shape (i, j, k), or (x, y) of an image.
        image: the preprocessed image, channel first, with its own affine: what the network saw.
        meta: what is known of the input: `affine` (4x4, voxel to RAS mm), `warnings`, the NIfTI geometry fields.
    """

    mask: np.ndarray
    meta: Mapping[str, Any]


class Segmenter:
    """Runs the preprocessing, network, inferer and post-processing of a bundle's `inference.json`.

    Args:
        bundle: a shipped bundle's name, or a path. Its configuration is code: name only bundles that you trust.
        ckpt: the weights; None for the bundle's own.
        device: "auto" for a GPU where there is one, or a device's name.
        tta: average the logits over all flips of the image (test-time augmentation).
        overrides: values of the configuration's ids.

    Attributes:
        labels: names of the classes, in the order of the label values 1, 2, ...
        metadata: the bundle's `metadata.json`.

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
        folder = find_bundle(bundle)
        configs = folder / "configs"
        if not (configs / "inference.json").is_file():
            raise InputError(f"{folder}: has no configs/inference.json, so it can't segment.")
        self.metadata = json.loads((configs / "metadata.json").read_text(encoding="utf-8"))
        self.device = choose_device(device)
        parser = ConfigParser(ConfigParser.load_config_file(configs / "inference.json"))
        parser.update({"bundle_root": str(folder), "device": str(self.device), **(overrides or {})})
        network = parser.get_parsed_content("network_def")
        load_network(network, ckpt or parser.get_parsed_content("ckpt"))
        self.labels: list[str] = parser.get_parsed_content("labels")
        self.network: nn.Module = parser.get_parsed_content("network")
        self.inferer: Callable[..., Any] = parser.get_parsed_content("inferer")
        self.preprocessing: Callable[..., Any] = parser.get_parsed_content("preprocessing")
        self.postprocessing = [
            step for step in parser.get_parsed_content("postprocessing").transforms if not isinstance(step, SaveImaged)
        ]
        self.tta = tta

    def __call__(self, item: Mapping[str, Any]) -> Segmentation:
        """Segment one entry of a data list (`image` names the volume, one path per channel).

        Raises:
            Exception: Whatever its files provoke; `ulite_monai.errors.reason` tells it in one line.
        """
        data = dict(self.preprocessing(dict(item)))
        image: MetaTensor = data["image"]
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
            logits = self._logits(image.as_tensor()[None].to(self.device))
        data["pred"] = MetaTensor(logits[0].float(), meta=image.meta, applied_operations=image.applied_operations)
        for step in self.postprocessing:
            data = step(data)
        mask = np.asarray(data["pred"][0].as_tensor().cpu()).astype(np.uint8)
        return Segmentation(mask, data["pred"].meta)

    def _logits(self, image: torch.Tensor) -> torch.Tensor:
        if not self.tta:
            return self.inferer(image, self.network)
        axes = range(2, image.ndim)
        flips = [flip for n in range(len(axes) + 1) for flip in itertools.combinations(axes, n)]
        return sum(self._flipped(image, flip) for flip in flips) / len(flips)  # type: ignore[return-value]

    def _flipped(self, image: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        return self.inferer(image.flip(*axes), self.network).flip(*axes) if axes else self.inferer(image, self.network)
