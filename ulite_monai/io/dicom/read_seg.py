"""Label maps in, from DICOM Segmentation objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.affine import LPS_TO_RAS
from ulite_monai.io.dicom.quiet import quiet_pydicom
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.extras import require
from ulite_monai.io.files_below import files_below
from ulite_monai.io.volume import Volume

__all__ = ["find_segmentation", "read_segmentation", "series_uid"]

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # binary or fractional, label map


def find_segmentation(path: Path) -> Path | None:
    """The DICOM SEG at `path`, a file or a folder; None where there isn't exactly one."""
    files = [path] if path.is_file() else list(files_below(path))
    found = [file for file in files if _header(file, "SOPClassUID").get("SOPClassUID") in SEGMENTATIONS]
    return found[0] if len(found) == 1 else None


def read_segmentation(file: Path) -> Volume:
    """The label map of a DICOM SEG: each segment's number is its value, its label its name.

    Args:
        file: a regular 3D segmentation whose segments don't overlap; slices that it leaves out are empty.

    Returns:
        The volume from its first slice to its last, which may be a part of the series that it was drawn on.

    Raises:
        InputError: When highdicom is missing, or the segmentation isn't such a one.
    """
    highdicom = require("highdicom", "dicom")
    try:
        with quiet_pydicom():
            seg = highdicom.seg.segread(file)
            volume = seg.get_volume(combine_segments=True)
            names = {number: str(seg.get_segment_description(number).segment_label) for number in seg.segment_numbers}
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: this DICOM SEG is no label map of whole slices, without overlap ({error}); save it as NIfTI."
        ) from error
    # highdicom's axes are slices, rows, columns.
    array = np.ascontiguousarray(volume.array.transpose(2, 1, 0))
    affine = LPS_TO_RAS @ np.asarray(volume.affine)[:, [2, 1, 0, 3]]
    referred = seg.get("ReferencedSeriesSequence") or [{}]
    return Volume(array, affine, file, segments=names, drawn_on=str(referred[0].get("SeriesInstanceUID", "")))


def series_uid(series: DicomSeries) -> str:
    """The SeriesInstanceUID of a series; empty where it has none."""
    return str(_header(series.files[0], "SeriesInstanceUID").get("SeriesInstanceUID", ""))


def _header(file: Path, keyword: str) -> Any:
    pydicom = require("pydicom", "dicom")
    try:
        with quiet_pydicom():
            return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[keyword])
    except (OSError, ValueError, AttributeError, pydicom.errors.InvalidDicomError):
        return {}
