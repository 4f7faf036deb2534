"""PyTorch networks as OpenVINO models, each compared with the original before it is used."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ulite_monai.networks.ensemble import Ensemble, channels_and_dims, members_of
from ulite_monai.networks.fuse import FusedULite

if TYPE_CHECKING:
    import openvino

__all__ = ["convert_at_shape", "convert_fused"]

# Relative to the largest logit. Float32 itself leaves 1e-6 in a fused U-Lite, and up to 1e-4 in networks that
# normalize each input.
ALLOWED_OF_FUSED, ALLOWED_OF_OTHERS = 1e-4, 1e-3


def convert_fused(network: FusedULite | Ensemble) -> openvino.Model:
    """A fused U-Lite, or an ensemble of such, on the CPU in float32, as a model for any batch and any spatial size.

    Raises:
        RuntimeError: When the model's logits aren't the network's.
    """
    channels, dims = channels_and_dims(network)
    with _one_thread():
        small = _smallest_sizes(network, dims)
        model = _trace(network, torch.zeros(1, channels, *small))
        model.reshape([-1, channels] + [-1] * dims)
        for sizes in (small, [size + more for size, more in zip(small, (11, -3, 5), strict=False)]):
            x = torch.randn(2, channels, *sizes, generator=torch.Generator().manual_seed(0))
            _require_same_logits(model, x, network(x), ALLOWED_OF_FUSED)
    return model


def _smallest_sizes(network: FusedULite | Ensemble, dims: int) -> list[int]:
    """8 voxels an axis; where a norm takes its statistics of the image, so many that two are left at the bottom."""
    if not any(isinstance(m, _NormBase) and m.running_mean is None for m in network.modules()):
        return [8] * dims
    members: Any = members_of(network)
    strides = [[member.stem_stride, *(block.stride for block in member.encoder)] for member in members]
    reductions = [[math.prod(of_axis) for of_axis in zip(*of_member, strict=True)] for of_member in strides]
    return [max(8, 3 + 2 * max(of_axis)) for of_axis in zip(*reductions, strict=True)]


def convert_at_shape(network: nn.Module, x: torch.Tensor) -> openvino.Model:
    """Any network as a model for inputs of the shape of `x` alone.

    Args:
        network: on the CPU, in float32 and evaluation mode.
        x: an input, float32.

    Raises:
        RuntimeError: When the model's logits for `x` aren't the network's.
    """
    outputs: list[torch.Tensor] = []
    hook = network.register_forward_hook(lambda module, args, output: outputs.append(output))
    try:
        model = _trace(network, x)
    finally:
        hook.remove()
    try:
        model.reshape(list(x.shape))
    except RuntimeError:  # a trace computes sizes anew, which the converter gets wrong for Swin's windows
        model = _export(network, x)
    _require_same_logits(model, x, outputs[-1], ALLOWED_OF_OTHERS)
    return model


def _export(network: nn.Module, x: torch.Tensor) -> openvino.Model:
    """By torch.export, whose sizes are numbers: slower to make than a trace."""
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openvino.convert_model(torch.export.export(network, (x,), strict=False))


@torch.no_grad()
def _trace(network: nn.Module, x: torch.Tensor) -> openvino.Model:
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        model = openvino.convert_model(network, example_input=x)
    _let_pools_reach_over_the_edge(model)
    return model


def _let_pools_reach_over_the_edge(model: openvino.Model) -> None:
    # OpenVINO refuses an axis shorter than the kernel, which PyTorch pools with ceil_mode. With padding at the end it
    # takes it; the rounding "ceil_torch" drops the windows that lie wholly in that padding.
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MaxPool" and node.get_attributes()["rounding_type"] == "ceil_torch":
            attributes = node.get_attributes()
            if attributes["kernel"] == attributes["strides"] and not any(attributes["pads_begin"]):
                node.set_attribute("pads_end", [size - 1 for size in attributes["kernel"]])
    model.validate_nodes_and_infer_types()


def _require_same_logits(model: openvino.Model, x: torch.Tensor, expected: torch.Tensor, allowed: float) -> None:
    # Not a formality: OpenVINO 2026.4 moves a GELU after a convolution and a max-pooling with floor rounding to
    # before the pooling, which is another network.
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    logits = torch.from_numpy(compiled(x.numpy())[0])
    scale = max(1.0, expected.abs().max().item())
    difference = (logits - expected).abs().max().item() / scale
    if not difference <= allowed:
        raise RuntimeError(
            f"OpenVINO's logits differ from PyTorch's by {difference:.1e} of the largest logit "
            f"(allowed {allowed:.0e}); use engine 'torch' for this network."
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    # Small convolutions on many threads wait for each other, seconds long where something else computes too.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
