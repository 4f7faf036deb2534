"""The curve that a training leaves, a row an epoch."""

from types import SimpleNamespace

import pytest

from ulite_monai.training import PrintEpochs

CURVE = "epoch,loss,dice a b,dice epoch\n1,0.9,0.5,0.25\n"


@pytest.fixture
def progress(tmp_path):
    return PrintEpochs(SimpleNamespace(), SimpleNamespace(), ["a b", "epoch"], tmp_path / "curve.csv")


def row(epoch):
    return {"epoch": epoch, "loss": 0.9, "dice a b": 0.5, "dice epoch": 0.25}


def test_rows_of_epochs_that_are_run_again_are_replaced(progress, tmp_path):
    for epoch in (1, 2, 3, 2):
        progress._add_row(tmp_path / "curve.csv", row(epoch))
    lines = (tmp_path / "curve.csv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == CURVE.splitlines() and [line.split(",")[0] for line in lines[1:]] == ["1", "2"]


@pytest.mark.parametrize("changed", [CURVE.replace(",", ";"), "", "epoch\nx\n"])
def test_a_curve_that_an_editor_changed_is_begun_anew(progress, tmp_path, changed):
    (tmp_path / "curve.csv").write_text(changed, encoding="utf-8")
    progress._add_row(tmp_path / "curve.csv", row(1))
    assert (tmp_path / "curve.csv").read_text(encoding="utf-8") == CURVE
