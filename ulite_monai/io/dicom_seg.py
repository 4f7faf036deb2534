"""Label maps out, as DICOM Segmentation objects that belong to the series they label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.dicom_quiet import quiet_pydicom
from ulite_monai.io.dicom_series import DicomSeries
from ulite_monai.io.extras import require
from ulite_monai.io.output_folder import SOFTWARE

__all__ = ["write_dicom_seg"]

RESEARCH_USE = "For research use only, not for diagnosis"
SERIES_NUMBER_OFFSET = 1000  # above the scanner's own, so that a viewer lists the result after its source
# Attributes that the standard wants even when they are empty, and that exports leave out.
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    *("PositionReferenceIndicator", "Manufacturer"),
)
# Without these there is nothing that a segmentation could refer to.
NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


def write_dicom_seg(
    mask: np.ndarray,
    series: DicomSeries,
    labels: Sequence[Mapping[str, Any]],
    path: str | Path,
    algorithm_name: str,
    algorithm_version: str,
) -> list[str]:
    """Write `mask` as a binary DICOM Segmentation of `series`.

    Args:
        mask: whole numbers, shape (i, j, k) of `series`; 0 is background.
        series: what was segmented, on its own grid (not one resampled from a tilt).
        labels: one segment each, in this order, also where the mask has none of it:
            `{"value": 1, "name": "...", "category": CODE, "type": CODE}` and, if wanted, `"anatomy": CODE`, where CODE
            is `{"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}`, and `"colour": "#RRGGBB"`,
            in which viewers show the segment.
        path: the file, replaced if it exists, never half written.
        algorithm_name: what made the mask.
        algorithm_version: which version of it.

    Returns:
        What the source's headers lacked and was filled in for the segmentation alone, one sentence each.

    Raises:
        InputError: When highdicom is missing, the series can't be referred to, or the system refuses to write.
        ValueError: When the mask hasn't the series' shape or holds a value that no label declares.
    """
    if series.problem is not None:
        raise InputError(f"{series.id}: {series.problem} A DICOM SEG needs a regular series; write NIfTI instead.")
    if mask.shape != series.shape:
        raise ValueError(f"{series.id}: the mask has shape {mask.shape}, the series {series.shape}.")
    highdicom = require("highdicom", "dicom")
    sources = _read_sources(series)
    notes = _complete(sources, series)
    segments = _segment_numbers(mask, labels)
    try:
        with quiet_pydicom():
            segmentation = highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=np.ascontiguousarray(segments.transpose(2, 1, 0)),  # slices, rows, columns
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=_descriptions(labels, algorithm_name, algorithm_version),
                series_instance_uid=highdicom.UID(),
                series_number=int(sources[0].get("SeriesNumber") or 0) + SERIES_NUMBER_OFFSET,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=SOFTWARE,
                manufacturer_model_name=algorithm_name,
                software_versions=algorithm_version,
                device_serial_number=algorithm_version,
                content_label="SEGMENTATION",
                content_description=RESEARCH_USE,
                series_description=f"{algorithm_name}: {RESEARCH_USE}"[:64],
            )
            _refer_to_frames(segmentation, [one.frame for one in series.slices])
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise InputError(f"{series.id}: no DICOM SEG can refer to it ({error}); write NIfTI instead.") from error
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)
    return notes


def _read_sources(series: DicomSeries) -> list[Any]:
    pydicom = require("pydicom", "dicom")
    with quiet_pydicom():
        return [pydicom.dcmread(file, force=True, stop_before_pixels=True) for file in series.files]


def _complete(sources: Sequence[Any], series: DicomSeries) -> list[str]:
    """Fill and mend, in memory alone, what the standard wants and the headers lack."""
    for keyword in NEEDED:
        if any(not source.get(keyword) for source in sources):
            raise InputError(f"{series.id}: has no {keyword}, so no DICOM SEG can refer to it; write NIfTI instead.")
    if series.slices[0].frames > 1:
        _keep_frames(sources[0], [one.frame for one in series.slices])
        notes = []
    else:
        notes = _complete_slices(sources, series)
    return [*notes, *_leave_empty(sources, series), *_frame_of_reference(sources, series), *_drop_age(sources, series)]


def _keep_frames(source: Any, frames: Sequence[int]) -> None:
    """Leave a multi-frame source only the frames of the series, in its order, with their geometry shared."""
    # A file may hold several volumes at the same positions, which highdicom doesn't take; and it takes the pixels'
    # size and orientation from the shared groups alone. All frames of a series have the same.
    pydicom = require("pydicom", "dicom")
    groups = [source.PerFrameFunctionalGroupsSequence[frame] for frame in frames]
    if not source.get("SharedFunctionalGroupsSequence"):
        source.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
    shared = source.SharedFunctionalGroupsSequence[0]
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if keyword not in shared:
            setattr(shared, keyword, getattr(groups[0], keyword))
    source.PerFrameFunctionalGroupsSequence, source.NumberOfFrames = groups, len(groups)


def _refer_to_frames(segmentation: Any, frames: Sequence[int]) -> None:
    """Turn references to the kept frames into references to the file's, both counted from 1."""
    references = {
        id(reference): reference  # segments of one slice share theirs
        for groups in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in groups.get("DerivationImageSequence", [])
        for reference in derivation.SourceImageSequence
        if "ReferencedFrameNumber" in reference
    }
    for reference in references.values():
        reference.ReferencedFrameNumber = frames[int(reference.ReferencedFrameNumber) - 1] + 1


def _complete_slices(sources: Sequence[Any], series: DicomSeries) -> list[str]:
    assert series.spacing is not None
    for source in sources:  # they differ by rounding at most, or they weren't one series; highdicom wants them equal
        source.ImageOrientationPatient = sources[0].ImageOrientationPatient
    thin = [source for source in sources if not source.get("SliceThickness")]
    for source in thin:
        source.SliceThickness = round(series.spacing[2], 6)
    if not thin:
        return []
    return [f"{series.id}: lacks SliceThickness; the distance between slices was taken in the DICOM SEG."]


def _leave_empty(sources: Sequence[Any], series: DicomSeries) -> list[str]:
    absent = [keyword for keyword in MAY_BE_EMPTY if any(keyword not in source for source in sources)]
    for source in sources:
        for keyword in absent:
            if keyword not in source:
                setattr(source, keyword, None)
    return [f"{series.id}: lacks {', '.join(absent)}; left empty in the DICOM SEG."] if absent else []


def _frame_of_reference(sources: Sequence[Any], series: DicomSeries) -> list[str]:
    if all(source.get("FrameOfReferenceUID") for source in sources):
        return []
    generate_uid = require("pydicom.uid", "dicom").generate_uid
    new = generate_uid(entropy_srcs=[str(sources[0].SeriesInstanceUID), "frame of reference"])
    for source in sources:
        source.FrameOfReferenceUID = new
    return [f"{series.id}: lacks FrameOfReferenceUID; the DICOM SEG has a new one, so viewers may not overlay it."]


def _drop_age(sources: Sequence[Any], series: DicomSeries) -> list[str]:
    malformed = [s for s in sources if s.get("PatientAge") and not re.fullmatch(r"\d{3}[DWMY]", str(s.PatientAge))]
    for source in malformed:
        del source.PatientAge
    return [f"{series.id}: its PatientAge isn't in DICOM's form; left out of the DICOM SEG."] if malformed else []


def _segment_numbers(mask: np.ndarray, labels: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The mask with every label's value replaced by its segment number, counted from 1."""
    numbers = {int(label["value"]): number for number, label in enumerate(labels, 1)}
    undeclared = sorted(set(np.unique(mask).tolist()) - {0, *numbers})
    if undeclared:
        raise ValueError(f"The mask holds {undeclared[0]}, which no label declares ({sorted(numbers)}).")
    segments = np.zeros(mask.shape, dtype=np.uint8 if len(labels) < 256 else np.uint16)
    for value, number in numbers.items():
        segments[mask == value] = number
    return segments


def _descriptions(labels: Sequence[Mapping[str, Any]], algorithm_name: str, algorithm_version: str) -> list[Any]:
    highdicom, codes = require("highdicom", "dicom"), require("pydicom.sr.codedict", "dicom").codes
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=algorithm_name, family=codes.DCM.ArtificialIntelligence, version=algorithm_version
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=str(label["name"])[:64],
            segmented_property_category=_code(label["category"]),
            segmented_property_type=_code(label["type"]),
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            anatomic_regions=[_code(label["anatomy"])] if "anatomy" in label else None,
            display_color=_colour(label["colour"]) if "colour" in label else None,
        )
        for number, label in enumerate(labels, 1)
    ]


def _code(code: Mapping[str, str]) -> Any:
    coding = require("highdicom.sr.coding", "dicom")
    return coding.CodedConcept(value=code["value"], scheme_designator=code["scheme"], meaning=code["meaning"])


def _colour(text: str) -> Any:
    return require("highdicom.color", "dicom").CIELabColor.from_string(text)
