"""A folder of outputs: what this program wrote there is known by its record, and nothing else is ever replaced."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import all_or_none, atomic_path, cant_be_written, give_names, remove_leftovers

__all__ = [
    "RECORD",
    "SOFTWARE",
    "OutputFolder",
    "Record",
    "Written",
    "is_record",
    "read_records",
    "require_apart",
    "written_below",
]

RECORD = "predictions.json"
SOFTWARE = "ulite-monai"
# A run's record, or one of a part; beside it while the run goes on a journal of what it wrote since.
RECORDS = re.compile(r"predictions(\.part-\d+-of-\d+)?\.json|\.predictions(\.part-\d+-of-\d+)?\.jsonl")


@dataclass(frozen=True)
class Record:
    """What a run says that it wrote to a folder.

    Attributes:
        path: the file.
        content: what it says beside `files`; empty where there is a journal alone.
        files: the states of each file that was written, the newest last; a killed run leaves two.
        is_genuine: whether the file is as this program wrote it.
    """

    path: Path
    content: Mapping[str, Any]
    files: Mapping[str, list[Any]]
    is_genuine: bool

    def is_intact(self, path: str | Path) -> bool:
        """Whether `path` is still as this run last wrote it."""
        state = _state(Path(path))
        return state is not None and self.files.get(_name_in(self.path.parent, path), [None])[-1] == state


class Written(NamedTuple):
    """A file that was written beside its place: the temporary name, its own name, its size and SHA-256."""

    temporary: Path
    path: Path
    state: dict[str, Any] | None


class OutputFolder:
    """The outputs of one run, in one folder.

    The record, `predictions.json`, holds under `files` the size and SHA-256 of every file that was written. A file is
    this program's own if it is still what a record in the folder says; all others belong to somebody else.

    Args:
        folder: made when the first file is written.
        overwrite: replace what belongs to somebody else, too.
        part: of a run that is one of several into the folder, `part-2-of-4`, which has a record of its own, and of
            the others looks at `predictions.json` alone.

    Attributes:
        record: where this run's record lies.
        formers: the records that were there, this run's own the last.
    """

    def __init__(self, folder: str | Path, overwrite: bool = False, part: str = "") -> None:
        self.folder = Path(folder)
        self.overwrite = overwrite
        self.record = self.folder / (f"predictions.{part}.json" if part else RECORD)
        formers = [record for record in read_records(self.folder, part) if record.path != self.record]
        own = _read_record(self.record)
        self.formers = formers if own is None else [*formers, own]
        self._record_is_ours = own is not None and own.is_genuine
        self._files = {name: list(states) for name, states in own.files.items()} if own else {}
        self._turn = threading.Lock()
        self._closed = False
        remove_leftovers(self.folder)

    def require_free(self, paths: Collection[Path]) -> None:
        """Check that files may be written to `paths`.

        Raises:
            InputError: When one lies outside the folder, is a folder, or belongs to somebody else.
        """
        for path in paths:
            if os.path.relpath(path, self.folder).split(os.sep)[0] == os.pardir:
                raise InputError(f"{path}: lies outside the output folder {self.folder}; choose another case id.")
            if path.is_dir():
                raise InputError(f"{path}: is a folder; move it away, or give another output.")
            if os.path.lexists(path) and not self.overwrite and not self._is_ours(path):
                raise InputError(
                    f"{path}: is there already and wasn't written by this program, or was changed since; move it away, "
                    "give another output, or let it be replaced with --overwrite."
                )

    def is_intact(self, path: str | Path) -> bool:
        """Whether `path` is still as it was last written."""
        state = _state(Path(path))
        return state is not None and self._files.get(self._name(path), [None])[-1] == state

    def adopt(self, path: str | Path, record: Record) -> bool:
        """Whether `path` is still as a former run last wrote it; this run's record lists it then, too."""
        if not record.is_intact(path):
            return False
        name = self._name(path)
        self._files.setdefault(name, []).append(record.files[name][-1])
        return True

    @contextmanager
    def writing(self, paths: Collection[Path]) -> Iterator[None]:
        """What is written to `paths` inside, by `atomic_path`, gets its names when the block ends: all of it or none.

        Raises:
            InputError: See `require_free`; or when the system refuses to write.
        """
        self._require_open()
        with all_or_none(lambda renames: self._give_names(renames, paths)):
            yield

    def write_record(self, content: Mapping[str, Any], last: bool = True) -> None:
        """Write this run's record.

        Args:
            content: what it says beside `files`.
            last: whether nothing is written any more until the next record.

        Raises:
            InputError: When it belongs to somebody else, or the system refuses to write.
        """
        self.require_free([self.record])
        with self._turn:
            files = {name: versions[-1] for name, versions in self._files.items()}
            record = {"written_by": SOFTWARE, **content, "files": dict(sorted(files.items()))}
            record = json.loads(json.dumps(record))
            record["digest"] = _digest_of(record)
            with atomic_path(self.record) as path:
                path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            self._record_is_ours = True
            if last:
                _journal_of(self.record).unlink(missing_ok=True)

    def close(self) -> None:
        """From now on nothing gets its name here, whatever another thread is writing."""
        with self._turn:
            self._closed = True

    def _give_names(self, renames: Sequence[tuple[Path, Path]], paths: Collection[Path]) -> None:
        self.take(self._written(renames, paths))

    def _written(self, renames: Sequence[tuple[Path, Path]], paths: Collection[Path]) -> list[Written]:
        unplanned = {path for _, path in renames} - set(paths)
        assert not unplanned, unplanned
        return [Written(temporary, path, _state(temporary)) for temporary, path in renames]

    def take(self, written: Sequence[Written]) -> None:
        """Give files that were written beside their places, here or by another process, their names: all or none.

        Raises:
            InputError: See `require_free`; or when the system refuses to rename one.
        """
        states = [(self._name(one.path), one.state) for one in written]
        with self._turn:
            self._require_open()
            self.require_free([one.path for one in written])  # once more: the network took its time
            _append(_journal_of(self.record), states)  # first, so that a run killed now knows them the next time
            give_names([(one.temporary, one.path) for one in written])
            for name, state in states:
                self._files.setdefault(name, []).append(state)

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(f"{self.folder}: nothing is written there any more, the run was stopped.")

    def _is_ours(self, path: Path) -> bool:
        if self._name(path) == self.record.name:
            return self._record_is_ours
        name, state = self._name(path), _state(path)
        known = (self._files, *(record.files for record in self.formers))
        return any(state in files.get(name, []) for files in known)

    def _name(self, path: str | Path) -> str:
        return _name_in(self.folder, path)


def require_apart(paths_of: Mapping[str, Collection[Path]], inputs: Iterable[str | Path] = ()) -> None:
    """Check that no two cases write the same file, and none writes over an input.

    Args:
        paths_of: by what a person knows the case by, the files that it writes.
        inputs: files that are read.

    Raises:
        InputError: It names both cases and the file; names that differ in case alone are one file on some systems.
    """
    owners: dict[str, str] = {}
    fold = _ignores_case(next((path.parent for paths in paths_of.values() for path in paths), Path()))
    read = {os.path.realpath(path) for path in inputs}
    for owner, paths in paths_of.items():
        for path in paths:
            if os.path.realpath(path) in read:
                raise InputError(f"{path}: is an input and would be overwritten; give another output folder.")
            other = owners.setdefault(str(path).casefold() if fold else str(path), owner)
            if other != owner:
                raise InputError(f"{other} and {owner} would both write {path}; rename one of them.")


def is_record(path: Path) -> bool:
    """Whether it is named as a record or a journal is."""
    return RECORDS.fullmatch(path.name) is not None


def written_below(folders: Collection[Path]) -> set[str]:
    """The real paths of all that this program wrote to `folders`, by their records."""
    return {
        os.path.realpath(folder / name)
        for folder in folders
        for record in read_records(folder)
        for name in record.files
    }


def read_records(folder: Path, part: str = "") -> list[Record]:
    """The records in a folder, whoever has edited them since: that of a whole run and those of parts, or of one part.

    Args:
        folder: need not exist.
        part: the one part whose record is wanted beside `predictions.json`; "" for all.
    """
    try:
        names = [path for path in folder.iterdir() if is_record(path)]
    except OSError:
        return []
    paths = {path.with_name(f"{path.stem.removeprefix('.')}.json") for path in names}
    if part:
        paths &= {folder / RECORD, folder / f"predictions.{part}.json"}
    return [record for path in sorted(paths) if (record := _read_record(path)) is not None]


def _read_record(path: Path) -> Record | None:
    """A record with its journal; None where both are missing or somebody else's."""
    content = _read_object(path)
    if not isinstance(content.get("files"), dict) or content.get("written_by") != SOFTWARE:
        content = {}
    entries = [*content.get("files", {}).items(), *_journal_entries(_journal_of(path))]
    if not content and not entries:
        return None
    files: dict[str, list[Any]] = {}
    for name, state in entries:
        files.setdefault(name, []).append(state)
    is_genuine = bool(content) and content.get("digest") == _digest_of(content)
    rest = {name: value for name, value in content.items() if name not in ("files", "digest")}
    return Record(path, rest, files, is_genuine)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _journal_of(record: Path) -> Path:
    return record.with_name(f".{record.stem}.jsonl")


def _journal_entries(journal: Path) -> Iterator[tuple[str, Any]]:
    """Name and state of what a run wrote since its record, in the order of writing."""
    with suppress(OSError):
        for line in journal.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # the last line of a killed run may be cut
                yield from json.loads(line).items()


def _name_in(folder: Path, path: str | Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _append(journal: Path, written: Sequence[tuple[str, Any]]) -> None:
    try:
        with journal.open("a", encoding="utf-8") as file:
            # A line break first: what a killed run left half written must not swallow this one.
            file.write("\n" + json.dumps(dict(written)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cant_be_written(journal, error) from error


def _state(path: Path) -> dict[str, Any] | None:
    """Size and SHA-256 of a file; None where none can be read."""
    sha256, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                sha256.update(chunk)
                size += len(chunk)
    except OSError:
        return None
    return {"bytes": size, "sha256": sha256.hexdigest()}


def _digest_of(record: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _ignores_case(folder: Path) -> bool:
    """Whether names that differ in case alone are one file there."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    swapped = there.with_name(there.name.swapcase()) if there.name else there
    return swapped != there and swapped.exists()
