"""How much chance the number of test examples leaves in a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def share_interval(found: int, count: int) -> list[float]:
    """Return the 95 % interval of a share, `found` of `count` (Wilson 1927; Brown, Cai and DasGupta 2001, 3.1.1)."""
    from scipy.special import ndtri

    if count == 0:
        return [0.0, 1.0]
    # As `scipy.stats.binomtest(…).proportion_ci(method="wilson")`, whose package takes a second to import.
    z = float(ndtri(0.975))
    middle = (found + z * z / 2) / (count + z * z)
    half = z * math.sqrt(found * (count - found) / count + z * z / 4) / (count + z * z)
    return [max(0.0, middle - half), min(1.0, middle + half)]


def mean_interval(values: Sequence[float] | np.ndarray) -> list[float]:
    """Return the 95 % interval of the mean of one score per example: the percentile bootstrap (Efron 1979) of 2,000
    draws."""
    from scipy.stats import bootstrap

    scores = np.asarray(values, dtype=np.float64)
    if len(scores) < 2 or not np.ptp(scores):
        return [float(scores.mean())] * 2 if len(scores) else [0.0, 1.0]
    random = np.random.default_rng(0)
    drawn = bootstrap((scores,), np.mean, n_resamples=2000, batch=100, method="percentile", rng=random)
    return [float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)]


def student_interval(values: Sequence[float] | np.ndarray, *, bounded: bool = True) -> list[float] | None:
    """Return the 95 % interval of the mean of a score over runs, by Student's t; None for one run alone. `bounded`
    scores lie between 0 and 1."""
    from scipy.stats import t

    found = np.asarray(values, dtype=np.float64)
    if len(found) < 2:
        return None
    half = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    mean = float(found.mean())
    low, high = mean - half, mean + half
    return [max(0.0, low), min(1.0, high)] if bounded else [low, high]
