"""Which existing files a mask may replace: masks as this package wrote them, never an image, or a corrected mask."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from ulite_monai.errors import InputError

__all__ = ["DESCRIPTION", "SOFTWARE", "VOXELS", "require_replaceable", "voxel_digest"]

DESCRIPTION = "U-Lite label map, for research use only"  # of NIfTI headers
SOFTWARE = "ulite-monai"  # of PNG files, and the manufacturer of DICOM SEG
VOXELS = "voxels "  # before the digest: many editors keep a header whose voxels they change


def voxel_digest(stored: np.ndarray | bytes) -> str:
    """16 hexadecimal digits of the voxels as a file stores them, which the file's header repeats.

    Args:
        stored: as stored; bytes, or an array of any memory order, whose first axis runs fastest.
    """
    data = stored if isinstance(stored, bytes) else np.ascontiguousarray(stored.T).data
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def require_replaceable(path: str | Path) -> None:
    """Check that a mask may be written to `path`.

    Args:
        path: of a NIfTI file, a PNG, or a DICOM SEG.

    Raises:
        InputError: When there is a file that this package didn't write, or whose voxels were changed since.
    """
    path = Path(path)
    if path.exists() and not _is_ours(path):
        raise InputError(
            f"{path}: is there already and wasn't written by this program, or was changed since (masks of its first "
            "versions don't tell); move it away, or give another output."
        )


def _is_ours(path: Path) -> bool:
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            written: Any = nib.load(path)
            before, _, told = bytes(written.header["descrip"]).rstrip(b"\0").decode("latin-1").partition(f"; {VOXELS}")
            return before == DESCRIPTION and told == voxel_digest(np.asanyarray(written.dataobj))
        if name.endswith(".png"):
            with Image.open(path) as image:
                before, _, told = image.info.get("Software", "").partition(f"; {VOXELS}")
                return before == SOFTWARE and told == voxel_digest(np.asarray(image).T)
        if name.endswith(".dcm"):
            import pydicom

            header = pydicom.dcmread(path, stop_before_pixels=True)
            told = list(header.SoftwareVersions)[-1]
            return header.Manufacturer == SOFTWARE and told == VOXELS + voxel_digest(pydicom.dcmread(path).PixelData)
    except Exception:  # whatever a damaged file provokes: it isn't one of ours
        return False
    return False
