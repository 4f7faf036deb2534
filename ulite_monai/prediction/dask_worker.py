"""What a Dask worker does: it keeps the network of a run in memory, and segments one case after the other."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError
from ulite_monai.io.output_folder import Written
from ulite_monai.io.staged_outputs import StagedOutputs
from ulite_monai.prediction.case_report import deciding
from ulite_monai.prediction.options import CaseResult, PredictOptions
from ulite_monai.prediction.predict_case import predict_case
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["Job", "segment_on_worker"]


@dataclass(frozen=True)
class Job:
    """What all cases of a run have in common.

    Attributes:
        id: of the run; no other has it.
        bundle, ckpt, device, tta, overrides: as `Segmenter` takes them, with whole paths.
        takes_threads: whether the bundle lets the threads of its network be chosen, which the overrides may have done.
        threads: of the network on each worker; 0 for as many as the worker has.
        deciding: what decides on the masks; the worker's segmenter must have the same.
        folder, part: of the outputs.
        owner: the process that keeps their record.
        options: what to write and to allow.
    """

    id: str
    bundle: str
    ckpt: str | None
    device: str
    tta: bool
    overrides: Mapping[str, Any]
    takes_threads: bool
    threads: int
    deciding: Mapping[str, Any]
    folder: Path
    part: str
    owner: str
    options: PredictOptions


def segment_on_worker(
    job: Job, case: Case, paths: Mapping[str, Path], former: CaseResult | None
) -> tuple[CaseResult, list[Written]]:
    """Segment a case; its files keep temporary names.

    Args:
        job: of the run.
        case: what to segment.
        paths: the files to write, by kind.
        former: what a run that is resumed made of it.

    Returns:
        How it went, and the files to give names to.

    Raises:
        InputError: When the worker's bundle isn't the run's.
        OutputLost: When the disk takes nothing more.
    """
    with _turn:
        if job.id not in _kept:
            _kept.clear()
            _kept[job.id] = _prepare(job)
        segmenter, outputs = _kept[job.id]
    own = copy.copy(outputs)
    own.written = []
    return predict_case(case, own, paths, segmenter, job.options, former), own.written


_turn = threading.Lock()
_kept: dict[str, tuple[Segmenter, StagedOutputs]] = {}  # of the run that the worker is at, alone


def _prepare(job: Job) -> tuple[Segmenter, StagedOutputs]:
    from distributed import get_worker

    worker = get_worker()
    threads = {"threads": job.threads or worker.state.nthreads} if job.takes_threads else {}
    segmenter = Segmenter(job.bundle, job.ckpt, job.device, job.tta, {**threads, **job.overrides})
    differing = [name for name, value in deciding(segmenter).items() if value != job.deciding[name]]
    if differing:
        raise InputError(
            f"the worker at {worker.address} has other {' and '.join(differing)} of {job.bundle} than this "
            "process; give both the same files."
        )
    return segmenter, StagedOutputs(job.folder, job.options.overwrite, job.part, job.owner)
