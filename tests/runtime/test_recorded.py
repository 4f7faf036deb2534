"""What a training recorded is used with its weights, and only as data."""

import json

import pytest

from ulite_monai.errors import InputError
from ulite_monai.runtime.recorded import recorded_labels, recorded_settings, require_as_trained

COMMAND = ["__main__.py", "run", "--epochs", "3", "--network_def#features", "[8,16,32]", "--network_def::act=RELU"]


@pytest.fixture
def record(tmp_path):
    def write(settings, command=COMMAND):
        (tmp_path / "run.json").write_text(json.dumps({"settings": settings, "command": command}))
        return recorded_settings(tmp_path / "model.pt")

    return write


def test_ids_of_inference_and_options_of_the_network(record):
    settings = {"labels": ["a", "b"], "spacing": [1.0, 1.0, 3.0], "grow_windows": False, "epochs": 3, "seed": 1}
    settings["network_def"] = {"features": [8, 16, 32], "strides": [[2, 2, 2], [1, 2, 2]]}
    assert record(settings) == {
        "network_def#strides": [[2, 2, 2], [1, 2, 2]],
        "labels": ["a", "b"],
        "spacing": [1.0, 1.0, 3.0],
        "grow_windows": False,
        "network_def#features": [8, 16, 32],
        "network_def#act": "RELU",
    }


def test_features_of_a_record_without_structure_had_strides_of_two(record):
    options = record({"labels": ["a"]})
    assert (options["network_def#features"], options["network_def#strides"]) == ([8, 16, 32], 2)
    typed = record({}, [*COMMAND, "--network_def#strides", "[1,2]"])
    assert typed["network_def#strides"] == [1, 2]


def test_the_structure_is_taken_as_it_was_built(record):
    settings = {"network_def": {"features": [8, 16, 32], "strides": [[2, 2, 2], [2, 2, 2]]}}
    typed = record(settings, [*COMMAND, "--network_def#strides", "2"])
    assert typed["network_def#strides"] == [[2, 2, 2], [2, 2, 2]]


def test_expressions_are_left_out(record):
    """A configuration evaluates a text that starts with $; a record is data, whoever wrote it."""
    harmful = "$__import__('os').system('true')"
    command = ["--network_def#features", harmful, "--network_def#_target_=@os", "--network_def", "{}"]
    settings = {"labels": ["a", harmful], "spacing": harmful, "roi_size": {"_target_": "x"}}
    assert record(settings | {"network_def": {"features": harmful}}, command) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"settings": 3}', '{"settings": {}, "command": [3]}'),
        '{"settings": {"network_def": 3}, "command": []}',
    ],
)
def test_without_a_usable_record_nothing_is_taken(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert recorded_settings(tmp_path / "model.pt") == {}
    assert recorded_settings(tmp_path / "nowhere" / "model.pt") == {}


def test_labels_are_those_of_the_record_or_the_bundles(record, tmp_path):
    assert recorded_labels(tmp_path / "model.pt", ["own"]) == ["own"]
    record({"labels": ["a", "b"]})
    assert recorded_labels(tmp_path / "model.pt", ["own"]) == ["a", "b"]


def test_other_names_are_refused_and_other_values_warned_of(record, tmp_path, caplog):
    record({"labels": ["Liver", "tumour"], "spacing": [1.0, 1.0, 3.0], "roi_size": [96, 96, 96]})
    require_as_trained(tmp_path / "model.pt", {"labels": ["liver", "TUMOUR"], "roi_size": (96, 96, 96)})
    assert not caplog.text
    require_as_trained(tmp_path / "model.pt", {"spacing": [1.0, 1.0, 1.0], "seed": 3})
    assert "was trained with spacing [1.0, 1.0, 3.0], here it is [1.0, 1.0, 1.0]" in caplog.text
    with pytest.raises(InputError, match=r"trained for the labels \['Liver', 'tumour'\].* labels are \['anterior'"):
        require_as_trained(tmp_path / "model.pt", {"labels": ["anterior", "posterior"]})
    require_as_trained(tmp_path / "elsewhere" / "model.pt", {"labels": ["anything"]})
