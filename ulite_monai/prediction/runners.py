"""Where the cases of a run are segmented: in threads of this process, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ulite_monai.datasets.cases import Case
from ulite_monai.io.atomic import remove_leftovers
from ulite_monai.io.output_folder import OutputFolder
from ulite_monai.io.read_volume import load_readers
from ulite_monai.prediction.options import CaseResult, PredictOptions
from ulite_monai.prediction.predict_case import predict_case
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["Runner", "Work", "in_threads"]


@dataclass(frozen=True)
class Work:
    """What every case of a run is done with.

    Attributes:
        outputs: where to write.
        paths: the files of each case by kind, by its id.
        segmenter: what segments.
        options: what to write and to allow.
        former: what a run that is resumed made of a case, by its id.
        results: gets the result of each case as soon as it is done, by its id.
    """

    outputs: OutputFolder
    paths: Mapping[str, Mapping[str, Path]]
    segmenter: Segmenter
    options: PredictOptions
    former: Mapping[str, CaseResult]
    results: dict[str, CaseResult]


# Yields a result a case. Closed in the middle, it waits for nothing, and nothing more is written.
Runner = Callable[[Sequence[Case], Work], Generator[CaseResult, None, None]]


def in_threads(cases: Sequence[Case], work: Work) -> Generator[CaseResult, None, None]:
    """Segment the cases in `options.jobs` threads; the results come in the order of the cases."""

    def run(case: Case) -> CaseResult:
        result = predict_case(
            case, work.outputs, work.paths[case.id], work.segmenter, work.options, work.former.get(case.id)
        )
        work.results[case.id] = result
        return result

    load_readers(path for case in cases for path in case.image)
    with _stoppable_pool(work.options.jobs, work.outputs) as pool:
        yield from pool.map(run, cases)


@contextmanager
def _stoppable_pool(jobs: int, outputs: OutputFolder) -> Iterator[ThreadPoolExecutor]:
    """Threads that, when the block is left in the middle, aren't waited for and write nothing more."""
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        yield pool
    except BaseException:
        outputs.close()
        pool.shutdown(wait=False, cancel_futures=True)
        remove_leftovers(outputs.folder, of_this_process=True)
        raise
    pool.shutdown()
