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


def train(model, content):
    """What a training leaves: a whole bundle, and beside it what is no part of one."""
    version = shutil.copytree(model.bundle, model.new_version(), dirs_exist_ok=True)
    (version / "models" / "model.pt").write_bytes(content)
    (version / "models" / "last.ckpt").write_bytes(b"state")
    (version / "labels").mkdir()
    return version


def finish(model, content, result=RESULT):
    version = train(model, content)
    model.finish(version, result)
    return version


def version_in(bundle):
    return json.loads((bundle / "configs" / "metadata.json").read_text())["version"]


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
    own = version_in(source)
    assert model.version == 0 and model.served == model.bundle
    first = finish(model, b"first")
    assert model.version == 1 and model.served == first and model.weights() == first / "models" / "model.pt"
    finish(model, b"worse", Result(False, "worse.", 0.7, 0.9, ["a"], ["b"], 2, 1.0))
    assert model.version == 1 and model.weights().read_bytes() == b"first"
    train(model, b"interrupted")
    assert model.version == 1
    finish(model, b"third")
    assert model.version == 4 and model.weights().read_bytes() == b"third"
    assert version_in(model.served) == f"{own}+label.4" and version_in(model.bundle) == own
    (first.parent / "0004" / "result.json").write_text(json.dumps(vars(RESULT) | {"accepted": False}))
    assert model.version == 1 and version_in(model.served) == f"{own}+label.1"


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
    assert metadata["version"] == f"{version_in(source)}+label.1"
    (change,) = metadata["changelog"].items()
    assert change[0] == metadata["version"]
    assert change[1].endswith("labels: 1 train, 1 validate, mean Dice 0.90000, 0.80000 before")
    left = {path.relative_to(source) for path in source.rglob("*")}
    assert {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")} <= left
    assert (tmp_path / "out" / "configs" / "train.json").exists()
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


def test_a_bundle_of_several_files_an_image_is_refused(source, tmp_path):
    file = source / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["network_data_format"]["inputs"]["image"]["num_channels"] = 2
    file.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="mine: takes volumes of 2 channels, a file each"):
        prepare_app(tmp_path / "work", [str(source)])
    assert prepare_app(tmp_path / "work", ["nuclei"])  # its channels are of one file


def test_a_bundle_that_was_trained_again_is_not_served_in_silence(source, tmp_path, caplog):
    (model,) = prepare_app(tmp_path / "work", [str(source)])
    former = model.weights().read_bytes()
    prepare_app(tmp_path / "work", [str(source)])
    assert not caplog.messages
    (source / "models" / "model.pt").write_bytes(b"trained again")
    prepare_app(tmp_path / "work", [str(source)])
    (warning,) = caplog.messages
    assert "mine has changed since it was copied" in warning and "--work" in warning
    assert model.weights().read_bytes() == former


def test_a_model_without_weights_says_so(tmp_path):
    (model,) = prepare_app(tmp_path / "work", ["nuclei"])
    model.weights().unlink(missing_ok=True)
    with pytest.raises(InputError, match="the model nuclei has no weights yet"):
        model.require_weights()
