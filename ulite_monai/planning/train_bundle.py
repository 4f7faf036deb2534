"""From a planned bundle to a trained one, within the hours given, and evaluated."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from ulite_monai.datasets.json_file import read_json
from ulite_monai.engines.command_line import require_ids
from ulite_monai.engines.running_config import literal
from ulite_monai.errors import input_error
from ulite_monai.planning.largest import keep_largest
from ulite_monai.planning.run_bundle import mean_dice, write_figures
from ulite_monai.planning.run_configs import TIMED, load_configs
from ulite_monai.prediction.evaluate_bundle import evaluate_bundle
from ulite_monai.reports.html import write_report
from ulite_monai.training.checkpoints import TrainingIsComplete

__all__ = ["EVALUATION", "train_bundle"]

logger = logging.getLogger(__name__)

DEFAULT_HOURS = 1.0  # at most, where neither the command nor the plan says how many
EVALUATION = "docs/evaluation"


def train_bundle(
    dataset: str | Path,
    folder: str | Path,
    source: str | Path | None = None,
    hours: float | None = None,
    fold: int | str | None = None,
    num_folds: int | None = None,
    resume: bool = False,
    init_weights: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    started: float | None = None,
    in_ensemble: bool = False,
) -> None:
    """Train by a planned bundle, and evaluate on the cases that validate.

    What this does, `monai.bundle run training` does with the same configuration.

    Args:
        dataset: a labelled data set.
        folder: gets the trained bundle.
        source: the bundle, as `plan_bundle` leaves it; None for `folder`, which is planned, or was interrupted before.
        hours: from `started` to the end of the evaluation. None: until validation shows no improvement, at most what
            the bundle says.
        fold: which part validates, or "all" for a training on all cases that validates on none; None for what the
            bundle says.
        num_folds: how many parts there are; None for what the bundle says.
        resume: whether to go on with a training that was interrupted, by its plan and with what is left of its time.
        init_weights: a checkpoint to start from.
        overrides: values of ids of `train.json`.
        started: `time.monotonic()` when the time began; None for now.
        in_ensemble: whether it is one of several whose ensemble will choose if largest components alone are kept.

    Raises:
        InputError: When the data set, the bundle or a value can't be used; it may be the cause of another error.
        KeyboardInterrupt: After Ctrl-C; the message says what is saved, and how to go on.
    """
    root, started = Path(folder), time.monotonic() if started is None else started
    planned = root if source is None or resume else Path(source)
    config = planned / "configs" / "train.json"
    require_ids(overrides or {}, [config])
    paths = {"bundle_root": literal(planned), "dataset_dir": literal(dataset), "output_dir": literal(root)}
    given: dict[str, Any] = {**paths, "resume": resume, **(overrides or {})}
    given |= {} if fold is None else {"fold": fold}
    given |= {} if num_folds is None else {"num_folds": num_folds}
    given |= {} if init_weights is None else {"init_weights": literal(init_weights)}
    if resume:
        given |= {} if hours is None else {"hours": hours}
    elif "epochs" not in given:
        most = load_configs(planned)["train.json"].get("hours") or DEFAULT_HOURS
        given |= {name: f"$@budget.{name}" for name in TIMED if name not in given}
        given |= {"budget#hours": hours or most, "budget#started": started}
        given |= {"budget#evaluates": True, "patience": given.get("patience", 0 if hours else None)}
    _evaluate(root, dataset, _run(config, given), in_ensemble)


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


def _evaluate(root: Path, dataset: str | Path, number: int | None, in_ensemble: bool) -> None:
    """The figures of the cases that validate, measured as `ulite evaluate` measures, and the report."""
    cases = read_json(root / "docs" / "split.json")["validation"]
    if not cases:
        return
    train, folder = read_json(root / "configs" / "train.json"), root / EVALUATION
    evaluate_bundle(root, dataset, folder, fold=train["fold"], overrides={"val_cases": number, "largest": True})
    of = f"the {len(cases)} validation cases" if number is None else f"{number} of the {len(cases)} validation cases"
    chosen = "which chose the weights"
    if not in_ensemble and keep_largest(root, folder, train["labels"]):
        chosen += " and that largest components alone are kept"
    write_figures(root, f"{of}, {chosen}", mean_dice(read_json(folder / "summary.json")))
    logger.info("report: %s", write_report(root, folder))
