"""Numbers over cases: their spread, an interval for their mean, and the agreement of two ways to measure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["agreement", "mean_interval", "spread"]

RESAMPLES, SEED = 2000, 0
FEWEST = 5  # cases; of fewer, no interval says anything


def spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """How many values are known, their mean with its interval, standard deviation, least, median and greatest.

    Args:
        values: None for an unknown one.

    Returns:
        None where none is known.
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "n": len(known),
        "mean": statistics.fmean(known),
        "ci95": mean_interval(known),
        "std": statistics.pstdev(known),
        "min": min(known),
        "median": statistics.median(known),
        "max": max(known),
    }


def mean_interval(values: Sequence[float]) -> list[float] | None:
    """The 95 % confidence interval of a mean, by a percentile bootstrap (Efron and Tibshirani 1993) of fixed seed.

    Args:
        values: one a case.

    Returns:
        Lower and upper end; None for fewer than five cases.
    """
    if len(values) < FEWEST:
        return None
    random = np.random.default_rng(SEED)
    means = [float(random.choice(values, len(values)).mean()) for _ in range(RESAMPLES)]
    low, high = np.percentile(means, (2.5, 97.5))
    return [float(low), float(high)]


def agreement(differences: Sequence[float]) -> dict[str, Any] | None:
    """Bias and limits of agreement of two ways to measure (Bland and Altman, Lancet 1986; 327: 307-310).

    The limits are the bias and 1.96 standard deviations on both sides. The intervals are the paper's, but with 1.96 in
    the place of Student's t.

    Args:
        differences: one way minus the other, one a case.

    Returns:
        None for fewer than three cases.
    """
    n = len(differences)
    if n < 3:
        return None
    bias, deviation = statistics.fmean(differences), statistics.stdev(differences)
    of_bias, of_limit = (1.96 * deviation * math.sqrt(one / n) for one in (1, 3))
    lower, upper = bias - 1.96 * deviation, bias + 1.96 * deviation
    return {
        "n": n,
        "bias": bias,
        "bias_ci95": [bias - of_bias, bias + of_bias],
        "lower": lower,
        "lower_ci95": [lower - of_limit, lower + of_limit],
        "upper": upper,
        "upper_ci95": [upper - of_limit, upper + of_limit],
    }
