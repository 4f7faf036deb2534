"""The preview as its reader sees it: sizes, colours, proportions and letters, measured in the picture."""

import hashlib

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from ulite_monai.io.coding import COLOURS
from ulite_monai.reports.legend import OTHERS
from ulite_monai.reports.preview import NOTHING_FOUND, RESEARCH_ONLY, preview_figure, write_comparison, write_preview

FIRST, SECOND = COLOURS[:2]


def ball(shape, radius, value=1, centre=None):
    centre = np.asarray(shape) / 2 if centre is None else np.asarray(centre)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    return (((grid - centre) ** 2).sum(-1) < radius**2).astype(np.uint8) * np.uint8(value)


def written(folder, *arguments, **named):
    path = folder / "case_preview.png"
    write_preview(*arguments, path, **named)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def coloured(picture, colour):
    """Where the picture is within a few grey levels of a colour."""
    rgb = np.round(np.multiply(to_rgb(colour), 255))
    return (np.abs(picture.astype(int) - rgb) <= 4).all(axis=-1)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def image_boxes(figure):
    """Left, top, width, height of every image in the picture, in pixels."""
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [axes.get_position() for axes in figure.axes if axes.images]
    return [(b.x0 * width, (1 - b.y1) * height, b.width * width, b.height * height) for b in boxes]


def within(picture, box):
    left, top, width, height = (round(edge) for edge in box)
    return picture[top : top + height, left : left + width]


def test_a_real_case(hippocampus, tmp_path):
    image = nib.load(hippocampus / "imagesTr" / "hippocampus_001.nii.gz")
    label = nib.load(hippocampus / "labelsTr" / "hippocampus_001.nii.gz")
    mask = np.asarray(label.dataobj).astype(np.uint8)
    arguments = (np.asarray(image.dataobj), mask, image.affine, ["Anterior", "Posterior"])
    picture = written(tmp_path, *arguments, title="hippocampus_001")
    assert picture.shape[1] == 1200 and 400 < picture.shape[0] < 1000
    assert (tmp_path / "case_preview.png").stat().st_size < 400_000
    figure = preview_figure(*arguments, title="hippocampus_001")
    assert {"hippocampus_001", "Anterior", "Posterior", RESEARCH_ONLY} <= set(texts(figure))
    assert len(image_boxes(figure)) == 3
    axial = within(picture, image_boxes(figure)[0])
    assert coloured(axial, FIRST).sum() > 100 and coloured(axial, SECOND).sum() > 100


def test_the_same_input_gives_the_same_bytes(tmp_path):
    hashes = set()
    for name in ("one.png", "two.png"):
        image = np.random.default_rng(0).normal(size=(30, 32, 34))
        write_preview(image, ball(image.shape, 8), np.eye(4), ["ball"], tmp_path / name, title="case")
        hashes.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(hashes) == 1
    assert Image.open(tmp_path / "one.png").info == {}


def test_an_empty_mask_says_so_and_has_no_outline(tmp_path):
    image = np.random.default_rng(0).normal(size=(30, 30, 30))
    empty, full = np.zeros(image.shape, np.uint8), ball(image.shape, 9)
    assert coloured(written(tmp_path, image, full, np.eye(4), ["ball"]), FIRST).sum() > 100
    assert not coloured(written(tmp_path, image, empty, np.eye(4), ["ball"]), FIRST).any()
    found = texts(preview_figure(image, empty, np.eye(4), ["ball"]))
    assert NOTHING_FOUND in found and "ball: none" in found
    assert NOTHING_FOUND not in texts(preview_figure(image, full, np.eye(4), ["ball"]))


def test_the_outline_follows_the_label(tmp_path):
    shape = (40, 40, 40)
    mask = np.zeros(shape, np.uint8)
    mask[10:20, 14:26, 12:28] = 1  # to the patient's left of the middle: x grows to the right
    arguments = (np.zeros(shape), mask, np.eye(4), ["box"])
    picture = written(tmp_path, *arguments)
    left, top, width, height = image_boxes(preview_figure(*arguments))[0]
    rows, columns = np.nonzero(coloured(within(picture, (left, top, width, height)), FIRST))
    voxel = width / 40
    assert columns.min() == pytest.approx((40 - 20) * voxel, abs=0.6 * voxel)
    assert columns.max() == pytest.approx((40 - 10) * voxel, abs=0.6 * voxel)
    assert rows.min() == pytest.approx((40 - 26) * voxel, abs=0.6 * voxel)
    assert rows.max() == pytest.approx((40 - 14) * voxel, abs=0.6 * voxel)


def test_a_sphere_on_an_anisotropic_oblique_grid_is_round(tmp_path):
    angle = np.deg2rad(20)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.5, 1.0, 2.0])
    grid = np.moveaxis(np.indices((120, 60, 30)), 0, -1) * [0.5, 1.0, 2.0]
    mask = (((grid - 30) ** 2).sum(-1) < 20**2).astype(np.uint8)
    arguments = (np.zeros(mask.shape), mask, affine, ["sphere"])
    picture, figure = written(tmp_path, *arguments), preview_figure(*arguments)
    for box in image_boxes(figure):
        assert box[2] / box[3] == pytest.approx(1, abs=0.01)  # 60 mm along every axis
        rows, columns = np.nonzero(coloured(within(picture, box), FIRST))
        assert np.ptp(columns) / np.ptp(rows) == pytest.approx(1, abs=0.08)
        assert np.ptp(columns) / box[2] == pytest.approx(40 / 60, abs=0.05)
    assert {"AS", "PI", "SP", "IA"} <= set(texts(figure)) and "A" not in texts(figure)


def test_letters_stand_at_the_edges():
    figure = preview_figure(np.zeros((20, 20, 20)), ball((20, 20, 20), 5), np.diag([-1.0, -1.0, 1.0, 1.0]), ["ball"])
    places = [(text.get_text(), *text.get_position()) for text in figure.findobj(Text)]
    edges = ["RLAP", "RLSI", "APSI"]
    for (left, top, width, height), letters in zip(image_boxes(figure), edges, strict=True):
        middle, centre = top + height / 2, left + width / 2
        expected = [(left - 6, middle), (left + width + 6, middle), (centre, top - 12), (centre, top + height + 12)]
        for letter, place in zip(letters, expected, strict=True):
            assert any(name == letter and np.allclose((x, y), place, atol=1) for name, x, y in places)


def test_the_scale_bar_is_as_long_as_it_says():
    figure = preview_figure(np.zeros((40, 40, 40)), np.zeros((40, 40, 40), np.uint8), np.diag([2.0, 2, 2, 1]), [])
    page = next(axes for axes in figure.axes if not axes.images)
    bars = [line.get_xdata() for line in page.lines]
    lengths = [text for text in texts(figure) if text.endswith(" mm")]
    pixels_per_mm = image_boxes(figure)[0][2] / 80
    assert len(bars) == len(lengths) == 3
    assert (bars[0][1] - bars[0][0]) / pixels_per_mm == pytest.approx(float(lengths[0].split()[0]))


def test_a_small_mask_gets_a_close_up():
    mask = ball((100, 100, 100), 6, centre=(70, 30, 60))
    boxes = image_boxes(preview_figure(np.zeros(mask.shape), mask, np.eye(4), ["nodule"]))
    assert len(boxes) == 6
    assert boxes[3][2] / 27 > 3 * boxes[0][2] / 100  # pixels a voxel, in the close-up and in the whole


def test_the_grey_window_shows_the_organ_not_the_air():
    image = np.full((40, 40, 40), -1000.0)
    image[5:35, 5:35, 5:35] = 40 + np.random.default_rng(0).normal(0, 10, (30, 30, 30))
    image[0, 0, 0] = np.nan
    mask = ball(image.shape, 10)
    footer = next(t for t in texts(preview_figure(image, mask, np.eye(4), ["organ"])) if t.startswith("black"))
    black, white = (float(part.split()[1]) for part in footer.split(", "))
    assert -400 < black < 0 < 50 < white < 100


def test_many_labels_keep_the_legend_short(shared_data, tmp_path):
    folder = shared_data / "ct_totalsegmentator_example"
    image = nib.load(folder / "ct_122x101x112.nii.gz")
    mask = np.asarray(nib.load(folder / "ct_122x101x112_pseudolabels.nii.gz").dataobj)
    labels = [f"structure {value}" for value in range(1, 118)]
    arguments = (np.asarray(image.dataobj), mask, image.affine, labels)
    picture = written(tmp_path, *arguments)
    named = [text for text in texts(preview_figure(*arguments)) if text.startswith("structure")]
    assert len(named) == 21 and "structure 5" in named  # the liver
    assert "27 more labels" in texts(preview_figure(*arguments))
    assert coloured(picture, OTHERS.colour).any()
    assert (tmp_path / "case_preview.png").stat().st_size < 400_000


def test_a_colour_photograph(shared_data, tmp_path):
    name = "0121d6759c5adb290c8e828fc882f37dfaf3663ec885c663859948c154a443ed.png"
    with Image.open(shared_data / "dsb2018" / "images" / name) as photograph:
        image = np.asarray(photograph.convert("RGB")).transpose(1, 0, 2)
    mask = (image.mean(-1) < 140).astype(np.uint8)
    arguments = (image, mask, np.eye(4), ["nucleus"])
    picture, figure = written(tmp_path, *arguments), preview_figure(*arguments)
    (box,) = image_boxes(figure)
    assert box[2] / box[3] == pytest.approx(320 / 256, abs=0.01)
    assert coloured(within(picture, box), FIRST).sum() > 500
    assert any(text.endswith(" px") for text in texts(figure)) and not {"R", "A", "S"} & set(texts(figure))
    assert (tmp_path / "case_preview.png").stat().st_size < 400_000


def test_a_grey_2d_image_lies_as_it_is(tmp_path):
    image = np.zeros((60, 40), np.uint8)
    image[:30] = 200  # the left half
    arguments = (image, np.zeros(image.shape, np.uint8), np.eye(4), ["nucleus"])
    panel = within(written(tmp_path, *arguments), image_boxes(preview_figure(*arguments))[0])
    assert panel[:, : panel.shape[1] // 3].mean() > 240 and panel[:, -panel.shape[1] // 3 :].mean() < 10


def test_one_slice_and_odd_names_are_drawn(tmp_path):
    mask = np.ones((20, 20, 1), np.uint8)
    title = "$x^{" + "y" * 200
    picture = written(tmp_path, np.ones(mask.shape), mask, np.eye(4), ["_$a", "b" * 300], title=title)
    assert picture.shape[1] == 1200


def test_other_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="its mask"):
        write_preview(np.zeros((4, 4, 4)), np.zeros((4, 4, 5), np.uint8), np.eye(4), [], tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_shows_both_masks_in_the_same_planes(tmp_path):
    shape = (40, 40, 40)
    image = np.random.default_rng(0).normal(size=shape)
    mask, reference = ball(shape, 8, centre=(14, 20, 20)), ball(shape, 8, value=2, centre=(26, 20, 20))
    arguments = (np.eye(4), ["first", "second"])
    write_comparison(image, mask, reference, *arguments, tmp_path / "a.png", "case")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    upper, lower = np.split(picture, 2)
    assert coloured(upper, FIRST).any() and not coloured(upper, SECOND).any()
    assert coloured(lower, SECOND).any() and not coloured(lower, FIRST).any()
    both = (mask > 0) | (reference > 0)
    planes = [
        {text for text in texts(preview_figure(image, one, *arguments, centred_on=both)) if "=" in text}
        for one in (mask, reference)
    ]
    assert planes[0] == planes[1] and len(planes[0]) == 3
    assert planes[0] != {text for text in texts(preview_figure(image, mask, *arguments)) if "=" in text}
    with pytest.raises(ValueError, match="shape"):
        write_comparison(image, mask, reference[:9], *arguments, tmp_path / "b.png")
