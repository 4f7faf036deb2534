"""Whatever a researcher has, segmented: every case is tried, reported, and written whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ulite_monai.errors import InputError, reason
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.cases import IMAGE_SUFFIXES, Case, find_cases
from ulite_monai.io.images import as_rgb, write_mask
from ulite_monai.io.references import read_reference
from ulite_monai.io.volume import Volume
from ulite_monai.io.write_nifti import write_label_map
from ulite_monai.prediction.ranges import outside_ranges
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.preview import write_preview
from ulite_monai.reports.volumes import LabelVolume, label_volumes, write_volumes_csv
from ulite_monai.runtime.versions import versions
from ulite_monai.transforms.save_segmentation import source_grid

__all__ = ["CaseResult", "PredictOptions", "predict_cases"]

Format = Literal["nifti", "dicom-seg", "both"]


@dataclass(frozen=True)
class PredictOptions:
    """What to write beside the mask, and what to allow.

    Attributes:
        format: "nifti", "dicom-seg" (of DICOM series), or "both".
        statistics: write `volumes.csv`.
        preview: write `<case id>_preview.png`.
        force: segment volumes outside the ranges that the bundle states.
        resume: leave cases whose outputs are there.
        resample_tilt: resample DICOM series with a gantry tilt instead of refusing them.
    """

    format: Format = "nifti"
    statistics: bool = False
    preview: bool = False
    force: bool = False
    resume: bool = False
    resample_tilt: bool = False


@dataclass
class CaseResult:
    """How one case went.

    Attributes:
        id: the case's.
        input: what was read.
        status: "done", "empty" (done, and nothing found), "skipped" (was there already), "refused" or "failed".
        message: why it was refused or failed.
        seconds: that it took.
        outputs: the files written.
        volumes: voxels and mL of each label.
        warnings: what a reader of the mask should know.
    """

    id: str
    input: str
    status: Literal["done", "empty", "skipped", "refused", "failed"] = "done"
    message: str = ""
    seconds: float = 0.0
    outputs: list[str] = field(default_factory=list)
    volumes: list[LabelVolume] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Refused(Exception):
    pass


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
        One result a case. `predictions.json` beside the masks holds the same.

    Raises:
        InputError: When nothing is at `source`, or `output` can't take what is asked.
    """
    options = options or PredictOptions()
    cases = find_cases(source)
    folder, mask_name = _destination(Path(output), cases)
    results = []
    for number, case in enumerate(cases, start=1):
        results.append(_predict_case(case, folder, mask_name, segmenter, options))
        _write_report(folder, results, segmenter)  # after each case: an interrupted run has its report too
        if on_result is not None:
            on_result(results[-1], number, len(cases))
    if options.statistics:
        write_volumes_csv({r.id: r.volumes for r in results if r.volumes}, folder / "volumes.csv")
    return results


def _destination(output: Path, cases: Sequence[Case]) -> tuple[Path, str | None]:
    """The folder to write to, and the mask's file name if `output` names one."""
    if not output.name.lower().endswith((".nii", ".nii.gz", ".png", ".dcm")):
        return output, None
    if output.is_dir() or len(cases) != 1:
        raise InputError(f"{output}: is the name of one file, but there are {len(cases)} cases; give a folder.")
    return output.parent, output.name


def _predict_case(
    case: Case, folder: Path, mask_name: str | None, segmenter: Segmenter, options: PredictOptions
) -> CaseResult:
    started = time.perf_counter()
    result = CaseResult(case.id, str(case.image[0]))
    try:
        paths = _paths(case, folder, mask_name, options)
        if options.resume and all(path.exists() for path in paths.values()):
            result.status = "skipped"
        else:
            _segment(case, paths, segmenter, options, result)
    except _Refused as refusal:
        result.status, result.message = "refused", str(refusal)
    except Exception as error:  # whatever a case's file provokes, the next case must run
        result.status, result.message = "failed", reason(error)
    result.seconds = round(time.perf_counter() - started, 3)
    return result


def _paths(case: Case, folder: Path, mask_name: str | None, options: PredictOptions) -> dict[str, Path]:
    if _is_image(case):
        paths = {"image": folder / (mask_name or f"{case.id}.png")}
    else:
        if options.format == "dicom-seg" and case.series is None:
            raise _Refused("a DICOM SEG needs a DICOM series; write NIfTI with --format nifti.")
        paths = {}
        if options.format != "dicom-seg":
            paths["nifti"] = folder / (mask_name or f"{case.id}.nii.gz")
        if options.format != "nifti" and case.series is not None:
            paths["dicom-seg"] = folder / (mask_name if mask_name and not paths else f"{case.id}.seg.dcm")
    if options.preview:
        paths["preview"] = folder / f"{case.id}_preview.png"
    return paths


def _is_image(case: Case) -> bool:
    return case.series is None and case.image[0].name.lower().endswith(IMAGE_SUFFIXES)


def _segment(
    case: Case, paths: Mapping[str, Path], segmenter: Segmenter, options: PredictOptions, result: CaseResult
) -> None:
    item = case.item()
    volume = None if _is_image(case) else _read(case, segmenter, options)
    if volume is not None:
        item["image"] = [volume, *(read_reference(str(path), "replace") for path in case.image[1:])]
    found = segmenter(item)
    grid = source_grid(found.meta)
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
            write_mask(found.mask, path)
        elif kind == "dicom-seg":
            result.warnings += _write_seg(case, found.mask, path, segmenter)
        elif volume is None:
            write_preview(_picture(case.image[0]), found.mask, np.eye(4), segmenter.labels, path, case.id)
        else:
            write_preview(volume.array, found.mask, volume.affine, segmenter.labels, path, case.id)
        result.outputs.append(str(path))


def _read(case: Case, segmenter: Segmenter, options: PredictOptions) -> Volume:
    """The case's volume, or its first channel; refused where it can't be used or isn't what the bundle is for."""
    series = case.series
    if series is not None and series.problem is not None and not (series.tilt and options.resample_tilt):
        raise _Refused(series.problem)
    reference = case.item()["image"]
    first = reference if isinstance(reference, str) else reference[0]
    volume = read_reference(first, "replace", options.resample_tilt)
    if not options.force:
        modality = "" if series is None else series.modality
        outside = outside_ranges(volume.array.shape, volume.affine, modality, segmenter.metadata)
        if outside is not None:
            raise _Refused(f"{outside}; a mask of it can't be relied on. --force segments it all the same.")
    return volume


def _picture(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(as_rgb(picture)).transpose(1, 0, 2)


def _write_seg(case: Case, mask: np.ndarray, path: Path, segmenter: Segmenter) -> list[str]:
    from ulite_monai.io.dicom_seg import write_dicom_seg

    assert case.series is not None
    codes = segmenter.metadata.get("label_codes", {})
    labels = [
        {"value": value, "name": name, **codes.get(name, UNCODED)} for value, name in enumerate(segmenter.labels, 1)
    ]
    return write_dicom_seg(mask, case.series, labels, path, segmenter.metadata["name"], segmenter.metadata["version"])


UNCODED = {
    "category": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
    "type": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
}


def _write_report(folder: Path, results: Sequence[CaseResult], segmenter: Segmenter) -> None:
    report = {
        "bundle": {name: segmenter.metadata.get(name) for name in ("name", "version")},
        "device": str(segmenter.device),
        "versions": versions(),
        "intended_use": "Research only. The output is not for diagnosis or treatment.",
        "cases": [asdict(result) for result in results],
    }
    with atomic_path(folder / "predictions.json") as path:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
