"""Steps, epochs and validations that fill a time."""

import pytest

from ulite_monai.training.budget import Rates, epochs_left, in_words, plan_budget

HOURS = (1 / 12, 0.5, 1, 4, 24)
RATES = {
    "small volumes": (Rates(0.1, 0.05, 0.3), 52),
    "large volumes": (Rates(0.9, 8.0, 20.0), 16),
    "a slow machine": (Rates(6.0, 30.0, 60.0), 4),
    "many images": (Rates(0.3, 0.1, 0.2), 134),
    "trains on all": (Rates(0.3), 0),
}


def seconds_of(budget, rates, cases):
    """What training, validation and evaluation take."""
    validations = {1, budget.epochs, *range(budget.val_interval, budget.epochs + 1, budget.val_interval)}
    validation = len(validations) * (budget.val_cases or cases) * rates.case
    evaluation = (budget.evaluated or cases) * rates.evaluation
    return budget.epochs * budget.steps_per_epoch * rates.step, validation, evaluation


@pytest.mark.parametrize("hours", HOURS)
@pytest.mark.parametrize("name", RATES)
def test_the_time_is_filled_and_validation_keeps_to_its_share(name, hours):
    rates, cases = RATES[name]
    budget = plan_budget(hours, 0, rates, cases)
    training, validation, evaluation = seconds_of(budget, rates, cases)
    assert training + validation + evaluation == pytest.approx(3600 * hours, rel=0.07 if hours >= 0.5 else 0.12)
    assert evaluation <= 0.25 * 3600 * hours
    if hours >= 0.5:
        assert validation + evaluation <= max(0.16 * 3600 * hours, evaluation + 0.06 * 3600 * hours)
        assert budget.epochs >= 20
    assert budget.hours == hours and budget.reserve == pytest.approx(evaluation / 3600)


def test_what_is_spent_already_is_not_trained():
    budget = plan_budget(1, 600, Rates(0.1), 0)
    assert budget.reserve == pytest.approx(1 / 6)
    assert budget.epochs * budget.steps_per_epoch * 0.1 == pytest.approx(3000, rel=0.01)


def test_epochs_are_stretches_of_time():
    """No epoch is so short that checkpoints take its time, nor so long that Ctrl-C loses much."""
    for hours in HOURS:
        budget = plan_budget(hours, 0, Rates(0.1), 0)
        assert 8 < budget.steps_per_epoch * 0.1 < 190


def test_all_cases_validate_where_that_is_quick_and_some_where_it_is_not():
    quick = plan_budget(1, 0, Rates(0.1, 0.05), 52)
    assert quick.val_cases is None and quick.val_interval == 1
    slow = plan_budget(1, 0, Rates(0.9, 8.0), 16)
    assert 3 <= slow.val_cases < 16 and slow.val_interval > 1


def test_a_step_may_take_longer_than_an_epoch_should():
    budget = plan_budget(1 / 60, 0, Rates(20.0), 0)
    assert (budget.epochs, budget.steps_per_epoch) == (3, 1)


def test_epochs_that_are_left_end_nearest_to_the_time():
    assert epochs_left(100, epoch=10, validation=0, val_interval=1) == 10
    assert epochs_left(104, epoch=10, validation=0, val_interval=1) == 10
    assert epochs_left(-5, epoch=10, validation=0, val_interval=1) == 1
    assert epochs_left(100, epoch=10, validation=10, val_interval=2) == 6


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (95, "2 min"), (3540, "59 min"), (3599, "1 h 00"), (6600, "1 h 50")],
)
def test_a_time_in_words(seconds, words):
    assert in_words(seconds) == words
