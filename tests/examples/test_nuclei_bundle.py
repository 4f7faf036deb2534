"""The nuclei bundle: the paper's network, on images of any kind and size."""

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from tests.conftest import read_json, run_bundle
from ulite_monai.datasets.inspect import inspect_path
from ulite_monai.io.images import as_rgb, write_mask, write_probability_pages
from ulite_monai.prediction import PredictOptions, Segmenter, predict_cases


@pytest.fixture(scope="module")
def nuclei(root):
    return root / "examples" / "nuclei_bundle"


@pytest.fixture(scope="module")
def weights(nuclei, tmp_path_factory):
    """A network with a known answer: nucleus where the normalised red value is above 0."""
    network = ConfigParser(read_json(nuclei / "configs/inference.json")).get_parsed_content("network_def")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.stem.weight[0, 0, 3, 3] = 1
        last = network.decoder[-1]
        last.pw.weight[0, last.pw.in_channels - last.pw.out_channels] = 1  # the skip's first channel
        for norm in (network.encoder[0].norm, last.norm):
            norm.weight.fill_(1)
        last.pw2.weight[0, 0] = 10
        network.head.weight[1, 0] = 1
        network.head.bias[1] = -1e-6
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    torch.save(network.state_dict(), path)
    return path


def picture(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def expected(values):
    values = values.astype(np.float64)
    return (values[..., 0] > values.mean()).astype(np.uint8) * 255


def test_the_network_is_the_papers(nuclei):
    network = ConfigParser(read_json(nuclei / "configs/train.json")).get_parsed_content("network_def")
    assert sum(p.numel() for p in network.parameters()) == 878_417 + 16 + 1  # a channel of the background's


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_masks_are_right_and_of_the_images_size(weights, tmp_path, suffix):
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / f"cells.{suffix}"
    Image.fromarray(picture(61, 47)).save(path)
    stored = np.asarray(Image.open(path).convert("RGB"))
    (result,) = predict_cases(tmp_path / "in", tmp_path / "out", Segmenter("nuclei", weights, "cpu"))
    assert result.status == "done", result.message
    mask = Image.open(tmp_path / "out" / "cells.png")
    assert mask.size == (61, 47) and mask.mode == "L"
    assert (np.asarray(mask) == expected(stored)).mean() > 0.999


def test_what_cant_be_segmented_is_reported_and_loses_no_other(weights, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(picture(30, 20)).save(folder / "good.png")
    Image.fromarray(picture(400, 300)).save(folder / "huge.png")
    first, second = (Image.fromarray(picture(30, 20, seed)) for seed in (1, 2))
    first.save(folder / "pages.tif", save_all=True, append_images=[second])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no image")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    reported = {
        "huge": "is too large (",
        "pages": "holds 2 pages, one is needed; split it",
        "empty": "can't be read, it is damaged or of an unknown format",
        "text": "can't be read, it is damaged or of an unknown format",
    }
    results = {one.id: one for one in predict_cases(folder, tmp_path / "out", Segmenter("nuclei", weights, "cpu"))}
    assert results["good"].status == "done"
    seen = {one.id: one.problem for one in inspect_path(folder).rows}
    assert seen["good"] is None
    for name, words in reported.items():
        assert results[name].status == "failed" and words in results[name].message, results[name]
        assert words in seen[name] and results[name].message.count("can't be read") == words.count("can't be read")


def test_probabilities_are_a_tiff_of_the_images_size(weights, tmp_path):
    Image.fromarray(picture(61, 47)).save(tmp_path / "cells.png")
    options = PredictOptions(probabilities=True)
    (result,) = predict_cases(tmp_path / "cells.png", tmp_path / "out", Segmenter("nuclei", weights, "cpu"), options)
    assert result.outputs[1] == str(tmp_path / "out" / "cells_probabilities.tif"), result.message
    page = Image.open(result.outputs[1])
    assert page.size == (61, 47) and page.mode == "F" and page.n_frames == 2
    page.seek(1)  # the nuclei, after the background
    values = np.asarray(page)
    assert values.min() >= 0 and values.max() <= 1
    assert np.array_equal(values > 0.5, np.asarray(Image.open(result.outputs[0])) > 0)


def test_each_class_has_a_page(tmp_path):
    probabilities = np.random.default_rng(0).random((3, 5, 4), dtype=np.float32)
    write_probability_pages(probabilities, tmp_path / "a.tif")
    image = Image.open(tmp_path / "a.tif")
    for number in range(3):
        image.seek(number)
        assert np.array_equal(np.asarray(image).T, probabilities[number])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "I;16", "F"])
def test_any_mode_becomes_rgb(mode):
    grey = np.linspace(0, 1, 48).reshape(6, 8)
    if mode == "I;16":
        image = Image.fromarray((grey * 60000).astype(np.uint16))
    elif mode == "F":
        image = Image.fromarray(grey.astype(np.float32) - 3)
    else:
        image = Image.fromarray((grey * 255).astype(np.uint8)).convert(mode)
    rgb = as_rgb(image)
    assert rgb.mode == "RGB" and rgb.size == (8, 6)
    if mode in ("I;16", "F"):
        assert np.array_equal(np.asarray(rgb)[..., 1], np.round(grey * 255))


def test_transparency_is_dropped_not_blended():
    image = Image.fromarray(np.dstack([picture(4, 3), np.zeros((3, 4), np.uint8)]))
    assert np.array_equal(np.asarray(as_rgb(image)), picture(4, 3))


def test_a_mask_of_several_labels_is_visible(tmp_path):
    write_mask(np.array([[0, 1, 2, 3]]), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[0], [85], [170], [255]]


@pytest.fixture(scope="module")
def dataset(shared_data, tmp_path_factory):
    """A few of the Data Science Bowl's images, of several sizes, with instance masks."""
    folder = tmp_path_factory.mktemp("nuclei data")
    names = sorted(path.name for path in (shared_data / "dsb2018" / "images").iterdir())[::94]
    for part in ("images", "masks"):
        (folder / part).mkdir()
        for name in names:
            (folder / part / name).symlink_to(shared_data / "dsb2018" / part / name)
    return folder


@pytest.mark.slow
def test_it_trains_and_evaluates_on_real_images(nuclei, dataset, tmp_path):
    start = ("--bundle_root", str(nuclei), "--dataset_dir", str(dataset), "--num_folds", "3")
    run_bundle(
        *("run", "training", *start, "--config_file", str(nuclei / "configs/train.json"), "--epochs", "1"),
        *("--output_dir", str(tmp_path / "run"), "--batch_size", "2", "--patch_size", "[64,64]"),
        cwd=tmp_path,
    )
    configs = str([str(nuclei / "configs" / name) for name in ("train.json", "evaluate.json")])
    run_bundle(
        *("run", *start, "--config_file", configs, "--ckpt", str(tmp_path / "run" / "models" / "model.pt")),
        *("--output_dir", str(tmp_path / "evaluation")),
        cwd=tmp_path,
    )
    summary = read_json(tmp_path / "evaluation" / "summary.json")
    assert len(list((tmp_path / "evaluation").glob("worst_?_*.png"))) == 2
    assert summary["cases"] == 2 and 0 <= summary["labels"]["nucleus"]["dice"]["mean"] <= 1


@pytest.mark.slow
def test_the_papers_recipe_trains_two_batches(nuclei, dataset, tmp_path):
    configs = [nuclei / "configs" / name for name in ("train.json", "paper.json")]
    parser = ConfigParser()
    parser.read_config([str(path) for path in configs])
    optimizer = parser.get_parsed_content("optimizer")
    assert type(optimizer) is torch.optim.Adam and optimizer.defaults["lr"] == 2e-3
    assert optimizer.defaults["weight_decay"] == 0 and parser.get("epochs") == 200 and parser.get("batch_size") == 8
    scheduler = parser.get_parsed_content("lr_scheduler")
    assert (type(scheduler).__name__, scheduler.factor, scheduler.patience) == ("ReduceLROnPlateau", 0.5, 10)
    run_bundle(
        *("run", "training", "--bundle_root", str(nuclei), "--config_file", str([str(path) for path in configs])),
        *("--dataset_dir", str(dataset), "--num_folds", "3", "--batch_size", "2", "--patch_size", "[64,64]"),
        *("--epochs", "2", "--output_dir", str(tmp_path), "--lr_scheduler#patience", "-1"),
        cwd=tmp_path,
    )
    state = torch.load(tmp_path / "models" / "last.ckpt", weights_only=True)
    # The plateau is followed on the validation, once an epoch; the weights that are validated are the newest.
    assert state["epoch"] == state["scheduler"]["last_epoch"] == 2 and state["scheduler"]["best"] > 0
    assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(2e-3 * 0.5**2)
    for name, newest in state["network"].items():
        torch.testing.assert_close(state["average"][f"module.{name}"], newest)


@pytest.mark.slow
def test_the_stock_run_writes_png(nuclei, weights, dataset, tmp_path):
    run_bundle(
        *("run", "--bundle_root", str(nuclei), "--config_file", str(nuclei / "configs/inference.json")),
        *("--dataset_dir", str(dataset / "images"), "--output_dir", str(tmp_path / "out"), "--ckpt", str(weights)),
        cwd=tmp_path,
    )
    images = sorted((dataset / "images").iterdir())
    assert [p.name for p in sorted((tmp_path / "out").glob("*.png"))] == [p.name for p in images]
    for path in images:
        assert Image.open(path).size == Image.open(tmp_path / "out" / path.name).size
