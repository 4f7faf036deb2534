"""Synthetic heads: what is random stays within its bounds, and what is geometry stays true."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from tests.heads import as_item, head_map
from ulite_monai.transforms import HeadClassesd, SynthesizeFromLabelsd
from ulite_monai.transforms.synthesize_from_labels import NUMBERS, TISSUES


@pytest.fixture(scope="module")
def head():
    return HeadClassesd("label")(as_item(*head_map()))


def synthesize(head, seed, **options):
    return SynthesizeFromLabelsd("label", **({"empty_share": 0.0} | options))(head | {"seed": seed})


def centre_of(made, number):
    """Of the voxels of a class, in mm; None where the class isn't, or reaches the border of the image."""
    label = made["label"][0].numpy()
    voxels = np.argwhere(label == number)
    if not len(voxels) or voxels.min() == 0 or (voxels.max(0) == np.array(label.shape) - 1).any():
        return None
    affine = made["label"].affine.numpy()
    return voxels.mean(0) @ affine[:3, :3].T + affine[:3, 3]


def test_image_and_label_lie_on_one_grid_of_the_spacing_asked_for(head):
    for seed in range(12):
        made = synthesize(head, seed, spacing=5.0, size=(40, 36, 32))
        image, label = made["image"], made["label"]
        assert image.shape == label.shape and image.ndim == 4 and (np.array(image.shape[1:]) <= (40, 36, 32)).all()
        assert image.dtype == label.dtype == torch.float32 and torch.isfinite(image).all()
        assert np.allclose(image.affine, label.affine) and np.allclose(image.affine[:3, :3], 5 * np.eye(3))
        assert set(np.unique(label)) <= {0, 1, 2, 3}
        assert "classes" not in made and image.std() > 0


def test_the_seed_of_an_entry_decides_whatever_the_state(head):
    transform = SynthesizeFromLabelsd("label").set_random_state(5)
    first, second = transform(head | {"seed": 3}), transform(head | {"seed": 4})
    again = SynthesizeFromLabelsd("label").set_random_state(6)(head | {"seed": 3})
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["label"], again["label"])
    assert first["image"].shape != second["image"].shape or not torch.equal(first["image"], second["image"])


def test_without_it_the_state_decides_and_moves_on(head):
    one, other = (SynthesizeFromLabelsd("label").set_random_state(5) for _ in range(2))
    first, second = one(head), one(head)
    assert torch.equal(first["image"], other(head)["image"]) and torch.equal(second["image"], other(head)["image"])
    assert first["image"].shape != second["image"].shape or not torch.equal(first["image"], second["image"])


def test_the_map_itself_stays_as_it_is(head):
    before = head["label"].clone(), head["classes"].clone()
    for seed in range(6):
        synthesize(head, seed)
    assert torch.equal(head["label"], before[0]) and torch.equal(head["classes"], before[1])


def test_an_undeformed_head_lies_where_its_map_lies(head):
    affine = head["classes"].affine.numpy()
    errors = []
    for seed in range(12):
        made = synthesize(head, seed, deform=0.0)
        for number in (1, 2):
            expected = np.argwhere(head["classes"][0].numpy() == number).mean(0) @ affine[:3, :3].T + affine[:3, 3]
            found = centre_of(made, number)
            if found is not None:
                errors.append(found - expected)
    assert len(errors) > 12
    assert np.abs(errors).max() < 2 and np.abs(np.mean(errors, axis=0)).max() < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("flipped", [False, True])
def test_left_stays_left_however_the_head_is_deformed(head, flipped):
    """A deformation moves the sides, and a mirrored head has them exchanged; one that arrives mirrored stays so."""
    labels, affine = head_map()
    if flipped:
        head = HeadClassesd("label")(as_item(labels[::-1].copy(), affine))
    seen = 0
    for seed in range(40):
        made = synthesize(head, seed)
        left, right = centre_of(made, 1), centre_of(made, 2)
        if left is not None and right is not None:
            seen += 1
            assert (left[0] > right[0]) == flipped
    assert seen > 15


def test_half_of_the_heads_are_mirrored(head):
    larger = []
    for seed in range(40):
        made = synthesize(head, seed)
        if centre_of(made, 1) is not None and centre_of(made, 2) is not None:
            larger.append(int((made["label"] == 1).sum()) > int((made["label"] == 2).sum()))
    assert 0.2 < np.mean(larger) < 0.8


def test_t1_like_means_fluid_cortex_white_matter(head):
    transform = SynthesizeFromLabelsd("label", t1_share=1.0)
    for seed in range(50):
        means = transform._intensities(np.random.RandomState(seed))
        fluid, cortex, white, air = (means[NUMBERS[name]] for name in ("fluid", "cortex", "white matter", "air"))
        assert air < cortex and fluid < cortex < white
        assert cortex - 0.2 * (cortex - fluid) < means[NUMBERS["hippocampus"]] < white


def test_other_images_have_any_order():
    transform = SynthesizeFromLabelsd("label", t1_share=0.0)
    orders = {tuple(np.argsort(transform._intensities(np.random.RandomState(seed))[[1, 2, 3]])) for seed in range(60)}
    assert len(orders) == 6


def test_a_t1_like_image_shows_the_order(head):
    labels, _ = head_map()
    white = ndimage.binary_erosion(np.isin(labels, TISSUES["white matter"]), iterations=2)
    shown = []
    for seed in range(20):
        made = synthesize(head, seed, deform=0.0, t1_share=1.0)
        affine, to_map = made["image"].affine.numpy(), np.linalg.inv(head["label"].affine.numpy())
        voxels = np.argwhere(np.ones(made["image"].shape[1:], bool))
        index = np.round((voxels @ affine[:3, :3].T + affine[:3, 3]) @ to_map[:3, :3].T + to_map[:3, 3]).astype(int)
        within = ((index >= 0) & (index < labels.shape)).all(1)
        image = made["image"][0].numpy().ravel()[within]
        index = tuple(index[within].T)
        if white[index].sum() > 100 and (labels[index] == 24).sum() > 50:
            shown.append(np.median(image[white[index]]) > np.median(image[labels[index] == 24]))
    assert len(shown) > 5 and np.mean(shown) > 0.9


def test_an_empty_image_has_no_classes(head):
    for seed in range(6):
        made = synthesize(head, seed, empty_share=1.0)
        assert not made["label"].any() and torch.isfinite(made["image"]).all()


def test_what_shares_an_intensity_is_named_once():
    values = [value for tissue in TISSUES.values() for value in tissue]
    assert len(values) == len(set(values))
    assert {0, 2, 3, 17, 24, 41, 42, 53, 502, 507, 511, 515, 530} <= set(values)
