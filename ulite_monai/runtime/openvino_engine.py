"""A network for inference by OpenVINO on a CPU, for inputs of any size."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from ulite_monai.networks.fuse import fuse
from ulite_monai.networks.ulite import ULite
from ulite_monai.runtime.memory import bytes_per_voxel
from ulite_monai.runtime.openvino_cache import cached_model
from ulite_monai.runtime.openvino_convert import convert_at_shape, convert_fused
from ulite_monai.runtime.pieces import in_pieces, voxels_at_once

if TYPE_CHECKING:
    import openvino

__all__ = ["OpenVINONetwork", "computes_in_bfloat16"]

# A model for one shape runs about a tenth faster than one for any shape (14 of 140 ms for 96x96x96 voxels), and takes
# 0.2 to 0.4 s to compile and warm up, as against 0.04 s for a new shape in the latter. Padding to a few shapes would
# change the logits.
CALLS_BEFORE_A_MODEL_OF_ITS_OWN = 16
TRACED_SHAPES_KEPT = 4


class OpenVINONetwork(nn.Module):
    """`network` compiled by OpenVINO for the CPU.

    A ``ULite`` is fused and converted once for all shapes. Any other network is converted anew for each shape of its
    input, because its trace may hold numbers that are true of that shape alone; the last few are kept.

    Args:
        network: of one input and one output; it stays as it is.
        precision: "float32" or "bfloat16". Defaults to "float32".
        threads: number of threads. Defaults to OpenVINO's choice, the physical cores.
    """

    engine = "openvino"

    def __init__(self, network: nn.Module, precision: str = "float32", threads: int | None = None) -> None:
        super().__init__()
        self.precision = precision
        compiler = _Compiler(precision, threads)
        self.bytes_per_voxel = bytes_per_voxel(network, "openvino")
        self.voxels_at_once = voxels_at_once(network, "cpu", "openvino")
        self._requests: _Requests
        if isinstance(network, ULite):
            fused = fuse(network).cpu().float()
            self._requests = _ForAnyShape(cached_model(fused, convert_fused), compiler)
        else:
            self._requests = _ForEachShape(copy.deepcopy(network).eval().cpu().float(), compiler)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 logits of images ``(batch, in_channels, *spatial)``, on the device of the images."""
        plain = x.detach().as_subclass(torch.Tensor).to("cpu", torch.float32).contiguous()
        return in_pieces(self._infer, plain, self.voxels_at_once).to(x.device)

    def _infer(self, x: torch.Tensor) -> torch.Tensor:
        request = self._requests.for_input(x)
        return torch.from_numpy(request.infer({0: x.numpy()}, share_inputs=True)[0])

    def release_memory(self) -> None:
        """Give back what the last input took; the next one takes it anew."""
        self._requests.release_memory()


def computes_in_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _Compiler:
    def __init__(self, precision: str, threads: int | None) -> None:
        import openvino

        self.core = openvino.Core()
        # Said in full, because OpenVINO's own choice is bfloat16 where the CPU has it.
        self.config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads is not None:
            self.config["INFERENCE_NUM_THREADS"] = threads

    def __call__(self, model: openvino.Model) -> openvino.InferRequest:
        return self.core.compile_model(model, "CPU", self.config).create_infer_request()


class _Requests(Protocol):
    def for_input(self, x: torch.Tensor) -> openvino.InferRequest: ...

    def release_memory(self) -> None: ...


class _ForAnyShape:
    """One model for all shapes; a shape that keeps coming gets a faster one of its own, one shape at a time."""

    def __init__(self, model: openvino.Model, compiler: _Compiler) -> None:
        self.model = model
        self.compiler = compiler
        self.any_shape = compiler(model)
        self.own: openvino.InferRequest | None = None
        self.own_shape: tuple[int, ...] = ()
        self.last_shape: tuple[int, ...] = ()
        self.streak = 0

    def for_input(self, x: torch.Tensor) -> openvino.InferRequest:
        shape = tuple(x.shape)
        if shape == self.own_shape:
            return self.own
        self.streak = self.streak + 1 if shape == self.last_shape else 1
        self.last_shape = shape
        if self.streak < CALLS_BEFORE_A_MODEL_OF_ITS_OWN:
            return self.any_shape
        return self._compile_for(shape)

    def release_memory(self) -> None:
        self.any_shape.get_compiled_model().release_memory()
        if self.own is not None:
            self.own.get_compiled_model().release_memory()

    def _compile_for(self, shape: tuple[int, ...]) -> openvino.InferRequest:
        self.own = None  # its memory first
        model = self.model.clone()
        model.reshape(list(shape))
        self.own, self.own_shape = self.compiler(model), shape
        self.any_shape.get_compiled_model().release_memory()
        return self.own


class _ForEachShape:
    """A model for each of the last few shapes."""

    def __init__(self, network: nn.Module, compiler: _Compiler) -> None:
        self.network = network
        self.compiler = compiler
        self.requests: OrderedDict[tuple[int, ...], openvino.InferRequest] = OrderedDict()

    def for_input(self, x: torch.Tensor) -> openvino.InferRequest:
        shape = tuple(x.shape)
        if shape not in self.requests:
            if len(self.requests) == TRACED_SHAPES_KEPT:
                self.requests.popitem(last=False)
            self.requests[shape] = self.compiler(convert_at_shape(self.network, x))
        self.requests.move_to_end(shape)
        return self.requests[shape]

    def release_memory(self) -> None:
        for request in self.requests.values():
            request.get_compiled_model().release_memory()
