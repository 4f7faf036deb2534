"""How long a training takes: steps, epochs and validations that fill the time there is, from what each takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Budget", "Rates", "epochs_left", "in_words", "plan_budget"]

VALIDATION_SHARE = 0.15  # of the time, at most, with the evaluation at the end
LEAST_SHARE = 0.03  # of the time that validations get while training, however long the evaluation at the end takes
EPOCHS = 100  # of a training of an hour, say: enough for the time to be kept to a per cent
SHORTEST, LONGEST = 10.0, 180.0  # seconds of an epoch: each writes a checkpoint, and Ctrl-C loses one at most
FEWEST_EPOCHS = 5
VALIDATIONS = 20  # enough to choose the weights by
FEWEST_CASES, FEWEST_VALIDATIONS = 3, 3  # rather validate more rarely than on fewer cases
LEAST_TRAINING = 0.1  # of the time, however long reading the cases took
EVALUATION_SHARE = 0.25  # of the time, at most: of large volumes in a few minutes, fewer are evaluated at the end


@dataclass(frozen=True)
class Rates:
    """What was measured on this machine, in seconds.

    Attributes:
        step: of a training step, with its share of loading.
        case: of validating a case while training.
        evaluation: of evaluating a case at the end: reading, segmenting, surface distances.
    """

    step: float
    case: float = 0.0
    evaluation: float = 0.0


@dataclass(frozen=True)
class Budget:
    """What a training does in its time.

    Attributes:
        hours: there are in all.
        reserve: hours of them that aren't training: what came before it, and the evaluation at the end.
        epochs: how many.
        steps_per_epoch: of each.
        val_interval: epochs between validations; the first and the last epoch are validated, too.
        val_cases: how many cases these validations look at; None for all.
        evaluated: how many cases are evaluated at the end; None for all.
    """

    hours: float
    reserve: float
    epochs: int
    steps_per_epoch: int
    val_interval: int
    val_cases: int | None = None
    evaluated: int | None = None


def plan_budget(hours: float, spent: float, rates: Rates, cases: int) -> Budget:
    """The steps, epochs and validations that fill a time.

    Steps come first: an epoch is a stretch of time, not a pass over the cases. All of the validation takes at most
    `VALIDATION_SHARE` of the time where that is possible: rather more rarely than with fewer cases, as long as there
    are `VALIDATIONS`.

    Args:
        hours: there are in all, with the evaluation at the end.
        spent: seconds of them that are gone.
        rates: what was measured.
        cases: that validate; 0 where none does.
    """
    seconds = max(3600 * hours - spent, LEAST_TRAINING * 3600 * hours)
    evaluated = cases
    if cases * rates.evaluation > EVALUATION_SHARE * seconds:
        evaluated = max(1, int(EVALUATION_SHARE * seconds / rates.evaluation))
    left = max(0.5 * seconds, seconds - evaluated * rates.evaluation)
    share = max(VALIDATION_SHARE * seconds - evaluated * rates.evaluation, LEAST_SHARE * seconds)
    epochs = round(max(min(EPOCHS, left / SHORTEST), left / LONGEST, FEWEST_EPOCHS))
    interval, looked_at = _validations(share, rates.case, cases, epochs)
    number = len({1, epochs, *range(interval, epochs, interval)}) if cases else 0
    for_steps = max(left - number * looked_at * rates.case, 0.5 * left)
    steps = max(1, round(for_steps / epochs / rates.step))
    epochs = max(1, round(for_steps / (steps * rates.step)))
    return Budget(
        hours=hours,
        reserve=hours - left / 3600,
        epochs=epochs,
        steps_per_epoch=steps,
        val_interval=min(interval, epochs),
        val_cases=looked_at if looked_at < cases else None,
        evaluated=evaluated if evaluated < cases else None,
    )


def _validations(share: float, case: float, cases: int, epochs: int) -> tuple[int, int]:
    """Every how many epochs how many cases can be validated in so many seconds."""
    if not cases or not case:
        return 1, cases
    wanted = min(VALIDATIONS, epochs)
    few = min(FEWEST_CASES, int(share / (FEWEST_VALIDATIONS * case)))
    looked_at = min(cases, max(1, few, int(share / (wanted * case))))
    number = share / (looked_at * case)
    return (1, looked_at) if number >= epochs else (math.ceil(epochs / max(1, number - 2)), looked_at)


def epochs_left(seconds: float, epoch: float, validation: float, val_interval: int) -> int:
    """How many more epochs end nearest to a time, at least one.

    Args:
        seconds: there are.
        epoch: seconds that one takes, without its validation.
        validation: seconds that a validation takes.
        val_interval: epochs between validations.
    """
    return max(1, round((seconds - validation) / (epoch + validation / val_interval)))


def in_words(seconds: float) -> str:
    """A time as people say it: 45 s, 12 min, 1 h 50."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d}"
