"""How people lay out labelled data: which image has which label, and what is said about them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ulite_monai.datasets.cases import (
    Case,
    case_from_entry,
    cases_in_folder,
    is_readable,
    main_file,
    require_unique,
    stem,
)
from ulite_monai.datasets.json_file import read_json
from ulite_monai.errors import InputError

__all__ = ["Layout", "find_layout"]

# Folders of images and labels beside each other, whatever their case.
PAIRS = (("imagestr", "labelstr"), ("images", "masks"), ("images", "labels"))
GROUPS = ("group", "patient", "subject")  # keys of entries, columns of tables
TABLES = (".csv", ".tsv")
NAMED_IN_BIDS = ("desc", "label", "seg", "space", "res", "den", "atlas")  # entities of a mask that its image lacks
GIVE = "give a folder with dataset.json, or with imagesTr and labelsTr, a data list (JSON), or a table (CSV)"


@dataclass(frozen=True)
class Layout:
    """Labelled cases as they were found.

    Attributes:
        name: of the layout, in words.
        cases: ordered by id, each with its label.
        said: what a `dataset.json` or a data list says beside its cases; empty without one.
        source: the file that says it, else the folder.
        groups: the group of each case that is given one, by id.
        folds: the fold of each case that is given one, by id.
        channels: names of the channels that the layout itself gives.
    """

    name: str
    cases: list[Case]
    said: Mapping[str, Any]
    source: Path
    groups: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, int] = field(default_factory=dict)
    channels: Sequence[str] = ()


def find_layout(dataset: str | Path) -> Layout:
    """The labelled cases at `dataset`; files are named, not read.

    Args:
        dataset: a data list (`.json`) or a table (`.csv`, `.tsv`), or a folder that holds, in this order: a
            `dataset.json` with a `training` list (the Decathlon's) or beside `imagesTr` and `labelsTr` (nnU-Net's); a
            `datalist.json` (MONAI's); `imagesTr` and `labelsTr`, or `images` and `masks` or `labels`, with files of
            the same names, upper and lower case aside; BIDS: `derivatives/*/sub-*/**/*_dseg.nii.gz` with images in
            `rawdata/sub-*` or `sub-*`; a table by itself.

    Raises:
        InputError: When there is none, or a case lacks its image or its label.
    """
    root = Path(dataset).expanduser()
    if not root.exists():
        raise InputError(f"{root}: no such file or folder; {GIVE}.")
    if root.is_file():
        return _complete(_of_file(root))
    described = root / "dataset.json"
    said = read_json(described) if described.is_file() else {}
    folders = _pair_below(root)
    if isinstance(said, list) or "training" in said or (said and folders is None):
        layout = _of_list(described, "Decathlon, dataset.json")
    elif (root / "datalist.json").is_file():
        layout = _of_list(root / "datalist.json", "data list")
    elif folders is not None:
        layout = _of_folders(folders, said, described)
    elif any(root.glob("derivatives/*/sub-*")):
        layout = _of_bids(root)
    else:
        tables = [file for file in sorted(root.iterdir()) if file.suffix.lower() in TABLES]
        if len(tables) != 1:
            raise InputError(
                f"{root}: holds neither dataset.json nor the folders imagesTr and labelsTr (or images and masks); "
                f"{GIVE}."
            )
        layout = _of_table(tables[0])
    return _complete(layout)


def _complete(layout: Layout) -> Layout:
    """Check that every case has its files; those of its images that lie in a folder are found there."""
    cases = layout.cases
    if not cases:
        raise InputError(f"{layout.source}: names no labelled cases.")
    gone = [(path, case) for case in cases for path in case.image if not path.exists()]
    if gone:
        path, case = gone[0]
        raise InputError(
            f"{path}: the image of case {case.id} in {layout.source} doesn't exist ({len(gone)} files are missing); "
            "restore it or take the case out."
        )
    bare = [case for case in cases if case.label is None or not case.label.exists()]
    if bare:
        raise InputError(
            f"{bare[0].image[0]}: no label for this image ({len(bare)} of {len(cases)} images lack theirs); "
            f"add {bare[0].label or _expected_label(bare[0])} or take the image out."
        )
    splits = (
        layout.source.parent / "splits_final.json" if layout.source.is_file() else layout.source / "splits_final.json"
    )
    folds = (
        _folds_of_nnunet(splits, {case.id for case in cases}) if splits.is_file() and not layout.folds else layout.folds
    )
    return replace(layout, cases=require_unique(cases), folds=folds)


def _folds_of_nnunet(file: Path, ids: Set[str]) -> dict[str, int]:
    """The fold of each case that validates in one, of a list of `{"train": [...], "val": [...]}`."""
    content = read_json(file)
    try:
        folds = {str(case): number for number, fold in enumerate(content) for case in fold["val"]}
    except (TypeError, KeyError):
        raise InputError(f'{file}: must be a list of {{"train": [...], "val": [...]}}, as nnU-Net writes it.') from None
    if not folds.keys() & ids:
        raise InputError(
            f"{file}: names none of the cases, {', '.join(sorted(ids)[:3])}, ...; correct it or take it out."
        )
    return {case: fold for case, fold in folds.items() if case in ids}


def _expected_label(case: Case) -> Path:
    images = case.image[0].parent
    labels = next((pair[1] for pair in PAIRS if pair[0] == images.name.lower()), "labels")
    beside = next((folder for folder in images.parent.iterdir() if folder.name.lower() == labels), None)
    suffix = case.image[0].name[len(stem(case.image[0])) :] if case.is_image else ".nii.gz"
    return (beside or images.parent / labels) / f"{case.id}{suffix}"


def _of_file(file: Path) -> Layout:
    if file.suffix.lower() in TABLES:
        return _of_table(file)
    if file.suffix.lower() == ".json":
        return _of_list(file, "data list")
    raise InputError(f"{file}: is no labelled data set; {GIVE}.")


def _of_list(file: Path, name: str) -> Layout:
    said = read_json(file)
    entries = said if isinstance(said, list) else said.get("training") if isinstance(said, dict) else None
    if not isinstance(entries, list):
        raise InputError(f"{file}: has no list training of {{'image': ..., 'label': ...}}, nor folders beside it.")
    cases = [case_from_entry(file, entry) for entry in entries]
    entries = [entry if isinstance(entry, dict) else {} for entry in entries]
    return Layout(
        name,
        cases,
        said if isinstance(said, dict) else {},
        file,
        _groups(cases, entries),
        {case.id: _fold(entry["fold"], file) for case, entry in zip(cases, entries, strict=True) if "fold" in entry},
    )


def _groups(cases: Sequence[Case], entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    key = next((key for key in GROUPS if any(entry.get(key) for entry in entries)), GROUPS[0])
    return {case.id: str(entry[key]).strip() for case, entry in zip(cases, entries, strict=True) if entry.get(key)}


def _fold(value: Any, file: Path) -> int:
    if isinstance(value, bool) or not str(value).strip().isdigit():
        raise InputError(f"{file}: a fold must be 0, 1, 2, ..., got {value!r}.")
    return int(value)


def _of_table(file: Path) -> Layout:
    """A table whose header names image and label, and if wanted image..., group (or patient), fold, case_id."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: isn't UTF-8 text ({error}); save it as CSV in UTF-8.") from None
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter, restval="", strict=True)
    columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    if "image" not in columns or "label" not in columns:
        raise InputError(
            f"{file}: its first line must name the columns image and label (and group, if wanted), found {first!r:.80}."
        )
    reader.fieldnames = columns
    images = [name for name in columns if name.startswith("image")]
    rows = [{name: str(value).strip() for name, value in row.items() if name} for row in reader]
    rows = [row for row in rows if any(row.values())]
    for number, row in enumerate(rows, start=2):
        for name in (*images, "label"):
            if not row[name]:
                raise InputError(f"{file}: line {number} names no {name}; fill it in or take the line out.")
            if ".." in Path(row[name]).parts:
                raise InputError(
                    f"{file}: line {number} names {row[name]}, which leads out of the table's folder; write paths from "
                    f"{file.parent} on, or whole ones."
                )
    entries = [row | {"image": [row[name] for name in images]} for row in rows]
    cases = [case_from_entry(file, entry) for entry in entries]
    folds = {
        case.id: _fold(row["fold"], file) for case, row in zip(cases, rows, strict=True) if row.get("fold", "") != ""
    }
    return Layout("table", cases, {}, file, _groups(cases, rows), folds, images if len(images) > 1 else ())


def _pair_below(root: Path) -> tuple[Path, Path] | None:
    folders = {folder.name.lower(): folder for folder in sorted(root.iterdir()) if folder.is_dir()}
    return next(((folders[a], folders[b]) for a, b in PAIRS if a in folders and b in folders), None)


def _of_folders(folders: tuple[Path, Path], said: Any, described: Path) -> Layout:
    images, labels = folders
    found = _labels_by_stem(labels)
    cases = [replace(case, label=found.get(case.id)) for case in cases_in_folder(images, whole=set(found))]
    lonely = sorted(set(found) - {case.id for case in cases})
    if lonely:
        raise InputError(
            f"{found[lonely[0]]}: no image for this label ({len(lonely)} of {len(found)} labels lack theirs); "
            f"add it to {images} or take the label out."
        )
    if not cases:
        raise InputError(f"{images}: holds no images.")
    ending = said.get("file_ending")
    odd = [case for case in cases if ending and not all(path.name.endswith(ending) for path in case.image)]
    if odd:
        raise InputError(
            f"{odd[0].image[0]}: isn't {ending}, the file_ending that {described} says; correct one of them."
        )
    name = f"nnU-Net, dataset.json beside {images.name} and {labels.name}" if said else f"{images.name}, {labels.name}"
    return Layout(name, cases, said, described if said else images.parent)


def _labels_by_stem(folder: Path) -> dict[str, Path]:
    """Label files, and folders of a DICOM SEG, by the id of their case."""
    labels: dict[str, Path] = {}
    files = {main_file(path) for path in folder.iterdir() if is_readable(path) or path.suffix.lower() == ".dcm"}
    folders = {path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")}
    for path in sorted(files | folders):
        twin = labels.setdefault(_label_stem(path), path)
        if twin is not path:
            raise InputError(f"{path}: is a second label of its case, beside {twin.name}; take one of them out.")
    return labels


def _label_stem(path: Path) -> str:
    """`case` for `case.seg.nrrd` and `case.seg.dcm` too, as 3D Slicer and this program name them."""
    name = path.name[:-4] if path.suffix.lower() == ".dcm" else stem(path)
    return name[:-4] if name.lower().endswith(".seg") else name


def _of_bids(root: Path) -> Layout:
    """Masks `derivatives/PIPELINE/sub-X/[ses-Y/]DATATYPE/ENTITIES_dseg.nii.gz`, and the images of the same entities."""
    raw = root / "rawdata" if (root / "rawdata").is_dir() else root
    masks = sorted(file for file in root.glob("derivatives/*/sub-*/**/*_dseg.*") if is_readable(file))
    if not masks:
        raise InputError(f"{root / 'derivatives'}: holds no mask named *_dseg.nii.gz.")
    cases: list[Case] = []
    suffixes: dict[str, list[str]] = {}
    for mask in masks:
        below = mask.relative_to(root).parts[2:-1]
        entities = stem(mask).split("_")[:-1]
        base = "_".join(one for one in entities if one.split("-")[0] not in NAMED_IN_BIDS)
        images = dict(_bids_images(raw.joinpath(*below), base))
        if not images:
            raise InputError(
                f"{mask}: no image for this label; its name would be {raw.joinpath(*below)}/{base}_SUFFIX.nii.gz."
            )
        suffixes[base] = sorted(images)
        cases.append(Case(base, tuple(images[name] for name in sorted(images)), mask))
    twins = [base for base, count in Counter(case.id for case in cases).items() if count > 1]
    if twins:
        both = [str(case.label) for case in cases if case.id == twins[0]]
        raise InputError(f"{both[0]} and {both[1]}: are both labels of {twins[0]}; take one of them out.")
    channels = suffixes[cases[0].id]
    other = next((base for base, found in suffixes.items() if found != channels), None)
    if other is not None:
        raise InputError(
            f"{raw}: {other} has the images {', '.join(suffixes[other])}, {cases[0].id} has {', '.join(channels)}; "
            "every case needs the same channels."
        )
    groups = {case.id: case.id.split("_")[0] for case in cases}
    said = {"labels": _bids_names(root)}
    return Layout("BIDS, rawdata and derivatives", cases, said, root, groups, channels=channels)


def _bids_images(folder: Path, base: str) -> Iterator[tuple[str, Path]]:
    pattern = re.compile(rf"{re.escape(base)}_([A-Za-z0-9]+)")
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = pattern.fullmatch(stem(file)) if is_readable(file) else None
        if match and match[1] not in ("dseg", "mask"):
            yield match[1], file


def _bids_names(root: Path) -> dict[str, str]:
    """Values and names of `dseg.tsv`, which has the columns index and name."""
    names: dict[str, str] = {}
    for file in sorted(root.glob("derivatives/*/*dseg.tsv")):
        rows = csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines(), delimiter="\t")
        names |= {row["index"]: row["name"] for row in rows if row.get("index") and row.get("name")}
    return names
