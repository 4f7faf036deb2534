"""The work of `ulite train`: from a labelled data set to a bundle, or to an ensemble of a cross-validation's folds."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ulite_monai.errors import InputError
from ulite_monai.planning.ensemble_bundle import write_ensemble
from ulite_monai.planning.plan_bundle import plan_bundle
from ulite_monai.planning.train_bundle import DEFAULT_HOURS, EVALUATION, train_bundle
from ulite_monai.training.checkpoints import LAST

__all__ = ["train_dataset"]

logger = logging.getLogger(__name__)

QUICK_HOURS = 1 / 12


def train_dataset(
    dataset: str | Path,
    folder: str | Path,
    hours: float | None = None,
    quick: bool = False,
    fold: int | str | None = None,
    num_folds: int | None = None,
    resume: bool = False,
    init_weights: str | Path | None = None,
    group: str | None = None,
    dims: str = "auto",
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Plan where there is no plan yet, then train one fold, or with `num_folds` alone all of them.

    Args:
        dataset: a labelled data set.
        folder: gets the bundle; with all folds, theirs are in `fold0`, `fold1`, ... and it becomes their ensemble.
        hours: for all of it, the folds one after the other; None for at most what the plan says, each.
        quick: five minutes.
        group, dims: as `plan_bundle` takes them.
        fold, num_folds, resume, init_weights, overrides: as `train_bundle` takes them.

    Raises:
        InputError: When the data set, the bundle or a value can't be used.
        KeyboardInterrupt: After Ctrl-C; the message says how to go on.
    """
    root, started = Path(folder), time.monotonic()
    hours = QUICK_HOURS if quick else hours
    if hours is not None and not hours > 0:
        raise InputError(f"--hours must be above 0, got {hours:g}.")
    folds = [root / f"fold{number}" for number in range(num_folds or 0)] if fold is None else []
    _require_expected(root, folds or [root], resume)
    given = dict(overrides or {})
    try:
        if not (root / "configs" / "train.json").is_file():
            for line in plan_bundle(dataset, root, dims, group, given, hours or DEFAULT_HOURS).lines():
                logger.info("%s", line)
            given = {}
        options: dict[str, Any] = {"init_weights": init_weights, "overrides": given, "in_ensemble": bool(folds)}
        if folds:
            _train_folds(dataset, root, folds, hours, started, options)
        else:
            train_bundle(
                dataset, root, hours=hours, fold=fold, num_folds=num_folds, resume=resume, started=started, **options
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(root, folds or [root])) from None


def _train_folds(
    dataset: str | Path, root: Path, folds: list[Path], hours: float | None, started: float, options: Mapping[str, Any]
) -> None:
    """Train what isn't trained yet, in equal parts of the time that is left."""
    started -= sum(map(_spent, folds))
    for number, folder in enumerate(folds):
        if (folder / EVALUATION / "summary.json").is_file():
            continue
        goes_on = (folder / "models" / LAST).is_file()
        left = None if hours is None else hours - (time.monotonic() - started) / 3600
        share = None if left is None or goes_on else max(left / (len(folds) - number), 0.1 * (hours or 0) / len(folds))
        logger.info("fold %d of %d: %s", number, len(folds), folder)
        train_bundle(dataset, folder, root, share, number, len(folds), goes_on, started=time.monotonic(), **options)
    write_ensemble(root, folds)


def _spent(folder: Path) -> float:
    """Seconds that a fold has taken, as far as it has come."""
    if not (folder / "models" / LAST).is_file():
        return 0.0
    train = json.loads((folder / "configs" / "train.json").read_text(encoding="utf-8"))
    state = torch.load(folder / "models" / LAST, map_location="cpu", weights_only=True)
    return float(state["clock"]["spent"]) + 3600 * float(train["reserve"])


def _require_expected(root: Path, folders: list[Path], resume: bool) -> None:
    """A training that is there goes on by `resume` alone, and only one that is there."""
    trained = any(any((folder / "models").glob("*")) for folder in (root, *root.glob("fold*")))
    if trained and not resume:
        raise InputError(f"{root}: holds a training already; go on with it by --resume, or give another folder.")
    if resume and not any((folder / "models" / LAST).is_file() for folder in folders):
        raise InputError(f"{root}: has nothing to go on with: no epoch is complete; give the command without --resume.")


def _how_to_go_on(root: Path, folders: list[Path]) -> str:
    if not any((folder / "models" / LAST).is_file() for folder in folders):
        return "interrupted before the first epoch was complete; the same command starts again."
    return f"interrupted: {root} holds what the complete epochs came to; the same command with --resume goes on."
