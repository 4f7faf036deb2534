"""Label maps out, as NIfTI, on exactly the grid of the volume that they label."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.affine import shear_of
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.volume import Volume

__all__ = ["label_image", "smallest_label_dtype", "write_label_map", "write_probabilities"]

DESCRIPTION = "U-Lite label map, for research use only"
SCANNER = 1  # NIfTI's code for positions in the scanner's coordinates


def write_label_map(mask: np.ndarray, like: Volume, path: str | Path) -> None:
    """Write `mask` as NIfTI so that every reader puts it where it puts `like`.

    Args:
        mask: whole numbers >= 0, shape (i, j, k) of `like`, any dtype.
        like: the volume that was segmented.
        path: `.nii` or `.nii.gz`; replaced if it exists, never half written.

    Raises:
        InputError: When the suffix isn't NIfTI's or the system refuses to write.
        ValueError: When the mask isn't a label map of that shape.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: a label map is written as .nii or .nii.gz; choose one of these suffixes.")
    image = label_image(mask, like)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def label_image(mask: np.ndarray, like: Volume) -> nib.Nifti1Image:
    """The label map as a nibabel image, to be written, on the grid of `like`.

    Args:
        mask: whole numbers >= 0, shape (i, j, k) of `like`, any dtype.
        like: the volume that was segmented. Its NIfTI geometry (sform, qform, their codes, units) is repeated field
            by field, and NIfTI-2 stays NIfTI-2; without one, sform and qform are set from its affine, in scanner
            coordinates.

    Raises:
        ValueError: When the mask isn't a label map of that shape.
    """
    if mask.shape != like.array.shape:
        raise ValueError(f"{like.source}: the mask has shape {mask.shape}, its volume {like.array.shape}.")
    data = mask.astype(smallest_label_dtype(mask))
    if not np.array_equal(data, mask):
        raise ValueError(f"{like.source}: the mask holds values that aren't whole numbers.")
    return _image_on_grid(data, like, DESCRIPTION)


def write_probabilities(probabilities: np.ndarray, like: Volume, path: str | Path) -> None:
    """Write the classes' probabilities as NIfTI, on the grid of `like`, with the class along the fourth axis.

    Args:
        probabilities: float32, shape (classes, i, j, k).
        like: the volume that was segmented.
        path: `.nii` or `.nii.gz`; replaced if it exists, never half written.

    Raises:
        InputError: When the system refuses to write.
        ValueError: When the shapes differ.
    """
    if probabilities.shape[1:] != like.array.shape:
        raise ValueError(f"{path}: the probabilities have shape {probabilities.shape[1:]}, not {like.array.shape}.")
    image = _image_on_grid(np.moveaxis(probabilities, 0, -1), like, DESCRIPTION)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def smallest_label_dtype(mask: np.ndarray) -> type[np.unsignedinteger]:
    """uint8 where the labels fit, else uint16.

    Raises:
        ValueError: When a value is negative, not finite or above 65,535.
    """
    low, high = mask.min(initial=0), mask.max(initial=0)
    if not (low >= 0 and high <= np.iinfo(np.uint16).max):
        raise ValueError(f"Labels run from 0 to 65535; found {low} to {high}.")
    return np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16


def _image_on_grid(data: np.ndarray, like: Volume, description: str) -> nib.Nifti1Image:
    header = _header(like)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header["descrip"] = description.encode()
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # Given an affine, nibabel would recompute the header's fields from it.
    return image_class(data, None, header)


def _header(like: Volume) -> nib.Nifti1Header:
    if like.header is not None:
        return like.header.copy()
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm")
    # A qform can't shear, and ITK would place the mask by it; without one it refuses the file instead.
    header.set_qform(like.affine, code=0 if shear_of(like.affine) else SCANNER)
    header.set_sform(like.affine, code=SCANNER)
    return header
