"""The volumes that share one SeriesInstanceUID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.io.dicom_geometry import SAME_POSITION, along_normal
from ulite_monai.io.dicom_header import MARKS, read_marks
from ulite_monai.io.dicom_series import Slice

__all__ = ["split_into_volumes"]

SAME_DIRECTION = 1e-4  # per component of the unit vectors
Part = tuple[list[Slice], tuple[str, ...]]


def split_into_volumes(slices: Sequence[Slice]) -> list[Part]:
    """Split slices where they can't be one volume.

    First by what a volume has once: size, pixel spacing, orientation, kind of pixels; a multi-frame file is by
    itself. Then, where slices repeat at the same positions, by the first mark that tells them apart.

    Args:
        slices: all of one SeriesInstanceUID, in any order.

    Returns:
        Each part with notes on what it was told apart by. Parts whose repetitions nothing tells apart stay whole.
    """
    parts: list[Part] = []
    for alike in _alike(slices):
        if alike[0].position is None or alike[0].orientation is None:
            parts.append((alike, ()))
        else:
            parts += _split_repeats(alike, ())
    return parts


def _alike(slices: Iterable[Slice]) -> list[list[Slice]]:
    groups: dict[Hashable, list[Slice]] = defaultdict(list)
    directions: list[np.ndarray] = []
    for one in sorted(slices, key=lambda s: (s.number, s.file)):
        kind = (*_kind(one), _direction_number(one, directions))
        groups[kind].append(one)
    return list(groups.values())


def _kind(one: Slice) -> tuple[Hashable, ...]:
    spacing = None if one.pixel_spacing is None else tuple(round(x, 5) for x in one.pixel_spacing)
    file = one.file if one.frames > 1 else None
    return one.size, one.colour, spacing, one.position is None, file


def _direction_number(one: Slice, directions: list[np.ndarray]) -> int | None:
    """Which of the directions met so far the slice has; a new one is added."""
    if one.orientation is None:
        return None
    for number, known in enumerate(directions):
        if np.abs(known - one.orientation).max() <= SAME_DIRECTION:
            return number
    directions.append(one.orientation)
    return len(directions) - 1


def _split_repeats(slices: list[Slice], notes: tuple[str, ...]) -> list[Part]:
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


def _note(count: int, name: str, value: object) -> str:
    shown = f"{value:g}" if isinstance(value, float) else value
    return f"One of {count} volumes under one SeriesInstanceUID, told apart by {name} ({shown})."


def _place_numbers(slices: Sequence[Slice]) -> np.ndarray:
    """For each slice the number of its place along the normal, counted from 0."""
    along = along_normal(slices)
    order = np.argsort(along)
    numbers = np.empty(len(slices), dtype=np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_POSITION)])
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
    # Half would do to tell a volume from stray slices; a volume that lacks some is refused later, with its numbers.
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
