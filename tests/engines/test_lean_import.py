"""A module that is left out looks absent inside, and can be imported afterwards."""

import importlib
import sys

import pytest

from ulite_monai.engines.lean_import import UNNEEDED_TO_PREDICT, left_out


def test_a_module_is_absent_inside_and_there_afterwards(tmp_path, monkeypatch):
    (tmp_path / "left_out_module.py").write_text("value = 3")
    (tmp_path / "other_module.py").write_text("value = 4")
    monkeypatch.syspath_prepend(tmp_path)
    with left_out(["left_out_module", "json"]):
        with pytest.raises(ModuleNotFoundError, match="left_out_module"):
            importlib.import_module("left_out_module")
        assert importlib.import_module("other_module").value == 4
        assert importlib.import_module("json") is sys.modules["json"]  # was imported before
    assert importlib.import_module("left_out_module").value == 3
    for name in ("left_out_module", "other_module"):
        del sys.modules[name]


def test_an_error_inside_ends_it(tmp_path):
    before = list(sys.meta_path)
    with pytest.raises(ZeroDivisionError), left_out(UNNEEDED_TO_PREDICT):
        1 / 0  # noqa: B018
    assert sys.meta_path == before
