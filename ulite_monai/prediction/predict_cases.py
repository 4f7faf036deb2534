"""Whatever a researcher has, segmented: every case is tried, reported, and written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ulite_monai.datasets.bids import find_bids_cases
from ulite_monai.datasets.cases import Case, find_cases
from ulite_monai.errors import InputError
from ulite_monai.io.atomic import OutputLost
from ulite_monai.io.output_folder import OutputFolder, require_apart
from ulite_monai.prediction.bids_outputs import bids_files, write_bids_files
from ulite_monai.prediction.case_report import HEADS, VOLUMES, CaseReport, former_results, source_of, write_statistics
from ulite_monai.prediction.options import CaseResult, PredictOptions
from ulite_monai.prediction.predict_case import output_paths
from ulite_monai.prediction.runners import Runner, Work, in_threads
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["predict_cases"]


def predict_cases(
    source: str | Path,
    output: str | Path,
    segmenter: Segmenter,
    options: PredictOptions | None = None,
    on_result: Callable[[CaseResult, int, int], None] | None = None,
    run: Runner = in_threads,
) -> list[CaseResult]:
    """Segment every case at `source`, or those of one part.

    Args:
        source: as `find_cases` takes it; with `options.bids` a BIDS dataset.
        output: a folder, made if needed; for one input, also the mask's own file name.
        segmenter: what segments.
        options: what to write and to allow.
        on_result: called after each case with its result, its number from 1, and how many there are.
        run: what segments the cases; by default threads of this process.

    Returns:
        One result a case. `predictions.json` beside the masks holds the same, and the cases that a former run by the
        same weights and settings has left there; so does `volumes.csv`.

    Raises:
        InputError: When nothing is at `source`, two cases would write one file, or `output` can't take what is asked.
        KeyboardInterrupt: When the run is interrupted; the report then holds the cases that were done.
    """
    options = options or PredictOptions()
    if options.jobs < 1:
        raise InputError(f"jobs must be at least 1, got {options.jobs}.")
    if options.bids and options.format != "nifti":
        raise InputError(f"BIDS has masks as NIfTI alone, got the format {options.format}.")
    channels = segmenter.channels if segmenter.takes_volumes else 1  # an image's colours are one file
    cases = find_bids_cases(source) if options.bids else find_cases(source, channels)
    cases, folder, paths = _plan(Path(source).expanduser(), Path(output).expanduser(), cases, options)
    part = options.part
    more: dict[str, Any] = {"bids": options.bids} if options.bids else {}
    if part is not None:
        part.require_same_number(folder)
        more["part"] = part.plan(cases)
        cases = [case for case in cases if part.holds(case.id)]
    outputs = OutputFolder(folder, options.overwrite, part.name if part else "")
    tables = [folder / VOLUMES, *([folder / HEADS] if segmenter.heads else [])] if options.statistics else []
    outputs.require_free([outputs.record, *tables])
    outputs.require_free(bids_files(folder, options.bids).values() if options.bids else [])
    former = former_results(outputs, segmenter, options.resume, part)
    report = CaseReport(outputs, segmenter, former, more)
    report.write([])  # so that a folder that takes nothing is reported once, before the first case
    results: dict[str, CaseResult] = {}
    work = Work(outputs, paths, segmenter, options, former if options.resume else {}, results)
    with _reported(report, results, len(cases)), closing(run(cases, work)) as done:
        for number, result in enumerate(done, start=1):
            report.write(list(results.values()))
            if on_result is not None:
                on_result(result, number, len(cases))
    in_order = [results[case.id] for case in cases]
    if options.statistics and part is None:
        write_statistics(outputs, report.cases(in_order))
    if options.bids and part is None:
        write_bids_files(outputs, options.bids, report.head, report.cases(in_order))
    report.write(in_order, last=True)
    return in_order


@contextmanager
def _reported(report: CaseReport, results: Mapping[str, CaseResult], number: int) -> Iterator[None]:
    """When the block is left in the middle, the report holds what was done until then."""
    try:
        yield
    except BaseException as error:
        with suppress(InputError):
            report.write(list(results.values()), last=True)
        if isinstance(error, OutputLost):
            message = f"{error} {len(results)} of {number} cases were run; make room, and go on with --resume."
            raise InputError(message) from error
        raise


def _plan(
    source: Path, output: Path, cases: list[Case], options: PredictOptions
) -> tuple[list[Case], Path, dict[str, dict[str, Path]]]:
    """The cases, the folder to write to, and each case's files; no input is ever written over, no output twice."""
    folder, mask_name = (output, None) if options.bids else _destination(output, cases)
    above, out = Path(os.path.realpath(source)), Path(os.path.realpath(folder))  # resolve() fails on circles of links
    if source.is_dir() and out == above:
        raise InputError(f"{output}: is the folder of the inputs; give another one for the masks.")
    if source.is_dir() and out.is_relative_to(above):  # masks of a former run are no inputs
        cases = [c for c in cases if not Path(os.path.realpath(c.image[0])).is_relative_to(out)]
    if not cases:
        raise InputError(f"{source}: all of it lies in the output folder {folder}; give another one for the masks.")
    paths = {case.id: output_paths(case, folder, mask_name, options) for case in cases}
    inputs = [source, *(path for case in cases for path in _inputs(case))]
    require_apart({f"{case.id} ({source_of(case)})": paths[case.id].values() for case in cases}, inputs)
    return cases, folder, paths


def _inputs(case: Case) -> list[Path]:
    try:
        return [*case.image, *case.files()]
    except (OSError, InputError):  # its reader reports that better
        return list(case.image)


def _destination(output: Path, cases: Sequence[Case]) -> tuple[Path, str | None]:
    """The folder to write to, and the mask's file name if `output` names one."""
    if not output.name.lower().endswith((".nii", ".nii.gz", ".png", ".dcm")):
        return output, None
    if output.is_dir() or len(cases) != 1:
        raise InputError(f"{output}: is the name of one file, but there are {len(cases)} cases; give a folder.")
    return output.parent, output.name
