"""Masks of any program measured against references: matched by name, compared where they lie in space."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from ulite_monai.datasets.cases import Case, cases_in_folder, first_image, is_readable, main_file, stem, with_channels
from ulite_monai.datasets.label_table import read_label_table
from ulite_monai.datasets.labelled_set import read_labelled_set
from ulite_monai.errors import InputError
from ulite_monai.io.affine import spacing_of
from ulite_monai.io.files_below import files_below
from ulite_monai.io.images import is_image_file, read_label_image
from ulite_monai.io.output_folder import RECORD
from ulite_monai.io.references import read_reference
from ulite_monai.reports.evaluation import Evaluation

__all__ = ["evaluate_masks"]

IMAGES = {"labelsTr": "imagesTr", "labelsTs": "imagesTs", "masks": "images", "labels": "images"}  # beside each other
WORD = re.compile(r"[_-](seg|segmentation|dseg|mask|pred|prediction|labels?|gt|manual)$", re.IGNORECASE)
ELSEWHERE = 0.1  # of a voxel's smallest side, at any corner of the volume
MOST_CLASSES = 255  # more values number objects
IGNORE = "ignore"  # what nnU-Net calls the value of voxels that nobody labelled


def evaluate_masks(
    masks: str | Path,
    references: str | Path,
    output_dir: str | Path,
    names: str | Path | None = None,
    images: str | Path | None = None,
    foreground: bool = False,
    ignore: int | None = None,
    pictures: int = 6,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare every reference with the mask of the same name, and write metrics, pictures and the report.

    Files belong together by their path below the folder without suffix, or where that finds none, also without an
    ending such as `_seg`. A mask whose voxels are stored in another order is turned to the reference's grid. One that
    lies elsewhere, or has another size, or is missing, is refused by itself.

    Args:
        masks: a folder of NIfTI, NRRD, MetaImage or DICOM SEG files, or of 2D images.
        references: a folder of such files, or a labelled data set, as `read_labelled_set` takes it.
        output_dir: gets `metrics.csv`, `summary.json`, pictures and `report.html`; made if needed.
        names: a table of the classes, as `read_label_table` takes it; by default what the data set says, a
            `dataset.json` beside the references or the masks, or `predictions.json`; else `class_1`, `class_2`, ...
        images: the folder of the images, for the pictures; by default those of the data set, or those that
            `predictions.json` names.
        foreground: take every value above 0 as one class.
        ignore: value of the references' voxels that count nowhere; by default what the data set says.
        pictures: how many of the worst cases are drawn.
        on_case: called with the numbers of cases done and of all.

    Returns:
        The evaluation; its `refused` says which cases couldn't be compared, and why.

    Raises:
        InputError: When no mask has a reference, none can be compared, or the values have nothing in common.
    """
    masks, references = _folder(masks), _folder(references)
    known = _references(references)
    record = _record(masks)
    found = _by_name(masks)
    matched = _match(list(known.labels), found)
    if not matched:
        one, other = (next(iter(some), "there is none") for some in (found, known.labels))
        raise InputError(f"{masks}: no mask has the name of a reference; a mask is {one!r}, a reference {other!r}.")
    declared = read_label_table(names) if names else known.names or _beside(masks) or record.names
    ignore = known.ignore if ignore is None else ignore
    ignore = next((v for v, name in declared.items() if name.lower() == IGNORE), None) if ignore is None else ignore
    declared = {value: name for value, name in declared.items() if value != ignore}
    one_class = foreground or (known.instances and not names)
    if one_class:
        declared = {1: next(iter(declared.values()), "foreground") if len(declared) == 1 else "foreground"}
    declared = declared or _values([(matched[case], known.labels[case]) for case in matched], ignore)
    about = {"title": f"{masks.name} against {references.name}", "masks": masks.name, "references": references.name}
    evaluation = Evaluation(list(declared.values()), pictures, about | record.made_by)
    pictured = {**known.images, **record.images, **_images(images, known.labels)}
    pictured = {case: _first_channel(image) for case, image in pictured.items()}
    for number, (case, label) in enumerate(known.labels.items(), start=1):
        try:
            if case not in matched:
                raise InputError(f"{case}: {masks} holds no mask of it.")
            reference = _read(label)
            mask = _on_grid(_read(matched[case]), reference)
            left_out = None if ignore is None else reference.array == ignore
            ours, theirs = (_numbers(one, declared, one_class, ignore) for one in (mask, reference))
            evaluation.add(case, ours, theirs, reference.affine, pictured.get(case), left_out)
        except InputError as error:
            said = str(error)
            for folder in (masks, references):  # where these lie is nobody else's business
                said = said.replace(f"{folder.parent}/", "")
            evaluation.refuse(case, said)
        on_case(number, len(known.labels))
    if not evaluation.rows:
        raise InputError("\nerror: ".join(evaluation.refused.values()))
    evaluation.write(Path(output_dir))
    return evaluation


@dataclass(frozen=True)
class _References:
    """Label files and images by case, and what the data set says of its classes."""

    labels: dict[str, str]
    images: dict[str, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    ignore: int | None = None
    instances: bool = False


def _folder(path: str | Path) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give the one that holds the files.")
    return folder.resolve()


def _references(folder: Path) -> _References:
    labels = _by_name(folder)
    if any(Path(path).parent == folder for path in labels.values()):
        images = folder.parent / IMAGES.get(folder.name, "")
        return _References(labels, _images(images if folder.name in IMAGES else None, labels), _beside(folder))
    data = read_labelled_set(folder)
    by_case = {item["case_id"]: item for item in data.items}
    return _References(
        {case: item["label"] for case, item in by_case.items()},
        {case: first_image(item) for case, item in by_case.items()},
        dict(zip(data.values, data.names, strict=True)) if data.declared else {},
        data.ignore,
        data.instances,
    )


def _by_name(folder: Path) -> dict[str, str]:
    """The files that may be label maps, by their path below the folder without suffix."""
    files = {main_file(path) for path in files_below(folder) if is_readable(path) or path.name.endswith(".dcm")}
    found: dict[str, str] = {}
    for path in sorted(files):
        last = path.stem if path.suffix == ".dcm" else stem(path)
        name = (path.parent / last).relative_to(folder).as_posix().removesuffix(".seg")
        found.setdefault(name, str(path))
    return found


def _match(cases: Sequence[str], found: Mapping[str, str]) -> dict[str, str]:
    """The mask of each case that has one: of its name, or where no case has, of its name without an ending."""
    exact = {case: found[case] for case in cases if case in found}
    if exact:
        return exact
    bare = {WORD.sub("", name): path for name, path in found.items()}
    return {case: bare[WORD.sub("", case)] for case in cases if WORD.sub("", case) in bare}


def _images(folder: str | Path | None, cases: Mapping[str, str]) -> dict[str, str]:
    """The image of each case in a folder of images."""
    if folder is None or not Path(folder).is_dir():
        return {}
    images = {case.id: first_image(case.item()) for case in cases_in_folder(Path(folder), whole=set(cases))}
    return {case: image for case in cases if (image := images.get(case) or images.get(WORD.sub("", case)))}


def _first_channel(image: str) -> str:
    """What is drawn of an image: the first channel of a 4D file, else the image."""
    return with_channels(Case("", (Path(image),))).channels[0]


def _beside(folder: Path) -> dict[int, str]:
    """Names that a `dataset.json` in a folder or beside it declares."""
    path = next((path for path in (folder / "dataset.json", folder.parent / "dataset.json") if path.is_file()), None)
    return read_label_table(path) if path else {}


@dataclass(frozen=True)
class _Record:
    """What `predictions.json` says of the masks beside it."""

    names: dict[int, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)


def _record(folder: Path) -> _Record:
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        cases = [case for case in content["cases"] if case["volumes"]]
        return _Record(
            {volume["value"]: volume["label"] for case in cases[:1] for volume in case["volumes"]},
            {case["id"]: case["input"] for case in cases},
            {
                "masks made by": "{name} {version}".format(**content["bundle"]),
                "weights": content["weights"]["sha256"],
                "engine": content["engine"],
            },
        )
    except (OSError, ValueError, KeyError, TypeError):  # none, or another program's
        return _Record()


@dataclass(frozen=True)
class _Map:
    """A label map on its grid; a 2D image has no affine."""

    path: str
    array: np.ndarray
    affine: np.ndarray | None


def _read(path: str) -> _Map:
    if is_image_file(path):
        return _Map(path, read_label_image(path), None)
    volume = read_reference(path)
    return _Map(path, volume.array, volume.affine)


def _on_grid(mask: _Map, reference: _Map) -> _Map:
    """The mask, its voxels in the reference's order.

    Raises:
        InputError: When it doesn't lie on the reference's grid.
    """
    array, affine = mask.array, mask.affine
    if affine is not None and reference.affine is not None and not np.allclose(affine, reference.affine, atol=1e-3):
        turn = ornt_transform(io_orientation(affine), io_orientation(reference.affine))
        affine = affine @ inv_ornt_aff(turn, array.shape)
        array = apply_orientation(array, turn)
    if array.shape != reference.array.shape:
        sizes = ["x".join(map(str, one.shape)) for one in (mask.array, reference.array)]
        raise InputError(
            f"{mask.path}: has {sizes[0]} voxels, its reference {reference.path} {sizes[1]}; put it on that grid."
        )
    if affine is not None and reference.affine is not None:
        apart = _apart(array.shape, affine, reference.affine)
        if apart > ELSEWHERE * min(spacing_of(reference.affine)):
            raise InputError(
                f"{mask.path}: lies elsewhere than its reference {reference.path}, by up to {apart:.3g} mm; write it "
                "with the header of the image that it labels."
            )
    return _Map(mask.path, array, affine)


def _apart(shape: Sequence[int], affine: np.ndarray, other: np.ndarray) -> float:
    """How many mm two affines place a volume's corners apart, at most."""
    corners = np.array(np.meshgrid(*[(0, size) for size in shape])).reshape(3, -1)
    shifts = (affine - other)[:3] @ np.vstack([corners, np.ones(8)])
    return float(np.linalg.norm(shifts, axis=0).max())


def _whole_values(path: str, array: np.ndarray) -> list[int]:
    values = np.unique(array)
    odd = values[(values < 0) | (values != np.round(values))]
    if odd.size:
        raise InputError(f"{path}: holds {float(odd[0]):g}; label maps hold whole numbers from 0 on.")
    return [int(value) for value in values if value > 0]


def _numbers(labels: _Map, declared: Mapping[int, str], one_class: bool, ignore: int | None) -> np.ndarray:
    """The label map with its classes numbered 1, 2, ... in the order in which they are declared."""
    values = _whole_values(labels.path, labels.array)
    if one_class:
        return ((labels.array > 0) & (labels.array != ignore)).astype(np.uint8)
    strange = sorted({*values} - {*declared, ignore})
    if strange:
        named = ", ".join(f"{value} {name}" for value, name in list(declared.items())[:8])
        raise InputError(f"{labels.path}: holds the value {strange[0]}, which has no name (named are {named}).")
    table = np.zeros(max([*values, *declared]) + 1, dtype=np.uint16)
    table[list(declared)] = range(1, len(declared) + 1)
    return table[labels.array.astype(np.int64)]


def _values(pairs: Sequence[tuple[str, str]], ignore: int | None) -> dict[int, str]:
    """Names for the values that masks and references hold, where nothing names them."""
    found: tuple[set[int], set[int]] = set(), set()
    for pair in pairs:
        for values, path in zip(found, pair, strict=True):
            try:
                values |= set(_whole_values(path, _read(path).array)) - {ignore}
            except InputError:
                continue  # told when the case is measured
    ours, theirs = found
    if ours and theirs and not ours & theirs:
        raise InputError(
            f"the masks hold the values {sorted(ours)[:8]}, the references {sorted(theirs)[:8]}, which have nothing in "
            "common; give --foreground to compare all that is labelled as one class."
        )
    if len(ours | theirs) > MOST_CLASSES:
        raise InputError(
            f"masks and references hold {len(ours | theirs)} values, as such that number objects; give --foreground to "
            "compare all that is labelled as one class."
        )
    return {value: f"class_{number}" for number, value in enumerate(sorted(ours | theirs), 1)} or {1: "class_1"}
