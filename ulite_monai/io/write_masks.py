"""One mask in every kind of file that is asked for: where, whether it can be, and writing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.coding import coded_labels
from ulite_monai.io.dicom.series import DicomSeries
from ulite_monai.io.images import write_mask
from ulite_monai.io.volume import Volume
from ulite_monai.io.write_nifti import write_label_map

__all__ = ["FORMATS", "Format", "mask_paths", "require_writable", "write_masks"]

Format = Literal["nifti", "dicom-seg", "both"]
FORMATS = ("nifti", "dicom-seg", "both")


def mask_paths(place: Path, format: Format, is_image: bool, series: DicomSeries | None) -> dict[str, Path]:
    """The files of one mask, by kind: "image" (of a 2D image, a PNG), "nifti", "dicom-seg".

    Args:
        place: the folder and the case's id.
        format: of volumes; without a series, "both" is NIfTI alone.
        is_image: whether the case is a 2D image.
        series: the DICOM series that was segmented, if it is one.
    """
    if is_image:
        return {"image": place.with_name(f"{place.name}.png")}
    paths = {}
    if format != "dicom-seg":
        paths["nifti"] = place.with_name(f"{place.name}.nii.gz")
    if format != "nifti" and series is not None:
        paths["dicom-seg"] = place.with_name(f"{place.name}.seg.dcm")
    return paths


def require_writable(
    format: Format, is_image: bool, series: DicomSeries | None, labels: Sequence[str], metadata: Mapping[str, Any]
) -> None:
    """Refuse, before the network runs, a case whose mask can't be written in this format.

    Args:
        format: of volumes.
        is_image: whether the case is a 2D image.
        series: the DICOM series to segment, if it is one.
        labels, metadata: as `write_masks` takes them.

    Raises:
        InputError: With the reason, and what to do.
    """
    if is_image or format == "nifti":
        return
    if series is None:
        if format == "dicom-seg":
            raise InputError("a DICOM SEG needs a DICOM series; write NIfTI with --format nifti.")
        return
    from ulite_monai.io.dicom.seg import require_encodable

    require_encodable(series, coded_labels(metadata, labels), *_algorithm(metadata))


def write_masks(
    mask: np.ndarray,
    grid: Volume,
    paths: Mapping[str, Path],
    labels: Sequence[str],
    metadata: Mapping[str, Any],
    series: DicomSeries | None = None,
    values: Sequence[int] | None = None,
) -> list[str]:
    """Write a mask to each of `paths`.

    Args:
        mask: whole numbers >= 0, shape (i, j, k), or (x, y) of a 2D image.
        grid: what was segmented, of that shape; of a 2D image nothing of it is used.
        paths: as `mask_paths` names them; other kinds are passed over.
        labels: names of the classes.
        metadata: the bundle's, for the labels' codes, and the name and version of what made the mask.
        series: what a DICOM SEG refers to.
        values: of the classes in the mask; None for 1, 2, ..., which a mask of an image shows as greys.

    Returns:
        What was filled in for a DICOM SEG, one sentence each.

    Raises:
        InputError: When the system refuses to write, or the series can't be referred to.
    """
    notes: list[str] = []
    if "image" in paths:
        write_mask(mask, paths["image"], max(len(labels), 1), as_greys=values is None)
    if "nifti" in paths:
        write_label_map(mask, grid, paths["nifti"])
    if "dicom-seg" in paths:
        from ulite_monai.io.dicom.seg import write_dicom_seg

        assert series is not None
        coded = coded_labels(metadata, labels, values)
        notes += write_dicom_seg(mask, series, coded, paths["dicom-seg"], *_algorithm(metadata))
    return notes


def _algorithm(metadata: Mapping[str, Any]) -> tuple[str, str]:
    return metadata.get("name", "U-Lite"), metadata.get("version", "unknown")
