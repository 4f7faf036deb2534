"""Which existing files a mask may replace: those that this package wrote, never a user's image or label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
from PIL import Image

from ulite_monai.errors import InputError

__all__ = ["DESCRIPTION", "SOFTWARE", "require_replaceable"]

DESCRIPTION = "U-Lite label map, for research use only"  # of NIfTI headers
SOFTWARE = "ulite-monai"  # of PNG files, and the manufacturer of DICOM SEG


def require_replaceable(path: str | Path) -> None:
    """Check that a mask may be written to `path`.

    Args:
        path: of a NIfTI file, a PNG, or a DICOM SEG.

    Raises:
        InputError: When there is a file that this package didn't write.
    """
    path = Path(path)
    if path.exists() and not _is_ours(path):
        raise InputError(
            f"{path}: is there already and wasn't written by this program; move it away, or give another output."
        )


def _is_ours(path: Path) -> bool:
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            header: Any = nib.load(path).header
            return bytes(header["descrip"]).rstrip(b"\0").decode("latin-1") == DESCRIPTION
        if name.endswith(".png"):
            with Image.open(path) as image:
                return image.info.get("Software") == SOFTWARE
        if name.endswith(".dcm"):
            import pydicom

            return pydicom.dcmread(path, stop_before_pixels=True).get("Manufacturer") == SOFTWARE
    except Exception:  # whatever a damaged file provokes: it isn't one of ours
        return False
    return False
