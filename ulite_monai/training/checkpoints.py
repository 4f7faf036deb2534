"""Checkpoints of a training: the best weights, and the state to resume from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.training.averaging import AveragedWeights

__all__ = ["KeepBestAndLast"]

logger = logging.getLogger(__name__)

BEST, LAST = "model.pt", "last.ckpt"


class KeepBestAndLast:
    """Handler of a trainer that writes `model.pt` when the validation's key metric improves, `last.ckpt` each epoch.

    `model.pt` is the flat state dict of the averaged network, which is the one validated; `last.ckpt` holds all that a
    resumption needs. (MONAI Label offers every `.pt` beside a bundle's weights as a model, hence its suffix.) Both are
    written under a temporary name and renamed. Training ends early when the key metric hasn't improved for `patience`
    epochs.

    Args:
        folder: where the two files go; made if needed.
        trained: the network being trained.
        average: the handler that averages its weights.
        optimizer: its optimizer.
        scheduler: its learning rate scheduler.
        evaluator: the validation engine, whose key metric is "better when higher".
        patience: epochs without improvement after which training ends; 0 never ends it.
    """

    def __init__(
        self,
        folder: str | Path,
        trained: nn.Module,
        average: AveragedWeights,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        evaluator: Engine,
        patience: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self.evaluator = evaluator
        self.patience = patience
        self.average = average
        self.parts: dict[str, Any] = {
            "network": _unwrapped(trained),
            "average": average.average,
            "optimizer": optimizer,
            "scheduler": scheduler,
        }
        self.best = float("-inf")
        self.best_epoch = 0
        self.trainer: Engine | None = None

    def attach(self, engine: Engine) -> None:
        """Save when an epoch of the trainer `engine` is over; attach it after the validation handler."""
        self.trainer = engine
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        improved = self._improved(engine)
        if improved or not self.best_epoch:  # until a validation counts, the newest weights are the best known
            _save(self.average.model.state_dict(), self.folder / BEST)
        _save(self._state(engine), self.folder / LAST)
        if self._is_stale(engine.state.epoch):
            logger.info("no improvement since epoch %d: training ends.", self.best_epoch)
            engine.terminate()

    def _improved(self, engine: Engine) -> bool:
        validation: Any = self.evaluator.state
        if validation.epoch != engine.state.epoch:
            return False
        metric = float(validation.metrics[validation.key_metric_name])
        if not metric > self.best:  # also where it is NaN, no validation case holding any label
            return False
        self.best, self.best_epoch = metric, engine.state.epoch
        return True

    def _is_stale(self, epoch: int) -> bool:
        return bool(self.patience and self.best_epoch and epoch - self.best_epoch >= self.patience)

    def _state(self, engine: Engine) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        scaler = getattr(engine, "scaler", None)
        return state | {
            "scaler": scaler.state_dict() if scaler is not None else None,
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "random_state": torch.get_rng_state(),
        }

    def resume(self) -> None:
        """Go on from `last.ckpt`: the next run of the trainer starts with the epoch after it.

        Raises:
            InputError: When there is no `last.ckpt`, or when it is of another network or data set.
        """
        path = self.folder / LAST
        if not path.is_file():
            raise InputError(f"{path}: there is no checkpoint to resume from; give the --output_dir of the run.")
        state = torch.load(path, map_location="cpu", weights_only=True)
        assert self.trainer is not None
        length = self.trainer.state.epoch_length
        if state["epoch_length"] != length:
            raise InputError(
                f"{path}: was made with {state['epoch_length']} iterations an epoch, now there are {length}; resume "
                "with the same data, fold and batch size."
            )
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f"{path}: is of another network or optimizer ({str(error).splitlines()[0]}).") from None
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        if state["epoch"] >= (self.trainer.state.max_epochs or 0):
            raise InputError(f"{path}: has all of its {state['epoch']} epochs; give more --epochs to go on.")
        if self._is_stale(state["epoch"]):
            raise InputError(
                f"{path}: ended early, no improvement since epoch {self.best_epoch}; give more --patience to go on."
            )
        scaler = getattr(self.trainer, "scaler", None)
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random_state"])
        self.trainer.load_state_dict(
            {"epoch": state["epoch"], "epoch_length": length, "max_epochs": self.trainer.state.max_epochs}
        )
        logger.info("resumed after epoch %d of %s.", state["epoch"], path)


def _save(state: dict[str, Any], path: Path) -> None:
    # Through a file of Python's: it says why the disk refuses, torch's own writer doesn't.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def _unwrapped(network: nn.Module) -> nn.Module:
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
