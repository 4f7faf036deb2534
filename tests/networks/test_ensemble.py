"""Several networks as one."""

import pytest
import torch

from ulite_monai.networks import Ensemble, ULite
from ulite_monai.networks.ensemble import is_ulite, members_of


def test_logits_are_the_mean_of_the_members():
    torch.manual_seed(0)
    members = [ULite(2, 1, 2, features=(4, 8)).eval() for _ in range(3)]
    image = torch.randn(1, 1, 12, 10)
    with torch.no_grad():
        expected = torch.stack([member(image) for member in members]).mean(0)
        torch.testing.assert_close(Ensemble(members).eval()(image), expected)
        torch.testing.assert_close(torch.jit.script(Ensemble(members).eval())(image), expected)


def test_ensembles_within_an_ensemble_are_one():
    one, two, three = (ULite(2, 1, 2, features=(4,)) for _ in range(3))
    nested = Ensemble([Ensemble([one, two]), three])
    assert members_of(nested) == [one, two, three] and members_of(one) == [one]
    assert is_ulite(nested) and not is_ulite(Ensemble([one, torch.nn.Identity()]))


def test_nothing_is_no_ensemble():
    with pytest.raises(ValueError, match="at least one member"):
        Ensemble([])
