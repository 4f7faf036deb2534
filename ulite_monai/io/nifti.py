"""NIfTI and Analyze volumes in, with exact geometry or a sentence of refusal."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError, SpatialImage
from nibabel.wrapstruct import WrapStructError

from ulite_monai.errors import InputError
from ulite_monai.io.affine import settle_affine, spacing_of
from ulite_monai.io.finite import NonFinite, settle_nonfinite, warn_of_lost_steps
from ulite_monai.io.volume import Volume

__all__ = ["fourth_axis", "read_nifti", "read_nifti_channels", "read_nifti_grid"]

SECONDS = ("sec", "msec", "usec")
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
# Deflate can't do better than 1032 bytes for one; a header that promises more is corrupt, and believing it could take
# all the memory there is.
BEST_COMPRESSION = 1032
CHUNK = 1 << 20
GZIP = b"\x1f\x8b"
# What of a header says where the voxels lie; free-text fields may name the patient.
GEOMETRY = (
    *("xyzt_units", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z"),
)
SPACE = 0x07  # the bits of xyzt_units that hold the unit of space; others hold that of time
SURFACES = (".gii", ".gii.gz", ".surf", ".stl", ".vtk", ".ply", ".obj")
BROKEN = (OSError, EOFError, zlib.error, ValueError, ImageFileError, HeaderDataError, WrapStructError, OverflowError)


def read_nifti(path: str | Path, on_nonfinite: NonFinite = "error") -> Volume:
    """The volume in a NIfTI-1, NIfTI-2 or Analyze 7.5 file.

    Args:
        path: `.nii`, or the `.hdr` or `.img` of a pair, each also with `.gz`.
        on_nonfinite: what to do about NaN and infinite voxels.

    Returns:
        The volume, shape (i, j, k): trailing dimensions of length 1 are dropped, a 2D image gets one slice. Scaled
        values are float32, others keep their type. The affine is the sform's if its code is above 0, else the
        qform's if its code is, else nibabel's guess from the voxel size; always in millimetres.

    Raises:
        InputError: When the file is missing, cut short or corrupt, isn't one scalar 3D volume, or has no usable
            geometry.
    """
    path = Path(path)
    warnings: list[str] = []
    image, shape, affine = _grid(path, warnings)
    array = _values(path, image).reshape(shape)
    array = settle_nonfinite(array, path, on_nonfinite, warnings)
    warn_of_lost_steps(array, _slope(image), path, warnings)
    return Volume(array, affine, path, _geometry(image.header), warnings)


def read_nifti_channels(path: str | Path, on_nonfinite: NonFinite = "error") -> list[Volume]:
    """The volumes along the fourth axis of a NIfTI file, which are the channels of one image.

    Args:
        path: as `read_nifti` takes it; of shape (i, j, k, channels).
        on_nonfinite: what to do about NaN and infinite voxels.

    Returns:
        A volume a channel, as `read_nifti` would give it if it lay in a 3D file: nothing of the fourth axis is left.
        The first one's warnings are also those about the file.

    Raises:
        InputError: As `read_nifti` does.
    """
    path = Path(path)
    of_file: list[str] = []
    image, shape, affine = _grid(path, of_file, most_axes=4)
    values = _values(path, image).reshape((*shape[:3], -1))
    volumes = []
    for number, channel in enumerate(np.moveaxis(values, -1, 0)):
        name, warnings = f"{path}, channel {number}", [] if number else of_file
        array = settle_nonfinite(channel, name, on_nonfinite, warnings)
        warn_of_lost_steps(array, _slope(image), name, warnings)
        volumes.append(Volume(array, affine.copy(), path, _geometry(image.header, SPACE), warnings))
    return volumes


def read_nifti_grid(path: str | Path, of_channels: bool = False) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine as `read_nifti` gives them, or `read_nifti_channels` for each channel, by the header alone."""
    _, shape, affine = _grid(Path(path), [], most_axes=4 if of_channels else 3)
    return shape[:3], affine


def fourth_axis(path: str | Path) -> tuple[int, bool]:
    """How many volumes lie along the fourth axis of a NIfTI file, and whether its header says that it is time.

    Raises:
        InputError: As `read_nifti` does.
    """
    image, shape, _ = _grid(Path(path), [], most_axes=4)
    header: Any = image.header
    timed = isinstance(header, Nifti1Header) and _unit(header, 1) in SECONDS and float(header["pixdim"][4]) > 0
    return (shape[3] if len(shape) == 4 else 1), timed


def _grid(path: Path, warnings: list[str], most_axes: int = 3) -> tuple[SpatialImage, tuple[int, ...], np.ndarray]:
    if path.name.lower().endswith(SURFACES):
        raise InputError(f"{path}: is a surface, not a volume; give the volume that it was made from.")
    with _remarks_as_warnings(path, warnings):
        image = _open(path)
    shape = _volume_shape(path, image, most_axes)
    _check_size(path, image)
    return image, shape, _affine(path, image, warnings)


def _open(path: Path) -> SpatialImage:
    if not path.exists():
        raise InputError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy or export it again.")
    try:
        image = nib.load(path, mmap=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: its other half is missing ({error}); keep .hdr and .img together.") from error
    except BROKEN as error:
        raise InputError(f"{path}: can't be read as NIfTI ({_why(path, error)}.") from error
    if isinstance(image, nib.Cifti2Image):
        raise InputError(f"{path}: is CIFTI, values on a surface; give the volume that it was made from.")
    if not isinstance(image, nib.Nifti1Pair | nib.AnalyzeImage):
        raise InputError(f"{path}: is {type(image).__name__}, not NIfTI; convert it to .nii.gz first.")
    return image


def _why(path: Path, error: BaseException) -> str:
    """What nibabel says, and what to do about it."""
    with path.open("rb") as file:
        compressed = file.read(2) == GZIP
    if compressed != path.name.lower().endswith(".gz"):
        state = "is compressed by gzip, but its name doesn't end" if compressed else "isn't gzip's, but its name ends"
        return f"it {state} in .gz); rename it, or copy it again"
    if "w2 should be positive" in str(error):
        return "the quaternion of its qform is longer than 1); open it in 3D Slicer or ITK-SNAP and save it again"
    return f"{_first_line(error)}); copy or export it again"


@contextmanager
def _remarks_as_warnings(path: Path, warnings: list[str]) -> Iterator[None]:
    """What nibabel would print about a header that it mends goes to the volume's warnings."""

    class Remarks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(
                f"{path}: its header was mended ({record.getMessage()}); other programs may place the volume elsewhere."
            )

    logger = imageglobals.logger
    with _NIBABELS_LOGGER:
        before = logger.handlers, logger.level, logger.propagate
        logger.handlers, logger.propagate = [Remarks()], False
        logger.setLevel(logging.WARNING)  # whatever the root logger's is
        try:
            yield
        finally:
            logger.handlers, _, logger.propagate = before
            logger.setLevel(before[1])


_NIBABELS_LOGGER = threading.Lock()  # one for the whole process, and files are read in threads


def _volume_shape(path: Path, image: SpatialImage, most_axes: int) -> tuple[int, ...]:
    kind = image.get_data_dtype()
    if kind.names or kind.kind == "V":
        raise InputError(f"{path}: holds colours ({kind.names or kind}), not intensities; convert it to grey values.")
    if kind.kind == "c":
        raise InputError(f"{path}: holds complex numbers ({kind}); save their magnitude as a volume of its own.")
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 2 or 0 in shape:
        raise InputError(f"{path}: has shape {shape}, which is no volume; export it again.")
    if len(shape) > most_axes:
        raise InputError(
            f"{path}: holds {int(np.prod(shape[3:]))} volumes (shape {shape}), one is needed; split it, for example "
            "with nibabel.funcs.four_to_three, and give one of them."
        )
    return (*shape, 1) if len(shape) == 2 else shape


def _check_size(path: Path, image: SpatialImage) -> None:
    needed = int(np.prod([int(n) for n in image.shape], dtype=object)) * image.get_data_dtype().itemsize
    data = _data_file(path, image)
    if not data.exists():
        raise InputError(f"{path}: its voxels in {data.name} are missing; keep .hdr and .img together.")
    proxy: Any = image.dataobj
    header: Any = image.header
    if getattr(header, "is_single", False) and proxy.offset < header.single_vox_offset:
        raise InputError(
            f"{path}: its header says that the voxels begin at byte {proxy.offset}, which is inside the header; "
            "export it again."
        )
    size = data.stat().st_size
    most = size * BEST_COMPRESSION if data.suffix.lower() in (".gz", ".bz2", ".zst") else size
    if needed > most:
        raise InputError(
            f"{path}: is cut short: shape {image.shape} of {image.get_data_dtype()} takes {needed:,} bytes, "
            f"{data.name} has {size:,}; copy or export it again."
        )


def _values(path: Path, image: SpatialImage) -> np.ndarray:
    proxy: Any = image.dataobj
    layout = (proxy.shape, proxy.dtype, proxy.offset, proxy.slope, proxy.inter)
    try:
        with ImageOpener(str(_data_file(path, image))) as opener:
            array = np.asanyarray(
                ArrayProxy(opener.fobj, layout, mmap=False), dtype=None if _slope(image) is None else np.float32
            )
            while opener.read(CHUNK):  # a compressed stream is checked at its end only
                pass
    except BROKEN as error:
        raise InputError(f"{path}: is cut short or corrupt ({_first_line(error)}); copy or export it again.") from error
    except MemoryError as error:
        raise InputError(f"{path}: shape {image.shape} doesn't fit into memory; crop or resample it first.") from error
    if array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _slope(image: SpatialImage) -> float | None:
    """By which stored values are multiplied; None where they are the values themselves."""
    proxy: Any = image.dataobj
    return None if (proxy.slope, proxy.inter) == (1, 0) else float(proxy.slope)


def _data_file(path: Path, image: SpatialImage) -> Path:
    return Path(image.file_map["image"].filename or path)


def _affine(path: Path, image: SpatialImage, warnings: list[str]) -> np.ndarray:
    header = image.header
    if not isinstance(header, Nifti1Header):
        warnings.append(f"{path}: is Analyze 7.5, which doesn't say which side is left; check the sides.")
        affine = np.asarray(image.affine, dtype=np.float64)
    else:
        affine = _nifti_affine(path, image, warnings)
    return settle_affine(affine, path, warnings)


def _nifti_affine(path: Path, image: Any, warnings: list[str]) -> np.ndarray:
    header: Nifti1Header = image.header
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code > 0:
        affine = header.get_sform()
        if qform_code > 0:
            _warn_of_disagreement(path, affine, _qform(header), header.get_data_shape(), warnings)
    elif qform_code > 0:
        affine = header.get_qform()
        if _stored_qfac(image) not in (-1, 0, 1):
            warnings.append(
                f"{path}: its pixdim[0] is neither 1 nor -1, so other programs may mirror it; check the sides."
            )
    else:
        affine = header.get_base_affine()
        warnings.append(f"{path}: sform and qform codes are both 0, so position and sides are a guess; check them.")
    unit = _unit(header)
    if unit in MILLIMETRES:
        affine = np.diag([MILLIMETRES[unit]] * 3 + [1.0]) @ affine
        warnings.append(
            f"{path}: gives positions in {unit}s; they were taken as millimetres times {MILLIMETRES[unit]}."
        )
    return np.asarray(affine, dtype=np.float64)


def _geometry(header: Any, units: int = 0xFF) -> Nifti1Header | None:
    """A new header of the same version, in this machine's byte order, that places voxels as `header` does.

    Args:
        header: of the file; one of Analyze gives None.
        units: the bits of its units to keep.
    """
    if not isinstance(header, Nifti1Header):
        return None
    kept = Nifti2Header() if isinstance(header, Nifti2Header) else Nifti1Header()
    for name in GEOMETRY:
        kept[name] = header[name]
    kept["pixdim"][:4] = header["pixdim"][:4]
    kept["xyzt_units"] &= units
    return kept


def _stored_qfac(image: Any) -> float:
    """Before nibabel mends it, which it thinks nothing of."""
    half = image.file_map.get("header", image.file_map["image"])
    with ImageOpener(str(half.filename)) as opener:
        return float(type(image.header).from_fileobj(opener, check=False)["pixdim"][0])


def _qform(header: Nifti1Header) -> np.ndarray | None:
    try:
        qform = header.get_qform()
    except (ValueError, HeaderDataError):
        return None
    return qform if np.isfinite(qform).all() else None


def _unit(header: Nifti1Header, axis: int = 0) -> str:
    """The unit of space (0), or of time (1)."""
    try:
        return header.get_xyzt_units()[axis]
    except KeyError:
        return "unknown"


def _warn_of_disagreement(
    path: Path, sform: np.ndarray, qform: np.ndarray | None, shape: tuple[int, ...], warnings: list[str]
) -> None:
    if qform is None:
        warnings.append(f"{path}: its qform is no rotation and was ignored; the sform was used.")
        return
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in (*shape, 1, 1)[:3]))])
    distance = float(np.linalg.norm(corners @ (sform - qform).T, axis=1).max())
    if not distance <= 0.1 * min(spacing_of(sform)):
        warnings.append(
            f"{path}: sform and qform disagree by up to {distance:.4g} mm; the sform was used, other programs may "
            "use the qform."
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
