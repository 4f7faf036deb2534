"""Character sets of the standard that pydicom 3.0 doesn't know, or doesn't decode right."""

from __future__ import annotations

from functools import cache

from ulite_monai.io.extras import require

__all__ = ["complete_character_sets"]

LATIN_9, LATIN_9_ESCAPE = "iso8859_15", b"\x1b-b"
SIMPLIFIED_CHINESE = "iso_ir_58"


@cache
def complete_character_sets() -> None:
    """Teach pydicom Latin alphabet No. 9, and to take the escape sequences of simplified Chinese out of its text.

    Raises:
        InputError: When pydicom is missing.
    """
    charset = require("pydicom.charset", "dicom")
    for name in ("ISO_IR 203", "ISO 2022 IR 203"):
        charset.python_encoding.setdefault(name, LATIN_9)
    charset.CODES_TO_ENCODINGS.setdefault(LATIN_9_ESCAPE, LATIN_9)
    charset.handled_encodings = tuple(name for name in charset.handled_encodings if name != SIMPLIFIED_CHINESE)
