"""Checkpoints of a training: the best weights, and the state to resume from."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.training.averaging import AveragedWeights
from ulite_monai.training.distributed import is_first

__all__ = ["CheckpointHandler", "TrainingIsComplete", "class_dice"]

logger = logging.getLogger(__name__)

BEST, LAST = "model.pt", "last.ckpt"
# Of a schedule's state: what the configuration says, which a resumed run may change, unlike how far it has come.
SCHEDULE_LENGTH = ("t_total", "warmup_steps")


class TrainingIsComplete(InputError):
    """A training that is to be resumed has come to its end."""


class CheckpointHandler:
    """Handler of a trainer that writes `model.pt` when the validation's key metric improves, `last.ckpt` each epoch.

    `model.pt` is the flat state dict of the averaged network, which is the one validated; `last.ckpt` holds all that a
    resumption needs. (MONAI Label offers every `.pt` beside a bundle's weights as a model, hence its suffix.) Both are
    written under a temporary name and renamed, by the first process of a distributed training. Training ends early
    when a validation shows that the key metric hasn't improved for `patience` epochs.

    Args:
        folder: where the two files go; made if needed.
        trained: the network being trained.
        average: the handler that averages its weights.
        optimizer: its optimizer.
        scheduler: its learning rate scheduler.
        evaluator: the validation engine, whose key metric is "better when higher".
        patience: epochs without improvement after which training ends; 0 never ends it, None is a third of all.
        computed_by: what changes the last bits of a result: the device, how many threads, ...; a resumed run may
            differ, and then says so.
        clock: the handler that keeps to the training's hours, see `KeepTime`; None for none.

    Attributes:
        best, best_epoch: the highest value of the key metric, and its epoch; 0 where no validation counted.
        best_dice: Dice of each class in that epoch.
    """

    def __init__(
        self,
        folder: str | Path,
        trained: nn.Module,
        average: AveragedWeights,
        optimizer: torch.optim.Optimizer,
        scheduler: Any,
        evaluator: Engine,
        patience: int | None = 0,
        computed_by: Mapping[str, Any] | None = None,
        clock: Any = None,
    ) -> None:
        self.folder = Path(folder)
        self.computed_by = {name: str(value) for name, value in (computed_by or {}).items()}
        self.evaluator = evaluator
        self.patience = patience
        self.average = average
        self.parts: dict[str, Any] = {
            "network": _unwrapped(trained),
            "average": average.average,
            "optimizer": optimizer,
            "scheduler": scheduler,
            **({} if clock is None else {"clock": clock}),
        }
        self.best = float("-inf")
        self.best_epoch = 0
        self.best_dice: list[float] = []
        self.trainer: Engine | None = None

    def attach(self, engine: Engine) -> None:
        """Save when an epoch of the trainer `engine` is over; attach it after the validation handler."""
        self.trainer = engine
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        validated = self._validated(engine.state.epoch)
        improved = validated and self._improved(engine.state.epoch)
        if is_first():
            files = {self.folder / LAST: self._state(engine)}
            if improved or not self.best_epoch:  # until a validation counts, the newest weights are the best known
                files[self.folder / BEST] = self.average.model.state_dict()
            _save(files)
        if validated and self._is_stale(engine.state.epoch):
            logger.info("no improvement since epoch %d: training ends.", self.best_epoch)
            engine.terminate()

    def _validated(self, epoch: int) -> bool:
        """Whether the epoch was validated, and on a case with a structure: without one the metric is NaN."""
        validation: Any = self.evaluator.state
        return validation.epoch == epoch and not math.isnan(self._metric())

    def _metric(self) -> float:
        validation: Any = self.evaluator.state
        return float(validation.metrics[validation.key_metric_name])

    def _improved(self, epoch: int) -> bool:
        if not self._metric() > self.best:
            return False
        self.best, self.best_epoch, self.best_dice = self._metric(), epoch, class_dice(self.evaluator)
        return True

    def _is_stale(self, epoch: int) -> bool:
        assert self.trainer is not None
        all_epochs = self.trainer.state.max_epochs or 0
        patience = max(1, all_epochs // 3) if self.patience is None else self.patience
        return bool(patience and self.best_epoch and epoch - self.best_epoch >= patience)

    def _state(self, engine: Engine) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        scaler = getattr(engine, "scaler", None)
        return state | {
            "scaler": scaler.state_dict() if scaler is not None else None,
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_dice": self.best_dice,
            "random_state": torch.get_rng_state(),
            "computed_by": self.computed_by,
        }

    def start(self, resume: bool, overwrite: bool, in_place: bool = False) -> None:
        """Before the trainer runs: resume, or see that no other run's checkpoints are lost, or taken for this one's.

        Those that are to be replaced become `model.old.pt` and `last.old.ckpt` at once: the bundle's
        configurations are about to say something else than what they are.

        Args:
            resume: whether to go on from `last.ckpt`.
            overwrite: whether a new run may replace the checkpoints of another.
            in_place: whether the configurations stay as they are; the weights then stay until an epoch has others.

        Raises:
            InputError: When the folder holds another run, or when it can't be resumed; see `resume`.
        """
        if resume:
            self.resume()
        elif not overwrite and not in_place and any((self.folder / name).exists() for name in (LAST, BEST)):
            raise InputError(
                f"{self.folder}: holds a training already; go on with it by --resume True, replace it by "
                "--overwrite True, or give another --output_dir."
            )
        elif is_first():
            put_aside = shutil.copyfile if in_place else os.replace
            for file in (self.folder / BEST, self.folder / LAST):
                if file.exists():
                    put_aside(file, file.with_suffix(f".old{file.suffix}"))

    def advice(self) -> str:
        """How to go on with a training that was interrupted, in a clause."""
        if not (self.folder / LAST).exists():
            return "no epoch is complete, so nothing is saved: start again."
        return f"{self.folder} holds what the complete ones came to: go on by the same command with --resume True."

    def resume(self) -> None:
        """Go on from `last.ckpt`: the next run of the trainer starts with the epoch after it.

        Raises:
            InputError: When there is no `last.ckpt`, or when it is of another network, or has come to its end.
        """
        path = self.folder / LAST
        if not path.is_file():
            raise InputError(f"{path}: there is no checkpoint to resume from; give the --output_dir of the run.")
        state = torch.load(path, map_location="cpu", weights_only=True)
        self._note_changes(state.get("computed_by", {}))
        assert self.trainer is not None
        length = self.trainer.state.epoch_length
        if state["epoch_length"] != length:
            raise InputError(
                f"{path}: was made with {state['epoch_length']} iterations an epoch, now there are {length}; resume "
                "with the same data, fold and batch size."
            )
        try:
            for name, part in self.parts.items():
                if name == "scheduler":
                    _load_schedule(part, state[name])
                else:
                    part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(
                f"{path}: is of another network or optimizer ({str(error).splitlines()[0]}); resume with the run's own "
                "command."
            ) from None
        self.best, self.best_epoch, self.best_dice = state["best"], state["best_epoch"], state["best_dice"]
        if state["epoch"] >= (self.trainer.state.max_epochs or 0):
            raise TrainingIsComplete(f"{path}: has all of its {state['epoch']} epochs; give more --epochs to go on.")
        if self._is_stale(state["epoch"]):
            raise TrainingIsComplete(
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

    def _note_changes(self, former: Mapping[str, Any]) -> None:
        changes = [
            f"{name} was {former[name]}, now {value}"
            for name, value in self.computed_by.items()
            if name in former and former[name] != value
        ]
        if changes:
            logger.warning(
                "warning: %s: the weights won't be those of a run that wasn't interrupted, to the last bit.",
                "; ".join(changes),
            )


def class_dice(evaluator: Engine) -> list[float]:
    """Dice of each class, the mean over the cases of an evaluator's last run; empty where its metric has none."""
    state: Any = evaluator.state
    details = getattr(state, "metric_details", {}).get(state.key_metric_name)
    return [] if details is None else torch.as_tensor(details).nanmean(dim=0).flatten().tolist()


def _load_schedule(scheduler: Any, former: Mapping[str, Any]) -> None:
    present = scheduler.state_dict()
    scheduler.load_state_dict({**former, **{name: present[name] for name in SCHEDULE_LENGTH if name in present}})
    if isinstance(scheduler, LambdaLR):  # the optimizer came with the rate of the former length
        groups = scheduler.optimizer.param_groups
        for group, base, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
            group["lr"] = base * factor(scheduler.last_epoch)


def _save(files: Mapping[Path, Mapping[str, Any]]) -> None:
    """Write all of the files or, where the disk refuses one, none."""
    with ExitStack() as stack:
        for path, state in files.items():
            temporary = stack.enter_context(atomic_path(path))
            # Through a file of Python's: it says why the disk refuses, torch's own writer doesn't.
            with temporary.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())  # a full disk may say so only now; what follows just renames


def _unwrapped(network: nn.Module) -> nn.Module:
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network
