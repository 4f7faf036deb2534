"""JSON that people and other programs write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ulite_monai.errors import InputError

__all__ = ["read_json"]


def read_json(path: str | Path) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        InputError: When it can't be read, or isn't valid JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())  # which finds out the encoding
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not valid JSON, it isn't UTF-8 text ({error}); save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: is not valid JSON ({error}).") from None
