"""A folder of outputs: what this program wrote there is known by its record, and nothing else is ever replaced."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import all_or_none, atomic_path, cant_be_written, give_names, remove_leftovers

__all__ = ["JOURNAL", "RECORD", "SOFTWARE", "OutputFolder", "require_apart", "written_below"]

RECORD = "predictions.json"
JOURNAL = ".predictions.jsonl"  # beside the record of a run that goes on: what it wrote since
SOFTWARE = "ulite-monai"


class OutputFolder:
    """The outputs of one run, in one folder.

    The record, `predictions.json`, holds under `files` the size and SHA-256 of every file that was written. A file is
    this program's own if it is still what the record says; all others belong to somebody else.

    Args:
        folder: made when the first file is written.
        overwrite: replace what belongs to somebody else, too.

    Attributes:
        former: the record that was there, without `files`; empty where there was none.
    """

    def __init__(self, folder: str | Path, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.overwrite = overwrite
        record = _read_record(self.folder)
        self._record_is_ours = record is not None and record.get("digest") == _digest_of(record)
        self.former = {} if record is None else {k: v for k, v in record.items() if k not in ("files", "digest")}
        self._files: dict[str, list[Any]] = {}  # the last entry is the newest; a killed run leaves two
        for name, written in _entries(self.folder):
            self._files.setdefault(name, []).append(written)
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
        versions, state = self._files.get(self._name(path)) or [None], _state(Path(path))
        return state is not None and versions[-1] == state

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
        """Write `predictions.json`.

        Args:
            content: what it says beside `files`.
            last: whether nothing is written any more until the next record.

        Raises:
            InputError: When it belongs to somebody else, or the system refuses to write.
        """
        self.require_free([self.folder / RECORD])
        with self._turn:
            files = {name: versions[-1] for name, versions in self._files.items()}
            record = {"written_by": SOFTWARE, **content, "files": dict(sorted(files.items()))}
            record = json.loads(json.dumps(record))
            record["digest"] = _digest_of(record)
            with atomic_path(self.folder / RECORD) as path:
                path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            self._record_is_ours = True
            if last:
                (self.folder / JOURNAL).unlink(missing_ok=True)

    def close(self) -> None:
        """From now on nothing gets its name here, whatever another thread is writing."""
        with self._turn:
            self._closed = True

    def _give_names(self, renames: Sequence[tuple[Path, Path]], paths: Collection[Path]) -> None:
        unplanned = {path for _, path in renames} - set(paths)
        assert not unplanned, unplanned
        written = [(self._name(path), _state(temporary)) for temporary, path in renames]
        with self._turn:
            self._require_open()
            self.require_free([path for _, path in renames])  # once more: the network took its time
            _append(self.folder / JOURNAL, written)  # first, so that a run killed now knows them the next time
            give_names(renames)
            for name, state in written:
                self._files.setdefault(name, []).append(state)

    def _require_open(self) -> None:
        if self._closed:
            raise InputError(f"{self.folder}: nothing is written there any more, the run was stopped.")

    def _is_ours(self, path: Path) -> bool:
        name = self._name(path)
        return self._record_is_ours if name == RECORD else _state(path) in self._files.get(name, [])

    def _name(self, path: str | Path) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()


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


def written_below(folders: Collection[Path]) -> set[str]:
    """The real paths of all that this program wrote to `folders`, by their records."""
    return {os.path.realpath(folder / name) for folder in folders for name, _ in _entries(folder)}


def _read_record(folder: Path) -> dict[str, Any] | None:
    """The record in a folder, whoever has edited it since; None where there is none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_record = isinstance(record, dict) and record.get("written_by") == SOFTWARE
    return record if is_record and isinstance(record.get("files"), dict) else None


def _entries(folder: Path) -> Iterator[tuple[str, Any]]:
    """Name and state of all that the record and the journal of a folder list, in the order of writing."""
    yield from (_read_record(folder) or {}).get("files", {}).items()
    with suppress(OSError):
        for line in (folder / JOURNAL).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # the last line of a killed run may be cut
                yield from json.loads(line).items()


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
