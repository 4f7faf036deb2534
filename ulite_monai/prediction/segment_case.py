"""One case from its files to a mask on its own grid: what every way in calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError
from ulite_monai.io.images import open_image
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.heads import SegmentedHead
from ulite_monai.prediction.ranges import is_head
from ulite_monai.prediction.read_case import Refused, read_case, require_fitting
from ulite_monai.prediction.segmenter import Segmentation, Segmenter

__all__ = ["SegmentedCase", "segment_case"]


@dataclass(frozen=True)
class SegmentedCase:
    """A mask, and the grid that it lies on.

    Attributes:
        mask: label map, uint8 (uint16 where labels exceed 255): shape (i, j, k), or (x, y) of a 2D image.
        grid: what was segmented; of a 2D image its grid without values.
        warnings: what a reader of the mask should know, one sentence each.
        labels: names of the classes.
        values: of the classes in the mask; None for 1, 2, ...
        probabilities: float32, (classes, *the mask's shape); None unless asked for.
        inference: in words, whether the network ran in one pass or in windows of which size.
        head: where the case was a whole head, what became of it.
    """

    mask: np.ndarray
    grid: Volume
    warnings: list[str]
    labels: Sequence[str]
    values: Sequence[int] | None = None
    probabilities: np.ndarray | None = None
    inference: str = ""
    head: SegmentedHead | None = None


def segment_case(
    case: Case,
    segmenter: Segmenter,
    force: bool = False,
    resample_tilt: bool = False,
    with_probabilities: bool = False,
    modality: str = "",
) -> SegmentedCase:
    """Read a case, check that the bundle is for it, and segment it; both sides of a whole head where it can that.

    Args:
        case: a volume, a series or a 2D image.
        segmenter: what segments.
        force: whether a volume may lie outside the bundle's ranges.
        resample_tilt: resample a DICOM series with a gantry tilt instead of refusing it.
        with_probabilities: whether to keep the classes' probabilities.
        modality: DICOM's, of a file that doesn't say it itself.

    Raises:
        Refused: When the bundle isn't for it.
        InputError: When it can't be read, or the mask doesn't lie on its grid.
    """
    require_fitting(case, segmenter.takes_volumes, segmenter.channels)
    item, heads = case.item(), segmenter.metadata.get("heads", {}) if segmenter.heads else {}
    if case.is_image:
        open_image(case.image[0])  # the bundle's reader says less of what it can't read
    else:
        tilted = resample_tilt or segmenter.resamples_tilt
        item["image"] = read_case(case, segmenter.metadata, force, tilted, segmenter.on_nonfinite, modality, heads)
        volume: Volume = item["image"][0]
        if is_head(volume.array.shape, volume.affine, heads):
            try:
                return _segmented_head(volume, segmenter, with_probabilities)
            except Refused as refusal:
                why = f"it is as large as a whole head, but {refusal}"
                if not force:
                    raise Refused(f"{why}. --force (or force=True) segments it all the same, as a box.") from None
                volume.warnings.append(f"{why}; it was segmented as a box around one hippocampus.")
    found = segmenter(item, with_probabilities)
    grid = _grid_of_image(found) if case.is_image else item["image"][0]
    if found.mask.shape != grid.array.shape:
        raise InputError(f"the mask of shape {found.mask.shape} isn't on the input's grid {grid.array.shape}.")
    warnings = [line for line in str(found.meta.get("warnings", "")).splitlines() if line]
    names, values = segmenter.labels, segmenter.label_values
    return SegmentedCase(found.mask, grid, warnings, names, values, found.probabilities, found.inference)


def _segmented_head(volume: Volume, segmenter: Segmenter, with_probabilities: bool) -> SegmentedCase:
    head = segmenter.heads.segment(volume, segmenter, with_probabilities)
    warnings = [*volume.warnings, *head.warnings]
    return SegmentedCase(head.mask, volume, warnings, head.labels, None, head.probabilities, head.inference, head)


def _grid_of_image(found: Segmentation) -> Volume:
    shape = tuple(int(n) for n in np.asarray(found.meta["spatial_shape"]))
    return Volume(np.broadcast_to(np.uint8(0), shape), np.eye(4), Path(str(found.meta["filename_or_obj"])))
