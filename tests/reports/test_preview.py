"""The preview as its reader sees it: sizes, colours, proportions and letters, measured in the picture."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from PIL import Image

from ulite_monai.io.coding import COLOURS
from ulite_monai.reports.preview import NOTHING_FOUND, OTHERS, RESEARCH_ONLY, preview_figure, write_preview

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


def drawn(image, mask, affine, labels, title=""):
    return preview_figure(image, {"": mask}, affine, labels, title)


def coloured(picture, colour):
    """Where the picture is within a few grey levels of a colour."""
    rgb = np.round(np.multiply(to_rgb(colour), 255))
    return (np.abs(picture.astype(int) - rgb) <= 4).all(axis=-1)


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def image_boxes(figure):
    """Left, top, width, height of every image in the picture, in pixels."""
    boxes = [axes.bbox for axes in figure.axes if axes.images]
    return [(box.x0, figure.bbox.height - box.y1, box.width, box.height) for box in boxes]


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
    figure = drawn(*arguments, title="hippocampus_001")
    assert {"hippocampus_001", "Anterior", "Posterior", RESEARCH_ONLY} <= set(texts(figure))
    assert len(image_boxes(figure)) == 3
    axial = within(picture, image_boxes(figure)[0])
    assert coloured(axial, FIRST).sum() > 100 and coloured(axial, SECOND).sum() > 100


def test_the_same_input_gives_the_same_bytes_in_threads_too(tmp_path):
    image = np.random.default_rng(0).normal(size=(30, 32, 34))
    paths = [tmp_path / f"{n}.png" for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda path: write_preview(image, ball(image.shape, 8), np.eye(4), ["ball"], path, "case"), paths)
        )
    assert len({path.read_bytes() for path in paths}) == 1
    assert set(Image.open(paths[0]).info) == {"dpi"}  # nothing of the machine or the case


def test_matplotlib_is_imported_late_and_without_pyplot(tmp_path):
    script = """
import sys
import numpy as np
from ulite_monai.reports.preview import write_preview
assert "matplotlib" not in sys.modules
write_preview(np.zeros((4, 4)), np.ones((4, 4), np.uint8), np.eye(4), ["one"], sys.argv[1])
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.png")], check=True)


def test_an_empty_mask_says_so_and_has_no_outline(tmp_path):
    image = np.random.default_rng(0).normal(size=(30, 30, 30))
    empty, full = np.zeros(image.shape, np.uint8), ball(image.shape, 9)
    assert coloured(written(tmp_path, image, full, np.eye(4), ["ball"]), FIRST).sum() > 100
    assert not coloured(written(tmp_path, image, empty, np.eye(4), ["ball"]), FIRST).any()
    found = texts(drawn(image, empty, np.eye(4), ["ball"]))
    assert NOTHING_FOUND in found and "ball: none" in found
    assert NOTHING_FOUND not in texts(drawn(image, full, np.eye(4), ["ball"]))


def test_the_outline_follows_the_label(tmp_path):
    shape = (40, 40, 40)
    mask = np.zeros(shape, np.uint8)
    mask[10:20, 14:26, 12:28] = 1  # to the patient's left of the middle: x grows to the right
    arguments = (np.zeros(shape), mask, np.eye(4), ["box"])
    picture = written(tmp_path, *arguments)
    left, top, width, height = image_boxes(drawn(*arguments))[0]
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
    picture, figure = written(tmp_path, *arguments), drawn(*arguments)
    for box in image_boxes(figure):
        assert box[2] / box[3] == pytest.approx(1, abs=0.01)  # 60 mm along every axis
        rows, columns = np.nonzero(coloured(within(picture, box), FIRST))
        assert np.ptp(columns) / np.ptp(rows) == pytest.approx(1, abs=0.08)
        assert np.ptp(columns) / box[2] == pytest.approx(40 / 60, abs=0.05)
    assert {"AS", "PI", "SP", "IA"} <= set(texts(figure)) and "A" not in texts(figure)


def test_letters_stand_at_the_edges():
    figure = drawn(np.zeros((20, 20, 20)), ball((20, 20, 20), 5), np.diag([-1.0, -1.0, 1.0, 1.0]), ["ball"])
    places = [(text.get_text(), *text.get_transform().transform(text.get_position())) for text in figure.findobj(Text)]
    edges, page = ["RLAP", "RLSI", "APSI"], figure.bbox.height
    for (left, top, width, height), letters in zip(image_boxes(figure), edges, strict=True):
        middle, centre = top + height / 2, left + width / 2
        expected = [(left - 12, middle), (left + width + 12, middle), (centre, top - 12), (centre, top + height + 12)]
        for letter, place in zip(letters, expected, strict=True):
            assert any(name == letter and np.allclose((x, page - y), place, atol=1) for name, x, y in places)


def test_the_scale_bar_is_as_long_as_it_says():
    figure = drawn(np.zeros((40, 40, 40)), np.zeros((40, 40, 40), np.uint8), np.diag([2.0, 2, 2, 1]), [])
    lengths = [float(text.split()[0]) for text in texts(figure) if text.endswith(" mm")]
    bars = [np.ptp(axes.transData.transform(axes.lines[0].get_xydata())[:, 0]) for axes in figure.axes]
    pixels_per_mm = image_boxes(figure)[0][2] / 80
    assert len(bars) == len(lengths) == 3
    np.testing.assert_allclose(bars, np.multiply(lengths, pixels_per_mm), rtol=0.01)


def test_a_small_mask_gets_a_close_up():
    mask = ball((100, 100, 100), 6, centre=(70, 30, 60))
    boxes = image_boxes(drawn(np.zeros(mask.shape), mask, np.eye(4), ["nodule"]))
    assert len(boxes) == 6
    assert [height / width for _, _, width, height in boxes] == pytest.approx([1] * 6, abs=0.01)
    assert boxes[3][2] / 27 > 3 * boxes[0][2] / 100  # pixels a voxel, in the close-up and in the whole


def test_the_grey_window_shows_the_organ_not_the_air():
    image = np.full((40, 40, 40), -1000.0)
    image[5:35, 5:35, 5:35] = 40 + np.random.default_rng(0).normal(0, 10, (30, 30, 30))
    image[0, 0, 0] = np.nan
    mask = ball(image.shape, 10)
    footer = next(t for t in texts(drawn(image, mask, np.eye(4), ["organ"])) if t.startswith("black"))
    black, white = (float(part.split()[1]) for part in footer.split(", "))
    assert -400 < black < 0 < 50 < white < 100


def test_many_labels_keep_the_legend_short(shared_data, tmp_path):
    folder = shared_data / "ct_totalsegmentator_example"
    image = nib.load(folder / "ct_122x101x112.nii.gz")
    mask = np.asarray(nib.load(folder / "ct_122x101x112_pseudolabels.nii.gz").dataobj)
    labels = [f"structure {value}" for value in range(1, 118)]
    arguments = (np.asarray(image.dataobj), mask, image.affine, labels)
    picture = written(tmp_path, *arguments)
    named = [text for text in texts(drawn(*arguments)) if text.startswith("structure")]
    assert len(named) == 21 and "structure 5" in named  # the liver
    assert "27 more labels" in texts(drawn(*arguments))
    assert coloured(picture, OTHERS[0]).any()
    assert (tmp_path / "case_preview.png").stat().st_size < 400_000


def test_a_colour_photograph(shared_data, tmp_path):
    name = "0121d6759c5adb290c8e828fc882f37dfaf3663ec885c663859948c154a443ed.png"
    with Image.open(shared_data / "dsb2018" / "images" / name) as photograph:
        image = np.asarray(photograph.convert("RGB")).transpose(1, 0, 2)
    mask = (image.mean(-1) < 140).astype(np.uint8)
    arguments = (image, mask, np.eye(4), ["nucleus"])
    picture, figure = written(tmp_path, *arguments), drawn(*arguments)
    (box,) = image_boxes(figure)
    assert box[2] / box[3] == pytest.approx(320 / 256, abs=0.01)
    assert coloured(within(picture, box), FIRST).sum() > 500
    assert any(text.endswith(" px") for text in texts(figure)) and not {"R", "A", "S"} & set(texts(figure))
    assert np.abs(np.median(within(picture, box), (0, 1)) - np.median(image, (0, 1))).max() < 4  # its own colours
    assert (tmp_path / "case_preview.png").stat().st_size < 800_000


def test_a_grey_2d_image_lies_as_it_is(tmp_path):
    image = np.zeros((60, 40), np.uint8)
    image[:30] = 200  # the left half
    arguments = (image, np.zeros(image.shape, np.uint8), np.eye(4), ["nucleus"])
    panel = within(written(tmp_path, *arguments), image_boxes(drawn(*arguments))[0])
    assert panel[:, : panel.shape[1] // 3].mean() > 240 and panel[:, -panel.shape[1] // 3 :].mean() < 10


def test_one_slice_is_one_picture_and_odd_names_are_drawn(tmp_path):
    mask = np.ones((20, 30, 1), np.uint8)
    arguments = (np.ones(mask.shape), mask, np.eye(4), ["_$a", "b" * 300, "$x^{$"], "$x^{" + "y" * 200)
    assert written(tmp_path, *arguments[:4], title=arguments[4]).shape[1] == 1200
    figure = drawn(*arguments)
    assert len(image_boxes(figure)) == 1 and {"axial, k = 0", "_$a", "$x^{$: none"} <= set(texts(figure))
    assert all(len(text) < 80 for text in texts(figure))


def test_names_and_scale_bars_of_narrow_planes_dont_overlap(tmp_path):
    mask = ball((20, 20, 200), 8)
    figure = drawn(np.zeros(mask.shape), mask, np.eye(4), ["ball"])
    figure.savefig(tmp_path / "a.png")
    for row in (figure.axes[:3], figure.axes[3:]):
        boxes = [text.get_window_extent() for axes in row for text in axes.texts]
        assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])


@pytest.mark.parametrize("dtype", [">i2", "<u2", "uint8", "float16", ">f8", "int64", "bool"])
def test_every_type_of_intensities_is_drawn_alike(dtype, tmp_path):
    image = np.zeros((30, 30, 30), dtype)
    image[:15] = 1
    panel = within(written(tmp_path, image, ball(image.shape, 3), np.eye(4), ["a"]), (40, 88, 300, 300))
    assert panel[10, -10, 0] == 255 and panel[10, 10, 0] == 0


def test_other_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="its mask"):
        write_preview(np.zeros((4, 4, 4)), np.zeros((4, 4, 5), np.uint8), np.eye(4), [], tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_shows_both_masks_in_the_same_planes_and_window(tmp_path):
    shape = (40, 40, 40)
    image = np.random.default_rng(0).normal(size=shape)
    mask, reference = ball(shape, 8, centre=(14, 20, 20)), ball(shape, 8, value=2, centre=(26, 20, 20))
    arguments = (np.eye(4), ["first", "second"])
    write_preview(image, mask, *arguments, tmp_path / "a.png", "case", reference)
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    figure = preview_figure(image, {"predicted: ": mask, "reference: ": reference}, *arguments)
    boxes = image_boxes(figure)
    assert len(boxes) == 6
    for upper, lower in zip(boxes[:3], boxes[3:], strict=True):
        predicted, right = within(picture, upper), within(picture, lower)
        np.testing.assert_array_equal(predicted[:9, :9], right[:9, :9])
    upper, lower = np.split(picture, [round(boxes[3][1]) - 20])
    assert coloured(upper, FIRST).any() and not coloured(upper, SECOND).any()
    assert coloured(lower, SECOND).any() and coloured(lower[-60:], FIRST).any()  # the latter in the legend alone
    assert not coloured(lower[:-60], FIRST).any()
    names = [text for text in texts(figure) if "=" in text]
    assert [name.split(": ")[0] for name in names] == ["predicted"] * 3 + ["reference"] * 3
    assert [name.split(": ")[1] for name in names[:3]] == [name.split(": ")[1] for name in names[3:]]
    with pytest.raises(ValueError, match="shape"):
        write_preview(image, mask, *arguments, tmp_path / "b.png", "case", reference[:9])


def test_a_comparison_of_a_small_mask_shows_the_whole_once():
    shape = (100, 100, 100)
    masks = {"predicted: ": ball(shape, 5, centre=(70, 30, 60)), "reference: ": ball(shape, 5, centre=(73, 30, 60))}
    boxes = image_boxes(preview_figure(np.zeros(shape), masks, np.eye(4), ["nodule"]))
    assert len(boxes) == 9 and [box[2:] for box in boxes[3:6]] == [box[2:] for box in boxes[6:]]


def test_boxes_are_drawn_on_the_whole_planes_and_what_is_in_them_close_up(tmp_path):
    """The boxes lie in the volume as they do in space, turned against its grid."""
    shape, affine = (80, 90, 70), np.diag([2.0, 2.0, 2.0, 1.0])
    left, right = ball(shape, 5, 1, (22, 45, 35)), ball(shape, 4, 2, (58, 45, 35))
    mask = np.maximum(left, right)
    turn = nib.eulerangles.euler2mat(0.4, 0, 0)
    boxes = [
        (nib.affines.from_matvec(turn, np.multiply(2, centre) - turn @ [19.5, 19.5, 19.5]), (40, 40, 40))
        for centre in ((22, 45, 35), (58, 45, 35))
    ]
    picture = written(tmp_path, 100.0 * (mask > 0), mask, affine, ["left part", "right part"], boxes=boxes)
    one, other, box = (coloured(picture, colour) for colour in COLOURS[:3])
    rows = [np.flatnonzero(lines[:-120].any(1)) for lines in (box, one, other)]  # without the legend
    assert rows[0].max() < rows[1].min() < rows[1].max() < rows[2].min()
    outline = np.argwhere(box[:-120])
    assert np.ptp(outline[:, 1]) > 100
