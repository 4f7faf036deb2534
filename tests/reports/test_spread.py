"""Spread, intervals and agreement, by numbers that were worked out by hand or by others."""

import numpy as np
import pytest
import scipy

from ulite_monai.reports.spread import agreement, mean_interval, spread


def test_spread():
    found = spread([1.0, None, 2.0, 6.0])
    assert found == {
        "n": 3,
        "mean": 3.0,
        "ci95": None,
        "std": pytest.approx(14**0.5 / 3**0.5),
        "min": 1.0,
        "median": 2.0,
        "max": 6.0,
    }
    assert spread([None]) is None


def test_the_interval_is_scipys_and_the_same_every_time():
    values = np.random.default_rng(3).normal(0.8, 0.1, 40).tolist()
    low, high = mean_interval(values)
    scipys = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999).confidence_interval
    assert (low, high) == pytest.approx(tuple(scipys), abs=0.004) and [low, high] == mean_interval(values)
    assert mean_interval([1.0] * 4) is None and mean_interval([1.0] * 5) == [1.0, 1.0]


def test_agreement_of_bland_and_altmans_own_example():
    """Peak expiratory flow, Wright's large meter and the mini one, first readings of 17 people (their table)."""
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = agreement([float(a - b) for a, b in zip(wright, mini, strict=True)])
    assert found["bias"] == pytest.approx(-2.1, abs=0.05)
    # They take two standard deviations of 38.8 and give -79.7 and 75.5.
    assert (found["upper"] - found["bias"]) / 1.96 == pytest.approx(38.8, abs=0.05)
    assert found["lower"] == pytest.approx(-79.7, abs=2) and found["upper"] == pytest.approx(75.5, abs=2)
    assert found["bias_ci95"] == pytest.approx([-22.0, 17.8], abs=1.6)
    assert agreement([1.0, 2.0]) is None
