"""Training that ends the same for the same seed, also when it was interrupted, and stops when it breaks down."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite.distributed import get_rank
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd
from monai.engines.utils import IterationEvents

from ulite_monai.errors import InputError

__all__ = ["SeedEachEpoch", "StopAtNonFiniteLoss"]


class SeedEachEpoch:
    """Handler that seeds every source of randomness by the seed, the epoch, and the rank among processes.

    An epoch then depends on nothing but the weights it starts from, so that a training resumed from its last
    checkpoint ends bit-equal to one that ran through.

    Args:
        seed: the training's seed, at least 0.
        dataset: the training data set, whose random transforms are seeded as well.
    """

    def __init__(self, seed: int, dataset: Any) -> None:
        self.seed = seed
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Seed when an epoch of `engine` starts."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        seed = int(np.random.SeedSequence((self.seed, engine.state.epoch, get_rank())).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        set_rnd(self.dataset, seed=seed)


class StopAtNonFiniteLoss:
    """Handler that ends the training with the names of the cases whose loss is NaN or infinite."""

    def attach(self, engine: Engine) -> None:
        """Look at each loss of `engine`, a MONAI trainer."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        loss = state.output["loss"]
        if torch.isfinite(loss):
            return
        names = state.batch.get("case_id") or getattr(state.batch["image"], "meta", {}).get("filename_or_obj")
        raise InputError(
            f"the loss became {loss.item()} in epoch {state.epoch} on the cases {names or 'of one batch'}; look at "
            "these images, or lower --learning_rate."
        )
