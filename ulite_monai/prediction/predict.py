"""One image in, its mask out."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ulite_monai.datasets.cases import Case, find_cases
from ulite_monai.errors import InputError, reason
from ulite_monai.io.write_nifti import label_image
from ulite_monai.prediction.read_case import Refused
from ulite_monai.prediction.segment_case import segment_case
from ulite_monai.prediction.segmenter import Segmenter

__all__ = ["predict"]


def predict(
    image: str | Path | nib.Nifti1Image | np.ndarray,
    bundle: str | Path = "hippocampus",
    affine: np.ndarray | None = None,
    force: bool = False,
    **options: Any,
) -> nib.Nifti1Image:
    """Segment one volume.

    Args:
        image: a file, a folder with one DICOM series, a data list of one case with several channels, a nibabel image,
            or an array of shape (i, j, k). Of a bundle for several channels also (i, j, k, channels), as a file, an
            image or an array.
        bundle: a shipped bundle's name, or a path.
        affine: for an array: 4x4, voxel to RAS mm.
        force: segment a volume outside the ranges that the bundle states.
        options: further arguments of `Segmenter`: `ckpt`, `device`, `tta`, `overrides`.

    Returns:
        The label map, uint8 (uint16 where labels exceed 255), with the input's shape, affine, codes and units; of a
        NIfTI-2 file or image as NIfTI-2.

    Raises:
        InputError: When the image, the bundle or its weights can't be used.
    """
    segmenter = Segmenter(bundle, **options)
    with tempfile.TemporaryDirectory(prefix="ulite") as folder:
        source = image if isinstance(image, str | Path) else _written(image, affine, Path(folder))
        found_cases = find_cases(source, segmenter.channels if segmenter.takes_volumes else 1)
        cases = [case for case in found_cases if _is_usable(case, segmenter)] or found_cases
        if len(cases) != 1:
            raise InputError(f"{source}: holds {len(cases)} volumes that can be read, predict() takes one.")
        try:
            if cases[0].is_image and not segmenter.takes_volumes:
                raise Refused("predict() segments volumes; for 2D images there is predict_cases().")
            found = segment_case(cases[0], segmenter, force)
        except Refused as refusal:
            raise InputError(f"{source}: {refusal}") from None
        except Exception as error:
            why = reason(error)
            raise InputError(why if why.startswith(str(source)) else f"{source}: {why}") from error
        for warning in found.warnings:
            warnings.warn(warning, stacklevel=2)
        mask = label_image(found.mask, found.grid)
        return type(mask).from_bytes(mask.to_bytes())  # which has an affine, as one that is read has


def _is_usable(case: Case, segmenter: Segmenter) -> bool:
    series = case.series
    return series is None or series.problem is None or bool(series.tilt and segmenter.resamples_tilt)


def _written(image: nib.Nifti1Image | np.ndarray, affine: np.ndarray | None, folder: Path) -> Path:
    if isinstance(image, np.ndarray):
        if affine is None or np.shape(affine) != (4, 4):
            raise InputError("an array needs its affine, 4x4, voxel to RAS mm: predict(array, affine=...).")
        image = nib.Nifti1Image(image.astype(np.float32), affine)
    path = folder / "image.nii"
    nib.save(image, path)
    return path
