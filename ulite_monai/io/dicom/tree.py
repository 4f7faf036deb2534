"""A folder of DICOM files, as scanners and archives export them, sorted into volumes by header alone."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ulite_monai.errors import InputError
from ulite_monai.io.dicom.geometry import stack_slices
from ulite_monai.io.dicom.header import NOT_DICOM, UNREADABLE, Header, NotAnImage, read_header
from ulite_monai.io.dicom.series import DicomSeries, DicomTree, Slice
from ulite_monai.io.dicom.split import split_into_volumes
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
    unreadable: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    groups: dict[Hashable, list[Header]] = defaultdict(list)
    for file in _files(root):
        try:
            header = read_header(file)
        except NotAnImage as reason:
            passed_over[str(reason)] += 1
            unreadable[file.parent, str(reason)].append(file)
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


Unreadable = Mapping[tuple[Path, str], Sequence[Path]]  # files by folder and reason


def _volumes(root: Path, headers: Sequence[Header], unreadable: Unreadable) -> Iterator[DicomSeries]:
    first = headers[0]
    slices, notes = _without_copies([one for header in headers for one in header.slices])
    if not first.series_uid:
        notes.append("It has no SeriesInstanceUID; its files were put together by folder, series number and modality.")
    damaged = [one.file for one in slices if 0 in one.size]
    beside = [*damaged, *_may_be_slices(slices, unreadable)]
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
            notes=(*notes, *_cut_short(part, beside), *_inverted(part), *part_notes, *stack.notes),
        )


def _may_be_slices(slices: Sequence[Slice], unreadable: Unreadable) -> Iterator[Path]:
    """Files beside the slices that can't be read and may have been slices; a damaged one may have any content."""
    for folder in sorted({one.file.parent for one in slices}):
        yield from unreadable.get((folder, UNREADABLE), ())
        suffixes = {_suffix(one.file) for one in slices if one.file.parent == folder}
        for file in unreadable.get((folder, NOT_DICOM), ()):
            if not file.name.startswith(".") and _suffix(file) in suffixes and (_suffix(file) or not _is_text(file)):
                yield file


def _suffix(file: Path) -> str:
    """The suffix; none where the last dot is a UID's."""
    suffix = file.suffix.lower()
    return "" if suffix[1:].isdigit() else suffix


def _is_text(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            start = stream.read(1024)
        start[:-4].decode("utf-8")  # without a character that is cut
        return b"\0" not in start
    except (OSError, UnicodeDecodeError):
        return False


def _cut_short(part: Sequence[Slice], beside: Sequence[Path]) -> list[str]:
    names = [file.name for file in beside if file not in {one.file for one in part}]
    if not names:
        return []
    files, are = ("files", "they are slices") if len(names) > 1 else ("file", "it is a slice")
    return [
        f"{len(names)} {files} beside it can't be read ({', '.join(names[:3])}{', ...' * (len(names) > 3)}); "
        f"if {are} of it, it is cut short: export it again."
    ]


def _inverted(part: Sequence[Slice]) -> list[str]:
    if not any(one.inverted for one in part):
        return []
    return ["It is MONOCHROME1, whose highest value is black; the values were turned so that it is white, as ITK does."]


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
