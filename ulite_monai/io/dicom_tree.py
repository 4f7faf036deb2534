"""A folder of DICOM files, as scanners and archives export them, sorted into volumes by header alone."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ulite_monai.errors import InputError
from ulite_monai.io.dicom_geometry import stack_slices
from ulite_monai.io.dicom_header import UNREADABLE, Header, NotAnImage, read_header
from ulite_monai.io.dicom_series import DicomSeries, DicomTree, Slice
from ulite_monai.io.dicom_split import split_into_volumes
from ulite_monai.io.files_below import files_below

__all__ = ["find_series"]


def find_series(path: str | Path) -> DicomTree:
    """Every DICOM volume below `path`, usable or not.

    Args:
        path: a folder, searched recursively whatever its files are called, or one file.

    Returns:
        The series by number, and counts of the files that are none. Pixels aren't read.

    Raises:
        InputError: When nothing is at `path`, or pydicom is missing.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise InputError(f"{root}: no such file or folder.")
    passed_over: Counter[str] = Counter()
    unreadable: dict[Path, list[str]] = defaultdict(list)
    groups: dict[Hashable, list[Header]] = defaultdict(list)
    for file in _files(root):
        try:
            header = read_header(file)
        except NotAnImage as reason:
            passed_over[str(reason)] += 1
            if str(reason) == UNREADABLE:
                unreadable[file.parent].append(file.name)
        else:
            groups[header.series_uid or (file.parent, header.series_number, header.modality)].append(header)
    ordered = sorted(groups.values(), key=lambda headers: (headers[0].series_number or 0, headers[0].series_uid))
    volumes = tuple(one for headers in ordered for one in _volumes(root, headers, unreadable))
    return DicomTree(root, volumes, dict(passed_over))


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    yield from files_below(root)


def _volumes(root: Path, headers: Sequence[Header], unreadable: Mapping[Path, Sequence[str]]) -> Iterator[DicomSeries]:
    first = headers[0]
    slices, notes = _without_copies([one for header in headers for one in header.slices])
    if not first.series_uid:
        notes.append("It has no SeriesInstanceUID; its files were put together by folder, series number and modality.")
    beside = [name for folder in sorted({one.file.parent for one in slices}) for name in unreadable.get(folder, ())]
    if beside:
        notes.append(
            f"{len(beside)} files in its folder can't be read ({', '.join(beside[:3])}{', ...' * (len(beside) > 3)}); "
            "if they are slices of it, it is cut short: export it again."
        )
    parts = split_into_volumes(slices)
    for number, (part, part_notes) in enumerate(parts, 1):
        stack = stack_slices(part)
        yield DicomSeries(
            id=_id(root, first) + (f"_{number}" if len(parts) > 1 else ""),
            slices=stack.slices,
            modality=first.modality,
            description=first.description,
            affine=stack.affine,
            tilt=stack.tilt,
            problem=stack.problem,
            notes=(*notes, *part_notes, *stack.notes),
        )


def _id(root: Path, header: Header) -> str:
    file = header.slices[0].file
    name = header.series_uid or f"{os.path.relpath(file.parent, root)}/{header.modality}"
    number = "" if header.series_number is None else header.series_number
    return f"series{number}_{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:8]}"


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """The same file twice in a tree is one file; two files that differ are kept, whatever their UID says."""
    files: dict[str, dict[Path, None]] = defaultdict(dict)
    for one in slices:
        files[one.instance or str(one.file)][one.file] = None
    copies = {copy for twins in files.values() if len(twins) > 1 for copy in _copies(twins)}
    notes = [f"{len(copies)} of its files are identical copies of others and were left out."] if copies else []
    return [one for one in slices if one.file not in copies], notes


def _copies(files: Iterable[Path]) -> Iterator[Path]:
    seen = set()
    for file in files:
        digest = hashlib.sha256(file.read_bytes()).digest()
        if digest in seen:
            yield file
        seen.add(digest)
