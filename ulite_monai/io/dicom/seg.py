"""Label maps out, as DICOM Segmentation objects that belong to the series they label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.affine import LPS_TO_RAS, spacing_of
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.dicom.header import finder
from ulite_monai.io.dicom.quiet import quiet_pydicom
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.dicom.text import complete_character_sets
from ulite_monai.io.dicom.values import text, value
from ulite_monai.io.extras import require
from ulite_monai.io.output_folder import SOFTWARE

__all__ = ["require_encodable", "write_dicom_seg"]

Reference = tuple[str, str, int | None]  # SOP class and instance, and the frame from 1 where a file has several
WRITE_NIFTI = "write NIfTI instead (--format nifti)"
UTF_8 = "ISO_IR 192"  # holds the text of every other character set
RESEARCH_USE = "For research use only, not for diagnosis"
SERIES_NUMBER_OFFSET = 1000  # above the scanner's own, so that a viewer lists the result after its source
# Attributes that the standard wants even when they are empty, and that exports leave out.
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    *("PositionReferenceIndicator", "Manufacturer"),
)
# The forms of what highdicom copies; it takes no other.
DATE = "([0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01]))?"
TIME = r"(([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9](\.[0-9]{1,6})?)?)?)?"
FORMS = {
    "PatientAge": "([0-9]{3}[DWMY])?",
    "PatientSex": "[MFO]?",
    "PatientBirthDate": DATE,
    "StudyDate": DATE,
    "StudyTime": TIME,
}
OF_A_SLICE = ("SOPInstanceUID", "ImagePositionPatient")
# Without these there is nothing that a segmentation could refer to.
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def require_encodable(
    series: DicomSeries, labels: Sequence[Mapping[str, Any]], algorithm_name: str, algorithm_version: str
) -> None:
    """Refuse a series that no DICOM SEG can belong to, by its headers alone, before anything is computed.

    Args:
        series: what is to be segmented.
        labels, algorithm_name, algorithm_version: as `write_dicom_seg` takes them.

    Raises:
        InputError: With the reason.
    """
    sources, _, _ = _sources(series)
    one_slice = np.ones((1, *series.slices[0].size), dtype=np.uint8)
    with quiet_pydicom():
        _encode(one_slice, series, sources[:1], labels, algorithm_name, algorithm_version).save_as(BytesIO())


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
            `{"value": 1, "name": "...", "category": CODE, "type": CODE}` and, if wanted, `"laterality": CODE` (left or
            right, a modifier of the type), `"anatomy": CODE`, where CODE is
            `{"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"}`, and `"colour": "#RRGGBB"`,
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
    sources, references, notes = _sources(series)
    if mask.shape != series.shape:
        raise ValueError(f"{series.id}: the mask has shape {mask.shape}, the series {series.shape}.")
    segments = np.ascontiguousarray(_segment_numbers(mask, labels).transpose(2, 1, 0))  # slices, rows, columns
    segmentation = _encode(segments, series, sources, labels, algorithm_name, algorithm_version)
    _refer_to_files(segmentation, references)
    with atomic_path(path) as temporary, quiet_pydicom():
        segmentation.save_as(temporary)
    return notes


def _encode(
    segments: np.ndarray,
    series: DicomSeries,
    sources: Sequence[Any],
    labels: Sequence[Mapping[str, Any]],
    algorithm_name: str,
    algorithm_version: str,
) -> Any:
    highdicom = require("highdicom", "dicom")
    made_by = f"{algorithm_name} {algorithm_version}"[:63]
    try:
        with quiet_pydicom():
            return highdicom.seg.Segmentation(
                source_images=sources,
                pixel_array=segments,
                segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=_descriptions(labels, algorithm_name[:64], algorithm_version[:64]),
                series_instance_uid=highdicom.UID(),
                series_number=max(0, int(sources[0].get("SeriesNumber") or 0)) + SERIES_NUMBER_OFFSET,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=SOFTWARE,
                manufacturer_model_name=algorithm_name[:64],
                software_versions=algorithm_version[:64],
                device_serial_number=algorithm_version[:64],
                content_label="SEGMENTATION",
                content_description=RESEARCH_USE,
                content_creator_name=_person_name(made_by),
                series_description=f"{made_by[: 64 - len(RESEARCH_USE) - 2]}: {RESEARCH_USE}",
                specific_character_set=UTF_8,
            )
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise InputError(f"{series.id}: no DICOM SEG can refer to it ({error}); {WRITE_NIFTI}.") from error


def _person_name(made_by: str) -> str:
    """A name in DICOM's form, whose family name alone is given."""
    return re.sub(r"[\\^=]", " ", made_by) + "^"


def _sources(series: DicomSeries) -> tuple[list[Any], list[Reference], list[str]]:
    """What highdicom builds on: a header for each slice, as if each were a classic file of one frame.

    So a segmentation may belong to whatever `find_series` puts together: frames of one file or of several, one volume
    of many in a file, private kinds of images.

    Returns:
        The headers, what each stands for, and what was filled in, one sentence each.
    """
    if series.problem is not None:
        raise InputError(f"{series.id}: {_without_grid(series)}")
    root, notes = _root(series)
    identities = {file: _identity(file, series) for file in series.files}
    studies, frames_of_reference = ({identity[n] for identity in identities.values()} - {""} for n in (2, 3))
    if max(len(studies), len(frames_of_reference)) > 1:
        raise InputError(f"{series.id}: its files name several studies or frames of reference; {WRITE_NIFTI}.")
    pydicom, uid = require("pydicom", "dicom"), require("pydicom.uid", "dicom")
    sources, references = [], []
    for number, one in enumerate(series.slices, 1):
        source = pydicom.Dataset()
        source.update(root)
        source.SOPInstanceUID = f"{uid.PYDICOM_ROOT_UID}{number}"
        source.ImagePositionPatient = _decimals(one.position)
        sources.append(source)
        sop_class, instance, _, _ = identities[one.file]
        references.append((sop_class, instance, one.frame + 1 if one.frames > 1 else None))
    return sources, references, notes


def _without_grid(series: DicomSeries) -> str:
    if series.tilt:
        return (
            f"its slices are tilted by {series.tilt:.2f} degrees, and no DICOM SEG can lie on the grid that they are "
            "resampled to; write NIfTI alone, --format nifti with --resample-tilt."
        )
    return f"{series.problem} A DICOM SEG needs a regular series; {WRITE_NIFTI}."


def _identity(file: Path, series: DicomSeries) -> tuple[str, str, str, str]:
    pydicom = require("pydicom", "dicom")
    with quiet_pydicom():
        tags = [*NEEDED, "FrameOfReferenceUID"]
        header = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=tags)
    for keyword in NEEDED:
        if not text(header, keyword):
            raise InputError(f"{series.id}: has no {keyword}, so no DICOM SEG can refer to it; {WRITE_NIFTI}.")
    sop_class, instance, study, *_ = (text(header, keyword) for keyword in NEEDED)
    return sop_class, instance, study, text(header, "FrameOfReferenceUID")


def _root(series: DicomSeries) -> tuple[Any, list[str]]:
    """What all slices have in common, in memory alone, mended where the standard wants it; and what was mended."""
    pydicom, uid = require("pydicom", "dicom"), require("pydicom.uid", "dicom")
    first = series.slices[0]
    complete_character_sets()
    with quiet_pydicom():
        root = pydicom.dcmread(first.file, force=True, stop_before_pixels=True)
        thickness = finder(root, first.frame)("SliceThickness")
        malformed = [keyword for keyword, form in FORMS.items() if not re.fullmatch(form, text(root, keyword))]
        for element in list(root.keys()):
            if value(root, element) is None:  # reading it also decodes it by the file's own character set
                del root[element]
    for keyword in (*malformed, *OF_A_SLICE):
        root.pop(keyword, None)
    arent = "aren't" if len(malformed) > 1 else "isn't"
    notes = [f"its {', '.join(malformed)} {arent} in DICOM's form; left empty in the DICOM SEG."] if malformed else []
    notes += _fill(root, series, thickness, malformed)
    assert series.affine is not None
    along_rows, along_columns, _ = (LPS_TO_RAS @ series.affine)[:3, :3].T
    between_columns, between_rows, between_slices = spacing_of(series.affine)
    root.SOPClassUID = uid.MRImageStorage  # any of one frame: references name the true one
    root.Rows, root.Columns = first.size
    root.PixelSpacing = _decimals([between_rows, between_columns])
    root.ImageOrientationPatient = _decimals([*along_rows / between_columns, *along_columns / between_rows])
    root.SpacingBetweenSlices = _decimals([between_slices])[0]
    return root, [f"{series.id}: {note}" for note in notes]


def _fill(root: Any, series: DicomSeries, thickness: Any, malformed: Sequence[str]) -> list[str]:
    """Give what the standard wants and the headers lack."""
    assert series.spacing is not None
    notes = []
    root.SliceThickness = thickness or _decimals(series.spacing[2:])[0]
    if not thickness:
        notes.append("lacks SliceThickness; the distance between slices was taken in the DICOM SEG.")
    absent = [keyword for keyword in MAY_BE_EMPTY if keyword not in root]
    for keyword in absent:
        setattr(root, keyword, None)
    lacking = [keyword for keyword in absent if keyword not in malformed]
    if lacking:
        notes.append(f"lacks {', '.join(lacking)}; left empty in the DICOM SEG.")
    if not root.get("FrameOfReferenceUID"):
        generate_uid = require("pydicom.uid", "dicom").generate_uid
        root.FrameOfReferenceUID = generate_uid(entropy_srcs=[str(root.SeriesInstanceUID), "frame of reference"])
        notes.append("lacks FrameOfReferenceUID; the DICOM SEG has a new one, so viewers may not overlay it.")
    return notes


def _decimals(values: Any) -> list[Any]:
    """Numbers as DICOM's decimal strings of at most 16 characters."""
    decimal = require("pydicom.valuerep", "dicom").DSfloat
    return [decimal(float(number), auto_format=True) for number in values]


def _refer_to_files(segmentation: Any, references: Sequence[Reference]) -> None:
    """Turn references to the slices' stand-ins into references to the files and frames that they stand for."""
    items = {
        id(item): item  # segments of one slice share theirs
        for groups in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in groups.get("DerivationImageSequence", [])
        for item in derivation.SourceImageSequence
    }
    for item in items.values():
        number = int(item.ReferencedSOPInstanceUID.rpartition(".")[2])
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID, frame = references[number - 1]
        if frame is not None:
            item.ReferencedFrameNumber = frame
    files = []
    for sop_class, instance in dict.fromkeys(reference[:2] for reference in references):
        files.append(require("pydicom", "dicom").Dataset())
        files[-1].ReferencedSOPClassUID, files[-1].ReferencedSOPInstanceUID = sop_class, instance
    segmentation.SourceImageSequence = files
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = files


def _segment_numbers(mask: np.ndarray, labels: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The mask with every label's value replaced by its segment number, counted from 1."""
    numbers = {int(label["value"]): number for number, label in enumerate(labels, 1)}
    undeclared = sorted(set(np.unique(mask).tolist()) - {0, *numbers})
    if undeclared:
        raise ValueError(f"The mask holds {undeclared[0]}, which no label declares ({sorted(numbers)}).")
    segments = np.zeros(mask.shape, dtype=np.uint8 if len(labels) < 256 else np.uint16)
    for label, number in numbers.items():
        segments[mask == label] = number
    return segments


def _descriptions(labels: Sequence[Mapping[str, Any]], algorithm_name: str, algorithm_version: str) -> list[Any]:
    highdicom, codes = require("highdicom", "dicom"), require("pydicom.sr.codedict", "dicom").codes
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=algorithm_name, family=codes.DCM.ArtificialIntelligence, version=algorithm_version
    )
    descriptions = [
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
    for description, label in zip(descriptions, labels, strict=True):
        if "laterality" in label:  # which highdicom has no argument for
            (kind,) = description.SegmentedPropertyTypeCodeSequence
            kind.SegmentedPropertyTypeModifierCodeSequence = [_code(label["laterality"])]
    return descriptions


def _code(code: Mapping[str, str]) -> Any:
    coding = require("highdicom.sr.coding", "dicom")
    return coding.CodedConcept(value=code["value"], scheme_designator=code["scheme"], meaning=code["meaning"])


def _colour(text: str) -> Any:
    return require("highdicom.color", "dicom").CIELabColor.from_string(text)
