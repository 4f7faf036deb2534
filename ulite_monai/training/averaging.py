"""The moving average of the weights, which validates better than the weights themselves."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from torch import nn

__all__ = ["AveragedWeights"]


class AveragedWeights(EMAHandler):
    """Ignite's exponential moving average, of buffers too, starting from the weights that training starts from.

    Args:
        network: the network being trained.
        momentum: weight of the newest weights in the average, after the first `warmup` iterations.
        warmup: iterations over which the momentum falls from a half to `momentum`.
    """

    def __init__(self, network: nn.Module, momentum: float, warmup: int) -> None:
        super().__init__(network, momentum=momentum, momentum_warmup=0.5, warmup_iters=warmup, handle_buffers="update")

    def attach(self, engine: Engine) -> None:  # type: ignore[override]
        """Average after each iteration of `engine`."""
        # A checkpoint may be loaded into the network after this handler copied it.
        engine.add_event_handler(Events.EPOCH_STARTED(once=1), self._start)
        super().attach(engine, warn_if_exists=False)

    def _start(self) -> None:
        self.ema_model.load_state_dict(self.model.state_dict())
