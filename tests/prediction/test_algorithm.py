"""What an output names as its maker."""

import hashlib
import shutil

from tests.conftest import read_json
from ulite_monai.prediction.algorithm import algorithm, is_own, metadata_of_output


def test_the_bundle_or_the_weights():
    assert algorithm({"name": "Spleen", "version": "1.0"}, None) == ("Spleen", "1.0")
    assert algorithm({"name": "Spleen", "version": "1.0"}, "0123456789abcdef") == (
        "U-Lite, weights of the user",
        "0123456789ab",
    )


def test_the_metadata_of_an_output(bundle, tmp_path):
    own = read_json(bundle / "configs" / "metadata.json")
    assert metadata_of_output(bundle, bundle / "models" / "model.pt") == own
    assert metadata_of_output(bundle, tmp_path / "gone.pt") == own  # which loading says better
    other = tmp_path / "model.pt"
    other.write_bytes(b"weights")
    version = hashlib.sha256(b"weights").hexdigest()[:12]
    assert metadata_of_output(bundle, other) == own | {"name": "U-Lite, weights of the user", "version": version}


def test_own_weights_are_known_by_what_they_are_not_by_their_place(bundle, tmp_path):
    own = bundle / "models" / "model.pt"
    assert (
        read_json(bundle / "configs" / "metadata.json")["weights_sha256"]
        == hashlib.sha256(own.read_bytes()).hexdigest()
    )
    copy = tmp_path / "copy"
    shutil.copytree(bundle / "configs", copy / "configs")
    (copy / "models").mkdir()
    elsewhere = shutil.copyfile(own, tmp_path / "weights.pt")
    assert is_own(bundle, [own]) and is_own(copy, [own]) and is_own(bundle, [elsewhere])
    (copy / "models" / "model.pt").write_bytes(b"other weights in their place")
    assert not is_own(copy, [copy / "models" / "model.pt"]) and not is_own(copy, [tmp_path / "gone.pt"])
    assert not is_own(bundle, [own, own])
    (copy / "configs" / "metadata.json").write_text("{}")
    assert is_own(copy, [copy / "models" / "model.pt"]) and not is_own(copy, [own])
