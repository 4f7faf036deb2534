"""Configurations as a person reads them: short things on a line, and JSON again."""

import json

import pytest

from ulite_monai.planning.json_text import json_text, write_json

CONFIG = {
    "spacing": [1.0, 1.0, 3.0],
    "network_def": {"_target_": "ULite", "features": [8, 16]},
    "handlers": [{"_target_": "A", "make": {"_target_": "B"}}, {"_target_": "C"}],
    "nothing": {},
    "words": "größer",
}


def test_what_is_short_stays_on_a_line_and_what_holds_more_does_not():
    assert json_text(CONFIG).splitlines() == [
        "{",
        '    "spacing": [1.0, 1.0, 3.0],',
        '    "network_def": {"_target_": "ULite", "features": [8, 16]},',
        '    "handlers": [',
        '        {"_target_": "A", "make": {"_target_": "B"}},'.replace(
            '{"_target_": "A", "make": {"_target_": "B"}}', LONG_ENTRY
        ),
        '        {"_target_": "C"}',
        "    ],",
        '    "nothing": {},',
        '    "words": "größer"',
        "}",
    ]
