"""One record of a cohort that was segmented in parts, and what is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ulite_monai.errors import InputError
from ulite_monai.io.output_folder import RECORD, OutputFolder, Record
from ulite_monai.prediction.bids_outputs import write_bids_files
from ulite_monai.prediction.case_report import HEADS, VOLUMES, are_intact, made_by, results_in, write_statistics
from ulite_monai.prediction.options import CaseResult
from ulite_monai.reports.cohort import write_cohort_report

__all__ = ["Merged", "merge_parts"]

OF_A_PART = ("ckpt", "engine", "precision", "device", "versions")  # may differ without the masks being others
REPORT = "report.html"
NAMED = 5  # missing cases that a sentence names


@dataclass(frozen=True)
class Merged:
    """What the parts came to.

    Attributes:
        results: of every case that one of them did, ordered by id.
        missing: what isn't there, one sentence each; empty when the cohort is complete.
    """

    results: list[CaseResult]
    missing: list[str]


def merge_parts(folder: str | Path, overwrite: bool = False) -> Merged:
    """Write one `predictions.json`, `volumes.csv` and `report.html` of all parts that lie in a folder.

    Every case is recorded once: as done where its files are as a record says, else as refused or failed. What
    `predictions.json` holds already by the same weights and settings stays in it. The parts' records stay as they are,
    so a part can be resumed, and merged again.

    Args:
        folder: what the runs of the parts were given as output.
        overwrite: replace such files though this program didn't write them, or they were changed.

    Raises:
        InputError: When there are no records of parts, or they contradict each other: other numbers of parts, other
            weights or settings, a case in two of them, a record that was changed by hand.
    """
    folder = Path(folder).expanduser()
    outputs = OutputFolder(folder, overwrite)
    parts = sorted((r for r in outputs.formers if "part" in r.content), key=lambda r: r.content["part"]["number"])
    if not parts:
        raise InputError(f"{folder}: holds no record of a part; segment with ulite predict --part K/N -o {folder}.")
    _require_alike(parts)
    outputs.require_free([outputs.record, folder / VOLUMES, folder / HEADS, folder / REPORT])
    whole = [r for r in outputs.formers if r.path.name == RECORD and made_by(r) == made_by(parts[0])]
    found: dict[str, CaseResult] = {}
    for record in (*whole, *parts):
        for result in results_in(record):
            is_refused = result.status in ("refused", "failed")
            if are_intact(result, record, outputs) or (is_refused and result.id not in found):
                found[result.id] = result
    merged = Merged([found[case_id] for case_id in sorted(found)], list(_missing(parts, found.keys())))
    head = _head(parts) | {"missing": merged.missing}
    cases = [asdict(result) for result in merged.results]
    write_statistics(outputs, merged.results)
    with outputs.writing([folder / REPORT]):
        volumes = {result.id: result.volumes for result in merged.results if result.volumes}
        title = f"{parts[0].content['algorithm']['name']}: {folder.resolve().name}"
        write_cohort_report(folder / REPORT, title, cases, volumes, merged.missing)
    if "bids" in head:
        write_bids_files(outputs, head["bids"], head, merged.results)
    outputs.write_record(head | {"cases": cases})
    return merged


def _require_alike(parts: Sequence[Record]) -> None:
    """Refuse records that can't be of one cohort."""
    first = parts[0]
    owners: dict[str, Record] = {}
    for record in parts:
        if not record.is_genuine:
            raise InputError(f"{record.path}: was changed since it was written; delete it and run that part again.")
        of, others = record.content["part"]["of"], first.content["part"]["of"]
        if of != others:
            raise InputError(
                f"{record.path}: is of {of} parts, {first.path.name} of {others}; delete the records of one number."
            )
        alike = {**made_by(record), "bids": record.content.get("bids")}
        differing = [name for name, value in alike.items() if value != first.content.get(name)]
        if differing:
            raise InputError(
                f"{record.path}: its masks were made by other {' and '.join(differing)} than those of "
                f"{first.path.name}; run one of the two again, all with the same bundle and options."
            )
        for result in results_in(record):
            owner = owners.setdefault(result.id, record)
            if owner is not record:
                raise InputError(f"{record.path}: holds the case {result.id}, and so does {owner.path.name}.")


def _missing(parts: Sequence[Record], found: Collection[str]) -> Iterator[str]:
    """Sentences on the parts and cases that aren't there."""
    of = parts[0].content["part"]["of"]
    records = {record.content["part"]["number"]: record for record in parts}
    absent = [str(number) for number in range(1, of + 1) if number not in records]
    if absent:
        names = f"part {absent[0]} has" if len(absent) == 1 else f"parts {', '.join(absent)} have"
        yield f"{names} no record, of {of} parts."
    for number, record in records.items():
        planned = record.content["part"]["cases"]
        recorded = {result.id for result in results_in(record)}
        for cases, what in (
            ([one for one in planned if one not in found and one not in recorded], "aren't done"),
            ([one for one in planned if one not in found and one in recorded], "had masks that are gone or changed"),
        ):
            if cases:
                names = ", ".join(cases[:NAMED]) + (", ..." if len(cases) > NAMED else "")
                yield f"part {number} of {of}: {len(cases)} of its {len(planned)} cases {what}: {names}."
    counts = {record.content["part"]["of_cases_sha256"]: record.content["part"]["of_cases"] for record in parts}
    if len(counts) > 1:
        yield f"the parts found different cases at the input ({' and '.join(map(str, counts.values()))} of them)."


def _head(parts: Sequence[Record]) -> dict[str, Any]:
    """What the record says beside its cases; of what parts may differ in, the top names what all have in common."""
    first = {name: value for name, value in parts[0].content.items() if name not in ("part", "cases", "written_by")}
    differing = [name for name in OF_A_PART if any(r.content.get(name) != first.get(name) for r in parts)]
    told = [
        {"number": record.content["part"]["number"], "cases": len(record.content["part"]["cases"])}
        | {name: record.content.get(name) for name in differing}
        for record in parts
    ]
    return first | dict.fromkeys(differing) | {"parts": {"of": parts[0].content["part"]["of"], "merged": told}}
