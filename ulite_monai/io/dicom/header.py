"""One DICOM file's header as slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ulite_monai.io.dicom.pixels import PIXEL_TAGS, Pixels, describe_pixels
from ulite_monai.io.dicom.quiet import quiet_pydicom
from ulite_monai.io.dicom.series import Slice
from ulite_monai.io.dicom.text import complete_character_sets
from ulite_monai.io.dicom.values import comparable, numbers, text, value, whole
from ulite_monai.io.extras import require

__all__ = ["MARKS", "Header", "NotAnImage", "finder", "read_header", "read_marks"]

PREAMBLE = 128
STARTS_WITHOUT_PREAMBLE = (b"\x08\x00", b"\x02\x00")  # group 0008 or 0002, little endian
# Kinds are known by their names in pydicom's list of the standard's UIDs; a newer list has more of them.
IMAGES = ("Image Storage", "Enhanced US Volume Storage")
RESULTS = "1.2.840.10008.5.1.4.1.1.66."  # segmentations of all sorts, registrations, fiducials
# Results, doses, plans and documents, however they are stored.
OTHER_MODALITIES = {
    *("ANN", "ASMT", "AU", "DOC", "ECG", "FID", "HD", "KO", "M3D", "PLAN", "PR", "REG", "RTDOSE", "RTINTENT", "RTPLAN"),
    *("RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SMR", "SR", "SRF", "STAIN", "TEXTUREMAP"),
}

# Where a frame of a multi-frame file has what a file of one frame has at the top.
GEOMETRY = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
FRAME_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
    *("InstanceNumber", "ImageType", "ModalityLUTSequence"),
    *PIXEL_TAGS,
    *GEOMETRY,
    *FRAME_GROUPS,
)

# What distinguishes repetitions at one position: where a file of one frame has it, and where a frame of many has.
MARKS = {
    "time point": ("TemporalPositionIdentifier", ("FrameContentSequence", "TemporalPositionIndex")),
    "echo": ("EchoNumbers", ("MREchoSequence", "EffectiveEchoTime")),
    "echo time": ("EchoTime", ("MREchoSequence", "EffectiveEchoTime")),
    "b-value": ("DiffusionBValue", ("MRDiffusionSequence", "DiffusionBValue")),
    "image type": ("ImageType", ("MRImageFrameTypeSequence", "FrameType")),
    "acquisition": ("AcquisitionNumber", ("FrameContentSequence", "FrameAcquisitionNumber")),
    "trigger time": ("TriggerTime", ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")),
    "acquisition time": ("AcquisitionTime", ("FrameContentSequence", "FrameAcquisitionDateTime")),
    "content time": ("ContentTime", ("FrameContentSequence", "FrameReferenceDateTime")),
}


@dataclass(frozen=True)
class Header:
    """What a file says of its series, and its slices."""

    series_uid: str
    series_number: int | None
    modality: str
    description: str
    slices: tuple[Slice, ...]


NOT_DICOM, UNREADABLE = "not DICOM", "unreadable DICOM"


class NotAnImage(Exception):
    """The file is none of a series' images; the message is the reason, fit to be counted."""


def read_header(file: Path) -> Header:
    """The header of `file`, without its pixels.

    Raises:
        NotAnImage: When it isn't DICOM, can't be read, or holds something else than images.
    """
    return _read(file, TAGS, _header)


def read_marks(file: Path) -> list[dict[str, float | str | None]]:
    """For each frame of `file`, the values of MARKS."""
    return _read(file, (*FRAME_GROUPS, *(name for name, _ in MARKS.values())), _marks)


def _read(file: Path, tags: Sequence[str], digest: Callable[[Path, Any, BinaryIO], Any]) -> Any:
    pydicom = require("pydicom", "dicom")
    complete_character_sets()
    try:
        with file.open("rb") as stream, quiet_pydicom():
            start = stream.read(PREAMBLE + 4)
            if start[PREAMBLE:] != b"DICM" and start[:2] not in STARTS_WITHOUT_PREAMBLE:
                called_dicom = not start or file.suffix.lower() in (".dcm", ".ima")
                raise NotAnImage(UNREADABLE if called_dicom and not file.name.startswith(".") else NOT_DICOM)
            stream.seek(0)
            dataset = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=list(tags))
            return digest(file, dataset, stream)
    except NotAnImage:
        raise
    except Exception as error:  # of damaged bytes pydicom may raise anything
        raise NotAnImage(UNREADABLE) from error


def _header(file: Path, dataset: Any, stream: BinaryIO) -> Header:
    modality, series_uid = text(dataset, "Modality"), text(dataset, "SeriesInstanceUID")
    _require_image(dataset, modality, series_uid)
    return Header(
        series_uid=series_uid,
        series_number=whole(dataset, "SeriesNumber"),
        modality=modality,
        description=text(dataset, "SeriesDescription"),
        slices=_slices(file, dataset, describe_pixels(dataset, stream)),
    )


def _require_image(dataset: Any, modality: str, series_uid: str) -> None:
    uid = value(dataset, "SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""
    kind = str(getattr(uid, "name", uid))
    if kind == "Media Storage Directory Storage":
        raise NotAnImage("DICOMDIR")
    if modality in OTHER_MODALITIES or str(uid).startswith(RESULTS):
        named = kind != str(uid) and not _is_image(kind)
        raise NotAnImage(kind if named else f"of modality {modality}" if modality else f"of kind {uid}")
    if kind != str(uid) and not _is_image(kind):
        raise NotAnImage(kind)
    # An image without Rows is a damaged one: it stays in its series, as a part that can't be used.
    if value(dataset, "Rows") is None and not (series_uid and _is_image(kind)):
        raise NotAnImage(UNREADABLE)


def _is_image(kind: str) -> bool:
    return any(name in kind for name in IMAGES)


def _slices(file: Path, dataset: Any, pixels: Pixels) -> tuple[Slice, ...]:
    flaw = pixels.flaw or _flaw(dataset)
    groups = list(value(dataset, "PerFrameFunctionalGroupsSequence") or [])
    if not groups:
        if pixels.frames > 1:
            flaw = flaw or f"it has {pixels.frames} frames in one file and no position for each"
        return (_slice(file, dataset, pixels, 0, flaw, finder(dataset, 0)),)
    if len(groups) != pixels.frames:
        flaw = flaw or f"it has {pixels.frames} frames but positions for {len(groups)}"
    return tuple(_slice(file, dataset, pixels, number, flaw, finder(dataset, number)) for number in range(len(groups)))


def _shared(dataset: Any) -> Any:
    return next(iter(value(dataset, "SharedFunctionalGroupsSequence") or []), None)


def finder(dataset: Any, frame: int) -> Callable[[str], Any]:
    """What finds an attribute of GEOMETRY for a frame, counted from 0, of a file of one frame or of many."""
    groups = list(value(dataset, "PerFrameFunctionalGroupsSequence") or [])
    if not groups:
        return lambda name: value(dataset, name)
    shared = _shared(dataset)
    return lambda name: _of_frame(groups[frame], shared, GEOMETRY[name], name)


def _flaw(dataset: Any) -> str | None:
    if "MOSAIC" in text(dataset, "ImageType"):
        return "it is a Siemens mosaic, many slices in one picture; convert it with dcm2niix and give the NIfTI"
    if value(dataset, "ModalityLUTSequence"):
        return "its values go through a lookup table (Modality LUT), which isn't read; export it with rescale values"
    return None


def _of_frame(group: Any, shared: Any, place: str, name: str) -> Any:
    """An attribute in a frame's own functional groups, else in those that all frames share."""
    for groups in (group, shared):
        for item in value(groups, place) or []:
            found = value(item, name)
            if found is not None:
                return found
    return None


def _slice(file: Path, dataset: Any, pixels: Pixels, frame: int, flaw: str | None, find: Callable[[str], Any]) -> Slice:
    slope, intercept = _number(find("RescaleSlope"), 1.0), _number(find("RescaleIntercept"), 0.0)
    if slope == 0:
        flaw = flaw or "its RescaleSlope is 0, so it has no values; export it again"
    inverted = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    if inverted:  # the stored value v stands for lowest + highest - v, as ITK has it
        slope, intercept = -slope, intercept + slope * sum(pixels.stored_range)
    return Slice(
        file=file,
        frame=frame,
        frames=pixels.frames,
        instance=text(dataset, "SOPInstanceUID"),
        number=(whole(dataset, "InstanceNumber") or 0, frame),
        size=pixels.size,
        colour=pixels.colour,
        position=numbers(find("ImagePositionPatient"), 3),
        orientation=_directions(find("ImageOrientationPatient")),
        pixel_spacing=_pixel_spacing(find("PixelSpacing")),
        thickness=_distance(find("SpacingBetweenSlices")) or _distance(find("SliceThickness")),
        slope=slope,
        intercept=intercept,
        inverted=inverted,
        stored_range=pixels.stored_range,
        syntax=str(dataset.file_meta.get("TransferSyntaxUID") or ""),
        flaw=flaw,
    )


def _marks(_: Path, dataset: Any, __: BinaryIO) -> list[dict[str, float | str | None]]:
    groups = list(value(dataset, "PerFrameFunctionalGroupsSequence") or [])
    if not groups:
        return [{name: comparable(value(dataset, plain)) for name, (plain, _) in MARKS.items()}]
    shared = _shared(dataset)
    return [
        {name: comparable(_of_frame(group, shared, *place)) for name, (_, place) in MARKS.items()} for group in groups
    ]


def _number(given: Any, default: float) -> float:
    found = None if given is None else numbers(given, 1)
    return default if found is None else float(found[0])


def _distance(given: Any) -> float | None:
    return abs(_number(given, 0.0)) or None


def _pixel_spacing(given: Any) -> tuple[float, float] | None:
    found = numbers(given, 2)
    return None if found is None or not (found > 0).all() else (float(found[0]), float(found[1]))


def _directions(given: Any) -> np.ndarray | None:
    """Two unit vectors at right angles, or None if the header's aren't, to within what rounding does."""
    found = numbers(given, 6)
    if found is None:
        return None
    row, column = found.reshape(2, 3)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > 1e-3:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    return np.stack([row, column / np.linalg.norm(column)])
