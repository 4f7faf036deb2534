"""The T1-weighted images of a BIDS dataset: by participant and session, as its names say."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from ulite_monai.datasets.cases import Case, require_unique, stem
from ulite_monai.errors import InputError

__all__ = ["entities", "find_bids_cases"]

logger = logging.getLogger(__name__)

SUFFIX = "T1w"
# The entities that an image of a participant's anatomy may have, in their order (BIDS 1.10, "MRI: anatomy").
NAME = re.compile(r"sub-[a-zA-Z0-9]+(_(ses|task|acq|ce|rec|run|echo|part|chunk)-[a-zA-Z0-9]+)*_" + SUFFIX)


def find_bids_cases(dataset: str | Path) -> list[Case]:
    """A case for each `sub-LABEL/[ses-LABEL/]anat/sub-LABEL[_ses-LABEL][_ENTITIES]_T1w.nii[.gz]`.

    Derivatives, source data and all that has another name aren't looked at. A T1-weighted image whose name contradicts
    its folders, or has entities that BIDS doesn't give it, is passed over, and the log warns of it.

    Args:
        dataset: the folder that holds the participants, or their `rawdata`.

    Returns:
        Cases ordered by id, which is the path below the dataset without suffix.

    Raises:
        InputError: When there is none, or an image is there as `.nii` and as `.nii.gz`.
    """
    root = Path(dataset).expanduser()
    if not root.is_dir():
        raise InputError(f"{root}: is no folder; give that of a BIDS dataset, which holds sub-LABEL.")
    root = root / "rawdata" if (root / "rawdata").is_dir() else root
    cases = list(_cases_below(root))
    if not cases:
        raise InputError(f"{root}: holds no sub-LABEL/[ses-LABEL/]anat/*_{SUFFIX}.nii.gz, as a BIDS dataset does.")
    return require_unique(cases)


def entities(case_id: str) -> dict[str, str]:
    """The entities of a case's name in their order, `{"sub": "01", "ses": "1"}`."""
    pairs = (part.partition("-") for part in case_id.rpartition("/")[2].split("_")[:-1])
    return {key: label for key, _, label in pairs}


def _cases_below(root: Path) -> Iterator[Case]:
    for pattern in ("sub-*/anat", "sub-*/ses-*/anat"):
        for folder in sorted(root.glob(pattern)):
            for file in sorted(folder.glob(f"*_{SUFFIX}.nii*")):
                case_id = file.with_name(stem(file)).relative_to(root).as_posix()
                if _follows_the_rules(file, folder.relative_to(root).parts[:-1]):
                    yield Case(case_id, (file,))
                else:
                    logger.warning("%s: passed over, because its name doesn't follow BIDS.", file)


def _follows_the_rules(file: Path, above: tuple[str, ...]) -> bool:
    """Whether the name has entities that BIDS knows, each once, and begins with the names of the folders above."""
    name = stem(file)
    keys = [part.partition("-")[0] for part in name.split("_")[:-1]]
    begins = "_".join(above) + "_"
    is_known = NAME.fullmatch(name) is not None and file.name[len(name) :] in (".nii", ".nii.gz")
    return is_known and len(set(keys)) == len(keys) and name.startswith(begins) and ("ses" in keys) == (len(above) > 1)
