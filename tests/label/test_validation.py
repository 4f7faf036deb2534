"""How good weights are on labelled cases."""

import numpy as np
import pytest
from PIL import Image

from tests.conftest import expected_mask, write_volume
from ulite_monai.label.validation import mean_dice
from ulite_monai.prediction.segmenter import Segmentation, Segmenter


def test_the_mean_over_cases_and_classes_that_are_there(weights, tmp_path):
    segmenter = Segmenter("hippocampus", weights, "cpu", overrides={"straight_boundary": False})
    items, wanted = [], []
    for number in range(2):
        image = np.random.default_rng(number).normal(100, 30, (30, 34, 26)).astype(np.float32)
        label = expected_mask(image)
        label[: 10 * number] = 0
        name = f"case_{number}.nii.gz"
        paths = write_volume(tmp_path / "images" / name, image), write_volume(tmp_path / "labels" / name, label)
        items.append({"image": str(paths[0]), "label": str(paths[1])})
        for value in (1, 2):
            found = expected_mask(image) == value
            wanted.append(2 * (found & (label == value)).sum() / (found.sum() + (label == value).sum()))
    assert mean_dice(segmenter, items[:1]) == 1
    assert wanted[2] < 0.9 and mean_dice(segmenter, items) == pytest.approx(np.mean(wanted))
    assert mean_dice(segmenter, []) is None


def test_numbered_objects_of_one_class_count_as_that_class(tmp_path):
    objects = np.zeros((4, 6), np.uint8)
    objects[1, 1], objects[2, 4] = 1, 7
    Image.fromarray(objects).save(tmp_path / "mask.png")

    class Found:
        labels, label_values = ("nucleus",), None

        def __call__(self, item):
            return Segmentation((objects.T > 0).astype(np.uint8), {})

    assert mean_dice(Found(), [{"image": "image.png", "label": str(tmp_path / "mask.png")}]) == 1
