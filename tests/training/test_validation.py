"""The metric that chooses the best epoch is the evaluation's."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from ulite_monai.reports.metrics import label_metrics, summarize
from ulite_monai.training import CaseDice

LABELS = ["a", "b", "c"]


def validated(pairs):
    metric = CaseDice(len(LABELS))
    for found, true in pairs:  # as MONAI's handler gives them: lists of (1, *spatial)
        metric([torch.as_tensor(found)[None].float()], [torch.as_tensor(true)[None].float()])
    return metric


def evaluated(pairs):
    rows = [row for n, (f, t) in enumerate(pairs) for row in label_metrics(str(n), f, t, None, LABELS)]
    return summarize(rows, LABELS)["mean_dice"]


@pytest.fixture
def pairs():
    random = np.random.default_rng(0)
    made = [tuple(random.integers(0, 3, (2, 5, 6, 7))) for _ in range(3)]
    made[1][1][made[1][1] == 2] = 0  # invented
    made[2][0][made[2][0] == 1] = 0  # missed
    return made  # and c is in no case


def test_it_is_what_an_evaluation_says(pairs):
    metric = validated(pairs)
    assert float(metric.aggregate()) == pytest.approx(evaluated(pairs), abs=1e-6)
    details = metric.get_buffer()
    assert details.shape == (3, 3) and details[1, 1] == 0 and details[2, 0] == 0 and details[:, 2].isnan().all()


def test_an_invented_structure_costs_what_monais_metric_doesnt_see():
    true = np.zeros((8, 8, 8), int)
    true[:4] = 1
    clean, invented = true.copy(), true.copy()
    invented[6:] = 2
    theirs = DiceMetric(include_background=False)
    one_hot = [torch.stack([torch.as_tensor(m == value) for value in range(4)])[None].float() for m in (invented, true)]
    theirs(*one_hot)
    assert float(theirs.aggregate()) == 1.0
    assert float(validated([(clean, true)]).aggregate()) == 1.0
    assert float(validated([(invented, true)]).aggregate()) == 0.5


def test_without_any_structure_there_is_no_mean():
    empty = np.zeros((4, 4), int)
    assert math.isnan(float(validated([(empty, empty)]).aggregate()))
