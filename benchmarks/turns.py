"""Times networks that take turns, so that whatever disturbs the machine disturbs all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import torch
from torch import nn

from ulite_monai.engines.compile import compile_network

__all__ = ["seconds_in_openvino"]


@torch.inference_mode()
def seconds_in_openvino(networks: Mapping[str, nn.Module], image: torch.Tensor, rounds: int) -> dict[str, float]:
    """Median time of each network on `image`, (batch, channels, *spatial), once compiled."""
    compiled = {name: compile_network(network.eval(), "cpu", "openvino") for name, network in networks.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for number in range(rounds + 3):
        for name, network in compiled.items():
            started = time.perf_counter()
            network(image)
            if number >= 3:  # the first calls compile
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}
