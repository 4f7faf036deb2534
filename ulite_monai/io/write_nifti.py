"""Label maps out, as NIfTI, on exactly the grid of the volume that they label."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Header

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.volume import Volume

__all__ = ["smallest_label_dtype", "write_label_map", "write_probabilities"]

DESCRIPTION = "U-Lite label map, for research use only"
SCANNER = 1  # NIfTI's code for positions in the scanner's coordinates

# What says where a voxel lies. Nothing else is taken over: free-text fields may name the patient.
GEOMETRY_FIELDS = (
    *("xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z"),
)


def write_label_map(mask: np.ndarray, like: Volume, path: str | Path) -> None:
    """Write `mask` as NIfTI so that every reader puts it where it puts `like`.

    Args:
        mask: whole numbers >= 0, shape (i, j, k) of `like`, any dtype.
        like: the volume that was segmented. Its NIfTI geometry (sform, qform, their codes, units) is repeated field
            by field; without one, sform and qform are set from its affine, in scanner coordinates.
        path: `.nii` or `.nii.gz`; replaced if it exists, never half written.

    Raises:
        InputError: When the suffix isn't NIfTI's or the system refuses to write.
        ValueError: When the mask isn't a label map of that shape.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(f"{path}: a label map is written as .nii or .nii.gz; choose one of these suffixes.")
    if mask.shape != like.array.shape:
        raise ValueError(f"{path}: the mask has shape {mask.shape}, its volume {like.array.shape}.")
    data = mask.astype(smallest_label_dtype(mask))
    if not np.array_equal(data, mask):
        raise ValueError(f"{path}: the mask holds values that aren't whole numbers.")
    image = _image_on_grid(data, like, DESCRIPTION)
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


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
    image_class = nib.Nifti2Image if isinstance(like.header, nib.Nifti2Header) else nib.Nifti1Image
    header = image_class.header_class()
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header["descrip"] = description.encode()
    if like.header is None:
        header.set_xyzt_units("mm")
        header.set_qform(like.affine, code=SCANNER)
        header.set_sform(like.affine, code=SCANNER)
    else:
        _copy_geometry(like.header, header)
    # Given an affine, nibabel would recompute the header's fields from it.
    return image_class(data, None, header)


def _copy_geometry(source: Nifti1Header, target: Nifti1Header) -> None:
    for name in GEOMETRY_FIELDS:
        target[name] = source[name]
    target["pixdim"][:4] = source["pixdim"][:4]
