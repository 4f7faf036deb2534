"""Exported files: their logits, their metadata, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from monai.networks.utils import convert_to_onnx, convert_to_torchscript

from ulite_monai.engines import export
from ulite_monai.engines.export import export_network
from ulite_monai.errors import InputError
from ulite_monai.networks import ULite

PACKAGES = {"onnx": ("onnxscript", "onnxruntime"), "openvino": ("openvino",), "torchscript": ()}
METADATA = {"labels": ["hippocampus (Kopf)", "Schwänze"], "spacing": [1.0, 1.0, 1.5]}


def network_of(dims: int) -> ULite:
    torch.manual_seed(0)
    network = ULite(dims, 1, 3, features=(4, 8, 16), strides=[2, (1, 2, 2)[-dims:]])
    for module in network.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def need(to: str) -> None:
    for package in PACKAGES[to]:
        pytest.importorskip(package)


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("to", ["onnx", "openvino", "torchscript"])
def test_the_file_takes_any_size_and_holds_the_metadata(to: str, dims: int, tmp_path: Path) -> None:
    need(to)
    path = tmp_path / f"network{export.SUFFIXES[to][0]}"
    network = network_of(dims)
    report = export_network(network, path, to, (1, 1, *(19, 16, 23)[:dims]), METADATA)
    assert report.files[0] == path and report.largest_difference <= 1e-4
    assert sorted(tmp_path.iterdir()) == sorted(report.files)
    for shape in ((1, 1, 16, 24, 8), (3, 1, 9, 7, 11)):
        x = torch.randn(*shape[: dims + 2])
        with torch.no_grad():  # the reader compares the metadata as well
            difference = abs(export._FORMATS[to][1](path, x.numpy(), json.dumps(METADATA)) - network(x).numpy()).max()
        assert difference <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino", "torchscript"])
def test_a_file_that_differs_is_refused_and_the_old_one_stays(
    to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(to)
    path = tmp_path / f"network{export.SUFFIXES[to][0]}"
    path.write_text("old")
    monkeypatch.setattr(export, "fuse", lambda network: _with_a_shifted_head(export_fuse(network)))
    export_fuse = sys.modules["ulite_monai.networks.fuse"].fuse
    with pytest.raises(RuntimeError, match=r"not written: its logits differ from PyTorch's by 2\.0e-03"):
        export_network(network_of(2), path, to, (1, 1, 16, 16), METADATA)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def _with_a_shifted_head(network: torch.nn.Module) -> torch.nn.Module:
    network.head.bias += 2e-3
    return network


def test_the_check_runs_on_the_given_input(tmp_path: Path) -> None:
    volume = torch.full((1, 1, 10, 11, 12), torch.nan)
    with pytest.raises(RuntimeError, match="its logits differ from PyTorch's by nan"):
        export_network(network_of(3), tmp_path / "n.ts", "torchscript", (1, 1, 8, 8, 8), {}, check_on=volume)


@pytest.mark.parametrize(
    ("name", "to", "shape", "message"),
    [
        ("n.onnx", "tensorrt", (1, 1, 8, 8), "to must be one of onnx, openvino, torchscript, got 'tensorrt'"),
        ("n.onnx", "openvino", (1, 1, 8, 8), r"path must end in \.xml for openvino"),
        ("n.pt", "torchscript", (1, 2, 8, 8), r"example_shape must be \(batch, 1, 2 sizes\), got \(1, 2, 8, 8\)"),
        ("n.pt", "torchscript", (1, 1, 8, 8, 8), "example_shape must be"),
    ],
)
def test_bad_arguments_are_named(name: str, to: str, shape: tuple, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export_network(network_of(2), tmp_path / name, to, shape, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dims", [2, 3])
def test_monais_own_torchscript_export_takes_the_unfused_network(dims: int, tmp_path: Path) -> None:
    network = network_of(dims)
    example = torch.randn(1, 1, *[16] * dims)
    scripted = convert_to_torchscript(network, filename_or_obj=tmp_path / "n.ts", verify=True, inputs=[example])
    x = torch.randn(2, 1, *(9, 14, 11)[:dims])
    with torch.no_grad():
        torch.testing.assert_close(scripted(x), network(x))


@pytest.mark.slow
@pytest.mark.parametrize("use_trace", [False, True])
@pytest.mark.parametrize("dims", [2, 3])
def test_monais_own_onnx_export_takes_the_unfused_network(dims: int, use_trace: bool) -> None:
    pytest.importorskip("onnxruntime")
    network, example = network_of(dims), torch.randn(1, 1, *(16, 24, 8)[:dims])
    model = convert_to_onnx(
        network, inputs=[example], input_names=["image"], output_names=["logits"], use_trace=use_trace, use_ort=True,
        verify=True, rtol=1e-3, atol=1e-4,
    )  # fmt: skip
    assert model.graph.output[0].name == "logits"
