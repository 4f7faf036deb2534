"""Copies of bundles, and the versions beside them."""

import json
import shutil

import pytest

from ulite_monai.errors import InputError
from ulite_monai.label.work_folder import Result, models_in, prepare_app

RESULT = Result(True, "better.", 0.9, 0.8, ["a"], ["b"], 2, 1.0)


@pytest.fixture
def source(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "mine", ignore=shutil.ignore_patterns("runs"))
    return tmp_path / "mine"


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def finish(model, content, result=RESULT):
    version = model.new_version()
    (version / "model.pt").write_bytes(content)
    model.finish(version, result)
    return version


def test_the_bundle_is_copied_and_stays_as_it_is(source, tmp_path):
    before = listing(source)
    (model,) = prepare_app(tmp_path / "work", [str(source)])
    assert (tmp_path / "work" / "main.py").exists() and model.name == "mine"
    assert model.labels == {"anterior": 1, "posterior": 2} and model.spatial_dims == 3 and model.can_train
    assert model.weights().read_bytes() == (source / "models" / "model.pt").read_bytes()
    finish(model, b"new")
    assert listing(source) == before


def test_the_newest_accepted_version_is_served(source, tmp_path):
    (model,) = prepare_app(tmp_path / "work", [str(source)])
    own = model.weights()
    assert model.version == 0
    first = finish(model, b"first")
    assert model.version == 1 and model.weights() == first / "model.pt"
    finish(model, b"worse", Result(False, "worse.", 0.7, 0.9, ["a"], ["b"], 2, 1.0))
    assert model.version == 1 and model.weights().read_bytes() == b"first"
    (model.new_version() / "model.pt").write_bytes(b"interrupted")
    assert model.version == 1
    finish(model, b"third")
    assert model.version == 4 and model.weights().read_bytes() == b"third"
    assert model.weights(1).read_bytes() == b"first" and model.weights(0) == own


def test_a_restart_goes_on_with_what_is_there(source, tmp_path):
    (model,) = prepare_app(tmp_path / "work", [str(source)])
    finish(model, b"first")
    (again,) = prepare_app(tmp_path / "work", [str(source)])
    assert again.version == 1 and again.weights().read_bytes() == b"first"
    assert list(models_in(tmp_path / "work")) == ["mine"]


def test_a_served_model_is_exported_as_a_bundle(source, tmp_path):
    (model,) = prepare_app(tmp_path / "work", [str(source)])
    finish(model, b"first")
    model.export(tmp_path / "out")
    assert (tmp_path / "out" / "models" / "model.pt").read_bytes() == b"first"
    metadata = json.loads((tmp_path / "out" / "configs" / "metadata.json").read_text())
    own = json.loads((source / "configs" / "metadata.json").read_text())["version"]
    assert metadata["version"] == f"{own}+label.1" and "better." in metadata["changelog"][metadata["version"]]
    assert (tmp_path / "out" / "configs" / "train.json").exists() and not (tmp_path / "out" / "versions").exists()
    for name in ("inference", "evaluate"):  # as the version is served
        assert json.loads((tmp_path / "out" / "configs" / f"{name}.json").read_text())["straight_boundary"] is False
    with pytest.raises(InputError, match="exists and wasn't touched"):
        model.export(tmp_path / "out")
    assert not list(tmp_path.glob(".partial*"))


def test_what_cannot_be_served_is_named(source, tmp_path):
    prepare_app(tmp_path / "work", [str(source)])
    other = shutil.copytree(source, tmp_path / "other" / "mine")
    with pytest.raises(InputError, match="already has a model mine, copied from"):
        prepare_app(tmp_path / "work", [str(other)])
    with pytest.raises(InputError, match="has no model 'liver', it has mine"):
        models_in(tmp_path / "work", ["liver"])
    (source / "configs" / "metadata.json").unlink()
    with pytest.raises(InputError, match=r"has no configs/metadata\.json"):
        prepare_app(tmp_path / "new", [str(source)])


def test_a_model_without_weights_says_so(tmp_path):
    (model,) = prepare_app(tmp_path / "work", ["nuclei"])
    model.weights().unlink(missing_ok=True)
    with pytest.raises(InputError, match="the model nuclei has no weights yet"):
        model.require_weights()
