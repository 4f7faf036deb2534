"""Whatever a researcher has, segmented: every case is tried, reported, and written whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ulite_monai.errors import InputError, reason
from ulite_monai.io.atomic import atomic_path, remove_leftovers
from ulite_monai.io.cases import REPORT, Case, find_cases
from ulite_monai.io.coding import coded_labels
from ulite_monai.io.images import open_image, read_rgb, write_mask, write_probability_pages
from ulite_monai.io.read_volume import load_readers
from ulite_monai.io.replaceable import require_replaceable
from ulite_monai.io.write_nifti import write_label_map, write_probabilities
from ulite_monai.prediction.read_case import Refused, is_image, read_case, require_fitting
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.preview import write_preview
from ulite_monai.reports.volumes import LabelVolume, label_volumes, write_volumes_csv
from ulite_monai.runtime.versions import versions
from ulite_monai.transforms.save_segmentation import source_grid

__all__ = ["CaseResult", "PredictOptions", "predict_cases"]

logger = logging.getLogger(__name__)

Format = Literal["nifti", "dicom-seg", "both"]
KINDS_OF_MASK = {"nifti", "image", "dicom-seg"}
SAME_MASKS = ("engine", "threads", "max_memory")  # what a resumed run may choose otherwise
REPORT_SHARE = 0.05  # of a run's time at most, for writing its report


@dataclass(frozen=True)
class PredictOptions:
    """What to write beside the mask, and what to allow.

    Attributes:
        format: "nifti", "dicom-seg" (of DICOM series), or "both".
        statistics: write `volumes.csv`.
        preview: write `<case id>_preview.png`.
        probabilities: write `<case id>_probabilities.nii.gz`, float32, the classes along the fourth axis; of a 2D
            image `<case id>_probabilities.tif`, 32-bit floats, a page a class.
        force: segment volumes outside the ranges that the bundle states.
        resume: leave cases whose outputs are there.
        resample_tilt: resample DICOM series with a gantry tilt instead of refusing them.
        jobs: cases that are read, written and drawn at the same time; the network still runs on one after the other.
    """

    format: Format = "nifti"
    statistics: bool = False
    preview: bool = False
    probabilities: bool = False
    force: bool = False
    resume: bool = False
    resample_tilt: bool = False
    jobs: int = 1


@dataclass
class CaseResult:
    """How one case went.

    Attributes:
        id: the case's.
        input: what was read: a file (the first of several channels), or the folder of a DICOM series.
        input_state: how many files that is, their bytes, and when the last was modified (seconds since 1970).
        status: "done", "empty" (done, and nothing found), "skipped" (was there already), "refused" or "failed".
        message: why it was refused or failed.
        seconds: that it took.
        inference: in words, whether the network ran in one pass or in windows, and how large those were; where
            `max_memory` is None, this depends on the memory that was free.
        outputs: the files written.
        volumes: voxels and mL of each label.
        warnings: what a reader of the mask should know.
    """

    id: str
    input: str
    status: Literal["done", "empty", "skipped", "refused", "failed"] = "done"
    message: str = ""
    seconds: float = 0.0
    inference: str = ""
    input_state: str = ""
    outputs: list[str] = field(default_factory=list)
    volumes: list[LabelVolume] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def predict_cases(
    source: str | Path,
    output: str | Path,
    segmenter: Segmenter,
    options: PredictOptions | None = None,
    on_result: Callable[[CaseResult, int, int], None] | None = None,
) -> list[CaseResult]:
    """Segment every case at `source`.

    Args:
        source: as `find_cases` takes it.
        output: a folder, made if needed; for one input, also the mask's own file name.
        segmenter: what segments.
        options: what to write and to allow.
        on_result: called after each case with its result, its number from 1, and how many there are.

    Returns:
        One result a case. `predictions.json` beside the masks holds the same, and the cases that a former run by the
        same weights and settings has left there; so does `volumes.csv`.

    Raises:
        InputError: When nothing is at `source`, or `output` can't take what is asked.
    """
    options = options or PredictOptions()
    if options.jobs < 1:
        raise InputError(f"jobs must be at least 1, got {options.jobs}.")
    cases = find_cases(source, segmenter.channels if segmenter.takes_volumes else 1)  # an image's colours are one file
    cases, folder, mask_name = _plan(Path(source).expanduser(), Path(output).expanduser(), cases, options)
    remove_leftovers(folder)
    former = _former_results(folder, segmenter, options.resume)
    report = _Report(folder / REPORT, segmenter, former)
    results: list[CaseResult] = []

    def run(case: Case) -> CaseResult:
        done = former.get(case.id) if options.resume else None
        return _predict_case(case, folder, mask_name, segmenter, options, done)

    load_readers(path for case in cases for path in case.image)
    with ThreadPoolExecutor(max_workers=options.jobs) as pool:
        for number, result in enumerate(pool.map(run, cases), start=1):
            results.append(result)
            report.write(results, last=number == len(cases))
            if on_result is not None:
                on_result(result, number, len(cases))
    if options.statistics:
        rows = {case.id: case.volumes for case in report.cases(results) if case.volumes}
        write_volumes_csv(dict(sorted(rows.items())), folder / "volumes.csv")
    return results


def _plan(
    source: Path, output: Path, cases: list[Case], options: PredictOptions
) -> tuple[list[Case], Path, str | None]:
    """The cases, the folder to write to, and the mask's name if `output` gives it; no input is ever written over."""
    folder, mask_name = _destination(output, cases)
    above, out = Path(os.path.realpath(source)), Path(os.path.realpath(folder))  # resolve() fails on circles of links
    if source.is_dir() and out == above:
        raise InputError(f"{output}: is the folder of the inputs; give another one for the masks.")
    if source.is_dir() and out.is_relative_to(above):  # masks of a former run are no inputs
        cases = [c for c in cases if not Path(os.path.realpath(c.image[0])).is_relative_to(out)]
    if not cases:
        raise InputError(f"{source}: all of it lies in the output folder {folder}; give another one for the masks.")
    inputs = {os.path.realpath(path) for case in cases for path in case.image}
    for case in cases:
        for path in _paths(case, folder, mask_name, options).values():
            if os.path.realpath(path) in inputs:
                raise InputError(f"{path}: is an input and would be overwritten; give another output folder.")
    return cases, folder, mask_name


def _destination(output: Path, cases: Sequence[Case]) -> tuple[Path, str | None]:
    """The folder to write to, and the mask's file name if `output` names one."""
    if not output.name.lower().endswith((".nii", ".nii.gz", ".png", ".dcm")):
        return output, None
    if output.is_dir() or len(cases) != 1:
        raise InputError(f"{output}: is the name of one file, but there are {len(cases)} cases; give a folder.")
    return output.parent, output.name


def _predict_case(
    case: Case,
    folder: Path,
    mask_name: str | None,
    segmenter: Segmenter,
    options: PredictOptions,
    former: CaseResult | None,
) -> CaseResult:
    started = time.perf_counter()
    result = CaseResult(case.id, _source(case), input_state=_state(case))
    try:
        paths = _paths(case, folder, mask_name, options)
        same = former is not None and former.input_state == result.input_state != ""
        if former is not None and same and paths and all(path.exists() for path in paths.values()):
            result = replace(former, status="skipped")
        else:
            for kind in KINDS_OF_MASK & set(paths):
                require_replaceable(paths[kind])
            require_fitting(case, segmenter.takes_volumes, segmenter.channels)
            if options.format == "dicom-seg" and case.series is None and not is_image(case):
                raise Refused("a DICOM SEG needs a DICOM series; write NIfTI with --format nifti.")
            if "dicom-seg" in paths:
                _require_encodable(case, segmenter)
            _segment(case, paths, segmenter, options, result)
    except Refused as refusal:
        result.status, result.message = "refused", str(refusal)
    except Exception as error:  # whatever a case's file provokes, the next case must run
        result.status, result.message = "failed", reason(error)
    result.seconds = round(time.perf_counter() - started, 3)
    return result


def _source(case: Case) -> str:
    """Where the case lies: its (first) file, or the folder that holds the files of its series."""
    return str(case.image[0]) if case.series is None else os.path.commonpath(case.series.files or case.image)


def _state(case: Case) -> str:
    try:
        states = [file.stat() for file in case.files()]
    except OSError:  # reading it tells that better
        return ""
    newest = max((state.st_mtime for state in states), default=0.0)
    return f"{len(states)} files, {sum(state.st_size for state in states)} bytes, {newest}"


def _former_results(folder: Path, segmenter: Segmenter, resume: bool) -> dict[str, CaseResult]:
    """What a former run into `folder` by the same weights and settings did and is still there, by case id."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if {name: report[name] for name in ("weights", "overrides", "tta", "settings")} != _made_by(segmenter):
            if resume:
                logger.warning("%s: was made by other weights or settings; every case is done again.", folder)
            return {}
        results = [
            CaseResult(**{**entry, "volumes": [LabelVolume(**volume) for volume in entry["volumes"]]})
            for entry in report["cases"]
        ]
    except (OSError, ValueError, TypeError, KeyError):  # none, or of another version: nothing is skipped
        return {}
    done = [result for result in results if result.status in ("done", "empty", "skipped")]
    return {result.id: result for result in done if all(_is_there(folder, result.id, path) for path in result.outputs)}


def _is_there(folder: Path, case_id: str, path: str) -> bool:
    """Whether a recorded output lies below `folder` still, which may have been moved since.

    It lies where the case's id says, which may name subfolders, or in `folder` itself where the output was named.
    """
    name = Path(path).name
    return (folder / Path(case_id).parent / name).exists() or (folder / name).exists()


def _paths(case: Case, folder: Path, mask_name: str | None, options: PredictOptions) -> dict[str, Path]:
    """What is written for a case, by kind."""
    paths = {}
    if is_image(case):
        paths["image"] = folder / (mask_name or f"{case.id}.png")
    if not is_image(case) and options.format != "dicom-seg":
        paths["nifti"] = folder / (mask_name or f"{case.id}.nii.gz")
    if case.series is not None and options.format != "nifti":
        paths["dicom-seg"] = folder / (mask_name if mask_name and not paths else f"{case.id}.seg.dcm")
    for kind, suffixes in (("image", (".png",)), ("nifti", (".nii", ".nii.gz")), ("dicom-seg", (".dcm",))):
        if kind in paths and not paths[kind].name.lower().endswith(suffixes):
            raise InputError(f"{paths[kind]}: a mask of this kind is written as {' or '.join(suffixes)}.")
    if options.probabilities:
        paths["probabilities"] = folder / f"{case.id}_probabilities{'.tif' if is_image(case) else '.nii.gz'}"
    if options.preview:
        paths["preview"] = folder / f"{case.id}_preview.png"
    return paths


def _segment(
    case: Case, paths: Mapping[str, Path], segmenter: Segmenter, options: PredictOptions, result: CaseResult
) -> None:
    item = case.item()
    volume = None
    if is_image(case):
        open_image(case.image[0])  # the bundle's reader says less of what it can't read
    else:
        tilted = options.resample_tilt or segmenter.resamples_tilt
        item["image"] = read_case(case, segmenter.metadata, options.force, tilted, segmenter.on_nonfinite)
        volume = item["image"][0]
    found = segmenter(item, with_probabilities="probabilities" in paths)
    result.inference = found.inference
    grid = source_grid(found.meta) if volume is None else volume
    if found.mask.shape != grid.array.shape:
        raise InputError(f"the mask of shape {found.mask.shape} isn't on the input's grid {grid.array.shape}.")
    result.warnings += [line for line in str(found.meta.get("warnings", "")).splitlines() if line]
    result.volumes = (
        label_volumes(found.mask, None, segmenter.labels)
        if volume is None
        else label_volumes(found.mask, volume.affine, segmenter.labels, volume.array)
    )
    result.status = "done" if found.mask.any() else "empty"
    for kind, path in paths.items():
        if kind == "nifti":
            write_label_map(found.mask, grid, path)
        elif kind == "image":
            write_mask(found.mask, path, len(segmenter.labels))
        elif kind == "probabilities":
            assert found.probabilities is not None
            if volume is None:
                write_probability_pages(found.probabilities, path)
            else:
                write_probabilities(found.probabilities, volume, path)
        elif kind == "dicom-seg":
            result.warnings += _write_seg(case, found.mask, path, segmenter)
        elif volume is None:
            write_preview(read_rgb(case.image[0]), found.mask, np.eye(4), segmenter.labels, path, case.id)
        else:
            write_preview(volume.array, found.mask, volume.affine, segmenter.labels, path, case.id)
        result.outputs.append(str(path))


def _require_encodable(case: Case, segmenter: Segmenter) -> None:
    from ulite_monai.io.dicom_seg import require_encodable

    assert case.series is not None
    try:
        require_encodable(case.series, coded_labels(segmenter.metadata, segmenter.labels), *segmenter.algorithm)
    except InputError as error:
        raise Refused(str(error)) from error


def _write_seg(case: Case, mask: np.ndarray, path: Path, segmenter: Segmenter) -> list[str]:
    from ulite_monai.io.dicom_seg import write_dicom_seg

    assert case.series is not None
    labels = coded_labels(segmenter.metadata, segmenter.labels)
    return write_dicom_seg(mask, case.series, labels, path, *segmenter.algorithm)


def _made_by(segmenter: Segmenter) -> dict[str, Any]:
    """Of a report: what decides on the masks."""
    return {
        "weights": {"sha256": segmenter.weights_sha256},
        "overrides": {name: str(value) for name, value in segmenter.overrides.items() if name not in SAME_MASKS},
        "tta": segmenter.tta,
        "settings": {name: str(value) for name, value in segmenter.settings.items()},
    }


class _Report:
    """`predictions.json`, written while the cases are done, so that an interrupted run has it too."""

    def __init__(self, path: Path, segmenter: Segmenter, former: Mapping[str, CaseResult]) -> None:
        self.path = path
        self.former = former  # still true of the cases that this run hasn't done, or not yet
        name, version = segmenter.algorithm
        self.head = {
            "algorithm": {"name": name, "version": version},
            "bundle": {name: segmenter.metadata.get(name) for name in ("name", "version")},
            **_made_by(segmenter),
            "ckpt": [str(file) for file in segmenter.ckpts],
            "recorded": segmenter.recorded,
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

    def write(self, results: Sequence[CaseResult], last: bool) -> None:
        """Write it, unless that would take too much of the run's time; the last time always."""
        started = time.perf_counter()
        if started < self.next_time and not last:
            return
        with atomic_path(self.path) as path:
            text = json.dumps(self.head | {"cases": [asdict(case) for case in self.cases(results)]}, indent=2)
            path.write_text(text + "\n", encoding="utf-8")
        ended = time.perf_counter()
        self.next_time = ended + (ended - started) / REPORT_SHARE
