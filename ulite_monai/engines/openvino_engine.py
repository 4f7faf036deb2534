"""A network for inference by OpenVINO on a CPU, for inputs of any size."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ulite_monai.engines.memory import bytes_per_voxel
from ulite_monai.engines.openvino_cache import cached_model
from ulite_monai.engines.openvino_convert import convert_at_shape, convert_fused
from ulite_monai.networks.ensemble import is_ulite, normalises_over_the_batch
from ulite_monai.networks.fuse import fuse

if TYPE_CHECKING:
    import openvino

__all__ = ["OpenVINONetwork", "computes_in_bfloat16"]

COMPILED_MODELS_KEPT = 4


class OpenVINONetwork(nn.Module):
    """`network` compiled by OpenVINO for the CPU.

    A ``ULite``, or an ensemble of such, is fused and converted once for all shapes. Any other network is converted
    anew for each shape of its input, because its trace may hold numbers that are true of that shape alone; the last few
    are kept.

    All threads compute one image. Of a batch, each thread computes an image of its own: threads that share no image
    needn't wait for what another has in its cache.

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
        self._image_by_image = not normalises_over_the_batch(network)
        self._configuration = _configuration(precision, threads)
        self._compiled: OrderedDict[tuple, _CompiledModel] = OrderedDict()
        self._model_for: Callable[[torch.Tensor], openvino.Model]
        self._of_any_shape = is_ulite(network)
        if is_ulite(network):
            model = cached_model(fuse(network).cpu().float(), convert_fused)
            self._model_for = lambda image: model
            self._compiled_for(torch.empty(0), side_by_side=False)  # what can't be compiled is to be known now
        else:
            other = copy.deepcopy(network).eval().cpu().float()
            self._model_for = lambda image: convert_at_shape(other, image)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 logits of images ``(batch, in_channels, *spatial)``, on the device of the images."""
        plain = x.detach().as_subclass(torch.Tensor).to("cpu", torch.float32).contiguous()
        images = plain.split(1) if self._image_by_image else (plain,)
        logits = self._compiled_for(images[0], side_by_side=len(images) > 1)(images)
        return (logits[0] if len(logits) == 1 else torch.cat(logits)).to(x.device)  # a copy of one may be gigabytes

    def _compiled_for(self, image: torch.Tensor, side_by_side: bool) -> _CompiledModel:
        key = (side_by_side, None if self._of_any_shape else tuple(image.shape))
        if key not in self._compiled:
            if len(self._compiled) == COMPILED_MODELS_KEPT:
                self._compiled.popitem(last=False)
            self._compiled[key] = _CompiledModel(self._model_for(image), self._configuration, side_by_side)
        elif key != next(reversed(self._compiled)):
            self.release_memory()  # the estimate is of one of them
        self._compiled.move_to_end(key)
        return self._compiled[key]

    def release_memory(self) -> None:
        """Give back what the last input took; the next one takes it anew."""
        for compiled in self._compiled.values():
            compiled.model.release_memory()


class _CompiledModel:
    """Computes one input after the other, or as many at a time as there are threads."""

    def __init__(self, model: openvino.Model, configuration: dict[str, Any], side_by_side: bool) -> None:
        import openvino

        core = openvino.Core()
        self.model = core.compile_model(model, "CPU", configuration)
        if side_by_side and self.threads > 1:
            streams = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": self.threads}
            self.model = core.compile_model(model, "CPU", configuration | streams)
        self.queue = openvino.AsyncInferQueue(self.model)

    @property
    def threads(self) -> int:
        return self.model.get_property("INFERENCE_NUM_THREADS")

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Float32 logits of each of the inputs."""
        logits = [torch.empty(0)] * len(inputs)

        def keep(request: openvino.InferRequest, number: int) -> None:
            logits[number] = torch.from_numpy(request.output_tensors[0].data.copy())

        self.queue.set_callback(keep)
        for number, x in enumerate(inputs):
            self.queue.start_async({0: x.numpy()}, number, share_inputs=True)
        self.queue.wait_all()
        return logits


def computes_in_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _configuration(precision: str, threads: int | None) -> dict[str, Any]:
    # The precision in full, because OpenVINO's own choice is bfloat16 where the CPU has it. The cache holds operations
    # of the network, each at a shape that it met: enough here for a few shapes in turn. By default it is thousands,
    # which grow to hundreds of MiB where each volume has a shape of its own.
    configuration: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": "256",
    }
    return configuration if threads is None else configuration | {"INFERENCE_NUM_THREADS": threads}
