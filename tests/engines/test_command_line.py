"""A mistyped id is refused, what is right passes."""

import json

import pytest

from ulite_monai.engines.command_line import require_known_ids
from ulite_monai.errors import InputError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a config.json"
    path.write_text(json.dumps({"epochs": 1, "network_def": {}, "+train#handlers": [], "train": {}}))
    return str(path)


@pytest.mark.parametrize(
    "given",
    [
        ["--epochs", "3"],
        ["--epochs=3"],
        ["--network_def#features", "[8]", "--network_def::act=RELU", "--train#trainer#max_epochs", "2"],
        ["--run_id", "training", "--bundle_root", "bundle"],
        ["--epochs", "--3"],
    ],
    ids=str,
)
def test_known_ids_pass(file, given):
    for files in (file, f"['{file}']", f"[{file}]"):
        require_known_ids(["run", "--config_file", files, *given][: 3 + len(given) - ("--3" in given)])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--epoch", "3"], "--epoch: no configuration has this id; did you mean --epochs?"),
        (["--network#act=RELU"], "--network: no configuration has this id; did you mean --network_def"),
        (["--zzz", "3"], "--zzz: no configuration has this id; the ids are"),
    ],
)
def test_others_are_refused_with_the_nearest(file, given, words):
    with pytest.raises(InputError) as error:
        require_known_ids(["run", "training", "--config_file", file, *given])
    assert str(error.value).startswith(words)


def test_a_yaml_overlay_has_ids_too(file, tmp_path):
    pytest.importorskip("yaml", reason="PyYAML isn't installed")
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("mine: 3\n")
    require_known_ids(["run", "--config_file", f"['{file}','{overlay}']", "--mine", "4"])
    with pytest.raises(InputError, match="did you mean --mine"):
        require_known_ids(["run", "--config_file", f"['{file}','{overlay}']", "--mime", "4"])


@pytest.mark.parametrize("arguments", [[], ["-x", "--epoch"], ["run", "--config_file", "gone.json", "--epoch", "3"]])
def test_other_commands_are_left_alone(arguments):
    require_known_ids(arguments)
