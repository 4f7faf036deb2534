"""A bundle's network to a file, with what a program needs to use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulite_monai.engines.export import ExportReport, export_network
from ulite_monai.errors import InputError
from ulite_monai.networks.ensemble import is_ulite, members_of
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["export_bundle"]


def export_bundle(
    bundle: str | Path,
    path: str | Path,
    to: str,
    ckpt: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write the network of a bundle as ONNX, OpenVINO or TorchScript.

    The file's metadata holds the name and version (`Segmenter.algorithm`), the labels, the spacing and the window size.

    Args:
        bundle: a shipped bundle's name, or a path.
        path: the file; see `export_network`.
        to: "onnx", "openvino" or "torchscript".
        ckpt: weights other than the bundle's own, or a pattern for the ensemble of several.
        overrides: values of the ids of its `inference.json`.

    Raises:
        InputError: When the bundle, its weights, or the file can't be used.
    """
    segmenter = Segmenter(bundle, ckpt, device="cpu", overrides={"engine": "torch", **(overrides or {})})
    if Path(path).resolve() in [file.resolve() for file in segmenter.ckpts]:
        raise InputError(f"{path}: is the weights that are to be exported; give another name.")
    network = segmenter.trained
    if not is_ulite(network):
        kind = type(members_of(network)[0]).__name__
        raise InputError(f"{bundle}: only U-Lite is exported here, not {kind}; MONAI's ckpt_export may do it.")
    name, version = segmenter.algorithm
    metadata = {
        "name": name,
        "version": version,
        "labels": segmenter.labels,
        "label_values": segmenter.label_values,
        "spacing": segmenter.settings.get("spacing"),
        "roi_size": segmenter.settings["roi_size"],
        "intended_use": "Research only. The output is not for diagnosis or treatment.",
    }
    example = (1, segmenter.channels, *segmenter.settings["roi_size"])
    return export_network(network, path, to, example, metadata)
