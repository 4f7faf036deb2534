"""One network, two engines: PyTorch, and OpenVINO where it is faster."""

from __future__ import annotations

import copy
import importlib.util
import logging

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format, convert_conv3d_weight_memory_format

from ulite_monai.engines.memory import bytes_per_voxel
from ulite_monai.errors import InputError, reason
from ulite_monai.networks.ensemble import is_ulite, normalises_over_the_batch
from ulite_monai.networks.fuse import fuse
from ulite_monai.networks.train_on_cpu import dilate_pointwise

__all__ = ["ENGINES", "PRECISIONS", "TorchNetwork", "choose_engine", "compile_network"]

ENGINES = ("auto", "torch", "openvino")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

logger = logging.getLogger(__name__)


def compile_network(
    network: nn.Module,
    device: torch.device | str,
    engine: str = "auto",
    precision: str = "float32",
    threads: int | None = None,
) -> nn.Module:
    """A network for inference on `device` that is called as `network` is, only faster.

    Args:
        network: a ``ULite``, which is fused, any network of one input and one output, or an ``Ensemble`` of such; it
            stays as it is.
        device: where the input is and the logits will be.
        engine: "torch", "openvino" (CPU only), or "auto": OpenVINO on a CPU where it is installed, else PyTorch.
            Defaults to "auto".
        precision: "float32", or "bfloat16" or "float16" where the device computes in it, or "auto": float16 on CUDA,
            float32 elsewhere. An autocast around the call changes nothing. Defaults to "float32".
        threads: how many CPU threads compute; for PyTorch this holds for the whole process. Defaults to the engine's
            own choice.

    Returns:
        A module that takes ``(batch, in_channels, *spatial)`` and returns float32 logits
        ``(batch, out_channels, *spatial)``, without gradients. One thread at a time may call it. Its
        ``bytes_per_voxel`` is the memory that it takes at its peak for each voxel of its input; ``engine`` and
        ``precision`` are those that were chosen.

    Raises:
        InputError: When an argument is none of the above, or the device or the installation can't do it.
    """
    device = torch.device(device)
    chosen = choose_engine(device, engine)
    if precision == "auto":
        precision = "float16" if device.type == "cuda" else "float32"
    _check_precision(precision, device, chosen)
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads must be a whole number of at least 1, got {threads!r}.")
    kind = "fused U-Lite" if is_ulite(network) else type(network).__name__
    logger.info("engine: %s, %s, on %s (%s)", chosen, precision, device, kind)
    if chosen == "openvino":
        from ulite_monai.engines.openvino_engine import OpenVINONetwork

        try:
            return OpenVINONetwork(network, precision, threads)
        except Exception as error:  # whatever its converter stumbles over, PyTorch can do
            if engine != "auto":
                raise
            logger.warning("warning: OpenVINO can't run this network (%s); PyTorch does.", reason(error))
    if threads is not None and device.type == "cpu":
        torch.set_num_threads(threads)
    return TorchNetwork(network, device, precision)


def choose_engine(device: torch.device | str, engine: str = "auto") -> str:
    """The engine, "torch" or "openvino", that `engine` means on `device`.

    Raises:
        InputError: When there is no such engine, or not on this device, or it isn't installed.
    """
    installed = importlib.util.find_spec("openvino") is not None
    on_cpu = torch.device(device).type == "cpu"
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if engine == "auto":
        return "openvino" if on_cpu and installed else "torch"
    if engine == "openvino" and not on_cpu:
        raise InputError(f"engine 'openvino' computes on the CPU, not on {device}; use engine 'torch' or device 'cpu'.")
    if engine == "openvino" and not installed:
        raise InputError("engine 'openvino' isn't installed: pip install openvino, or use engine 'torch'.")
    return engine


def _check_precision(precision: str, device: torch.device, engine: str) -> None:
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of auto, {', '.join(PRECISIONS)}, got {precision!r}.")
    if device.type == "cpu" and precision == "float16":
        raise InputError("precision 'float16' is for GPUs; on a CPU use 'bfloat16' or 'float32'.")
    if engine == "openvino" and precision == "bfloat16":
        from ulite_monai.engines.openvino_engine import computes_in_bfloat16

        if not computes_in_bfloat16():
            raise InputError("precision 'bfloat16': this CPU doesn't compute in it; use 'float32'.")


class TorchNetwork(nn.Module):
    """A network for inference by PyTorch: fused where it can be, channels-last, in mixed precision if wanted."""

    engine = "torch"

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        super().__init__()
        self.network = fuse(network) if is_ulite(network) else copy.deepcopy(network)
        self.network.eval().requires_grad_(False).to(device)
        self.bytes_per_voxel = bytes_per_voxel(network, "fused")
        # A CPU's caches hold one image better than a batch.
        self.image_by_image = device.type == "cpu" and not normalises_over_the_batch(network)
        convert_conv2d_weight_memory_format(self.network, torch.channels_last)
        convert_conv3d_weight_memory_format(self.network, torch.channels_last_3d)
        dilate_pointwise(self.network)
        self.device_type = device.type
        self.precision = precision

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 logits of images ``(batch, in_channels, *spatial)``."""
        dtype = PRECISIONS[self.precision]
        enabled = dtype != torch.float32
        with torch.autocast(self.device_type, dtype=dtype if enabled else None, enabled=enabled):
            images = x.split(1) if self.image_by_image else (x,)
            logits = [self.network(image).float() for image in images]
        return logits[0] if len(logits) == 1 else torch.cat(logits)
