"""Configurations as a person reads them: what is short on one line, and JSON all the same."""

import json

import pytest

from tests.conftest import read_json
from ulite_monai.planning.json_text import json_text, write_json

LONG = ["x" * 60, "y" * 60]
CONFIG = {
    "spacing": [1.0, 1.0, 3.0],
    "network_def": {"_target_": "ULite", "features": [8, 16]},
    "handlers": [{"_target_": "A", "make": {"_target_": "B"}}, {"_target_": "C"}],
    "nothing": {},
    "words": "größer",
    "long": LONG,
}
TEXT = f"""{{
    "spacing": [1.0, 1.0, 3.0],
    "network_def": {{"_target_": "ULite", "features": [8, 16]}},
    "handlers": [
        {{
            "_target_": "A",
            "make": {{"_target_": "B"}}
        }},
        {{"_target_": "C"}}
    ],
    "nothing": {{}},
    "words": "größer",
    "long": [
        "{LONG[0]}",
        "{LONG[1]}"
    ]
}}"""


def test_short_lists_and_dictionaries_stay_on_a_line():
    assert json_text(CONFIG) == TEXT
    assert json.loads(TEXT) == CONFIG


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "new" / "a.json", CONFIG)
    assert read_json(tmp_path / "new" / "a.json") == CONFIG
    before = (tmp_path / "new" / "a.json").read_bytes()
    with pytest.raises(TypeError):
        write_json(tmp_path / "new" / "a.json", {"a": object()})
    assert (tmp_path / "new" / "a.json").read_bytes() == before
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
