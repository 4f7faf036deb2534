"""The pixels of a DICOM series as one volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.dicom.decode import decode, decode_apart, may_abort
from ulite_monai.io.dicom.gantry_tilt import correct_gantry_tilt
from ulite_monai.io.dicom.series import DicomSeries, Slice
from ulite_monai.io.volume import Volume

__all__ = ["read_series"]

INTEGERS = (np.uint8, np.int16, np.uint16, np.int32)


def read_series(series: DicomSeries, resample_tilt: bool = False) -> Volume:
    """Read a series as a volume of rescaled values.

    Args:
        series: one that `find_series` found.
        resample_tilt: resample a tilted stack to a grid at right angles (linear, in the plane of the slices), which
            grows to hold all of it. Otherwise a tilt is refused.

    Returns:
        The volume, shape (columns, rows, slices), in the smallest integer type that holds the rescaled values, or
        float32 where slopes or intercepts aren't whole numbers.

    Raises:
        InputError: When the series has a problem, or its pixels can't be decoded.
    """
    if series.problem is not None and not (series.tilt and resample_tilt):
        raise InputError(f"{series.id}: {series.problem}")
    assert series.affine is not None
    array = _empty(series)
    for k, frame in _frames(series):
        array[:, :, k] = _rescaled(frame, series.slices[k]).T
    volume = Volume(array, series.affine.copy(), series, None, [f"{series.id}: {note}" for note in series.notes])
    return correct_gantry_tilt(volume, series.tilt) if series.tilt else volume


def _empty(series: DicomSeries) -> np.ndarray:
    try:
        return np.empty(series.shape, dtype=_dtype(series.slices), order="F")
    except MemoryError as error:
        raise InputError(f"{series.id}: {series.shape} voxels don't fit into memory.") from error


def _dtype(slices: Sequence[Slice]) -> type[np.number]:
    if any(not s.slope.is_integer() or not s.intercept.is_integer() for s in slices):
        return np.float32
    ends = [s.slope * end + s.intercept for s in slices for end in s.stored_range]
    for dtype in INTEGERS:
        if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
            return dtype
    return np.float32


def _frames(series: DicomSeries) -> Iterator[tuple[int, np.ndarray]]:
    """The stored values of every slice with its number, each (rows, columns)."""
    files: dict[Path, list[int]] = defaultdict(list)
    for k, one in enumerate(series.slices):
        files[one.file].append(k)
    firsts = {file: series.slices[places[0]] for file, places in files.items()}
    jobs = {file: [series.slices[k].frame for k in places] for file, places in files.items()}
    apart = decode_apart([(file, frames) for file, frames in jobs.items() if may_abort(firsts[file].syntax)])
    for file, places in files.items():
        first = firsts[file]
        try:
            frames = next(apart) if may_abort(first.syntax) else decode((file, jobs[file]))
            for k, frame in zip(places, frames, strict=True):
                if frame.shape != first.size:
                    raise ValueError(f"decoded as {frame.shape}, the header says {first.size}")
                yield k, frame
        except InputError as error:
            raise InputError(f"{series.id}: {error}") from error
        except Exception as error:  # decoders raise whatever they like about damaged bytes
            raise InputError(f"{series.id}: {file.name}: {_decoding_problem(error)}") from error


def _rescaled(frame: np.ndarray, one: Slice) -> np.ndarray:
    if (one.slope, one.intercept) == (1, 0):
        return frame
    return frame * np.float64(one.slope) + one.intercept


def _decoding_problem(error: Exception) -> str:
    reason = " ".join(str(error).split())
    if "missing dependencies" in reason:
        return 'its compression needs a decoder that is missing: pip install "ulite-monai[dicom]".'
    return f"its pixel data can't be decoded ({reason[:200] or type(error).__name__}); copy or export it again."
