"""The plane that parts two classes."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from ulite_monai.errors import InputError
from ulite_monai.transforms import StraightBoundaryd
from ulite_monai.transforms import straight_boundary as boundary
from ulite_monai.transforms.straight_boundary import straight_boundary


def logits_of(mask, confidence=1.0):
    """Logits whose largest is the mask's class, by as much as the confidence."""
    one_hot = torch.nn.functional.one_hot(torch.as_tensor(mask).long(), 4).movedim(-1, 0).float()
    return one_hot * torch.as_tensor(confidence)


def parted(logits, axis=0):
    changed = logits.clone()
    straight_boundary(changed, (2, 1), axis)
    return changed


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_aslant_boundary_becomes_the_plane_that_contradicts_fewest(axis):
    mask = np.zeros((6, 6, 8), np.uint8)
    mask[1:5, 1:5] = 2
    mask[1:5, 1:5, 5:] = 1
    expected = mask.copy()
    mask[1, 1, 3:5] = 1
    mask[4, 4, 5:7] = 2
    mask, expected = (np.moveaxis(one, 2, axis) for one in (mask, expected))
    found = parted(logits_of(mask), axis).argmax(0)
    assert np.array_equal(found, expected) and not np.array_equal(mask, expected)
    assert torch.equal(parted(logits_of(expected), axis), logits_of(expected))


def test_confident_voxels_count_for_more():
    mask = np.array([2, 1, 2, 2, 1, 1])
    sure = np.array([1, 1, 1, 1, 1, 1.0])
    assert parted(logits_of(mask, sure)).argmax(0).tolist() == [2, 2, 2, 2, 1, 1]
    sure[1] = 9
    assert parted(logits_of(mask, sure)).argmax(0).tolist() == [2, 1, 1, 1, 1, 1]


def test_other_classes_stay_and_do_not_count():
    mask = np.array([0, 3, 1, 3, 2, 2, 0, 1, 1, 3])
    logits = logits_of(mask)
    logits[1, [0, 6]] = 0.9  # background that leans to the class of the other side
    found = parted(logits)
    assert found.argmax(0).tolist() == [0, 3, 2, 3, 2, 2, 0, 1, 1, 3]
    assert torch.equal(found.amax(0), logits.amax(0)) and torch.equal(found[[0, 3]], logits[[0, 3]])


def test_slab_by_slab_it_is_the_same(monkeypatch):
    logits = torch.randn(4, 7, 9, 5, generator=torch.Generator().manual_seed(0))
    whole = parted(logits, 1)
    monkeypatch.setattr(boundary, "SLICES", 2)
    assert torch.equal(parted(logits, 1), whole) and not torch.equal(whole, logits)


def test_one_class_alone_stays_as_it_is():
    for value in (0, 1, 2, 3):
        logits = logits_of(np.full((3, 4, 5), value))
        assert torch.equal(parted(logits, 1), logits)


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(InputError, match="splits the classes 2 and 1, and there are 1 labels; set it to false"):
        straight_boundary(torch.zeros(2, 3, 4), (2, 1), 0)


def test_of_a_dictionary_in_place():
    with torch.inference_mode():
        logits = MetaTensor(logits_of(np.array([[1, 2, 2, 1]])))
    changed = StraightBoundaryd("pred", classes=[2, 1], axis=1)({"image": 0, "pred": logits})
    assert changed == {"image": 0, "pred": logits} and logits.argmax(0).tolist() == [[2, 2, 2, 1]]
