"""What a training's bundle never replaces, and never says."""

import json

import pytest

from ulite_monai.errors import InputError
from ulite_monai.planning import RunBundle
from ulite_monai.planning.run_bundle import _without_folders


def bundle_at(folder):
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "train.json").write_text("{}")
    return RunBundle(folder, folder / "models", folder, [], [])


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_bundle_that_no_training_left_is_never_replaced(tmp_path, overwrite):
    with pytest.raises(InputError, match="holds a bundle already; give another --output_dir"):
        bundle_at(tmp_path / "bundle").require_free(overwrite)


def test_another_trainings_bundle_is_replaced_only_if_asked_to(tmp_path):
    bundle = bundle_at(tmp_path / "run")
    (tmp_path / "run" / "docs").mkdir()
    (tmp_path / "run" / "docs" / "split.json").write_text(json.dumps({"training": [], "validation": []}))
    with pytest.raises(InputError, match="replace it by --overwrite True"):
        bundle.require_free(overwrite=False)
    bundle.require_free(overwrite=True)


def test_a_new_folder_is_free_and_weights_elsewhere_leave_no_bundle(tmp_path):
    RunBundle(tmp_path / "new", tmp_path / "new" / "models", tmp_path, [], []).require_free(overwrite=False)
    assert RunBundle(tmp_path / "a" / ".." / "b", tmp_path / "b" / "models", tmp_path, [], []).is_whole
    assert not RunBundle(tmp_path / "b", tmp_path / "elsewhere", tmp_path, [], []).is_whole


@pytest.mark.parametrize(
    ("typed", "reported"),
    [
        ("/home/jo/patients/MILLER_JANE", "MILLER_JANE"),
        ("['/a b/configs/train.json','c/configs/evaluate.json']", "['train.json','evaluate.json']"),
        ("--spacing", "--spacing"),
        ("[1.0,1.0,3.0]", "[1.0,1.0,3.0]"),
        ("my_data/", "my_data/"),
    ],
)
def test_the_cards_command_names_no_folders(typed, reported):
    assert _without_folders(typed) == reported
