"""What a run over cases is asked for, and how each case went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ulite_monai.io.write_masks import Format
from ulite_monai.prediction.part import Part
from ulite_monai.reports.volumes import LabelVolume

__all__ = ["CaseResult", "PredictOptions"]


@dataclass(frozen=True)
class PredictOptions:
    """What to write beside the mask, and what to allow.

    Attributes:
        format: "nifti", "dicom-seg" (of DICOM series), or "both".
        statistics: write `volumes.csv`.
        preview: write `<case id>_preview.png`.
        probabilities: write `<case id>_probabilities.nii.gz`, float32, the classes along the fourth axis; of a 2D
            image `<case id>_probabilities.tif`, 32-bit floats, a page a class.
        force: segment volumes outside the ranges that the bundle states.
        resume: leave cases whose outputs are there, as they were written.
        overwrite: replace files that this program didn't write, or that were changed since.
        resample_tilt: resample DICOM series with a gantry tilt instead of refusing them.
        jobs: cases that are read, written and drawn at the same time; the network still runs on one after the other.
        part: the share of the cases that is this run's; None for all. It has a record of its own, and `merge_parts`
            writes `volumes.csv`.
        bids: the label `desc` of masks that are named as BIDS derivatives, of a BIDS dataset's T1-weighted images; ""
            for any input, and masks named as these are.
    """

    format: Format = "nifti"
    statistics: bool = False
    preview: bool = False
    probabilities: bool = False
    force: bool = False
    resume: bool = False
    overwrite: bool = False
    resample_tilt: bool = False
    jobs: int = 1
    part: Part | None = None
    bids: str = ""


@dataclass
class CaseResult:
    """How one case went.

    Attributes:
        id: the case's.
        input: what was read: a file (the first of several channels), or the folder of a DICOM series.
        input_state: how many files that is, their bytes, and a digest of each one's size and time of modification.
        status: "done", "empty" (done, and nothing found), "skipped" (was there already), "refused" or "failed".
        message: why it was refused or failed.
        seconds: that it took.
        inference: in words, whether the network ran in one pass or in windows, and how large those were; where
            `max_memory` is None, this depends on the memory that was free.
        outputs: the files written.
        volumes: voxels and mL of each label.
        measures: of a whole head, see `ulite_monai.reports.heads.head_measures`.
        warnings: what a reader of the mask should know.
    """

    id: str
    input: str
    status: Literal["done", "empty", "skipped", "refused", "failed"] = "done"
    message: str = ""
    seconds: float = 0.0
    inference: str = ""
    input_state: str = ""
    outputs: list[str] = field(default_factory=list)
    volumes: list[LabelVolume] = field(default_factory=list)
    measures: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
