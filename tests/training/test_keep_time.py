"""A training on a machine whose speed changes, by a clock that the tests turn."""

import pytest
import torch
from ignite.engine import Engine, Events
from monai.optimizers import WarmupCosineSchedule

from ulite_monai.training import KeepTime, ValidateEpochs
from ulite_monai.training.budget import Rates, plan_budget


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Machine:
    """A trainer and an evaluator that do nothing but take time.

    Args:
        hours: to train.
        speed: function of the share of the time that has passed: how many times slower than measured a step is.
    """

    def __init__(self, hours, speed, rates=None, cases=10):
        rates = rates or Rates(0.5, 1.0)
        self.clock, self.hours, self.speed, self.rates = Clock(), hours, speed, rates
        self.budget = plan_budget(hours, 0, rates, cases)
        weight = torch.nn.Parameter(torch.zeros(1))
        self.optimizer = torch.optim.SGD([weight], lr=1.0)
        steps = self.budget.epochs * self.budget.steps_per_epoch
        self.scheduler = WarmupCosineSchedule(self.optimizer, max(1, steps // 10), steps)
        self.trainer = Engine(self.step)
        self.trainer.state.epoch_length = self.budget.steps_per_epoch
        self.trainer.state.max_epochs = self.budget.epochs
        self.evaluator = Evaluator(lambda: self.take(rates.case * (self.budget.val_cases or cases)))
        validate = ValidateEpochs(None, self.budget.val_interval)
        validate.validator = self.evaluator
        self.keeper = KeepTime(hours, self.scheduler, self.evaluator, self.budget.val_interval, clock=self.clock)
        validate.attach(self.trainer)
        self.keeper.attach(self.trainer)

    def take(self, seconds):
        passed = (self.clock.now - 1000) / (3600 * self.hours)
        self.clock.now += seconds * self.speed(passed)

    def step(self, engine, batch):
        self.take(self.rates.step)
        self.optimizer.step()
        self.scheduler.step()

    def run(self, until=None):
        if until:
            self.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=until), lambda e: e.terminate())
        self.trainer.run(range(self.budget.steps_per_epoch), max_epochs=self.trainer.state.max_epochs)
        return self.clock.now - 1000


class Evaluator(Engine):
    def __init__(self, work):
        super().__init__(lambda engine, batch: work())

    def run(self, epoch=None):
        super().run([0], max_epochs=1)


SPEEDS = {
    "as measured": lambda passed: 1.0,
    "twice as slow from half on": lambda passed: 2.0 if passed > 0.5 else 1.0,
    "twice as fast": lambda passed: 0.5,
    "three times as slow for a while": lambda passed: 3.0 if 0.3 < passed < 0.5 else 1.0,
    "ever slower": lambda passed: 1 + passed,
}


@pytest.mark.slow
@pytest.mark.parametrize("hours", [0.5, 1])
@pytest.mark.parametrize("name", SPEEDS)
def test_it_ends_on_time_with_its_schedule_complete(name, hours):
    machine = Machine(hours, SPEEDS[name])
    assert machine.run() == pytest.approx(3600 * hours, rel=0.03)
    assert machine.scheduler.last_epoch == machine.scheduler.t_total
    assert machine.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-6)


def test_without_hours_it_is_a_number_of_epochs():
    machine = Machine(0.5, lambda passed: 2.0)
    machine.keeper.seconds = None
    assert machine.run() > 3500
    assert machine.trainer.state.epoch == machine.budget.epochs


def test_a_resumed_training_has_what_is_left_of_its_time():
    first = Machine(0.5, SPEEDS["as measured"])
    spent = first.run(until=40)
    state, schedule = first.keeper.state_dict(), first.scheduler.state_dict()
    assert state["done"] == 40 and state["spent"] == pytest.approx(spent)
    second = Machine(0.5, SPEEDS["as measured"])
    second.clock.now += 500  # to load the data
    second.scheduler.load_state_dict(schedule)
    second.keeper.load_state_dict(state)
    second.trainer.load_state_dict(
        {"epoch": 40, "epoch_length": second.budget.steps_per_epoch, "max_epochs": second.trainer.state.max_epochs}
    )
    assert spent + second.run() - 500 == pytest.approx(1800, rel=0.03)
    assert second.scheduler.last_epoch == second.scheduler.t_total


def test_a_finished_training_is_not_prolonged_but_by_more_hours():
    machine = Machine(0.5, SPEEDS["as measured"])
    machine.run()
    state = machine.keeper.state_dict()
    assert state["done"] == state["epochs"]
    for hours, more in ((0.5, False), (1.0, True)):
        again = Machine(0.5, SPEEDS["as measured"])
        again.keeper.seconds = 3600 * hours
        again.keeper.load_state_dict(state)
        assert (again.trainer.state.max_epochs > state["done"]) == more
