"""`predictions.json`: what made the masks, how each case went, and what a resumed run may leave as it is."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ulite_monai.datasets.cases import Case
from ulite_monai.engines.versions import versions
from ulite_monai.errors import InputError
from ulite_monai.io.output_folder import OutputFolder, Record
from ulite_monai.prediction.options import CaseResult
from ulite_monai.prediction.part import Part
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.heads import write_heads_csv
from ulite_monai.reports.volumes import LabelVolume, write_volumes_csv

__all__ = [
    "HEADS",
    "VOLUMES",
    "CaseReport",
    "are_intact",
    "deciding",
    "former_results",
    "input_state",
    "made_by",
    "results_in",
    "source_of",
    "write_statistics",
]

logger = logging.getLogger(__name__)

VOLUMES, HEADS = "volumes.csv", "heads.csv"
DECIDING = ("weights", "overrides", "tta", "settings")  # what of a record decides on the masks
SAME_MASKS = ("engine", "threads", "max_memory")  # what a resumed run may choose otherwise
REPORT_SHARE = 0.05  # of a run's time at most, for writing its report


class CaseReport:
    """Written while the cases are done, so that an interrupted run has it too.

    Args:
        outputs: where.
        segmenter: what made the masks.
        former: what is still true of the cases that this run hasn't done, or not yet.
        more: what the record says beside: of a part of a cohort `part`, of a BIDS dataset `bids`.
    """

    def __init__(
        self,
        outputs: OutputFolder,
        segmenter: Segmenter,
        former: Mapping[str, CaseResult],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.outputs = outputs
        self.former = former
        name, version = segmenter.algorithm
        self.head = {
            "algorithm": {"name": name, "version": version},
            "bundle": {name: segmenter.metadata.get(name) for name in ("name", "version")},
            **deciding(segmenter),
            "ckpt": [str(file) for file in segmenter.ckpts],
            "engine": getattr(segmenter.network, "engine", "torch"),
            "precision": getattr(segmenter.network, "precision", "float32"),
            "device": str(segmenter.device),
            "versions": versions(),
            "intended_use": "Research only. The output is not for diagnosis or treatment.",
            **(more or {}),
        }
        self.next_time = 0.0

    def cases(self, results: Sequence[CaseResult]) -> list[CaseResult]:
        """All that the folder holds, if `results` are this run's."""
        done = {result.id for result in results}
        return [*results, *(result for result in self.former.values() if result.id not in done)]

    def write(self, results: Sequence[CaseResult], last: bool = False) -> None:
        """Write it, unless that would take too much of the run's time; the last time always.

        Raises:
            InputError: When the system refuses to write.
        """
        started = time.perf_counter()
        if started < self.next_time and not last:
            return
        self.outputs.write_record(self.head | {"cases": [asdict(case) for case in self.cases(results)]}, last)
        ended = time.perf_counter()
        self.next_time = ended + (ended - started) / REPORT_SHARE


def former_results(
    outputs: OutputFolder, segmenter: Segmenter, resume: bool, part: Part | None = None
) -> dict[str, CaseResult]:
    """What former runs into a folder by the same weights and settings did and is still there, by case id.

    Args:
        outputs: the folder.
        segmenter: what makes the masks now.
        resume: whether this run is to resume those; then the log warns where it can't.
        part: of the cohort, whose cases alone are wanted.
    """
    found: dict[str, CaseResult] = {}
    for record in outputs.formers:
        if record.content and made_by(record) != deciding(segmenter):
            if resume:
                logger.warning(
                    "%s: was made by other weights or settings; every case is done again.", record.path.parent
                )
            continue
        results = [result for result in results_in(record) if part is None or part.holds(result.id)]
        found |= {result.id: result for result in results if are_intact(result, record, outputs)}
    return found


def made_by(record: Record) -> dict[str, Any]:
    """What decides on the masks, as a record says it."""
    return {name: record.content.get(name) for name in DECIDING}


def results_in(record: Record) -> list[CaseResult]:
    """How each case went; none where the record is of another version of this program."""
    try:
        return [
            CaseResult(**{**entry, "volumes": [LabelVolume(**volume) for volume in entry["volumes"]]})
            for entry in record.content["cases"]
        ]
    except (TypeError, KeyError):
        return []


def are_intact(result: CaseResult, record: Record, outputs: OutputFolder) -> bool:
    """Whether a case has masks and all its files are as the record says; `outputs` lists them from then on."""
    is_done = result.status in ("done", "empty", "skipped")
    return is_done and all(outputs.adopt(_place(outputs, result, path), record) for path in result.outputs)


def write_statistics(outputs: OutputFolder, results: Sequence[CaseResult]) -> None:
    """Write `volumes.csv`, and where there are whole heads `heads.csv`, ordered by case.

    Raises:
        InputError: When it belongs to somebody else, or the system refuses to write.
    """
    rows = {case.id: case.volumes for case in results if case.volumes}
    with outputs.writing([outputs.folder / VOLUMES]):
        write_volumes_csv(dict(sorted(rows.items())), outputs.folder / VOLUMES)
    heads = {case.id: case.measures for case in results if case.measures}
    if heads:
        with outputs.writing([outputs.folder / HEADS]):
            write_heads_csv(dict(sorted(heads.items())), outputs.folder / HEADS)


def _place(outputs: OutputFolder, result: CaseResult, path: str) -> Path:
    """Where a recorded output lies below the folder, which may have been moved since.

    It lies where the case's id says, which may name subfolders, or in the folder itself where the output was named.
    """
    place = outputs.folder / Path(result.id).parent / Path(path).name
    return place if place.exists() else outputs.folder / Path(path).name


def source_of(case: Case) -> str:
    """Where the case lies: its (first) file, or the folder that holds the files of its series."""
    return str(case.image[0]) if case.series is None else os.path.commonpath(case.series.files or case.image)


def input_state(case: Case) -> str:
    """Of the files of a case: how many, their bytes, and a digest of each one's size and time of modification."""
    try:
        states = [file.stat() for file in case.files()]
    except (OSError, InputError):  # its reader reports that better
        return ""
    digest = hashlib.sha256(repr([(state.st_size, state.st_mtime_ns) for state in states]).encode()).hexdigest()
    return f"{len(states)} files, {sum(state.st_size for state in states)} bytes, {digest[:16]}"


def _locator(segmenter: Segmenter) -> dict[str, str]:
    return {"locator_sha256": segmenter.heads.weights_sha256} if segmenter.heads else {}


def deciding(segmenter: Segmenter) -> dict[str, Any]:
    """What decides on the masks, as the records of a segmenter's runs say it."""
    return {
        "weights": {"sha256": segmenter.weights_sha256, **_locator(segmenter)},
        "overrides": {name: str(value) for name, value in segmenter.overrides.items() if name not in SAME_MASKS},
        "tta": segmenter.tta,
        "settings": {name: str(value) for name, value in segmenter.settings.items()},
    }
