"""`report.html` of a cohort: how every case went, and how large the structures are."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulite_monai.engines.versions import versions
from ulite_monai.io.atomic import atomic_path
from ulite_monai.reports.page import MOST_ROWS, render_page
from ulite_monai.reports.volumes import LabelVolume

__all__ = ["write_cohort_report"]

MOST_CLASSES = 12  # that have a column in the table of cases


def write_cohort_report(
    path: str | Path,
    title: str,
    cases: Sequence[Mapping[str, Any]],
    volumes: Mapping[str, Sequence[LabelVolume]],
    missing: Sequence[str],
) -> None:
    """Write the report of a cohort.

    Args:
        path: the file, replaced if it exists, never half written.
        title: of the page.
        cases: each with `id`, `status`, `message`, `seconds` and `warnings`.
        volumes: the volumes of each case that has any, by its id.
        missing: sentences on what isn't there.

    Raises:
        InputError: When the system refuses to write.
    """
    labels = list(dict.fromkeys(row.label for rows in volumes.values() for row in rows))
    by_case = {case: {row.label: row for row in rows} for case, rows in volumes.items()}
    bad_first = sorted(cases, key=lambda case: case["status"] not in ("refused", "failed"))
    content = {
        "title": title,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "versions": versions(),
        "counts": Counter(case["status"] for case in cases),
        "number": len(cases),
        "missing": missing,
        "classes": [_of_class(label, by_case) for label in labels],
        "labels": labels[:MOST_CLASSES],
        "cases": bad_first[:MOST_ROWS],
        "left_out": max(0, len(cases) - MOST_ROWS),
        "volumes": by_case,
    }
    with atomic_path(path) as temporary:
        temporary.write_text(render_page("cohort.html", content), encoding="utf-8")


def _of_class(label: str, by_case: Mapping[str, Mapping[str, LabelVolume]]) -> dict[str, Any]:
    """How many cases hold a class, and the spread of its volume over these, with the cases at both ends."""
    rows = {case: rows[label] for case, rows in by_case.items() if label in rows}
    found = sorted((row.volume_ml, case) for case, row in rows.items() if row.voxels and row.volume_ml is not None)
    sizes = [size for size, _ in found]
    quartiles = statistics.quantiles(sizes, n=4, method="inclusive") if len(sizes) > 1 else sizes * 3
    return {
        "label": label,
        "found": sum(row.voxels > 0 for row in rows.values()),
        "of": len(rows),
        "quartiles": quartiles or [None] * 3,
        "least": found[0] if found else None,
        "most": found[-1] if found else None,
    }
