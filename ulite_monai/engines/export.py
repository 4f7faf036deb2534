"""U-Lite in a file that other programs run: ONNX, OpenVINO or TorchScript."""

from __future__ import annotations

import copy
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ulite_monai.errors import InputError
from ulite_monai.networks.ensemble import Ensemble, channels_and_dims, is_ulite
from ulite_monai.networks.fuse import FusedULite, fuse
from ulite_monai.networks.ulite import ULite

__all__ = ["LARGEST_DIFFERENCE", "METADATA", "SUFFIXES", "ExportReport", "export_network"]

SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml",), "torchscript": (".ts", ".pt")}
# Under this name the file holds its metadata as JSON: a property in ONNX, rt_info in OpenVINO, and with .json at its
# end an extra file in TorchScript.
METADATA = "metadata"
LARGEST_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far its logits are from PyTorch's on the input of the check.

    Args:
        files: the paths, of which the first is to be opened.
        to: the format.
        largest_difference: absolute, of any logit.
    """

    files: tuple[Path, ...]
    to: str
    largest_difference: float


def export_network(
    network: ULite | Ensemble,
    path: str | Path,
    to: str,
    example_shape: Sequence[int],
    metadata: dict[str, Any],
    check_on: torch.Tensor | None = None,
) -> ExportReport:
    """Write the fused network to a file with the metadata inside, and compare the file's logits with PyTorch's.

    The file takes float32 "image" ``(batch, in_channels, *spatial)`` of any batch and size, and gives float32
    "logits" ``(batch, out_channels, *spatial)``. It appears whole and checked, or not at all.

    Args:
        network: the network, or an ensemble of such; it stays as it is.
        path: the file to write, with the suffix of its format: .onnx; .xml (and beside it .bin); .ts or .pt.
        to: "onnx", "openvino" or "torchscript".
        example_shape: ``(batch, in_channels, *spatial)`` of a typical input.
        metadata: what a program needs to use the network (labels, spacing, patch, ...), as JSON can hold it.
        check_on: the input on which to compare. Defaults to noise of ``example_shape``.

    Raises:
        InputError: When an argument can't be used, or a package for the format isn't installed.
        RuntimeError: When the file's logits differ from PyTorch's by more than 1e-3.
    """
    path = Path(path)
    _check_arguments(network, path, to, example_shape)
    text = json.dumps(metadata)
    device = next(network.parameters()).device
    if check_on is None:
        check_on = torch.randn(*example_shape, generator=torch.Generator().manual_seed(0))
    image = check_on.detach().as_subclass(torch.Tensor).cpu().float()
    with torch.no_grad():
        expected = copy.deepcopy(network).eval()(image.to(device)).cpu()
    path.parent.mkdir(parents=True, exist_ok=True)
    write, run = _FORMATS[to]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as folder:
        temporary = Path(folder) / path.name
        with _explained(to):
            write(fuse(network).cpu().float(), temporary, text)
            logits = torch.from_numpy(run(temporary, image.numpy(), text))
        difference = (logits - expected).abs().max().item()
        if not difference <= LARGEST_DIFFERENCE:
            raise RuntimeError(
                f"{path}: not written: its logits differ from PyTorch's by {difference:.1e} "
                f"(allowed {LARGEST_DIFFERENCE:.0e})."
            )
        names = sorted(os.listdir(folder), key=lambda name: (name == path.name, name))
        for name in names:  # what is to be opened comes last
            os.replace(Path(folder) / name, path.with_name(name))
    files = tuple(path.with_name(name) for name in reversed(names))
    return ExportReport(files, to, difference)


def _check_arguments(network: nn.Module, path: Path, to: str, shape: Sequence[int]) -> None:
    if not is_ulite(network):
        raise InputError(f"network must be a ULite, or an ensemble of such, got {type(network).__name__}.")
    if to not in SUFFIXES:
        raise InputError(f"to must be one of {', '.join(SUFFIXES)}, got {to!r}.")
    if path.suffix not in SUFFIXES[to]:
        raise InputError(f"path must end in {' or '.join(SUFFIXES[to])} for {to}, got {str(path)!r}.")
    channels, dims = channels_and_dims(network)
    if len(shape) != dims + 2 or shape[1] != channels or min(shape) < 1:
        raise InputError(f"example_shape must be (batch, {channels}, {dims} sizes), got {tuple(shape)}.")


@contextmanager
def _explained(to: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise InputError(f"exporting to {to} needs the package {error.name}: pip install {error.name}.") from None


def _example(network: nn.Module) -> torch.Tensor:
    # No axis of 1, which an export takes for a constant, and no two alike.
    channels, dims = channels_and_dims(network)
    return torch.zeros(2, channels, *(24, 20, 16)[:dims])


def _write_onnx(network: FusedULite | Ensemble, path: Path, metadata: str) -> None:
    import onnxscript  # noqa: F401  # torch.onnx needs it and says so in another way

    _, dims = channels_and_dims(network)
    axes = ("batch", None, "depth", "height", "width") if dims == 3 else ("batch", None, "height", "width")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (_example(network),),
            dynamo=True,
            dynamic_shapes=({axis: name for axis, name in enumerate(axes) if name},),
            input_names=["image"],
            output_names=["logits"],
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[METADATA] = metadata
    program.save(path, external_data=False)


def _run_onnx(path: Path, image: np.ndarray, metadata: str) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    _require_metadata(session.get_modelmeta().custom_metadata_map[METADATA], metadata)
    return session.run(["logits"], {"image": image})[0]


def _write_openvino(network: FusedULite | Ensemble, path: Path, metadata: str) -> None:
    import openvino

    from ulite_monai.engines.openvino_convert import convert_fused

    model = convert_fused(network)
    model.input(0).set_names({"image"})
    model.output(0).set_names({"logits"})
    model.set_rt_info(metadata, METADATA)
    openvino.save_model(model, path, compress_to_fp16=False)


def _run_openvino(path: Path, image: np.ndarray, metadata: str) -> np.ndarray:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    _require_metadata(model.get_rt_info(METADATA).astype(str), metadata)
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"image": image})["logits"]


def _write_torchscript(network: FusedULite | Ensemble, path: Path, metadata: str) -> None:
    torch.jit.save(torch.jit.script(network), path, _extra_files={f"{METADATA}.json": metadata})


def _run_torchscript(path: Path, image: np.ndarray, metadata: str) -> np.ndarray:
    extra = {f"{METADATA}.json": ""}
    network = torch.jit.load(path, _extra_files=extra)
    _require_metadata(extra[f"{METADATA}.json"], metadata)
    with torch.no_grad():
        return network(torch.from_numpy(image)).numpy()


def _require_metadata(found: str | bytes, written: str) -> None:
    text = found.decode() if isinstance(found, bytes) else found
    if json.loads(text) != json.loads(written):
        raise RuntimeError(f"The metadata came back changed: {text[:200]}")


_Write = Callable[[FusedULite | Ensemble, Path, str], None]
_Run = Callable[[Path, np.ndarray, str], np.ndarray]
_FORMATS: dict[str, tuple[_Write, _Run]] = {
    "onnx": (_write_onnx, _run_onnx),
    "openvino": (_write_openvino, _run_openvino),
    "torchscript": (_write_torchscript, _run_torchscript),
}
