"""The bundle of a cross-validation: the folds' ensemble, with the figures of masks that no fold had trained on."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from ulite_monai.datasets.json_file import read_json
from ulite_monai.planning.json_text import write_json
from ulite_monai.planning.largest import choose_largest, write_choice
from ulite_monai.planning.run_bundle import mean_dice, write_figures
from ulite_monai.planning.run_metadata import run_metadata
from ulite_monai.planning.train_bundle import EVALUATION
from ulite_monai.reports.evaluation import Evaluation
from ulite_monai.reports.html import write_report
from ulite_monai.reports.metrics import LabelMetrics, summarize
from ulite_monai.reports.metrics_csv import read_metrics, write_metrics

__all__ = ["write_ensemble"]

logger = logging.getLogger(__name__)


def write_ensemble(root: Path, folds: Sequence[Path]) -> None:
    """Make the planned bundle at `root` the ensemble of its trained folds.

    Its configurations name the folds' weights by their place in it, so that it may be moved. A class's largest
    component alone is kept where that raised its mean Dice over all cases, each segmented by the fold that hadn't
    trained on it.

    Args:
        root: holds the folds, and gets `docs/out_of_fold.csv` and a report beside the configurations.
        folds: trained and evaluated bundles of equal configurations.

    Raises:
        InputError: When a fold lacks a file, or the system refuses to write.
    """
    metadata, train = read_json(root / "configs" / "metadata.json"), read_json(folds[0] / "configs" / "train.json")
    labels = read_json(folds[0] / "configs" / "inference.json")["labels"]
    rows, keep = choose_largest(_pooled(folds, "metrics.csv"), _pooled(folds, "largest.csv"), labels)
    ckpt = f"$[@bundle_root + '/%s/models/model.pt' % fold for fold in {[fold.name for fold in folds]}]"
    write_choice(root, folds[0], keep, ckpt=ckpt)
    write_json(root / "configs" / "train.json", train)
    cases = len({row.case_id for row in rows})
    channels = int(train["in_channels"])
    about = f"{cases} cases in {len(folds)} folds, each with its cases in `docs/split.json`"
    write_json(
        root / "configs" / "metadata.json",
        run_metadata(metadata, labels, channels, about, metadata.get("input_ranges", {}), train["label_values"]),
    )
    Evaluation(labels, about={"masks": "each case by the fold that hadn't trained on it"}, rows=rows).write(
        root / EVALUATION, root
    )
    write_metrics(rows, root / "docs" / "out_of_fold.csv")
    summary = summarize(rows, labels)
    write_figures(root, f"{cases} cases, each segmented by the fold that hadn't trained on it", mean_dice(summary))
    if keep:
        logger.info("kept alone: the largest component of %s.", ", ".join(labels[value - 1] for value in keep))
    logger.info("report: %s", write_report(root, root / EVALUATION))
    logger.info("use it: ulite predict --bundle %s -i YOUR_VOLUMES -o MASKS", shlex.quote(str(root)))


def _pooled(folds: Sequence[Path], name: str) -> list[LabelMetrics]:
    return [row for fold in folds for row in read_metrics(fold / EVALUATION / name)]
