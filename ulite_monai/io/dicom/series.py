"""What is known of a DICOM series before its pixels are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from ulite_monai.io.affine import spacing_of

__all__ = ["DicomSeries", "DicomTree", "Slice"]


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: a single-frame file, or a frame of a multi-frame file.

    Attributes:
        file: where it is.
        frame: which frame of the file, from 0.
        frames: how many the file has.
        instance: its SOPInstanceUID, "" if it has none.
        number: InstanceNumber and frame, the order in which the scanner counted.
        size: (rows, columns).
        colour: whether its pixels are colours.
        position: of the first pixel's centre, 3 numbers, LPS mm; None if not given.
        orientation: unit vectors (2, 3) along a row and along a column, LPS; None if not given.
        pixel_spacing: (between rows, between columns) in mm; None if not given.
        thickness: distance to the next slice as the header has it, in mm; None if not given.
        slope, intercept: from stored to real values.
        inverted: whether the file is MONOCHROME1, where the largest stored value is black; slope and intercept turn it.
        stored_range: the smallest and the largest value that the pixels' type can hold.
        syntax: the UID of the file's transfer syntax, "" if it says none.
        flaw: why it can't be used, a clause about "it"; None if it can.
    """

    file: Path
    frame: int
    frames: int
    instance: str
    number: tuple[int, int]
    size: tuple[int, int]
    colour: bool
    position: np.ndarray | None
    orientation: np.ndarray | None
    pixel_spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float
    inverted: bool
    stored_range: tuple[int, int]
    syntax: str
    flaw: str | None


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """A volume in a DICOM tree, or the reason why some files are none.

    Attributes:
        id: `series<SeriesNumber>_<first 8 hex digits of SHA-1 of SeriesInstanceUID>`, with `_1`, `_2`, ... where one
            UID holds several volumes. Nothing of the patient.
        slices: in order along the normal of the slices.
        modality: as the header has it ("CT", "MR"), "" if it has none.
        description: SeriesDescription.
        affine: 4x4 float64, voxel indices (i, j, k) to RAS+ mm; None without geometry.
        tilt: the angle in degrees between the normal and the direction from slice to slice; 0 unless it matters.
        problem: one sentence why it can't be read as a volume; None if it can.
        notes: what else is odd, one sentence each.
    """

    id: str
    slices: tuple[Slice, ...]
    modality: str
    description: str
    affine: np.ndarray | None
    tilt: float = 0.0
    problem: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Each file once, in slice order."""
        return tuple(dict.fromkeys(s.file for s in self.slices))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(i, j, k): columns, rows, slices."""
        rows, columns = self.slices[0].size
        return columns, rows, len(self.slices)

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """The voxel's size along i, j, k in mm; None without geometry."""
        return None if self.affine is None else spacing_of(self.affine)

    @property
    def orientation(self) -> str | None:
        """Where i, j, k lead, such as "LPS"; None without geometry."""
        return None if self.affine is None else "".join(str(axis) for axis in nib.orientations.aff2axcodes(self.affine))


@dataclass(frozen=True)
class DicomTree:
    """What lies below a folder.

    Attributes:
        path: the folder.
        series: all that hold images, usable or not, by series number.
        passed_over: how many files are no images, by the reason ("not DICOM", "DICOMDIR", "Basic Text SR Storage").
    """

    path: Path
    series: tuple[DicomSeries, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)
