"""A table of label values and names that a person wrote."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulite_monai.datasets.json_file import read_json
from ulite_monai.errors import InputError

__all__ = ["read_label_table"]

VALUES = ("value", "index", "label")  # columns of a CSV table


def read_label_table(path: str | Path) -> dict[int, str]:
    """Names by label value, the background's left out.

    Args:
        path: JSON, `{"1": "liver"}` or `{"liver": 1}`, by itself or below `labels` as in a `dataset.json`; or CSV or
            TSV with the columns `value` (or `index`) and `name`.

    Raises:
        InputError: When it can't be read, or names a value twice.
    """
    path = Path(path).expanduser()
    try:
        entries = _json(path) if path.suffix.lower() == ".json" else _csv(path)
        names = {value: name for value, name in entries if value > 0}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}).") from None
    except (KeyError, ValueError, TypeError, AttributeError):
        raise InputError(
            f'{path}: is no table of label values and names; write {{"1": "liver", "2": "spleen"}} as JSON, or CSV '
            "with the columns value and name."
        ) from None
    if not names or len(names) < sum(value > 0 for value, _ in entries) or len(set(names.values())) < len(names):
        raise InputError(f"{path}: must give every value one name of its own, found {entries[:8]}.")
    return dict(sorted(names.items()))


def _json(path: Path) -> list[tuple[int, str]]:
    content = read_json(path)
    labels = content["labels"] if isinstance(content.get("labels"), Mapping) else content
    return [_entry(key, value) for key, value in labels.items()]


def _entry(key: str, value: Any) -> tuple[int, str]:
    return (int(key), str(value)) if key.isdigit() else (int(value), key)


def _csv(path: Path) -> list[tuple[int, str]]:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    rows = list(csv.DictReader(lines, delimiter=max(",;\t", key=lines[0].count) if lines else ","))
    column = next((name for name in VALUES if rows and name in rows[0]), "")
    return [(int(row[column]), row["name"].strip()) for row in rows]
