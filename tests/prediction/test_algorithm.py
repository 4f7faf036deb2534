"""What an output names as its maker."""

import hashlib

from tests.conftest import read_json
from ulite_monai.prediction.algorithm import algorithm, metadata_of_output


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
