"""The planes of a volume that show its mask best, upright for a radiologist's eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from ulite_monai.io.affine import spacing_of

__all__ = ["PLANES", "Plane", "around", "direction_letters", "volume_planes"]

# Name, axis that it is cut across, axis of the columns, axis of the rows.
PLANES = (("axial", 2, 0, 1), ("coronal", 1, 0, 2), ("sagittal", 0, 1, 2))
MARGIN = 0.25  # around a close-up, of the mask's longest extent, so that what surrounds it can be seen
LEAST_MARGIN = 8  # voxels of the finest axis; a mask of a few voxels needs its surroundings too
OBLIQUE = 0.2  # a direction that leans by more than 12 degrees towards another axis names it too


@dataclass(frozen=True)
class Plane:
    """One section, as it is shown: rows downwards, columns to the right.

    Attributes:
        name: which plane, and its index in the input's own axes.
        image: intensities, shape (rows, columns), or (rows, columns, 3) in colour.
        mask: label map, shape (rows, columns).
        extent: left, right, bottom and top edge in the whole plane, in mm from its upper left corner; in 2D, in pixels.
        letters: the directions at the left, right, top and bottom edges; none for a 2D image.
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    extent: tuple[float, float, float, float]
    letters: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, in the unit of `extent`."""
        left, right, bottom, top = self.extent
        return right - left, bottom - top


def volume_planes(
    image: np.ndarray, mask: np.ndarray, affine: np.ndarray, centred_on: np.ndarray
) -> tuple[list[Plane], list[Plane]]:
    """The axial, coronal and sagittal plane through a mask's centre, whole and close up, without resampling.

    The volume is turned so that its axes run, as nearly as its grid allows, to the left, to the back and to the feet.
    That is the radiological convention: the patient's right, or front, is at the picture's left. A plane of a single
    row or column is left out.

    Args:
        image: intensities, shape (i, j, k).
        mask: label map of the same shape.
        affine: 4x4, voxel indices to RAS mm.
        centred_on: mask of the same shape that decides what is shown; an empty one shows the volume's middle.
    """
    turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPI"))
    to_input = inv_ornt_aff(turn, mask.shape)
    image, mask, centred_on = (apply_orientation(volume, turn) for volume in (image, mask, centred_on))
    directions, spacing = (affine @ to_input)[:3, :3].T, np.array(spacing_of(affine @ to_input))
    labelled = [np.count_nonzero(centred_on, axis=others) for others in ((1, 2), (0, 2), (0, 1))]
    centre = [_central_index(counts) for counts in labelled]

    def section(kind: str, across: int, column: int, row: int, box: np.ndarray) -> Plane:
        cut: list[slice | int] = [slice(*edges) for edges in box]
        cut[across] = centre[across]
        axis = int(np.abs(to_input[:3, across]).argmax())
        name = f"{kind}, {'ijk'[axis]} = {to_input[axis] @ [*centre, 1]:.0f}"
        (left, right), (top, bottom) = (box[axis] * spacing[axis] for axis in (column, row))
        letters = tuple(direction_letters(sign * directions[axis]) for axis in (column, row) for sign in (-1, 1))
        return Plane(name, image[tuple(cut)].T, mask[tuple(cut)].T, (left, right, bottom, top), letters)

    drawn = [plane for plane in PLANES if min(mask.shape[plane[2]], mask.shape[plane[3]]) > 1] or PLANES
    whole = np.array([(0, size) for size in mask.shape])
    close_up = around(labelled, spacing)
    return [section(*plane, whole) for plane in drawn], [section(*plane, close_up) for plane in drawn]


def direction_letters(direction: np.ndarray) -> str:
    """Where a direction points: "R", or "RA" when it leans from the right to the front, the strongest first.

    Args:
        direction: of any length, in RAS.
    """
    unit = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    strongest, *others = np.argsort(-np.abs(unit), kind="stable")
    named = [strongest, *(axis for axis in others if abs(unit[axis]) > OBLIQUE)]
    return "".join("RAS"[axis] if unit[axis] > 0 else "LPI"[axis] for axis in named)


def _central_index(counts: np.ndarray) -> int:
    """The section nearest the centre of mass, of those with at least half the mask's largest section.

    The centre of mass of two kidneys lies in neither, so the section through it alone would show nothing.
    """
    if not counts.any():
        return counts.size // 2
    centre = counts @ np.arange(counts.size) / counts.sum()
    full = np.flatnonzero(2 * counts >= counts.max())
    return int(full[np.abs(full - centre).argmin()])


def around(labelled: Sequence[np.ndarray], spacing: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """First and last voxel + 1 of every axis around what is labelled, with a margin, within the volume.

    Args:
        labelled: how many voxels are labelled in each section across each axis.
        spacing: of the axes.
        margin: share of the longest extent.
    """
    filled = [np.flatnonzero(counts) if counts.any() else np.arange(counts.size) for counts in labelled]
    box = np.array([(indices[0], indices[-1] + 1) for indices in filled])
    border = max(margin * ((box[:, 1] - box[:, 0]) * spacing).max(), LEAST_MARGIN * spacing.min())
    wider = box + np.outer(np.maximum(np.rint(border / spacing), 1), (-1, 1)).astype(int)
    return np.clip(wider, 0, [[counts.size] for counts in labelled])
