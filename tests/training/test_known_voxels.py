"""Voxels to ignore count in no loss and no Dice."""

import pytest
import torch
from monai.losses import DiceCELoss

from ulite_monai.training import CaseDice, known_voxels


def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 6, 5, 4), generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (2, 6, 5, 4), generator=generator)
    return logits, labels


def one_hot(labels):
    return torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()


def test_without_a_value_to_ignore_the_loss_is_the_loss():
    loss = DiceCELoss(softmax=True, batch=True)
    assert known_voxels(loss, None) is loss
    logits, labels = batch()
    target = one_hot(labels)
    assert torch.equal(known_voxels(loss, 9)(logits, target), loss(logits, target[:, :3]))


def test_the_loss_is_that_of_the_labelled_voxels_alone():
    """As if the ignored half of each volume had been cut off; what stands there changes nothing."""
    loss = DiceCELoss(softmax=True, batch=True)
    logits, labels = batch()
    labels[:, 3:] = 3
    value = known_voxels(loss, 9)(logits, one_hot(labels))
    assert value.item() == pytest.approx(loss(logits[:, :, :3], one_hot(labels)[:, :3, :3]).item(), abs=1e-6)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient[:, :, 3:] == 0).all() and (gradient[:, :, :3] != 0).any()


def test_a_batch_without_a_labelled_voxel_teaches_nothing():
    logits, labels = batch()
    value = known_voxels(DiceCELoss(softmax=True, batch=True), 9)(logits, one_hot(torch.full_like(labels, 3)))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value == 0 and (gradient == 0).all()


def test_dice_leaves_out_what_is_ignored():
    true = torch.tensor([[[[1, 1, 0, 2, 2, 2]]]])
    found = torch.tensor([[[[1, 0, 0, 1, 1, 0]]]])
    metric = CaseDice(classes=1)
    metric(found, true)
    assert metric.aggregate().item() == pytest.approx(2 / 3)
