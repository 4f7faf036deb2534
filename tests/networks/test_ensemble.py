"""Several networks as one."""

import pytest
import torch

from ulite_monai.networks import Ensemble, ULite, ulite_ensemble
from ulite_monai.networks.ensemble import is_ulite, members_of


def test_logits_are_the_mean_of_the_members():
    torch.manual_seed(0)
    members = [ULite(2, 1, 2, features=(4, 8)).eval() for _ in range(3)]
    image = torch.randn(1, 1, 12, 10)
    with torch.no_grad():
        expected = torch.stack([member(image) for member in members]).mean(0)
        torch.testing.assert_close(Ensemble(members).eval()(image), expected)
        torch.testing.assert_close(torch.jit.script(Ensemble(members).eval())(image), expected)


def test_in_training_each_member_answers_for_itself():
    torch.manual_seed(0)
    members = [ULite(2, 1, 3, features=(4, 8)) for _ in range(2)]
    image = torch.randn(4, 1, 12, 10)
    logits = Ensemble(members).train()(image)
    assert logits.shape == (4, 2, 3, 12, 10)
    torch.testing.assert_close(logits[:, 1], members[1](image))


def test_an_ensemble_of_ulites_and_of_one():
    options = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8)}
    torch.manual_seed(0)
    two = ulite_ensemble(2, **options)
    assert [type(member) for member in members_of(two)] == [ULite, ULite] and is_ulite(two)
    assert not torch.equal(two.members[0].stem.weight, two.members[1].stem.weight)
    assert isinstance(ulite_ensemble(1, **options), ULite)
    with pytest.raises(ValueError, match="members must"):
        ulite_ensemble(0, **options)


def test_ensembles_within_an_ensemble_are_one():
    one, two, three = (ULite(2, 1, 2, features=(4,)) for _ in range(3))
    nested = Ensemble([Ensemble([one, two]), three])
    assert members_of(nested) == [one, two, three] and members_of(one) == [one]
    assert is_ulite(nested) and not is_ulite(Ensemble([one, torch.nn.Identity()]))


def test_nothing_is_no_ensemble():
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([])
