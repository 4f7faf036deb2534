"""A model card's table from the CSV files of its folds."""

import subprocess
import sys

import pytest

from ulite_monai.errors import InputError
from ulite_monai.reports.metrics import LabelMetrics
from ulite_monai.reports.metrics_csv import read_metrics, write_metrics
from ulite_monai.reports.table import markdown_table

ROWS = [
    LabelMetrics("one", "a", "both", 0.8, 1.0, 0.9, 2.0, 2.5),
    LabelMetrics("two", "a", "missed", 0.0, None, 0.0, 0.0, 1.5),
    LabelMetrics("two", "b", "absent", None, None, None, 0.0, 0.0),
]


def test_rows_are_read_as_they_were_written(tmp_path):
    write_metrics(ROWS, tmp_path / "metrics.csv")
    assert read_metrics(tmp_path / "metrics.csv") == ROWS


@pytest.mark.slow
def test_the_table_of_two_folds(tmp_path):
    write_metrics(ROWS[:1], tmp_path / "0.csv")
    write_metrics(ROWS[1:], tmp_path / "1.csv")
    command = [sys.executable, "-m", "ulite_monai.reports.table", str(tmp_path / "0.csv"), str(tmp_path / "1.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == markdown_table(ROWS) + "\n"
    assert done.stdout.splitlines() == [
        "| | cases | Dice | worst Dice | IoU | HD95, mm | NSD at 1 mm | volume error, mL |",
        "|---|---|---|---|---|---|---|---|",
        "| a | 2 | 0.4000 ± 0.4000 | 0.0000 | 0.3333 ± 0.3333 | 1.0000 ± 0.0000 | 0.4500 ± 0.4500 | -1.0000 ± 0.5000 |",
        "| b | 1 |  |  |  |  |  | 0.0000 ± 0.0000 |",
    ]


def test_images_have_no_millimetres():
    table = markdown_table([LabelMetrics("one", "a", "both", 0.5, None, None, None, None)])
    assert table.splitlines()[0] == "| | cases | Dice | worst Dice | IoU |"
    assert table.splitlines()[2] == "| a | 1 | 0.5000 ± 0.0000 | 0.5000 | 0.3333 ± 0.0000 |"


def test_what_is_no_table_is_said(tmp_path):
    with pytest.raises(InputError, match="a case is in these files twice"):
        markdown_table(ROWS + ROWS)
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match=r"other.csv: isn't a metrics.csv of an evaluation"):
        read_metrics(tmp_path / "other.csv")
    with pytest.raises(InputError, match=r"missing.csv: can't be read: No such file"):
        read_metrics(tmp_path / "missing.csv")
