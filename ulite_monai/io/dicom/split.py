"""The volumes that share one SeriesInstanceUID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.io.dicom.geometry import along_normal, same_position, stack_slices
from ulite_monai.io.dicom.header import MARKS, read_marks
from ulite_monai.io.dicom.series import Slice

__all__ = ["split_into_volumes"]

# Headers are rounded. Of unit vectors and of the pixel spacing, this much is half a pixel in 512.
ROUNDING = 1e-3
Part = tuple[list[Slice], tuple[str, ...]]


def split_into_volumes(slices: Sequence[Slice]) -> list[Part]:
    """Split slices where they can't be one volume.

    First by what a volume has once: size, pixel spacing, orientation, kind of pixels. Then, where slices repeat at the
    same positions, by the first mark in which they differ. Multi-frame files that together are no regular volumes are
    each by themselves.

    Args:
        slices: all of one SeriesInstanceUID, in any order.

    Returns:
        Each part with notes on what it was split by. Parts whose repetitions differ in nothing stay whole.
    """
    grids = _by_grid(slices)
    differing = [name for name, differs in DIFFERENCES.items() if any(differs(grids[0][0], g[0]) for g in grids[1:])]
    notes = (_note(len(grids), " and ".join(differing)),) if len(grids) > 1 else ()
    return [part for grid in grids for part in _split_files(grid, notes)]


def _by_grid(slices: Iterable[Slice]) -> list[list[Slice]]:
    grids: list[list[Slice]] = []
    for one in sorted(slices, key=lambda s: (s.number, s.file)):
        for grid in grids:
            if not any(differs(grid[0], one) for differs in DIFFERENCES.values()):
                grid.append(one)
                break
        else:
            grids.append([one])
    return grids


def _spacing_differs(one: Slice, other: Slice) -> bool:
    if one.pixel_spacing is None or other.pixel_spacing is None:
        return one.pixel_spacing is not other.pixel_spacing
    return any(abs(a - b) > ROUNDING * b for a, b in zip(one.pixel_spacing, other.pixel_spacing, strict=True))


def _orientation_differs(one: Slice, other: Slice) -> bool:
    if one.orientation is None or other.orientation is None:
        return one.orientation is not other.orientation
    return bool(np.abs(one.orientation - other.orientation).max() > ROUNDING)


DIFFERENCES: dict[str, Callable[[Slice, Slice], bool]] = {
    "size": lambda one, other: one.size != other.size,
    "colour": lambda one, other: one.colour != other.colour,
    "position": lambda one, other: (one.position is None) != (other.position is None),
    "pixel spacing": _spacing_differs,
    "orientation": _orientation_differs,
}


def _split_files(slices: list[Slice], notes: tuple[str, ...]) -> list[Part]:
    """One volume may lie in several multi-frame files; where they don't fit together, each is by itself."""
    parts = _split_repeats(slices, notes)
    files: dict[Path | None, list[Slice]] = defaultdict(list)
    for one in slices:
        files[one.file if one.frames > 1 else None].append(one)
    if len(files) == 1 or all(stack_slices(part).problem is None for part, _ in parts):
        return parts
    return [
        part
        for number, one in enumerate(files.values(), 1)
        for part in _split_repeats(one, (*notes, _note(len(files), "file", number)))
    ]


def _split_repeats(slices: list[Slice], notes: tuple[str, ...]) -> list[Part]:
    if slices[0].position is None or slices[0].orientation is None:
        return [(slices, notes)]
    places = _place_numbers(slices)
    most = int(np.bincount(places).max())
    if most == 1 or most == len(slices):  # each place once, or all at one place, which is no volume
        return [(slices, notes)]
    marks = _marks(slices)
    for name in MARKS:
        parts = _by_mark(slices, [mark[name] for mark in marks])
        if 1 < len(parts) <= most and all(_covers_most(part, slices) for part in parts.values()):
            return [
                done
                for value, part in sorted(parts.items(), key=lambda item: _rank(item[0]))
                for done in _split_repeats(part, (*notes, _note(len(parts), name, value)))
            ]
    rounds = _by_counting(slices, places, most)
    return [(part, (*notes, _note(most, "order", n))) for n, part in enumerate(rounds, 1)] or [(slices, notes)]


def _rank(value: object) -> tuple[bool, bool, Any]:
    """Numbers by size, then texts, then None: values of one mark needn't be of one type."""
    return value is None, isinstance(value, str), value


def _note(count: int, name: str, value: object = None) -> str:
    shown = "" if value is None else f" ({value:g})" if isinstance(value, float) else f" ({value})"
    return f"One of {count} volumes under one SeriesInstanceUID, split by {name}{shown}."


def _place_numbers(slices: Sequence[Slice]) -> np.ndarray:
    """For each slice the number of its place along the normal, counted from 0."""
    along = along_normal(slices)
    order = np.argsort(along)
    numbers = np.empty(len(slices), dtype=np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > same_position(slices[0]))])
    return numbers


def _marks(slices: Iterable[Slice]) -> list[dict[str, float | str | None]]:
    # Read only now: most series have no repetitions.
    files: dict[Path, list[dict[str, float | str | None]]] = {}
    for one in slices:
        if one.file not in files:
            files[one.file] = read_marks(one.file)
    return [files[one.file][one.frame] for one in slices]


def _by_mark(slices: Sequence[Slice], values: Sequence[Hashable]) -> dict[Hashable, list[Slice]]:
    parts: dict[Hashable, list[Slice]] = defaultdict(list)
    for one, value in zip(slices, values, strict=True):
        parts[value].append(one)
    return parts


def _covers_most(part: Sequence[Slice], whole: Sequence[Slice]) -> bool:
    # Half would do to distinguish a volume from stray slices; one that lacks some is refused later, with its numbers.
    return 2 * len(np.unique(_place_numbers(part))) > len(np.unique(_place_numbers(whole)))


def _by_counting(slices: Sequence[Slice], places: np.ndarray, most: int) -> list[list[Slice]]:
    """Volumes by the scanner's own counting: one whole volume after the other, or all of one place after the other.

    Returns nothing where neither holds.
    """
    if len(slices) != most * len(np.unique(places)) or len({s.number for s in slices}) != len(slices):
        return []
    order = sorted(range(len(slices)), key=lambda n: slices[n].number)
    table = places[order].reshape(most, -1)
    if all(len(np.unique(row)) == table.shape[1] for row in table):
        return [[slices[n] for n in row] for row in np.array(order).reshape(most, -1)]
    table = places[order].reshape(-1, most)
    if all(len(np.unique(row)) == 1 for row in table):
        return [[slices[n] for n in column] for column in np.array(order).reshape(-1, most).T]
    return []
