"""Two-dimensional images: whatever PNG, JPEG or TIFF holds, as RGB; masks out as PNG, probabilities as TIFF."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.finite import settle_nonfinite
from ulite_monai.io.output_folder import SOFTWARE

__all__ = ["as_rgb", "open_image", "read_rgb", "write_mask", "write_probability_pages"]

logger = logging.getLogger(__name__)


def as_rgb(image: Image.Image) -> Image.Image:
    """The image with three 8-bit channels, for MONAI's `PILReader(converter=as_rgb)`.

    Grey, palette, CMYK and transparent images are converted (transparency is dropped, not blended). Deeper grey
    images (16 or 32 bits, or floats) are scaled so that their range becomes 0 to 255; NaN and infinite pixels become
    their minimum, with a warning in the log.

    Raises:
        InputError: When the file holds several pages.
    """
    _require_one_page(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = _finite(np.asarray(image, dtype=np.float64), getattr(image, "filename", "the image"))
        low, high = values.min(), values.max()
        scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
        image = Image.fromarray(np.round(scaled).astype(np.uint8))
    if image.mode == "RGBA":
        return Image.merge("RGB", image.split()[:3])
    return image.convert("RGB")


def _require_one_page(image: Image.Image) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(f"{getattr(image, 'filename', 'the image')}: holds {pages} pages, one is needed; split it.")


def open_image(path: str | Path) -> Image.Image:
    """The image in a file, decoded.

    Raises:
        InputError: When it can't be read, has several pages, or more pixels than Pillow takes for a real image.
    """
    try:
        with Image.open(path) as image:  # which closes the file, not the image
            _require_one_page(image)
            image.load()
            return image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: is too large ({error}); cut it into tiles.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: can't be read, it is damaged or of an unknown format ({error}).") from None


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    warnings: list[str] = []
    values = settle_nonfinite(values, name, "replace", warnings)
    for warning in warnings:
        logger.warning("warning: %s", warning)
    return values


def read_rgb(path: str | Path) -> np.ndarray:
    """The image in a file as `as_rgb` has it: uint8, shape (x, y, 3), axes as MONAI's PILReader has them."""
    return np.asarray(as_rgb(open_image(path))).transpose(1, 0, 2)


def write_mask(mask: np.ndarray, path: str | Path, labels: int = 1) -> None:
    """Write a 2D label map as a grey PNG that a person can see: 255 for the only label, else evenly spread greys.

    Args:
        mask: whole numbers >= 0, axes (x, y) as MONAI's PILReader has them.
        path: `.png`; replaced if it exists, never half written.
        labels: how many labels there are, so that a label's grey is the same in every mask.
    """
    labels = max(int(mask.max()), labels)
    grey = (mask.astype(np.int64) * (255 // labels)).astype(np.uint8)
    written_by = PngInfo()
    written_by.add_text("Software", SOFTWARE)
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(grey.T)).save(temporary, pnginfo=written_by)


def write_probability_pages(probabilities: np.ndarray, path: str | Path) -> None:
    """Write probabilities as a TIFF of 32-bit floats, a page a class.

    Args:
        probabilities: float32, shape (classes, x, y), axes as MONAI's PILReader has them.
        path: `.tif`; replaced if it exists, never half written.
    """
    first, *others = (Image.fromarray(np.ascontiguousarray(page.T)) for page in probabilities)
    with atomic_path(path) as temporary:
        first.save(temporary, save_all=True, append_images=others, compression="tiff_adobe_deflate")
