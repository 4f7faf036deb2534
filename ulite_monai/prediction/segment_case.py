"""One case from its files to a mask on its own grid: what every way in calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulite_monai.datasets.cases import Case
from ulite_monai.errors import InputError
from ulite_monai.io.images import open_image
from ulite_monai.io.volume import Volume
from ulite_monai.prediction.read_case import read_case, require_fitting
from ulite_monai.prediction.segmenter import Segmentation, Segmenter

__all__ = ["SegmentedCase", "segment_case"]


@dataclass(frozen=True)
class SegmentedCase:
    """A mask, and the grid that it lies on.

    Attributes:
        mask: label map, uint8 (uint16 where labels exceed 255): shape (i, j, k), or (x, y) of a 2D image.
        grid: what was segmented; of a 2D image its grid without values.
        warnings: what a reader of the mask should know, one sentence each.
        probabilities: float32, (classes, *the mask's shape); None unless asked for.
        inference: in words, whether the network ran in one pass or in windows of which size.
    """

    mask: np.ndarray
    grid: Volume
    warnings: list[str]
    probabilities: np.ndarray | None = None
    inference: str = ""


def segment_case(
    case: Case,
    segmenter: Segmenter,
    force: bool = False,
    resample_tilt: bool = False,
    with_probabilities: bool = False,
    modality: str = "",
) -> SegmentedCase:
    """Read a case, check that the bundle is for it, and segment it.

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
    item = case.item()
    if case.is_image:
        open_image(case.image[0])  # the bundle's reader says less of what it can't read
    else:
        tilted = resample_tilt or segmenter.resamples_tilt
        item["image"] = read_case(case, segmenter.metadata, force, tilted, segmenter.on_nonfinite, modality)
    found = segmenter(item, with_probabilities)
    grid = _grid_of_image(found) if case.is_image else item["image"][0]
    if found.mask.shape != grid.array.shape:
        raise InputError(f"the mask of shape {found.mask.shape} isn't on the input's grid {grid.array.shape}.")
    warnings = [line for line in str(found.meta.get("warnings", "")).splitlines() if line]
    return SegmentedCase(found.mask, grid, warnings, found.probabilities, found.inference)


def _grid_of_image(found: Segmentation) -> Volume:
    shape = tuple(int(n) for n in np.asarray(found.meta["spatial_shape"]))
    return Volume(np.broadcast_to(np.uint8(0), shape), np.eye(4), Path(str(found.meta["filename_or_obj"])))
