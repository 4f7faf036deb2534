"""The moving average of the weights, which validates better than the weights themselves."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ulite_monai.training.distributed import average_over_processes

__all__ = ["AveragedWeights"]


class AveragedWeights:
    """Handler of a trainer that averages a network's parameters and buffers exponentially, by torch's AveragedModel.

    The first weights count as much as the later ones until `momentum` takes over, so that nothing of the initial
    weights is left. Processes that train one network average it alike, but for the statistics of batch norms that each
    gathers from its own cases on a CPU: the mean of those over the processes is what they all validate and save.

    Args:
        network: the network being trained, or its DistributedDataParallel.
        momentum: weight of the newest weights in the average, in (0, 1].

    Attributes:
        model: the averaged network, in evaluation mode.
        average: torch's AveragedModel, whose state dict is what a resumption needs.
    """

    def __init__(self, network: nn.Module, momentum: float) -> None:
        self.momentum = momentum
        self.network = network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
        self.average = AveragedModel(self.network, avg_fn=self._mean, use_buffers=True).eval()
        self.model = self.average.module

    def attach(self, engine: Engine) -> None:
        """Average after each iteration of the trainer `engine`; attach it before the validation handler."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: average_over_processes(self.model.buffers()))

    def update(self) -> None:
        """Take the network's present weights into the average; the first ones are copied."""
        self.average.update_parameters(self.network)

    def _mean(self, average: torch.Tensor, newest: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        return average + (newest - average) * max(self.momentum, 1 / (int(count) + 1))
