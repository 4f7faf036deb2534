"""What a DICOM header says of its pixels, and whether the file holds all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

from ulite_monai.io.dicom.values import encoding, text, whole

__all__ = ["PIXEL_TAGS", "Pixels", "describe_pixels"]

PIXEL_TAGS = (
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
PIXEL_DATA = {"little": b"\xe0\x7f\x10\x00", "big": b"\x7f\xe0\x00\x10"}
ALLOWED = {"PixelRepresentation": (0, 1), "SamplesPerPixel": (1, 3)}
UNDEFINED = 0xFFFFFFFF
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


@dataclass(frozen=True)
class Pixels:
    """The pixels of one file.

    Attributes:
        size: (rows, columns).
        frames: how many there are.
        colour: whether they are colours.
        stored_range: the smallest and the largest value that their type can hold.
        flaw: why they can't be used, a clause about "it"; None if they can.
    """

    size: tuple[int, int]
    frames: int
    colour: bool
    stored_range: tuple[int, int]
    flaw: str | None


def describe_pixels(dataset: Any, stream: BinaryIO) -> Pixels:
    """Describe the pixels of a file whose header was read from `stream`, which stands where pixel data begin."""
    rows, columns, frames = (whole(dataset, name) for name in ("Rows", "Columns", "NumberOfFrames"))
    samples, allocated = whole(dataset, "SamplesPerPixel") or 1, whole(dataset, "BitsAllocated") or 0
    size, count = (max(0, rows or 0), max(0, columns or 0)), max(1, frames or 1)
    stored = whole(dataset, "BitsStored")
    stored = allocated if stored is None else stored
    colour = samples > 1 or "PALETTE" in text(dataset, "PhotometricInterpretation")
    row = size[1] * samples * allocated // 8
    flaw = _flaw(dataset, size, allocated, stored) or _missing(dataset, stream, needed=size[0] * row * count, row=row)
    if colour:
        flaw = "its pixels are colours, not intensities"
    return Pixels(size, count, colour, _stored_range(dataset, stored), flaw)


def _flaw(dataset: Any, size: tuple[int, int], allocated: int, stored: int) -> str | None:
    if 0 in (*size, allocated):
        return "its header doesn't say how large its pixel data are"
    odd = _first_odd(dataset)
    if odd is not None:
        return f"its {odd} is {whole(dataset, odd)}, {' or '.join(map(str, ALLOWED[odd]))} can be read"
    if not 1 <= stored <= allocated <= 32:
        return f"its pixels have {stored} of {allocated} bits, 1 to 32 can be read"
    return None


def _stored_range(dataset: Any, stored: int) -> tuple[int, int]:
    bits = min(max(stored, 1), 32)
    signed = whole(dataset, "PixelRepresentation") == 1
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _first_odd(dataset: Any) -> str | None:
    return next((name for name, allowed in ALLOWED.items() if whole(dataset, name) not in (None, *allowed)), None)


def _missing(dataset: Any, stream: BinaryIO, needed: int, row: int) -> str | None:
    """The flaw if some of the pixels aren't there."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_deflated:
        return None  # only reading can find out
    implicit, little = encoding(dataset)
    head = stream.read(8 if implicit else 12)
    if head[:4] != PIXEL_DATA["little" if little else "big"]:
        return "it has no pixel data; copy or export it again"
    if syntax is not None and syntax.is_encapsulated:
        return None if _has_all_fragments(stream) else "its compressed pixel data are cut short; copy it again"
    offset = stream.tell()
    stated = int.from_bytes(head[-4:], "little" if little else "big")
    present = min(stated, stream.seek(0, 2) - offset)
    if needed + row <= stated < UNDEFINED:  # less may be padding
        return f"its header gives it {needed:,} bytes of pixel data and {stated:,} are there; export it again"
    if present < needed:
        return f"its pixel data are cut short ({present:,} of {needed:,} bytes); copy it again"
    return None


def _has_all_fragments(stream: BinaryIO) -> bool:
    """Whether the chain of compressed fragments ends as it should."""
    while len(head := stream.read(8)) == 8:
        if head[:4] == SEQUENCE_END:
            return True
        if head[:4] != ITEM:
            return False
        stream.seek(int.from_bytes(head[4:], "little"), 1)
    return False
