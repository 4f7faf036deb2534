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
from ulite_monai.io.output_folder import OutputFolder
from ulite_monai.prediction.options import CaseResult
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.volumes import LabelVolume

__all__ = ["CaseReport", "former_results", "input_state", "source_of"]

logger = logging.getLogger(__name__)

SAME_MASKS = ("engine", "threads", "max_memory")  # what a resumed run may choose otherwise
REPORT_SHARE = 0.05  # of a run's time at most, for writing its report


class CaseReport:
    """Written while the cases are done, so that an interrupted run has it too.

    Args:
        outputs: where.
        segmenter: what made the masks.
        former: what is still true of the cases that this run hasn't done, or not yet.
    """

    def __init__(self, outputs: OutputFolder, segmenter: Segmenter, former: Mapping[str, CaseResult]) -> None:
        self.outputs = outputs
        self.former = former
        name, version = segmenter.algorithm
        self.head = {
            "algorithm": {"name": name, "version": version},
            "bundle": {name: segmenter.metadata.get(name) for name in ("name", "version")},
            **_made_by(segmenter),
            "ckpt": [str(file) for file in segmenter.ckpts],
            "engine": getattr(segmenter.network, "engine", "torch"),
            "precision": getattr(segmenter.network, "precision", "float32"),
            "device": str(segmenter.device),
            "versions": versions(),
            "intended_use": "Research only. The output is not for diagnosis or treatment.",
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


def former_results(outputs: OutputFolder, segmenter: Segmenter, resume: bool) -> dict[str, CaseResult]:
    """What a former run into a folder by the same weights and settings did and is still there, by case id.

    Args:
        outputs: the folder.
        segmenter: what makes the masks now.
        resume: whether this run is to resume that one; then the log warns where it can't.
    """
    report = outputs.former
    try:
        if report and {name: report[name] for name in ("weights", "overrides", "tta", "settings")} != _made_by(
            segmenter
        ):
            if resume:
                logger.warning("%s: was made by other weights or settings; every case is done again.", outputs.folder)
            return {}
        results = [
            CaseResult(**{**entry, "volumes": [LabelVolume(**volume) for volume in entry["volumes"]]})
            for entry in report["cases"]
        ]
    except (TypeError, KeyError):  # none, or of another way in: nothing is skipped
        return {}
    done = [result for result in results if result.status in ("done", "empty", "skipped")]
    return {
        result.id: result
        for result in done
        if all(outputs.is_intact(_place(outputs, result, path)) for path in result.outputs)
    }


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


def _made_by(segmenter: Segmenter) -> dict[str, Any]:
    """Of a report: what decides on the masks."""
    return {
        "weights": {"sha256": segmenter.weights_sha256},
        "overrides": {name: str(value) for name, value in segmenter.overrides.items() if name not in SAME_MASKS},
        "tta": segmenter.tta,
        "settings": {name: str(value) for name, value in segmenter.settings.items()},
    }
