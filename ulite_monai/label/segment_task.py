"""Segmentation on request, by a network that stays in memory and is read again when its weights change."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from ulite_monai.datasets.cases import Case, stem
from ulite_monai.errors import InputError
from ulite_monai.io.images import write_mask
from ulite_monai.io.volume import Volume
from ulite_monai.io.write_nifti import write_label_map
from ulite_monai.label.work_folder import Model
from ulite_monai.prediction.read_case import Refused
from ulite_monai.prediction.segment_case import segment_case
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["BundleSegmentation"]

SUFFIXES = (".nii.gz", ".nii", ".nrrd")


class BundleSegmentation(InferTask):
    """Segments by one model, as `ulite predict` does, voxel for voxel. Threads may share it.

    Args:
        model: where the bundle and its versions are.
        device: a device's name, or "auto".
    """

    def __init__(self, model: Model, device: str = "auto") -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=model.labels,
            dimension=model.spatial_dims,
            description=model.metadata["description"],
            config={"force": False},
        )
        self.model = model
        self.device = device
        self._turn = threading.Lock()
        self._loaded: tuple[Any, Segmenter] | None = None

    def is_valid(self) -> bool:
        """Whether there are weights; a viewer is shown no others."""
        return self.model.weights().is_file()

    def get_path(self, validate: bool = True) -> str | None:
        """The weights that are served."""
        return str(self.model.weights())

    def segmenter(self) -> Segmenter:
        """The network with the weights that are served now.

        Raises:
            InputError: When there are none, or they are of another network.
        """
        weights = self.model.require_weights()
        stamp = (weights, weights.stat().st_mtime_ns, weights.stat().st_size)
        with self._turn:
            if self._loaded is None or self._loaded[0] != stamp:
                self._loaded = (stamp, Segmenter(weights.parents[1], device=self.device))
            return self._loaded[1]

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment `request["image"]`, a path.

        Args:
            request: `image`; `modality` (DICOM's, where it is known); `force` (also what lies outside the bundle's
                ranges); `result_extension`.

        Returns:
            A new temporary file with the mask, and what a viewer shows beside it.

        Raises:
            InputError: When the image can't be segmented.
        """
        started = time.monotonic()
        segmenter, path = self.segmenter(), Path(request["image"])
        suffix = str(request.get("result_extension") or SUFFIXES[0])
        if suffix not in SUFFIXES:
            raise InputError(f"result_extension must be one of {', '.join(SUFFIXES)}, got {suffix!r}.")
        case = Case(stem(path), (path,))
        modality = str(request.get("modality", ""))
        try:
            found = segment_case(case, segmenter, bool(request.get("force")), modality=modality)
        except Refused as refusal:
            raise InputError(str(refusal)) from None
        target = _temporary(".png" if case.is_image else suffix)
        if case.is_image:
            write_mask(found.mask, target, len(found.labels), as_greys=found.values is None)
        else:
            _write(found.mask, found.grid, target)
        return str(target), {
            "label_names": dict(zip(found.labels, found.values or itertools.count(1), strict=False)),
            "latencies": {"total": round(time.monotonic() - started, 4)},
            "version": self.model.version,
            "warnings": found.warnings,
        }


def _temporary(suffix: str) -> Path:
    with tempfile.NamedTemporaryFile(prefix="ulite-mask-", suffix=suffix, delete=False) as file:
        return Path(file.name)


def _write(mask: np.ndarray, volume: Volume, path: Path) -> None:
    if path.suffix == ".nrrd":
        from monailabel.transform.writer import write_itk

        write_itk(mask, str(path), volume.affine, mask.dtype, compress=True)
    else:
        write_label_map(mask, volume, path)
