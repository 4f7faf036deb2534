"""What an output names as its maker."""

import shutil

from ulite_monai.prediction.algorithm import algorithm, is_own


def test_the_bundle_or_the_weights():
    assert algorithm({"name": "Spleen", "version": "1.0"}, None) == ("Spleen", "1.0")
    assert algorithm({"name": "Spleen", "version": "1.0"}, "0123456789abcdef") == (
        "U-Lite, weights of the user",
        "0123456789ab",
    )


def test_own_weights_are_known_by_what_they_are_not_by_their_place(bundle, tmp_path):
    own = bundle / "models" / "model.pt"
    elsewhere = shutil.copyfile(own, tmp_path / "weights.pt")
    assert is_own(bundle, [own]) and is_own(bundle, [elsewhere])
    other = tmp_path / "other.pt"
    other.write_bytes(b"other weights")
    assert not is_own(bundle, [other]) and not is_own(bundle, [tmp_path / "gone.pt"])
    assert not is_own(bundle, [own, own]) and not is_own(tmp_path, [own])
