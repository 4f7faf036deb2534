"""2D images in: all bits of their colours, pixels where the file stores them, and masks of many labels."""

import logging

import numpy as np
import pytest
from monai.data import PILReader
from PIL import Image

from ulite_monai.datasets.inspect import inspect_path
from ulite_monai.datasets.preflight import check_items
from ulite_monai.errors import InputError
from ulite_monai.io.images import as_rgb, has_deep_colours, open_image, read_rgb, write_mask

sitk = pytest.importorskip("SimpleITK")

PICTURE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
DEEP = PICTURE.astype(np.uint16) * 4 + 1000  # whose upper byte says little


def scaled(values):
    return np.round((values - values.min()) * (255 / (values.max() - values.min())))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits_keep_all_of_them(tmp_path, suffix, channels):
    values = np.dstack([DEEP, np.full(DEEP.shape[:2], 9, np.uint16)])[..., :channels]
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(path))
    assert np.array_equal(read_rgb(path).transpose(1, 0, 2), scaled(DEEP.astype(float)))
    reader = PILReader(converter=as_rgb)  # as the bundle does
    assert np.array_equal(reader.get_data(reader.read(str(path)))[0], read_rgb(path))
    assert has_deep_colours(path)  # so that threads find ITK loaded
    assert not has_deep_colours(tmp_path / "missing.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiffs_orientation_tag_moves_nothing(tmp_path, orientation, caplog):
    path = tmp_path / "a.tif"
    Image.fromarray(PICTURE).save(path, tiffinfo={274: orientation})
    reader = PILReader(converter=as_rgb)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(reader.get_data(reader.read(str(path)))[0].transpose(1, 0, 2), PICTURE)
    assert [f"orientation tag {orientation}" in r.message for r in caplog.records] == [True] * (orientation != 1)
    assert np.array_equal(read_rgb(path).transpose(1, 0, 2), PICTURE) and open_image(path).size == (5, 4)
    (row,) = inspect_path(path).rows
    assert row.size == (5, 4) and len(row.notes) == (orientation != 1)


def test_an_orientation_tag_that_cant_be_ignored_is_refused(tmp_path):
    label = tmp_path / "label.tif"
    Image.fromarray(PICTURE[..., 0] // 40).save(label, tiffinfo={274: 3})
    Image.fromarray(PICTURE).save(tmp_path / "image.png")
    (finding,) = check_items([{"image": str(tmp_path / "image.png"), "label": str(label)}], None)
    assert finding.level == "error" and "a label with an orientation tag" in finding.text
    sitk.WriteImage(sitk.GetImageFromArray(DEEP, isVector=True), str(tmp_path / "deep.tif"))
    content = bytearray((tmp_path / "deep.tif").read_bytes())
    place = content.index(b"\x12\x01\x03\x00\x01\x00\x00\x00") + 8
    content[place] = 3
    (tmp_path / "deep.tif").write_bytes(content)
    with pytest.raises(InputError, match="16 bits a colour and an orientation tag"):
        read_rgb(tmp_path / "deep.tif")


def test_more_labels_than_greys_of_8_bits(tmp_path):
    mask = np.arange(301)[None]
    write_mask(mask, tmp_path / "a.png", 300)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image).T, mask * (65535 // 300))
