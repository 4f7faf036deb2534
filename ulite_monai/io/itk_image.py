"""NRRD and MetaImage volumes in, by ITK."""

from __future__ import annotations

import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.finite import NonFinite, settle_nonfinite
from ulite_monai.io.volume import LPS_TO_RAS, Volume

__all__ = ["load_itk", "read_itk_image"]

VOXEL = b"ObjectType = Image\nNDims = 3\nDimSize = 1 1 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n\0"
LOADING = threading.Lock()


def load_itk() -> Any:
    """The module `itk`, with all of its parts that reading takes.

    ITK loads a part when it is first used, and changes the process's working folder meanwhile: relative paths that
    other threads use then lead elsewhere. So this is called before threads share the reading; it takes seconds.
    """
    with LOADING:
        return _load_itk()


@cache
def _load_itk() -> Any:
    import itk

    with tempfile.TemporaryDirectory(prefix="ulite") as folder:
        path = Path(folder) / "voxel.mha"
        path.write_bytes(VOXEL)
        itk.array_from_image(_read(path, itk))
    return itk


def read_itk_image(path: str | Path, on_nonfinite: NonFinite = "error") -> Volume:
    """The volume in an NRRD (`.nrrd`, `.nhdr`) or MetaImage (`.mha`, `.mhd`) file.

    Args:
        path: the file, or the header of a pair.
        on_nonfinite: what to do about NaN and infinite voxels.

    Returns:
        The volume, shape (i, j, k), in the type that the file has; int8 as int16.

    Raises:
        InputError: When the file is missing, cut short or corrupt, or isn't one scalar 3D volume.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file.")
    itk = load_itk()
    image = _read(path, itk)
    affine = _affine(image)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: its affine {affine[:3].tolist()} can't place voxels; export it again.")
    warnings: list[str] = []
    if path.suffix.lower() in (".nrrd", ".nhdr") and "NRRD_space" not in image.GetMetaDataDictionary().GetKeys():
        warnings.append(f"{path}: names no anatomical space; left-posterior-superior was assumed, check the sides.")
    array = settle_nonfinite(itk.array_from_image(image).T, path, on_nonfinite, warnings)
    return Volume(array, affine, path, None, warnings)


def _read(path: Path, itk: Any) -> Any:
    try:
        reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        if reader is None:
            raise InputError(f"{path}: isn't NRRD or MetaImage, whatever its suffix says; export it again.")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        _check_kind(path, reader)
        # Python's ITK has no images of signed bytes.
        signed_bytes = reader.GetComponentType() == itk.CommonEnums.IOComponent_CHAR
        return itk.imread(str(path), itk.SS if signed_bytes else None)
    except (RuntimeError, KeyError, MemoryError, OverflowError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
        raise InputError(f"{path}: is cut short or corrupt ({reason}); copy or export it again.") from error


def _check_kind(path: Path, reader: Any) -> None:
    size = tuple(reader.GetDimensions(axis) for axis in range(reader.GetNumberOfDimensions()))
    if reader.GetNumberOfComponents() != 1:
        raise InputError(
            f"{path}: holds {reader.GetNumberOfComponents()} values a voxel (colour or vectors), one is needed; "
            "save the channel to segment as a volume of its own."
        )
    if len(size) != 3:
        raise InputError(f"{path}: has {len(size)} dimensions {size}, 3 are needed; save one volume by itself.")


def _affine(image: Any) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(image.GetDirection()) @ np.diag(np.asarray(image.GetSpacing()))
    affine[:3, 3] = np.asarray(image.GetOrigin())
    return LPS_TO_RAS @ affine
