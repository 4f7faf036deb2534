"""What is said of a head: sums of the sides, their asymmetry, and shares of the intracranial volume."""

import csv

import pytest

from ulite_monai.reports.heads import head_measures, write_heads_csv
from ulite_monai.reports.volumes import LabelVolume

ML = {"left anterior": 1.5, "left posterior": 1.0, "right anterior": 2.0, "right posterior": 0.5}


def volumes(ml):
    return [LabelVolume(label, value, 1, one, None) for value, (label, one) in enumerate(ml.items(), 1)]


def test_measures_of_a_head():
    found = head_measures(volumes(ML | {"right posterior": 1.0}), 1500.0)
    assert (found["left_ml"], found["right_ml"], found["intracranial_ml"]) == (2.5, 3.0, 1500.0)
    assert found["asymmetry"] == pytest.approx(-0.5 / 5.5)
    assert found["left_anterior_ml"] == 1.5 and found["left_anterior_permille"] == pytest.approx(1.0)
    assert found["right_permille"] == pytest.approx(2.0)


def test_an_empty_head_has_no_asymmetry():
    assert "asymmetry" not in head_measures(volumes(dict.fromkeys(ML, 0.0)), 1500.0)


def test_a_row_a_head(tmp_path):
    empty = head_measures(volumes(dict.fromkeys(ML, 0.0)), 1500.0)
    write_heads_csv({"a": head_measures(volumes(ML), 1250.0), "b": empty}, tmp_path / "heads.csv")
    with (tmp_path / "heads.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["case"], first["left_ml"], first["left_permille"], first["asymmetry"]) == ("a", "2.5", "2", "0")
    assert (second["case"], second["right_ml"], second["asymmetry"]) == ("b", "0", "")
