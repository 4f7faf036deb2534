"""Which weights are a bundle's own."""

import shutil

from ulite_monai.prediction.segmenter import _is_own


def test_own_weights_are_known_by_what_they_are_not_by_their_place(bundle, tmp_path):
    own = bundle / "models" / "model.pt"
    elsewhere = shutil.copyfile(own, tmp_path / "weights.pt")
    assert _is_own(bundle, [own]) and _is_own(bundle, [elsewhere])
    other = tmp_path / "other.pt"
    other.write_bytes(b"other weights")
    assert not _is_own(bundle, [other]) and not _is_own(bundle, [tmp_path / "gone.pt"])
    assert not _is_own(bundle, [own, own]) and not _is_own(tmp_path, [own])
