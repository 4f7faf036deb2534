"""A training's budget, from what a step and a validation take on this machine."""

from __future__ import annotations

import copy
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from monai.data import DataLoader, list_data_collate
from torch import nn

from ulite_monai.training.budget import Budget, Rates, in_words, plan_budget
from ulite_monai.training.distributed import from_first

__all__ = ["measured_budget"]

logger = logging.getLogger(__name__)

WARM_UP = 2  # steps, slower than those after them
STEPS = 20
MEASURING_SHARE = 0.03  # of the time; for that, fewer steps are timed
FEWEST_STEPS = 3
EVALUATION = 2.0  # of a case at the end, as a multiple of loading and segmenting it


def measured_budget(
    hours: float,
    network: nn.Module,
    loss: Callable[..., torch.Tensor],
    optimizer: torch.optim.Optimizer,
    inferer: Callable[..., torch.Tensor],
    loader: DataLoader,
    device: torch.device | str,
    amp: bool,
    validation: Any,
    validation_inferer: Callable[..., torch.Tensor],
    started: float | None = None,
    evaluates: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Budget:
    """Time steps and the validation of a case, and plan the epochs that fill the time that is left.

    Weights, optimizer and random state are afterwards what they were before.

    Args:
        hours: there are, from `started` on.
        network: is trained.
        loss: of logits and one-hot labels.
        optimizer: of the network.
        inferer: runs the network on a batch.
        loader: of the training part.
        device: that trains.
        amp: whether the step runs in 16-bit floats.
        validation: MONAI data set of the cases that validate; its `data` is their list.
        validation_inferer: runs the network on a case.
        started: when the time began, by the clock; None for now.
        evaluates: whether all cases are evaluated once more at the end, within the time.
        clock: gives seconds.
    """
    started = clock() if started is None else started
    logger.info("timing a few steps on this machine ...")

    def step(batch: Any) -> None:
        image, label = (batch[key].to(device) for key in ("image", "label"))
        network.train()
        optimizer.zero_grad()
        with torch.autocast(torch.device(device).type, enabled=amp):
            value = loss(inferer(image, network), label)
        value.backward()
        optimizer.step()
        float(value.detach())  # a GPU is waited for

    with _restored(network, optimizer):
        begun = clock()
        batches = itertools.chain.from_iterable(itertools.repeat(loader))
        for batch in itertools.islice(batches, WARM_UP):
            step(batch)
        warm = max(1e-6, (clock() - begun) / WARM_UP)
        count = from_first(int(min(STEPS, max(FEWEST_STEPS, MEASURING_SHARE * 3600 * hours / warm))))
        begun = clock()
        for batch in itertools.islice(batches, count):
            step(batch)
        seconds = max(1e-6, (clock() - begun) / count)
        cases = len(validation)
        case, evaluation = _time_a_case(network, validation, validation_inferer, device, clock) if cases else (0.0, 0.0)
    rates = Rates(seconds, case, EVALUATION * evaluation if evaluates else 0.0)
    spent = clock() - started
    budget = from_first(plan_budget(hours, spent, rates, cases))
    _tell(budget, rates, cases, 3600 * hours - spent)
    return budget


def _time_a_case(
    network: nn.Module, validation: Any, inferer: Callable[..., torch.Tensor], device: Any, clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of segmenting a validation case as it is cached, and of loading and segmenting it."""
    network.eval()
    begun = clock()
    batch = list_data_collate([validation.transform(copy.deepcopy(validation.data[0]))])
    loaded = clock() - begun
    with torch.inference_mode():
        inferer(batch["image"].to(device), network)
        begun = clock()
        inferer(batch["image"].to(device), network)
    took = max(1e-6, clock() - begun)
    return took, loaded + took


@contextmanager
def _restored(network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Put weights, optimizer and random state back at the end."""
    training, weights = network.training, copy.deepcopy(network.state_dict())
    former = copy.deepcopy(optimizer.state_dict())
    devices: Sequence[int] = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices):
        yield
    network.load_state_dict(weights)
    network.train(training)
    optimizer.zero_grad()
    optimizer.load_state_dict(former)


def _tell(budget: Budget, rates: Rates, cases: int, left: float) -> None:
    steps = budget.epochs * budget.steps_per_epoch
    text = f"{steps:,} steps of {rates.step:.2g} s in {budget.epochs} epochs"
    if cases:
        looked_at = "all" if budget.val_cases is None else f"{budget.val_cases} of the"
        every = "each epoch" if budget.val_interval == 1 else f"every {budget.val_interval} epochs"
        text += f", {every} validated on {looked_at} {cases} cases"
    logger.info("about %s on this machine (%s); Ctrl-C is safe.", in_words(left), text)
