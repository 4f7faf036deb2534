"""Masks as a BIDS derivative dataset: names, the table of the classes, that of volumes, and what the dataset is."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from ulite_monai.datasets.bids import entities
from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.output_folder import SOFTWARE, OutputFolder
from ulite_monai.prediction.options import CaseResult

__all__ = ["bids_files", "bids_label", "bids_paths", "write_bids_files"]

BIDS_VERSION = "1.10.0"
NOT_APPLICABLE = "n/a"
# What this program writes beside that BIDS has no name for.
NOT_BIDS = ("predictions*.json", "volumes.tsv", "volumes.csv", "heads.csv", "report.html", "*_preview.png")


def bids_label(bundle: str) -> str:
    """The label of `desc` for the masks of a bundle: the letters and digits of its name, or its folder's.

    Raises:
        InputError: When there are none.
    """
    label = re.sub(r"[^a-zA-Z0-9]", "", Path(bundle.rstrip("/*")).name)
    if not label:
        raise InputError(f"--bundle {bundle}: BIDS needs a name with letters or digits; name the bundle's folder.")
    return label


def bids_paths(case_id: str, folder: Path, desc: str, probabilities: bool, preview: bool) -> dict[str, Path]:
    """What is written for a case, by kind: `sub-01/ses-1/anat/sub-01_ses-1_desc-DESC_dseg.nii.gz`, `_probseg`.

    Args:
        case_id: as `find_bids_cases` gives it.
        folder: of the derivative dataset.
        desc: label of what made the masks.
        probabilities, preview: whether they are written.
    """
    base = f"{case_id.rpartition('_')[0]}_desc-{desc}"
    paths = {"nifti": folder / f"{base}_dseg.nii.gz"}
    if probabilities:
        paths["probabilities"] = folder / f"{base}_probseg.nii.gz"
    if preview:
        paths["preview"] = folder / f"{base}_preview.png"
    return paths


def bids_files(folder: Path, desc: str) -> dict[str, Path]:
    """The files of the dataset itself: `description`, `classes`, `volumes`, `ignored`."""
    return {
        "description": folder / "dataset_description.json",
        "classes": folder / f"desc-{desc}_dseg.tsv",
        "volumes": folder / "volumes.tsv",
        "ignored": folder / ".bidsignore",
    }


def write_bids_files(outputs: OutputFolder, desc: str, head: Mapping[str, Any], results: Sequence[CaseResult]) -> None:
    """Write the files of the dataset itself.

    Args:
        outputs: the derivative dataset.
        desc: label of what made the masks.
        head: of the record, which says what made the masks.
        results: of all cases; those with a mask are in the table of volumes, in mL, a row each.

    Raises:
        InputError: When one belongs to somebody else, or the system refuses to write.
    """
    files = bids_files(outputs.folder, desc)
    write: dict[str, Callable[[TextIO], Any]] = {
        "description": lambda file: file.write(json.dumps(_description(head), indent=2) + "\n"),
        "classes": lambda file: _table(file).writerows(_classes(results)),
        "volumes": lambda file: _table(file).writerows(_volumes(results, outputs.folder, desc)),
        "ignored": lambda file: file.write("".join(f"{pattern}\n" for pattern in NOT_BIDS)),
    }
    with outputs.writing(files.values()):
        for kind, path in files.items():
            with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
                write[kind](file)


def _description(head: Mapping[str, Any]) -> dict[str, Any]:
    masks = f"{head['algorithm']['name']} {head['algorithm']['version']}"
    versions = head["versions"] or {SOFTWARE: "several"}  # of parts
    made_by = {
        "Name": SOFTWARE,
        "Version": versions[SOFTWARE],
        "Description": f"Masks by {masks}. {head['intended_use']}",
    }
    return {"Name": masks, "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative", "GeneratedBy": [made_by]}


def _table(file: TextIO) -> Any:
    return csv.writer(file, delimiter="\t", lineterminator="\n")


def _classes(results: Sequence[CaseResult]) -> list[list[Any]]:
    """Value and name of every class, as BIDS's lookup table has them; where cases differ in it, all names."""
    names: dict[int, dict[str, None]] = {}
    for volume in (volume for result in results for volume in result.volumes):
        names.setdefault(volume.value, {})[volume.label] = None
    return [["index", "name"], *([value, " or ".join(labels)] for value, labels in sorted(names.items()))]


def _volumes(results: Sequence[CaseResult], folder: Path, desc: str) -> list[list[Any]]:
    labels = list(dict.fromkeys(volume.label for result in results for volume in result.volumes))
    rows: list[list[Any]] = [["participant_id", "session_id", "filename", *(f"{label}_ml" for label in labels)]]
    for result in sorted(results, key=lambda result: result.id):
        if result.volumes:
            named = entities(result.id)
            sizes = {volume.label: volume.volume_ml for volume in result.volumes}
            mask = bids_paths(result.id, folder, desc, False, False)["nifti"].relative_to(folder).as_posix()
            session = f"ses-{named['ses']}" if "ses" in named else NOT_APPLICABLE
            rows.append([f"sub-{named['sub']}", session, mask, *(_size(sizes.get(label)) for label in labels)])
    return rows


def _size(volume_ml: float | None) -> str:
    return NOT_APPLICABLE if volume_ml is None else f"{volume_ml:.6g}"
