"""The three planes of a volume that show its mask best, upright for a radiologist's eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from ulite_monai.io.volume import spacing_of

__all__ = ["Box", "DisplayVolume", "Plane", "direction_letters", "display_volume"]

Box: TypeAlias = tuple[slice, ...]  # one slice an axis

# Name, axis that it is cut across, axis of the columns, axis of the rows.
PLANES = (("axial", 2, 0, 1), ("coronal", 1, 0, 2), ("sagittal", 0, 1, 2))
LEAST_MARGIN = 8  # voxels of the finest axis; a mask of a few voxels needs its surroundings too
OBLIQUE = 0.2  # a direction that leans by more than 12 degrees towards another axis names it too


@dataclass(frozen=True)
class Plane:
    """One section, as it is shown: rows downwards, columns to the right.

    Attributes:
        name: which plane, and its index in the input's own axes.
        image: intensities, shape (rows, columns), or (rows, columns, 3) in colour.
        mask: label map, shape (rows, columns).
        pixel: a pixel's width and height, in `unit`.
        letters: the directions at the left, right, top and bottom edges; empty where unknown.
        frame: left, top, right, bottom of what a close-up shows, in pixel indices from the first pixel's edge; None
            without a close-up.
        unit: "mm" or "px".
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    pixel: tuple[float, float]
    letters: tuple[str, str, str, str] = ("", "", "", "")
    frame: tuple[int, int, int, int] | None = None
    unit: str = "mm"

    @property
    def width(self) -> float:
        """In `unit`."""
        return self.mask.shape[1] * self.pixel[0]

    @property
    def height(self) -> float:
        """In `unit`."""
        return self.mask.shape[0] * self.pixel[1]


@dataclass(frozen=True)
class DisplayVolume:
    """A volume whose axes run, as nearly as its grid allows, to the left, to the back and to the feet.

    So the columns and rows of every plane are its axes as they are, in the radiological convention: the patient's
    right, or front, is at the picture's left.

    Attributes:
        image: intensities, shape (l, p, i).
        mask: label map of the same shape.
        affine: 4x4, indices (l, p, i) to RAS mm.
        to_input: 4x4, indices (l, p, i) to the input's (i, j, k).
        centred_on: label map of the same shape, which decides what is shown; usually the mask.
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    to_input: np.ndarray
    centred_on: np.ndarray

    @property
    def whole(self) -> Box:
        """The box of all voxels."""
        return tuple(slice(0, size) for size in self.mask.shape)

    @cached_property
    def labelled(self) -> list[np.ndarray]:
        """For each axis, how many voxels of any label of `centred_on` each section across it holds."""
        return [np.count_nonzero(self.centred_on, axis=others) for others in ((1, 2), (0, 2), (0, 1))]

    def around_mask(self, margin: float) -> Box:
        """The box around the mask, wider on each side by `margin` times the mask's longest extent, or some voxels.

        An empty mask gives the whole volume.
        """
        spacing = spacing_of(self.affine)
        extents = [_extent(counts) for counts in self.labelled]
        longest = max((stop - start) * step for (start, stop), step in zip(extents, spacing, strict=True))
        border = max(margin * longest, LEAST_MARGIN * min(spacing))
        return tuple(
            slice(max(start - round(border / step), 0), min(stop + round(border / step), size))
            for (start, stop), step, size in zip(extents, spacing, self.mask.shape, strict=True)
        )

    def planes(self, box: Box, frame: Box | None = None) -> list[Plane]:
        """The axial, coronal and sagittal plane at the mask's centre (the volume's when it is empty).

        Args:
            box: the part to show.
            frame: the part that a close-up shows.
        """
        centre = [_central_index(counts) for counts in self.labelled]
        return [self._plane(name, centre, (across, column, row), box, frame) for name, across, column, row in PLANES]

    def _plane(
        self, name: str, centre: Sequence[int], axes: tuple[int, int, int], box: Box, frame: Box | None
    ) -> Plane:
        across, column, row = axes
        cut: list[slice | int] = list(box)
        cut[across] = centre[across]
        spacing = spacing_of(self.affine)
        to_right, to_bottom = self.affine[:3, column], self.affine[:3, row]
        return Plane(
            name=f"{name}, {self._input_index(across, centre)}",
            image=self.image[tuple(cut)].T,
            mask=self.mask[tuple(cut)].T,
            pixel=(spacing[column], spacing[row]),
            letters=(
                *(direction_letters(-to_right), direction_letters(to_right)),
                *(direction_letters(-to_bottom), direction_letters(to_bottom)),
            ),
            frame=None if frame is None else _rectangle(frame[column], frame[row]),
        )

    def _input_index(self, axis: int, centre: Sequence[int]) -> str:
        input_axis = int(np.abs(self.to_input[:3, axis]).argmax())
        index = self.to_input[input_axis] @ [*centre, 1]
        return f"{'ijk'[input_axis]} = {index:.0f}"


def display_volume(
    image: np.ndarray, mask: np.ndarray, affine: np.ndarray, centred_on: np.ndarray | None = None
) -> DisplayVolume:
    """Turn a volume for display, without resampling and without a copy.

    Args:
        image: intensities, shape (i, j, k).
        mask: label map of the same shape.
        affine: 4x4, voxel indices to RAS mm.
        centred_on: label map of the same shape, which decides what is shown; None for the mask.
    """
    turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPI"))
    to_input = inv_ornt_aff(turn, mask.shape)
    shown, outlined = apply_orientation(image, turn), apply_orientation(mask, turn)
    centre = outlined if centred_on is None else apply_orientation(centred_on, turn)
    return DisplayVolume(shown, outlined, affine @ to_input, to_input, centre)


def direction_letters(direction: np.ndarray) -> str:
    """Where a direction points: "R", or "RA" when it leans from the right to the front, the strongest first.

    Args:
        direction: of any length, in RAS.
    """
    unit = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    strongest, *others = np.argsort(-np.abs(unit), kind="stable")
    named = [strongest, *(axis for axis in others if abs(unit[axis]) > OBLIQUE)]
    return "".join("RAS"[axis] if unit[axis] > 0 else "LPI"[axis] for axis in named)


def _rectangle(columns: slice, rows: slice) -> tuple[int, int, int, int]:
    return columns.start, rows.start, columns.stop, rows.stop


def _extent(counts: np.ndarray) -> tuple[int, int]:
    filled = np.flatnonzero(counts)
    return (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, counts.size)


def _central_index(counts: np.ndarray) -> int:
    """The section nearest the centre of mass, of those with at least half the mask's largest section.

    The centre of mass of two kidneys lies in neither, so the section through it alone would show nothing.
    """
    if not counts.any():
        return counts.size // 2
    centre = counts @ np.arange(counts.size) / counts.sum()
    full = np.flatnonzero(2 * counts >= counts.max())
    return int(full[np.abs(full - centre).argmin()])
