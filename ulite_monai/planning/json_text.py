"""Configurations as text that a person reads: a short list or dictionary stays on one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ulite_monai.io.atomic import atomic_path

__all__ = ["json_text", "write_json"]

INDENT = 4


def json_text(value: Any, width: int = 120, depth: int = 0) -> str:
    """A value as JSON, each list and dictionary on one line where that fits and it holds no other dictionary.

    Args:
        value: plain data.
        width: below which a value stays on one line, in characters with its indentation.
        depth: how far the text is indented, in steps of four spaces.
    """
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value:
        return flat
    if INDENT * depth + len(flat) < width and not (depth == 0 or _holds_dictionaries(value)):
        return flat
    start, end = "\n" + " " * INDENT * (depth + 1), "\n" + " " * INDENT * depth
    if isinstance(value, list):
        return "[" + ",".join(start + json_text(one, width, depth + 1) for one in value) + end + "]"
    entries = (f"{start}{json.dumps(key)}: {json_text(one, width, depth + 1)}" for key, one in value.items())
    return "{" + ",".join(entries) + end + "}"


def write_json(path: Path, value: Any) -> None:
    """Write a value to a file as `json_text` has it, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json_text(value) + "\n", encoding="utf-8")


def _holds_dictionaries(value: dict[str, Any] | list[Any]) -> bool:
    inside = value.values() if isinstance(value, dict) else value
    return any(isinstance(one, dict) and one for one in inside)
