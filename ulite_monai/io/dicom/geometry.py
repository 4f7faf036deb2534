"""From slices to one grid: their order, their affine, or the sentence why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ulite_monai.io.affine import LPS_TO_RAS
from ulite_monai.io.dicom.series import Slice

__all__ = ["Stack", "along_normal", "same_position", "stack_slices"]

SAME_POSITION = 0.02  # of the finest of a voxel's sizes, along the normal
SPACING_TOLERANCE = 0.1  # of the spacing: how far a slice may lie from its place on the grid (rounded headers)
SPACING_NOTED = 0.02  # of the spacing: from here on it is reported
SIDEWAYS_TOLERANCE = 0.1  # of a pixel: how far the last slice may lie beside the normal (rounded headers)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, and where they lie; or the problem that they have.

    Attributes:
        slices: in order along the normal, where positions are known.
        affine: 4x4 float64, voxel (i, j, k) to RAS+ mm; sheared under a tilt; None without geometry.
        tilt: degrees between the normal and the way from slice to slice; 0 unless it matters.
        problem: one sentence why they are no regular grid; None if they are.
        notes: one sentence each.
    """

    slices: tuple[Slice, ...]
    affine: np.ndarray | None = None
    tilt: float = 0.0
    problem: str | None = None
    notes: tuple[str, ...] = ()


def along_normal(slices: Sequence[Slice]) -> np.ndarray:
    """How far each slice lies along the common normal, in mm, shape (slices,)."""
    return _positions(slices) @ _normal(slices)


def same_position(one: Slice) -> float:
    """How many mm along the normal two slices may lie apart and still be at one position."""
    sizes = [*(one.pixel_spacing or ()), *([one.thickness] if one.thickness else [])]
    return SAME_POSITION * min(sizes, default=1.0)


def stack_slices(slices: Sequence[Slice]) -> Stack:
    """Order slices of one size, spacing and orientation along their normal, and check that they are a regular grid."""
    flaw = _first_flaw(slices)
    if slices[0].position is None or slices[0].orientation is None or slices[0].pixel_spacing is None:
        return Stack(tuple(slices), problem=flaw or _missing_geometry(slices[0]))
    slices = [slices[n] for n in np.argsort(along_normal(slices), kind="stable")]
    problem, tilt = flaw or _spacing_problem(slices), 0.0
    step, notes = _step(slices)
    if problem is None and _unevenness(slices) > SPACING_NOTED * step:
        notes += (f"Its slices lie up to {_unevenness(slices):.3g} mm off even distances of {step:.4g} mm.",)
    if step == 0:
        return Stack(tuple(slices), problem=problem)
    way = step * _normal(slices)
    if problem is None and _lies_sideways(slices):
        tilt, problem = _tilt(slices)
        way = (_positions(slices)[-1] - _positions(slices)[0]) / (len(slices) - 1)
    return Stack(tuple(slices), _affine(slices, way), tilt, problem, notes)


def _positions(slices: Sequence[Slice]) -> np.ndarray:
    return np.array([s.position for s in slices], dtype=np.float64)


def _normal(slices: Sequence[Slice]) -> np.ndarray:
    return np.cross(*_directions(slices))


def _directions(slices: Sequence[Slice]) -> np.ndarray:
    """The unit vectors along a row and along a column, shape (2, 3); the median of headers that differ by rounding."""
    row, column = np.median([one.orientation for one in slices if one.orientation is not None], axis=0)
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return np.stack([row, column / np.linalg.norm(column)])


def _affine(slices: Sequence[Slice], way: np.ndarray) -> np.ndarray:
    first = slices[0]
    assert first.pixel_spacing is not None
    row, column = _directions(slices)
    between_rows, between_columns = first.pixel_spacing
    affine = np.eye(4)
    affine[:3, 0] = row * between_columns
    affine[:3, 1] = column * between_rows
    affine[:3, 2] = way
    affine[:3, 3] = first.position
    return LPS_TO_RAS @ affine


def _step(slices: Sequence[Slice]) -> tuple[float, tuple[str, ...]]:
    """The distance from slice to slice in mm, with a note where it had to be invented."""
    if len(slices) > 1:
        places = along_normal(slices)
        return float((places[-1] - places[0]) / (len(slices) - 1)), ()
    if slices[0].thickness is not None:
        return slices[0].thickness, ()
    return 1.0, ("It is one slice without a thickness; 1 mm was taken, so its volumes in mL aren't to be trusted.",)


def _first_flaw(slices: Sequence[Slice]) -> str | None:
    flawed = [s for s in slices if s.flaw is not None]
    if not flawed:
        return None
    others = f" (and {len(flawed) - 1} more of {len(slices)})" if len(flawed) > 1 else ""
    return f"{flawed[0].file.name}{others}: {flawed[0].flaw}."


def _missing_geometry(one: Slice) -> str:
    missing = [
        name
        for name, value in (
            ("ImagePositionPatient", one.position),
            ("ImageOrientationPatient (two unit vectors at right angles)", one.orientation),
            ("PixelSpacing", one.pixel_spacing),
        )
        if value is None
    ]
    return f"no usable {' and '.join(missing)} in {one.file.name}, so its place is unknown; export it with geometry."


def _spacing_problem(slices: Sequence[Slice]) -> str | None:
    places = along_normal(slices)
    gaps = np.diff(places)
    if len(gaps) == 0:
        return None
    if places[-1] - places[0] <= same_position(slices[0]):
        return f"all {len(slices)} slices lie at one position ({places[0]:.6g} mm along the normal): not a volume."
    repeated = np.flatnonzero(gaps <= same_position(slices[0]))
    if len(repeated):
        return (
            f"{len(repeated)} of {len(slices)} slices lie where another lies already (first at "
            f"{places[repeated[0]]:.6g} mm along the normal) and nothing distinguishes them; remove the duplicates."
        )
    if _unevenness(slices) <= SPACING_TOLERANCE * float(np.median(gaps)):
        return None
    usual = float(np.median(gaps))
    worst = int(np.abs(gaps - usual).argmax())
    return (
        f"its slices are unevenly spaced: {gaps.min():.4g} to {gaps.max():.4g} mm where {usual:.4g} mm is usual, worst "
        f"between {places[worst]:.6g} and {places[worst + 1]:.6g} mm along the normal; slices are missing, or it isn't "
        "one volume."
    )


def _unevenness(slices: Sequence[Slice]) -> float:
    """How many mm a slice lies off its place at most, if all had the same distance."""
    places = along_normal(slices)
    return float(np.abs(places - np.linspace(places[0], places[-1], len(places))).max())


def _sideways(slices: Sequence[Slice]) -> np.ndarray:
    """How far each slice lies beside the normal through the first, shape (slices, 3), mm."""
    offsets = _positions(slices) - _positions(slices)[0]
    normal = _normal(slices)
    return offsets - np.outer(offsets @ normal, normal)


def _lies_sideways(slices: Sequence[Slice], offsets: np.ndarray | None = None) -> bool:
    assert slices[0].pixel_spacing is not None
    offsets = _sideways(slices) if offsets is None else offsets
    return bool(np.linalg.norm(offsets, axis=1).max() > SIDEWAYS_TOLERANCE * min(slices[0].pixel_spacing))


def _tilt(slices: Sequence[Slice]) -> tuple[float, str]:
    """The tilt in degrees, 0 if the slices lie sideways without proportion; and the problem."""
    places, sideways = along_normal(slices), _sideways(slices)
    share = (places - places[0]) / (places[-1] - places[0])
    rest = sideways - np.outer(share, sideways[-1])
    if _lies_sideways(slices, rest):
        most = float(np.linalg.norm(rest, axis=1).max())
        return 0.0, f"its slices are shifted sideways unevenly, by up to {most:.3g} mm: not one regular grid."
    shift = float(np.linalg.norm(sideways[-1]))
    degrees = float(np.degrees(np.arctan2(shift, places[-1] - places[0])))
    return degrees, (
        f"its slices are tilted by {degrees:.2f} degrees (gantry tilt; the last lies {shift:.3g} mm beside the first); "
        "--resample-tilt resamples it to a grid at right angles."
    )
