"""One case: refused before the network runs, or segmented and written whole, or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError, reason
from ulite_monai.io.atomic import OutputLost
from ulite_monai.io.images import read_rgb, write_probability_pages
from ulite_monai.io.label_values import class_numbers
from ulite_monai.io.output_folder import OutputFolder
from ulite_monai.io.write_masks import mask_paths, require_writable, write_masks
from ulite_monai.io.write_nifti import write_probabilities
from ulite_monai.prediction.bids_outputs import bids_paths
from ulite_monai.prediction.case_report import input_state, source_of
from ulite_monai.prediction.options import CaseResult, PredictOptions
from ulite_monai.prediction.read_case import Refused, require_fitting
from ulite_monai.prediction.segment_case import SegmentedCase, segment_case
from ulite_monai.prediction.segmenter import Segmenter
from ulite_monai.reports.heads import head_measures
from ulite_monai.reports.preview import write_preview
from ulite_monai.reports.volumes import label_volumes

__all__ = ["output_paths", "predict_case"]

SUFFIXES = {"image": (".png",), "nifti": (".nii", ".nii.gz"), "dicom-seg": (".dcm",)}


def predict_case(
    case: Case,
    outputs: OutputFolder,
    paths: Mapping[str, Path],
    segmenter: Segmenter,
    options: PredictOptions,
    former: CaseResult | None = None,
) -> CaseResult:
    """Segment one case; whatever goes wrong with it is its result.

    Args:
        case: what to segment.
        outputs: where to write.
        paths: the files to write, as `output_paths` has them.
        segmenter: what segments.
        options: what to allow.
        former: what a run that is to be resumed made of the case.

    Raises:
        OutputLost: When the disk takes nothing more.
    """
    started = time.perf_counter()
    result = CaseResult(case.id, source_of(case), input_state=input_state(case))
    try:
        if former is not None and former.input_state == result.input_state != "" and _are_there(paths, outputs):
            result = replace(former, status="skipped")
        else:
            _require_possible(case, outputs, paths, segmenter, options)
            _segment(case, outputs, paths, segmenter, options, result)
    except Refused as refusal:
        result.status, result.message = "refused", str(refusal)
    except OutputLost:
        raise
    except Exception as error:  # whatever a case's file provokes, the next case must run
        result.status, result.message = "failed", reason(error)
    result.seconds = round(time.perf_counter() - started, 3)
    return result


def output_paths(case: Case, folder: Path, mask_name: str | None, options: PredictOptions) -> dict[str, Path]:
    """What is written for a case, by kind.

    Args:
        case: of a volume, a series or an image.
        folder: to write to.
        mask_name: the mask's file name, if it was given.
        options: what to write.

    Raises:
        InputError: When the given name doesn't fit the kind of mask.
    """
    if options.bids:
        return bids_paths(case.id, folder, options.bids, options.probabilities, options.preview)
    paths = mask_paths(folder / case.id, options.format, case.is_image, case.series)
    if mask_name is not None and paths:
        paths[next(iter(paths))] = folder / mask_name
    for kind, path in paths.items():
        if not path.name.lower().endswith(SUFFIXES[kind]):
            raise InputError(f"{path}: a mask of this kind is written as {' or '.join(SUFFIXES[kind])}.")
    if options.probabilities:
        paths["probabilities"] = folder / f"{case.id}_probabilities{'.tif' if case.is_image else '.nii.gz'}"
    if options.preview:
        paths["preview"] = folder / f"{case.id}_preview.png"
    return paths


def _are_there(paths: Mapping[str, Path], outputs: OutputFolder) -> bool:
    return bool(paths) and all(outputs.is_intact(path) for path in paths.values())


def _require_possible(
    case: Case, outputs: OutputFolder, paths: Mapping[str, Path], segmenter: Segmenter, options: PredictOptions
) -> None:
    """Refuse what can be known to fail before the voxels are read."""
    unreadable = [path for path in case.image if path.exists() and not os.access(path, os.R_OK)]
    if unreadable:
        raise InputError(f"{unreadable[0]}: can't be read: permission denied.")
    outputs.require_free(paths.values())
    require_fitting(case, segmenter.takes_volumes, segmenter.channels)
    try:
        require_writable(options.format, case.is_image, case.series, segmenter.labels, _made_by(segmenter))
    except InputError as error:
        raise Refused(str(error)) from None


def _made_by(segmenter: Segmenter) -> dict[str, Any]:
    """The bundle's metadata with the name and version of the weights."""
    name, version = segmenter.algorithm
    return {**segmenter.metadata, "name": name, "version": version}


def _made_of(found: SegmentedCase, segmenter: Segmenter) -> dict[str, Any]:
    """The same, where a case is a whole head with what the metadata says of those."""
    of_heads = segmenter.metadata["heads"] if found.head else {}
    return {**_made_by(segmenter), **of_heads}


def _segment(
    case: Case,
    outputs: OutputFolder,
    paths: Mapping[str, Path],
    segmenter: Segmenter,
    options: PredictOptions,
    result: CaseResult,
) -> None:
    found = segment_case(case, segmenter, options.force, options.resample_tilt, "probabilities" in paths)
    affine, array = (None, None) if case.is_image else (found.grid.affine, found.grid.array)
    result.inference = found.inference
    result.warnings += found.warnings
    result.volumes = label_volumes(found.mask, affine, found.labels, array, found.values)
    if found.head is not None:
        result.measures = head_measures(result.volumes, found.head.intracranial_ml)
    with outputs.writing(paths.values()):
        made_by = _made_of(found, segmenter)
        result.warnings += write_masks(found.mask, found.grid, paths, found.labels, made_by, case.series, found.values)
        _write_more(case, found, paths)
    result.outputs += [str(path) for path in paths.values()]
    result.status = "done" if found.mask.any() else "empty"


def _write_more(case: Case, found: SegmentedCase, paths: Mapping[str, Path]) -> None:
    """The probabilities and the preview, if they are wanted."""
    if "probabilities" in paths:
        assert found.probabilities is not None
        if case.is_image:
            write_probability_pages(found.probabilities, paths["probabilities"])
        else:
            write_probabilities(found.probabilities, found.grid, paths["probabilities"])
    if "preview" in paths:
        array = read_rgb(case.image[0]) if case.is_image else found.grid.array
        mask = class_numbers(found.mask, found.values)
        boxes = [(box.affine, box.shape) for box in found.head.boxes] if found.head else []
        write_preview(array, mask, found.grid.affine, found.labels, paths["preview"], case.id, boxes=boxes)
