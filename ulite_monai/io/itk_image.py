"""NRRD and MetaImage volumes in, by ITK."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ulite_monai.errors import InputError
from ulite_monai.io.affine import LPS_TO_RAS, settle_affine
from ulite_monai.io.finite import NonFinite, settle_nonfinite, warn_of_lost_steps
from ulite_monai.io.volume import Volume

__all__ = ["load_itk", "read_itk_image"]

VOXEL = b"ObjectType = Image\nNDims = 3\nDimSize = 1 1 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n\0"
NRRD = (".nrrd", ".nhdr")
SEGMENT = re.compile(r"Segment\d+_LabelValue")
MILLIMETRES = {
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1.0),
    **dict.fromkeys(("um", "µm", "micron", "microns", "micrometer", "micrometre", "micrometers", "micrometres"), 1e-3),
    **{"nm": 1e-6, "cm": 10.0, "m": 1000.0},
}
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
        The volume, shape (i, j, k), in the type that the file has; int8 as int16, 64-bit integers as float64. The
        unit that the file names is heeded, which ITK doesn't do.

    Raises:
        InputError: When the file is missing, cut short or corrupt, isn't one scalar 3D volume, or has no usable
            geometry.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file.")
    itk = load_itk()
    image = _read(path, itk)
    fields = _fields(image)
    warnings: list[str] = []
    if path.suffix.lower() in NRRD and "NRRD_space" not in fields:
        warnings.append(f"{path}: names no anatomical space; left-posterior-superior was assumed, check the sides.")
    scale = np.diag([_millimetres(path, fields, warnings)] * 3 + [1.0])
    affine = settle_affine(scale @ _affine(image), path, warnings)
    array = settle_nonfinite(itk.array_from_image(image).T, path, on_nonfinite, warnings)
    warn_of_lost_steps(array, None, path, warnings)
    return Volume(array, affine, path, None, warnings, _segments(fields))


def _read(path: Path, itk: Any) -> Any:
    try:
        reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        if reader is None:
            raise InputError(f"{path}: isn't NRRD or MetaImage, whatever its suffix says; export it again.")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        _check_kind(path, reader)
        return itk.imread(str(path), _pixel_type(reader, itk))
    except (RuntimeError, KeyError, MemoryError, OverflowError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
        raise InputError(f"{path}: is cut short or corrupt ({reason}); copy or export it again.") from error


def _pixel_type(reader: Any, itk: Any) -> Any:
    """What to read the voxels as: Python's ITK has no images of signed bytes or of the longest numbers."""
    kinds = itk.CommonEnums
    if reader.GetComponentType() == kinds.IOComponent_CHAR:
        return itk.SS
    longest = ("LONG", "ULONG", "LONGLONG", "ULONGLONG", "LDOUBLE")
    return itk.D if reader.GetComponentType() in [getattr(kinds, f"IOComponent_{name}") for name in longest] else None


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


def _fields(image: Any) -> dict[str, Any]:
    """What ITK keeps of the header beside the geometry."""
    dictionary = image.GetMetaDataDictionary()
    return {key: dictionary[key] for key in dictionary.GetKeys()}


def _millimetres(path: Path, fields: Mapping[str, Any], warnings: list[str]) -> float:
    """The file's unit of length in millimetres."""
    if path.suffix.lower() in NRRD:
        stated = _space_units(path) or [str(fields.get(f"NRRD_units[{axis}]", "")) for axis in range(3)]
    else:
        stated = [str(fields.get("ITK_VoxelUnits", ""))]
    units = sorted({unit.strip().lower() for unit in stated})
    if len(units) > 1:
        raise InputError(f"{path}: names several units of length ({', '.join(map(repr, units))}); give it one.")
    (unit,) = units
    if unit in ("", "?", "???", "unknown"):
        return 1.0
    if unit not in MILLIMETRES:
        warnings.append(f"{path}: gives positions in {unit!r}, which isn't known; millimetres were assumed.")
    scale = MILLIMETRES.get(unit, 1.0)
    if scale != 1:
        warnings.append(
            f"{path}: gives positions in {unit}; they were taken as millimetres times {scale:g}. Programs that are "
            "built on ITK don't heed this unit and see the volume elsewhere than its mask."
        )
    return scale


def _space_units(path: Path) -> list[str]:
    """The units along the axes of space that an NRRD header names; ITK leaves them out."""
    with path.open("rb") as file:
        for line in iter(file.readline, b""):
            if not line.strip():
                break
            name, _, value = line.decode(errors="replace").partition(":")
            if name.strip().lower() == "space units":
                return re.findall(r'"([^"]*)"', value)
    return []


def _segments(fields: Mapping[str, Any]) -> dict[int, str]:
    """Names of label values, as 3D Slicer writes them."""
    values = {key.removesuffix("_LabelValue"): str(value) for key, value in fields.items() if SEGMENT.fullmatch(key)}
    names = {int(value): fields.get(f"{segment}_Name") for segment, value in values.items() if value.strip().isdigit()}
    return {value: str(name) for value, name in names.items() if name}
