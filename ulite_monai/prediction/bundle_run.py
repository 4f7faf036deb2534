"""The `run` of inference.json: what `ulite predict` does, with the configuration that MONAI is evaluating."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ulite_monai.datasets.cases import case_items, find_cases
from ulite_monai.errors import InputError
from ulite_monai.prediction.options import CaseResult, PredictOptions
from ulite_monai.prediction.predict_cases import predict_cases
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["items", "run_bundle"]

logger = logging.getLogger(__name__)


def items(dataset_dir: str | None, channels: int = 1) -> list[dict[str, Any]]:
    """The cases at `dataset_dir`, of images of so many channels, as a MONAI data list; see `find_cases`.

    Raises:
        InputError: When it isn't given, or nothing is there.
    """
    return case_items(find_cases(_given(dataset_dir), channels))


def run_bundle(dataset_dir: str | None, output_dir: str | Path, **options: Any) -> None:
    """Segment every case at `dataset_dir`.

    Args:
        dataset_dir: as `predict_cases` takes its source.
        output_dir: a folder, made if needed.
        options: of `PredictOptions`.

    Raises:
        InputError: When nothing is there, or `output_dir` can't take what is asked; at the end, when a case was
            refused or failed: it names each of them.
    """
    source = _given(dataset_dir)
    results = predict_cases(source, output_dir, Segmenter.of_running_config(), PredictOptions(**options), _log)
    missing = [result for result in results if result.status in ("failed", "refused")]
    if missing:
        lines = "".join(f"\nerror: {result.id}: {result.message}" for result in missing)
        raise InputError(f"{len(missing)} of {len(results)} cases failed:{lines}")


def _given(dataset_dir: str | None) -> str:
    if not dataset_dir:
        raise InputError("dataset_dir is not set: give a volume, a folder or a data list, --dataset_dir PATH.")
    return dataset_dir


def _log(result: CaseResult, number: int, total: int) -> None:
    for warning in result.warnings:
        logger.warning("warning: %s: %s", result.id, warning)
    if result.message:
        logger.error("case %d of %d, %s: %s: %s", number, total, result.id, result.status, result.message)
    else:
        way = ", a whole head" if result.measures else ""
        logger.info("case %d of %d, %s: %s, %.1f s%s", number, total, result.id, result.status, result.seconds, way)
