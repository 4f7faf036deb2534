"""A network for inference by OpenVINO on a CPU, for inputs of any size."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from ulite_monai.networks.ensemble import is_ulite
from ulite_monai.networks.fuse import fuse
from ulite_monai.runtime.memory import bytes_per_voxel
from ulite_monai.runtime.openvino_cache import cached_model
from ulite_monai.runtime.openvino_convert import convert_at_shape, convert_fused
from ulite_monai.runtime.pieces import in_pieces, together, voxels_at_once

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

    A ``ULite``, or an ensemble of such, is fused and converted once for all shapes. Any other network is converted
    anew for each shape of its input, because its trace may hold numbers that are true of that shape alone; the last few
    are kept.

    All threads compute one image. A batch of at least as many images as there are threads is computed a piece each by
    them, for U-Lite: threads that share no image needn't wait for what another has in its cache.

    Args:
        network: of one input and one output; it stays as it is.
        precision: "float32" or "bfloat16". Defaults to "float32".
        threads: number of threads. Defaults to OpenVINO's choice, the physical cores.
    """

    engine = "openvino"

    def __init__(self, network: nn.Module, precision: str = "float32", threads: int | None = None) -> None:
        super().__init__()
        self.precision = precision
        self.bytes_per_voxel = bytes_per_voxel(network, "openvino")
        self.voxels_at_once = voxels_at_once(network, "cpu", "openvino")
        self._requests: _Requests
        self._side_by_side: _ForAnyShape | None = None
        if is_ulite(network):
            model = cached_model(fuse(network).cpu().float(), convert_fused)
            self._requests = _ForAnyShape(model, _Compiler(precision, threads))
            self.threads = self._requests.any_shape.threads
            if self.threads > 1 and self.voxels_at_once is not None:
                self._side_by_side = _ForAnyShape(model, _Compiler(precision, self.threads, streams=self.threads))
        else:
            self._requests = _ForEachShape(copy.deepcopy(network).eval().cpu().float(), _Compiler(precision, threads))
        self._last: _Requests = self._requests

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 logits of images ``(batch, in_channels, *spatial)``, on the device of the images."""
        plain = x.detach().as_subclass(torch.Tensor).to("cpu", torch.float32).contiguous()
        if self._side_by_side is not None and self.voxels_at_once is not None and len(plain) >= self.threads:
            share = len(plain) // self.threads * plain[0, 0].numel()
            pieces = in_pieces(plain, min(share, self.voxels_at_once // self.threads), equal=True)
            self._turn_to(self._side_by_side)
            return together(self._side_by_side.for_input(pieces[0])(pieces)).to(x.device)
        pieces = in_pieces(plain, self.voxels_at_once)
        self._turn_to(self._requests)
        return together([self._requests.for_input(piece)([piece])[0] for piece in pieces]).to(x.device)

    def _turn_to(self, requests: _Requests) -> None:
        if self._last is not requests:
            self._last.release_memory()  # the estimate is of one of them
            self._last = requests

    def release_memory(self) -> None:
        """Give back what the last input took; the next one takes it anew."""
        self._last.release_memory()


def computes_in_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _Compiler:
    def __init__(self, precision: str, threads: int | None, streams: int = 1) -> None:
        import openvino

        self.core = openvino.Core()
        self.streams = streams
        # Said in full, because OpenVINO's own choice is bfloat16 where the CPU has it.
        self.config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if streams > 1:
            self.config |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": streams}
        if threads is not None:
            self.config["INFERENCE_NUM_THREADS"] = threads

    def __call__(self, model: openvino.Model) -> _Compiled:
        return _Compiled(self.core.compile_model(model, "CPU", self.config), self.streams)


class _Compiled:
    """A compiled model that computes as many inputs at a time as it has streams; all threads share them."""

    def __init__(self, model: openvino.CompiledModel, streams: int) -> None:
        self.model = model
        self.threads: int = model.get_property("INFERENCE_NUM_THREADS")
        self.requests = [model.create_infer_request() for _ in range(streams)]

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Float32 logits of each of the inputs."""
        logits: list[torch.Tensor] = []
        started = 0
        try:
            for number, x in enumerate(inputs):
                if number >= len(self.requests):
                    logits.append(self._logits(len(logits)))
                self.requests[number % len(self.requests)].start_async({0: x.numpy()}, share_inputs=True)
                started += 1
            while len(logits) < started:
                logits.append(self._logits(len(logits)))
        finally:
            for number in range(len(logits), started):  # after an error: the next call finds all requests idle
                with suppress(Exception):
                    self.requests[number % len(self.requests)].wait()
        return logits

    def _logits(self, number: int) -> torch.Tensor:
        request = self.requests[number % len(self.requests)]
        request.wait()
        return torch.from_numpy(request.output_tensors[0].data.copy())


class _Requests(Protocol):
    def for_input(self, x: torch.Tensor) -> _Compiled: ...

    def release_memory(self) -> None: ...


class _ForAnyShape:
    """One model for all shapes; a shape that keeps coming gets a faster one of its own, one shape at a time."""

    def __init__(self, model: openvino.Model, compiler: _Compiler) -> None:
        self.model = model
        self.compiler = compiler
        self.own: _Compiled | None = None
        self.own_shape: tuple[int, ...] = ()
        self.last_shape: tuple[int, ...] = ()
        self.streak = 0

    @functools.cached_property
    def any_shape(self) -> _Compiled:
        return self.compiler(self.model)

    def for_input(self, x: torch.Tensor) -> _Compiled:
        shape = tuple(x.shape)
        if self.own is not None and shape == self.own_shape:
            return self.own
        self.streak = self.streak + 1 if shape == self.last_shape else 1
        self.last_shape = shape
        if self.streak < CALLS_BEFORE_A_MODEL_OF_ITS_OWN:
            return self.any_shape
        return self._compile_for(shape)

    def release_memory(self) -> None:
        for compiled in (self.__dict__.get("any_shape"), self.own):  # the first, if it was ever compiled
            if compiled is not None:
                compiled.model.release_memory()

    def _compile_for(self, shape: tuple[int, ...]) -> _Compiled:
        self.own = None  # its memory first
        model = self.model.clone()
        model.reshape(list(shape))
        self.own, self.own_shape = self.compiler(model), shape
        self.any_shape.model.release_memory()
        return self.own


class _ForEachShape:
    """A model for each of the last few shapes."""

    def __init__(self, network: nn.Module, compiler: _Compiler) -> None:
        self.network = network
        self.compiler = compiler
        self.compiled: OrderedDict[tuple[int, ...], _Compiled] = OrderedDict()

    def for_input(self, x: torch.Tensor) -> _Compiled:
        shape = tuple(x.shape)
        if shape not in self.compiled:
            if len(self.compiled) == TRACED_SHAPES_KEPT:
                self.compiled.popitem(last=False)
            self.compiled[shape] = self.compiler(convert_at_shape(self.network, x))
        self.compiled.move_to_end(shape)
        return self.compiled[shape]

    def release_memory(self) -> None:
        for compiled in self.compiled.values():
            compiled.model.release_memory()
