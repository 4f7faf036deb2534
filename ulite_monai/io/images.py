"""Two-dimensional images: whatever PNG, JPEG or TIFF holds, as RGB; masks out as PNG, probabilities as TIFF.

Pixels lie where the file stores them: a TIFF's orientation tag turns neither an image nor its mask.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from ulite_monai.errors import InputError
from ulite_monai.io.atomic import atomic_path
from ulite_monai.io.finite import settle_nonfinite
from ulite_monai.io.itk_image import load_itk
from ulite_monai.io.output_folder import SOFTWARE

__all__ = [
    "IMAGE_SUFFIXES",
    "as_label",
    "as_rgb",
    "has_deep_colours",
    "image_size",
    "is_image_file",
    "open_image",
    "read_label_image",
    "read_rgb",
    "write_mask",
    "write_probability_pages",
]

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

FILE = "ulite file"  # in the info of an image that is as its file stores it: the file
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def is_image_file(path: str | Path) -> bool:
    """Whether a file is a 2D image, by its name; all others are volumes."""
    return str(path).lower().endswith(IMAGE_SUFFIXES)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height, by the header alone.

    Raises:
        InputError: When it can't be read.
    """
    with _opened(path) as image:
        return image.size


def as_rgb(image: Image.Image) -> Image.Image:
    """The image with three 8-bit channels, for MONAI's `PILReader(converter=as_rgb)`.

    Grey, palette, CMYK and transparent images are converted (transparency is dropped, not blended). Deeper images
    (grey of 16 or 32 bits or floats, colours of 16 bits) are scaled so that their range becomes 0 to 255; NaN and
    infinite pixels become their minimum. The log warns of these, and of an orientation tag.

    Raises:
        InputError: When the file holds several pages, or can't be read with all its bits.
    """
    warnings: list[str] = []
    converted = _rgb(image, warnings)
    for warning in warnings:
        logger.warning("warning: %s", warning)
    return converted


def _rgb(image: Image.Image, warnings: list[str]) -> Image.Image:
    _require_one_page(image)
    image = _as_stored(image, warnings)
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = np.asarray(image, dtype=np.float64)
        return _scaled(settle_nonfinite(values, _name(image), "replace", warnings)).convert("RGB")
    if image.mode == "RGBA":
        return Image.merge("RGB", image.split()[:3])
    return image.convert("RGB")


def _scaled(values: np.ndarray) -> Image.Image:
    """The image whose range is 0 to 255; shape (y, x), or (y, x, 3)."""
    low, high = values.min(), values.max()
    scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(np.round(scaled).astype(np.uint8))


def _as_stored(image: Image.Image, warnings: list[str]) -> Image.Image:
    """The image, decoded, on the pixel grid that its file stores; colours of 16 bits are scaled."""
    if FILE in image.info:
        return image
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1) if image.format == "TIFF" else 1
    if _is_deep(image):  # of which Pillow keeps the upper half
        if orientation != 1:  # ITK turns some of these in part
            raise InputError(f"{_name(image)}: has 16 bits a colour and an orientation tag; save it without the tag.")
        stored = _scaled(_colours(_name(image)))
    else:
        image.load()  # which turns a TIFF as its tag says
        stored = image.transpose(TURNED_BACK[orientation]) if orientation in TURNED_BACK else image
    if orientation != 1:
        warnings.append(
            f"{_name(image)}: has the orientation tag {orientation}, which was ignored: pixels are taken as they are "
            "stored, while some programs turn them; check the mask on the image."
        )
    stored.info[FILE] = _name(image)
    return stored


def as_label(image: Image.Image) -> Image.Image:
    """The label map in an image, with one channel, for MONAI's `PILReader(converter=as_label)`.

    A colour image whose channels are equal is grey; transparency is dropped, and a palette's numbers are the values.

    Raises:
        InputError: When the file is a JPEG, whose compression changes values, has colours, an orientation tag or
            several pages.
    """
    _require_one_page(image)
    if image.format == "JPEG":
        raise InputError(
            f"{_name(image)}: is a JPEG, whose compression changes the values of a label; save labels as PNG."
        )
    warnings: list[str] = []
    stored = _as_stored(image, warnings)
    if warnings:  # other readers of labels turn some of them
        raise InputError(f"{_name(stored)}: is a label with an orientation tag; save it without the tag.")
    bands = [band for band, name in zip(stored.split(), stored.getbands(), strict=True) if name != "A"]
    if any(np.any(np.asarray(bands[0]) != np.asarray(band)) for band in bands[1:]):
        raise InputError(
            f"{_name(stored)}: is a colour image of mode {stored.mode}; a label must be grey, one value a pixel."
        )
    return bands[0] if len(bands) > 1 else stored


def has_deep_colours(path: str | Path) -> bool:
    """Whether a file is an image of 16 bits a colour, which ITK reads; False for what isn't there or no image."""
    if not str(path).lower().endswith((".png", ".tif", ".tiff")):
        return False
    try:
        with Image.open(path) as image:
            return _is_deep(image)
    except Exception:  # whatever a damaged file provokes; its reader says it
        return False


def _is_deep(image: Image.Image) -> bool:
    """Whether an image that isn't decoded yet has 16 bits a colour."""
    return any(";16" in str(tile[3]) and len(image.getbands()) > 1 for tile in getattr(image, "tile", ()))


def _colours(path: str) -> np.ndarray:
    """Red, green and blue of a file with 16 bits a channel: shape (y, x, 3)."""
    itk = load_itk()
    try:
        return itk.array_from_image(itk.imread(path, itk.Vector[itk.F, 3]))
    except RuntimeError as error:
        raise InputError(f"{path}: has 16 bits a colour and can't be read; save it with 8 bits a colour.") from error


def _name(image: Image.Image) -> str:
    return str(image.info.get(FILE) or getattr(image, "filename", "the image"))


def _require_one_page(image: Image.Image) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise InputError(f"{getattr(image, 'filename', 'the image')}: holds {pages} pages, one is needed; split it.")


def open_image(path: str | Path, warnings: list[str] | None = None) -> Image.Image:
    """The image in a file, decoded, its pixels where the file stores them.

    Args:
        path: the file.
        warnings: where one about an orientation tag goes.

    Raises:
        InputError: When it can't be read, has several pages, or more pixels than Pillow takes for a real image.
    """
    with _opened(path) as image:  # which closes the file, not the image
        _require_one_page(image)
        return _as_stored(image, [] if warnings is None else warnings)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """An image file; what goes wrong with it is told in a sentence."""
    try:
        with Image.open(path) as image:
            yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: is too large ({error}); cut it into tiles.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: can't be read, it is damaged or of an unknown format ({error}).") from None


def read_label_image(path: str | Path) -> np.ndarray:
    """The label map in an image file, as `as_label` has it: shape (x, y).

    Raises:
        InputError: When it can't be read, or is no label map.
    """
    with _opened(path) as image:
        return np.asarray(as_label(image)).T


def read_rgb(path: str | Path) -> np.ndarray:
    """The image in a file as `as_rgb` has it, but for its warnings, to look at: uint8, shape (x, y, 3)."""
    return np.asarray(_rgb(open_image(path), [])).transpose(1, 0, 2)


def write_mask(mask: np.ndarray, path: str | Path, labels: int = 1, as_greys: bool = True) -> None:
    """Write a 2D label map as a grey PNG, of 16 bits where 8 don't do.

    Greys that a person can see: 255 (65,535 in 16 bits) for the only label, else evenly spread ones.

    Args:
        mask: whole numbers >= 0, axes (x, y) as MONAI's PILReader has them.
        path: `.png`; replaced if it exists, never half written.
        labels: how many labels there are, so that a label's grey is the same in every mask.
        as_greys: whether to write such greys; else the values of `mask` themselves.
    """
    labels = max(int(mask.max()), labels)
    dtype = np.uint8 if labels <= np.iinfo(np.uint8).max else np.uint16
    grey = (mask.astype(np.int64) * (np.iinfo(dtype).max // labels if as_greys else 1)).astype(dtype)
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
