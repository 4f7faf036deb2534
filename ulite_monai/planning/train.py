"""From a labelled data set to a bundle: planned, trained within the hours given, evaluated."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from ulite_monai.engines.command_line import require_ids
from ulite_monai.engines.running_config import literal
from ulite_monai.errors import InputError, input_error
from ulite_monai.planning.plan_bundle import plan_bundle
from ulite_monai.planning.run_bundle import write_figures
from ulite_monai.planning.run_configs import TIMED, load_configs
from ulite_monai.prediction.evaluate_bundle import evaluate_bundle
from ulite_monai.reports.html import write_report
from ulite_monai.training.checkpoints import LAST, TrainingIsComplete

__all__ = ["train_bundle", "train_dataset"]

logger = logging.getLogger(__name__)

DEFAULT_HOURS = 1.0  # at most, where neither the command nor the plan says how many
QUICK_HOURS = 1 / 12
EVALUATION = "docs/evaluation"


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
    """Plan where there is no plan yet, then train; the work of `ulite train`.

    Args:
        dataset: a labelled data set.
        folder: gets the bundle.
        quick: five minutes.
        group, dims: as `plan_bundle` takes them.
        hours, fold, num_folds, resume, init_weights, overrides: as `train_bundle` takes them.

    Raises:
        InputError: When the data set, the bundle or a value can't be used.
        KeyboardInterrupt: After Ctrl-C; the message says how to go on.
    """
    root, started = Path(folder), time.monotonic()
    hours = QUICK_HOURS if quick else hours
    if hours is not None and not hours > 0:
        raise InputError(f"--hours must be above 0, got {hours:g}.")
    if _is_trained(root) and not resume:
        raise InputError(f"{root}: holds a training already; go on with it by --resume, or give another folder.")
    if resume and not (root / "models" / LAST).is_file():
        raise InputError(f"{root}: has nothing to go on with: no epoch is complete; give the command without --resume.")
    given = dict(overrides or {})
    if not (root / "configs" / "train.json").is_file():
        plan = plan_bundle(dataset, root, dims, group, given, hours or DEFAULT_HOURS)
        for line in plan.lines():
            logger.info("%s", line)
        given = {}
    try:
        train_bundle(dataset, root, hours, fold, num_folds, resume, init_weights, given, started)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(root)) from None


def _is_trained(root: Path) -> bool:
    return any((root / "models").glob("*"))


def _how_to_go_on(root: Path) -> str:
    if not (root / "models" / LAST).is_file():
        return "interrupted before the first epoch was complete; the same command starts again."
    return f"interrupted: {root} holds what the complete epochs came to; the same command with --resume goes on."


def train_bundle(
    dataset: str | Path,
    folder: str | Path,
    hours: float | None = None,
    fold: int | str | None = None,
    num_folds: int | None = None,
    resume: bool = False,
    init_weights: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    started: float | None = None,
) -> None:
    """Train a planned bundle in place, and evaluate it on the cases that validate.

    What this does, `monai.bundle run training` does with the same configuration.

    Args:
        dataset: a labelled data set.
        folder: the bundle, as `plan_bundle` leaves it, or interrupted before.
        hours: from `started` to the end of the evaluation. None: until validation shows no improvement, at most what
            the bundle says.
        fold: which part validates, or "all" for a training on all cases that validates on none; None for what the
            bundle says.
        num_folds: how many parts there are; None for what the bundle says.
        resume: whether to go on with a training that was interrupted, by its plan and with what is left of its time.
        init_weights: a checkpoint to start from.
        overrides: values of ids of `train.json`.
        started: `time.monotonic()` when the time began; None for now.

    Raises:
        InputError: When the data set, the bundle or a value can't be used; it may be the cause of another error.
        KeyboardInterrupt: After Ctrl-C; the message says what is saved, and how to go on.
    """
    root, started = Path(folder), time.monotonic() if started is None else started
    config = root / "configs" / "train.json"
    require_ids(overrides or {}, [config])
    paths = {"bundle_root": literal(root), "dataset_dir": literal(dataset), "output_dir": literal(root)}
    given: dict[str, Any] = {**paths, "resume": resume, **(overrides or {})}
    given |= {} if fold is None else {"fold": fold}
    given |= {} if num_folds is None else {"num_folds": num_folds}
    given |= {} if init_weights is None else {"init_weights": literal(init_weights)}
    if resume:
        given |= {} if hours is None else {"hours": hours}
    elif "epochs" not in given:
        planned = load_configs(root)["train.json"].get("hours")
        given |= {name: f"$@budget.{name}" for name in TIMED if name not in given}
        given |= {"budget#hours": hours or planned or DEFAULT_HOURS, "budget#started": started}
        given |= {"budget#evaluates": True, "patience": given.get("patience", 0 if hours else None)}
    _evaluate(root, dataset, _run(config, given))


def _run(config: Path, given: Mapping[str, Any]) -> int | None:
    """Train; returns how many cases there is time to evaluate, None for all."""
    workflow = ConfigWorkflow(
        config_file=str(config),
        meta_file=str(config.with_name("metadata.json")),
        logging_file=False,
        **given,
    )
    try:
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except Exception as error:
        if not isinstance(input_error(error), TrainingIsComplete):
            raise
        logger.info("all epochs are trained already.")
    timed = "budget#hours" in given
    return workflow.parser.get_parsed_content("budget").evaluated if timed else None


def _evaluate(root: Path, dataset: str | Path, number: int | None) -> None:
    """The figures of the cases that validate, measured as `ulite evaluate` measures, and the report."""
    cases = json.loads((root / "docs" / "split.json").read_text(encoding="utf-8"))["validation"]
    if not cases:
        return
    fold = json.loads((root / "configs" / "train.json").read_text(encoding="utf-8"))["fold"]
    evaluate_bundle(root, dataset, root / EVALUATION, fold=fold, overrides={"val_cases": number})
    summary = json.loads((root / EVALUATION / "summary.json").read_text(encoding="utf-8"))
    dice = {name: one["dice"]["mean"] for name, one in summary["labels"].items() if one["dice"] is not None}
    of = f"the {len(cases)} validation cases" if number is None else f"{number} of the {len(cases)} validation cases"
    write_figures(root, f"{of}, which chose the weights", dice)
    logger.info("report: %s", write_report(root, root / EVALUATION))
