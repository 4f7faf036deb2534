"""The loss of an ensemble's members."""

import torch
from monai.losses import DiceCELoss

from ulite_monai.networks import ULite, ulite_ensemble
from ulite_monai.training import LossOfMembers

OPTIONS = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8)}
IMAGE = torch.randn(2, 1, 16, 12, generator=torch.Generator().manual_seed(0))
LABEL = torch.stack([1 - (IMAGE[:, 0] > 0).float(), (IMAGE[:, 0] > 0).float()], 1)


def test_members_learn_as_if_they_were_alone():
    loss = DiceCELoss(softmax=True, batch=True)
    torch.manual_seed(0)
    ensemble = ulite_ensemble(2, **OPTIONS).train()
    together = LossOfMembers(loss)(ensemble(IMAGE), LABEL)
    together.backward()
    losses = []
    for member in ensemble.members:
        alone = ULite(**OPTIONS).train()
        alone.load_state_dict(member.state_dict())
        losses.append(loss(alone(IMAGE), LABEL))
        losses[-1].backward()
        for ours, theirs in zip(member.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(2 * ours.grad, theirs.grad)
    torch.testing.assert_close(together, (losses[0] + losses[1]) / 2)


def test_of_a_single_network_it_is_the_loss():
    logits = torch.randn(2, 2, 16, 12, generator=torch.Generator().manual_seed(1))
    loss = DiceCELoss(softmax=True)
    assert torch.equal(LossOfMembers(loss)(logits, LABEL), loss(logits, LABEL))
