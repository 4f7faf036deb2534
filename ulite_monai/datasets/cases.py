"""Cases: what there is to train on or to segment, found in the layouts that people have."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulite_monai.datasets.json_file import read_json
from ulite_monai.errors import InputError
from ulite_monai.io.files_below import files_below, is_file_or_broken_link
from ulite_monai.io.images import IMAGE_SUFFIXES, is_image_file
from ulite_monai.io.output_folder import is_record, written_below

if TYPE_CHECKING:
    from ulite_monai.io.dicom.series import DicomSeries

__all__ = [
    "Case",
    "case_from_entry",
    "case_items",
    "cases_in_folder",
    "find_cases",
    "find_cases_and_others",
    "first_image",
    "is_readable",
    "main_file",
    "require_unique",
    "stem",
    "with_channels",
]

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".hdr.gz", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = VOLUME_SUFFIXES + IMAGE_SUFFIXES
LAYOUT_FOLDERS = ("imagesTs", "imagesTr")
PAIRS = (("imagesTr", "labelsTr"), ("images", "masks"))
HEADERS = (".hdr", ".hdr.gz", ".mhd", ".nhdr")  # whose voxels may lie in another file
TEXT_HEADERS = (".mhd", ".nhdr")
LONGEST_HEADER = 1 << 20  # characters; one with thousands of slices' names is shorter
ILLEGAL = re.compile(r'[<>:"|?*\\\x00-\x1f]')  # in file names, on one system or another


@dataclass(frozen=True)
class Case:
    """One volume or image to segment, or to train on.

    Attributes:
        id: what the outputs are named by; never anything of the patient.
        image: the file of each channel, or the folder (or file) that holds a DICOM series.
        label: the label's file, where there is one.
        series: the DICOM series below `image`, usable or not (see its `problem`); None for files.
        stacked: how many channels lie along the fourth axis of the one file; 1 for a file each.
    """

    id: str
    image: tuple[Path, ...]
    label: Path | None = None
    series: DicomSeries | None = None
    stacked: int = 1

    @property
    def is_image(self) -> bool:
        """Whether it is a 2D image, not a volume."""
        return self.series is None and is_image_file(self.image[0])

    @property
    def channels(self) -> list[str]:
        """What names each channel, as `ulite_monai.io.references` and `LoadVolumed` understand it.

        It is a path, `<folder>#<series id>` for a DICOM series, or `<file>#<number>` for a channel of a 4D file.
        """
        if self.stacked > 1:
            return [f"{self.image[0]}#{number}" for number in range(self.stacked)]
        return [str(p) if self.series is None else f"{p}#{self.series.id}" for p in self.image]

    def item(self) -> dict[str, Any]:
        """The case as MONAI's transforms take it: `image` (one of `channels`, or their list), `label`, `case_id`."""
        paths = self.channels
        item: dict[str, Any] = {"image": paths[0] if len(paths) == 1 else paths, "case_id": self.id}
        if self.label is not None:
            item["label"] = str(self.label)
        return item

    def files(self) -> Iterator[Path]:
        """All that is read of the image: a DICOM series' files, and the voxels' files beside a header (`.mhd`)."""
        if self.series is not None:
            yield from self.series.files
            return
        for path in self.image:
            if path.is_dir():
                yield from files_below(path)
            elif path.name.lower().endswith(HEADERS):
                pair = path.parent.glob(f"{glob.escape(stem(path))}.*")
                yield from sorted({*pair, *_named_in(path)} if path.name.lower().endswith(TEXT_HEADERS) else pair)
            else:
                yield path


def case_items(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """The cases as a MONAI data list."""
    return [case.item() for case in cases]


def first_image(item: Mapping[str, Any]) -> str:
    """The image of an entry of a data list, or its first channel."""
    image = item["image"]
    return str(image[0] if isinstance(image, list | tuple) else image)


def stem(path: Path) -> str:
    """The name of a file without its suffix (`.nii.gz` is one suffix), or the name of a folder."""
    lower = path.name.lower()
    for suffix in (*SUFFIXES, ".img.gz", ".img"):
        if lower.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _named_in(header: Path) -> Iterator[Path]:
    """The files that a MetaImage or NRRD header names, each by its name or all by a pattern such as `slice%03d.raw`."""
    with header.open(encoding="latin-1") as file:
        lines = file.read(LONGEST_HEADER).splitlines()
    for line in lines:
        name = re.split(r"=|:", line, maxsplit=1)[-1].strip()
        pattern = re.sub(r"%\d*d", "*", glob.escape(name.split()[0] if "%" in name else name))
        yield from map(Path, glob.glob(os.path.join(glob.escape(str(header.parent)), pattern)) if name else ())


def find_cases(path: str | Path, channels: int = 1) -> list[Case]:
    """The cases to segment at `path`; see `find_cases_and_others`."""
    return find_cases_and_others(path, channels)[0]


def find_cases_and_others(path: str | Path, channels: int = 1) -> tuple[list[Case], Mapping[str, int]]:
    """The cases to segment at `path`, and what else a DICOM tree holds.

    What this program wrote is no input, wherever it lies in a folder; a file or folder that can't be read is a case,
    so that whoever reads it says so.

    Args:
        path: a volume or image file; a data list (JSON: Decathlon's `dataset.json`, or a list or `testing` /
            `validation` / `training` lists of `{"image": ...}`); a folder in Decathlon's or nnU-Net's layout (its
            `imagesTs`, else `imagesTr`), or with `images` beside `masks`; a folder of files, searched recursively,
            through links too; a DICOM file, or a folder with any number of DICOM series in any arrangement.
        channels: of the network that is to segment them. Where it takes several, files named `_0000`, `_0001`, ... are
            the channels of a case in any folder, else in `imagesTr` and `imagesTs` alone; and so are the volumes
            along the fourth axis of a NIfTI file.

    Returns:
        Cases ordered by id, and how many files of a DICOM tree are no images, by the reason.

    Raises:
        InputError: When nothing is there, or when two inputs would write the same output.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise InputError(f"{root}: no such file or folder.")
    others: Mapping[str, int] = {}
    if root.suffix == ".json" and root.is_file():
        cases = [_with_series(case) for case in _from_datalist(root)]
    elif root.is_file() and is_readable(root):
        cases = [_from_file(root)]
    else:
        # Labels are no inputs, but for a folder of our own masks, which are passed over one by one.
        pairs = (image for image, label in PAIRS if (root / label).is_dir() and not written_below([root / label]))
        root = next((root / name for name in (*LAYOUT_FOLDERS, *pairs) if (root / name).is_dir()), root)
        below = _inputs_below(root) if root.is_dir() else []
        series, others = _from_dicom(root)
        whole = _stacked_below(root, below) if channels > 1 else ()
        cases = [*_from_files(root, below, whole, channels > 1), *_from_unreadable(root, below), *series]
    if not cases:
        ours = " but what this program wrote, which is no input" if root.is_dir() and written_below([root]) else ""
        readable = f"{', '.join(SUFFIXES)}, DICOM"
        raise InputError(f"{root}: holds no volume or image that can be read ({readable}){ours}{_passed_over(others)}.")
    if channels > 1:
        cases = [with_channels(case) for case in cases]
    return require_unique(cases), others


def with_channels(case: Case, timed: bool = True) -> Case:
    """The case with the channels along the fourth axis of its file, where that is a 4D NIfTI file.

    Args:
        case: as its files' names tell it.
        timed: whether the header may call the fourth axis time, as that of every 4D file by ITK does.
    """
    from ulite_monai.io.nifti import fourth_axis
    from ulite_monai.io.read_volume import NIFTI_SUFFIXES

    if len(case.image) > 1 or not case.image[0].name.lower().endswith(NIFTI_SUFFIXES):
        return case
    try:
        count, is_time = fourth_axis(case.image[0])
    except Exception:  # whatever a header provokes; its reader says so, and the other cases go on
        return case
    return replace(case, stacked=count) if timed or not is_time else case


def cases_in_folder(folder: Path, whole: Container[str] = ()) -> list[Case]:
    """The cases of a folder of images: its files, nnU-Net's channels together, and its folders of DICOM files.

    Args:
        folder: isn't searched deeper.
        whole: stems that are cases of their own, though they end as a channel does.

    Raises:
        InputError: When a case lacks a channel.
    """
    cases = list(_from_files(folder, folder.iterdir(), whole, everywhere=True))
    for case in cases:
        base, _, number = case.id.rpartition("_")
        if base in whole and len(case.image) == 1 and case.id not in whole and re.fullmatch("[0-9]{4}", number):
            raise InputError(
                f"{case.image[0]}: is a channel of case {base}, whose channels must be numbered 0000, 0001, ... "
                "without a gap; add the missing file."
            )
    folders = [Case(p.name, (p,)) for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    return [*cases, *folders]


def is_readable(path: Path) -> bool:
    """Whether it is a volume or an image that can be read, by its name."""
    name = path.name.lower()
    return not name.startswith(".") and name.endswith((*SUFFIXES, ".img", ".img.gz"))


def _from_file(path: Path) -> Case:
    return Case(stem(path), (main_file(path),))


def main_file(path: Path) -> Path:
    """The `.hdr` of an `.img`, which stands for the pair; any other path itself."""
    for image, header in ((".img.gz", ".hdr.gz"), (".img", ".hdr")):
        if path.name.lower().endswith(image):
            pair = path.with_name(path.name[: -len(image)] + header)
            return pair if pair.exists() else path
    return path


def _from_files(
    root: Path, paths: Iterable[Path], whole: Container[str] = (), everywhere: bool = False
) -> Iterator[Case]:
    """A case a file, but for nnU-Net's channels; `whole` holds stems that are cases of their own all the same."""
    files = {main_file(p) for p in paths if is_file_or_broken_link(p) and is_readable(p)}
    return _join_channels(root, sorted(files), whole, everywhere)


def _stacked_below(root: Path, paths: Iterable[Path]) -> set[str]:
    """Names of the 4D files that a number at their end would make one channel of a case."""
    names = {path: (path.parent / stem(path)).relative_to(root).as_posix() for path in paths if is_readable(path)}
    numbered = {path: name for path, name in names.items() if re.search(r"_[0-9]{4}$", name)}
    return {name for path, name in numbered.items() if with_channels(Case(name, (path,))).stacked > 1}


def _inputs_below(root: Path) -> list[Path]:
    """The files of a folder without those that this program wrote."""
    below = list(files_below(root))
    written = written_below({root, *(file.parent for file in below if is_record(file))})
    return [file for file in below if os.path.realpath(file) not in written] if written else below


def _from_unreadable(root: Path, paths: Iterable[Path]) -> Iterator[Case]:
    """A case for each file or folder that can't be read, unless its suffix makes it one."""
    for path in paths:
        if not path.name.startswith(".") and not is_readable(path) and not os.access(path, os.R_OK):
            yield Case(path.relative_to(root).as_posix(), (path,))


def _from_dicom(root: Path) -> tuple[list[Case], Mapping[str, int]]:
    from ulite_monai.io.dicom.tree import find_series

    tree = find_series(root)
    return [Case(series.id, (root,), series=series) for series in tree.series], tree.passed_over


def _with_series(case: Case) -> Case:
    """The case with its DICOM series, where a data list names the file or the folder of exactly one."""
    from ulite_monai.io.dicom.tree import find_series

    path = case.image[0]
    if len(case.image) > 1 or is_readable(path):
        return case
    try:
        found = find_series(path).series
    except InputError:  # its reader says so, and the other cases go on
        return case
    usable = [series for series in found if series.problem is None or series.tilt] or found
    return replace(case, series=usable[0]) if len(usable) == 1 else case


def _passed_over(others: Mapping[str, int]) -> str:
    """What DICOM objects there are that are no images."""
    from ulite_monai.io.dicom.tree import NOT_DICOM

    counts = {kind: count for kind, count in others.items() if kind != NOT_DICOM}
    return f"; passed over: {', '.join(f'{count} {kind}' for kind, count in counts.items())}" if counts else ""


def _join_channels(root: Path, files: list[Path], whole: Container[str], everywhere: bool) -> Iterator[Case]:
    """nnU-Net names the channels of a case `_0000`, `_0001`, below `imagesTr` and `imagesTs`."""
    channels: dict[str, dict[str, Path]] = defaultdict(dict)
    for file in files:
        name = (file.parent / stem(file)).relative_to(root).as_posix()
        base, _, number = name.rpartition("_")
        layout = everywhere or file.parent.name in LAYOUT_FOLDERS
        if layout and base and len(number) == 4 and number.isdigit() and name not in whole:
            channels[base][number] = file
        else:
            yield Case(name, (file,))
    for base, group in channels.items():
        numbers = sorted(group)
        if numbers == [f"{i:04d}" for i in range(len(numbers))]:
            yield Case(base, tuple(group[n] for n in numbers))
        else:
            yield from (Case(f"{base}_{n}", (group[n],)) for n in numbers)


def _from_datalist(path: Path, keys: tuple[str, ...] = ("testing", "validation", "training")) -> list[Case]:
    content = read_json(path)
    if isinstance(content, dict):
        entries = next((content[key] for key in keys if content.get(key)), None)
    else:
        entries = content
    if not isinstance(entries, list):
        raise InputError(f"{path}: has none of the lists {', '.join(keys)}.")
    return [case_from_entry(path, entry) for entry in entries]


def case_from_entry(datalist: Path, entry: Any) -> Case:
    """The case of an entry of a data list: `image` (a path, or one per channel), `label`, `case_id`.

    Args:
        datalist: the file; paths count from its folder.
        entry: what it holds of the case; a text is an image.

    Raises:
        InputError: When it has no image, or its id can't name a file.
    """
    if isinstance(entry, str):
        entry = {"image": entry}
    if not isinstance(entry, dict) or "image" not in entry:
        raise InputError(f"{datalist}: an entry has no image: {entry!r}.")
    images = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
    if not images or not all(isinstance(image, str) for image in images):
        raise InputError(f"{datalist}: an entry's image must be a path, or a list of them: {entry!r}.")
    paths = tuple(file for image in images for file in _files_of(datalist.parent / image))
    label = datalist.parent / entry["label"] if entry.get("label") else None
    case_id = str(entry.get("case_id") or stem(Path(os.path.abspath(datalist.parent / images[0]))))
    if entry.get("case_id"):
        _require_name(case_id, datalist)
    return Case(case_id, paths, label)


def _require_name(case_id: str, datalist: Path) -> None:
    """The outputs are named by it, so it must name a file below a folder, on every system."""
    parts = case_id.split("/")
    if ILLEGAL.search(case_id) or any(part in ("", ".", "..") or part != part.strip(" ") for part in parts):
        raise InputError(
            f"{datalist}: {case_id!r} can't be a case_id, because the outputs are named by it; use letters, digits, "
            "-, _ and ., with / between folders."
        )


def _files_of(image: Path) -> list[Path]:
    """The file, or where it isn't there the channels that nnU-Net v1 lists by their common name."""
    if image.exists():
        return [image]
    name = stem(image)
    suffix = image.name[len(name) :]
    return sorted(image.parent.glob(f"{glob.escape(name)}_[0-9][0-9][0-9][0-9]{suffix}")) or [image]


def require_unique(cases: list[Case]) -> list[Case]:
    """The cases ordered by id.

    Raises:
        InputError: When two of them have the same.
    """
    seen: dict[str, Case] = {}
    for case in cases:
        twin = seen.setdefault(case.id, case)
        if twin is not case:
            raise InputError(
                f"{twin.image[0]} and {case.image[0]} would both be case {case.id!r} and write the same file; "
                "rename one of them."
            )
    return sorted(cases, key=lambda case: case.id)
