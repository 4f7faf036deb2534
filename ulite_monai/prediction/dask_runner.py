"""The cases of a run as tasks of a Dask cluster: workers come, go and die, and every case is done once."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ulite_monai.bundles import BUNDLES
from ulite_monai.datasets.cases import Case
from ulite_monai.engines import worker_process
from ulite_monai.engines.process import cores
from ulite_monai.errors import InputError, input_error, reason
from ulite_monai.io.atomic import THIS_PROCESS, OutputLost, remove_leftovers
from ulite_monai.io.extras import require
from ulite_monai.prediction.case_report import deciding, input_state, source_of
from ulite_monai.prediction.dask_worker import Job, segment_on_worker
from ulite_monai.prediction.options import CaseResult
from ulite_monai.prediction.runners import Work

__all__ = ["DaskRunner"]

logger = logging.getLogger(__name__)

CONNECTING = 30  # seconds


class DaskRunner:
    """Segments cases on the workers of a Dask cluster, which see inputs, outputs and bundle at the same whole paths.

    A worker writes files under temporary names, and this process gives them theirs when it hears of them. So the
    case of a worker that dies is done by another, and nothing of it is there twice. A case that kills every worker that
    takes it, four in a row, has failed.

    Args:
        cluster: the scheduler's address, `tcp://HOST:8786` say, or `local:N` for N processes of this machine.
        bundle, ckpt, device, tta, overrides: as this run's `Segmenter` took them, for those of the workers.

    Raises:
        InputError: When Dask isn't installed, or `local:N` has no number.
    """

    def __init__(
        self,
        cluster: str,
        bundle: str | Path = "hippocampus",
        ckpt: str | Path | None = None,
        device: str = "auto",
        tta: bool = False,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        _require_dask()
        self.cluster = cluster
        self.job = partial(
            Job,
            bundle=str(bundle) if str(bundle) in BUNDLES else _whole(bundle),
            ckpt=None if ckpt is None else _whole(ckpt),
            device=device,
            tta=tta,
            overrides=dict(overrides or {}),
        )
        match = re.fullmatch(r"local:([1-9]\d*)", cluster)
        if cluster.startswith("local") and match is None:
            raise InputError(f"--dask {cluster}: give a number of processes, local:4 say.")
        self.processes = int(match[1]) if match else 0

    def __call__(self, cases: Sequence[Case], work: Work) -> Generator[CaseResult, None, None]:
        """Yield the result of each case when it is done, in any order.

        Raises:
            InputError: When no scheduler answers, the workers can't do what is asked, or the disk takes nothing more.
        """
        from distributed import as_completed

        job = self._job(work)
        with _closing(work), self._client() as client:
            if not client.scheduler_info()["workers"]:
                logger.warning("warning: the Dask cluster at %s has no workers yet; waiting for one.", self.cluster)
            futures = {}
            for case in cases:
                task = (segment_on_worker, job, case, work.paths[case.id], work.former.get(case.id))
                futures[client.submit(*task, key=f"{case.id}-{job.id}", pure=False)] = case
            for future in as_completed(list(futures)):
                case = futures.pop(future)
                work.results[case.id] = _result(future, case, work)
                yield work.results[case.id]

    def _job(self, work: Work) -> Job:
        return self.job(
            id=uuid.uuid4().hex,
            takes_threads="threads" in work.segmenter.ids,
            threads=max(1, cores() // self.processes) if self.processes else 0,
            deciding=deciding(work.segmenter),
            folder=work.outputs.folder,
            part=work.options.part.name if work.options.part else "",
            owner=THIS_PROCESS,
            options=work.options,
        )

    @contextmanager
    def _client(self) -> Iterator[Any]:
        from distributed import Client

        with ExitStack() as stack:
            address: Any = stack.enter_context(_local_cluster(self.processes)) if self.processes else self.cluster
            try:
                client = stack.enter_context(Client(address, timeout=CONNECTING))
            except (OSError, ValueError) as error:
                raise InputError(
                    f"--dask {self.cluster}: no scheduler answers there ({reason(error)}); start one with "
                    "dask scheduler, or give local:N."
                ) from error
            yield client


def _require_dask() -> None:
    """Dask is there, and says nothing of its own but errors: what became of the cases is this program's to say."""
    require("dask", "cluster").config.set({"logging.distributed": "error"})
    require("distributed", "cluster")


def _whole(path: str | Path) -> str:
    return str(Path(path).expanduser().absolute())


@contextmanager
def _local_cluster(processes: int) -> Iterator[Any]:
    """So many worker processes of one case at a time, which share the machine's memory; a dead one is replaced."""
    import psutil
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=processes,
        threads_per_worker=1,
        processes=True,
        memory_limit=psutil.virtual_memory().total // processes,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        preload=worker_process.__name__,
    ) as cluster:
        yield cluster


@contextmanager
def _closing(work: Work) -> Iterator[None]:
    """In the end, what workers wrote and nobody took is deleted; left in the middle, nothing more is written."""
    try:
        yield
    except BaseException:
        work.outputs.close()
        raise
    finally:
        remove_leftovers(work.outputs.folder, of_this_process=True)


def _result(future: Any, case: Case, work: Work) -> CaseResult:
    """What a task came to, once its files have their names."""
    from distributed import KilledWorker

    try:
        result, written = future.result()
    except KilledWorker:
        return _failed(case, "every worker that took it died, perhaps for want of memory; segment it by itself.")
    except OutputLost:
        raise
    except Exception as error:
        known = input_error(error)
        raise known or InputError(
            f"the Dask workers can't segment ({reason(error)}); this version of ulite-monai must be installed there."
        ) from error
    try:
        if written:
            work.outputs.take(written)
    except OutputLost:
        raise
    except InputError as error:
        return _failed(case, str(error))
    return result


def _failed(case: Case, message: str) -> CaseResult:
    return CaseResult(case.id, source_of(case), "failed", message, input_state=input_state(case))
