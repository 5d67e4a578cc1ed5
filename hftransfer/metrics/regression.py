"""Metrics of numbers (N,) that were estimated, from those that are true."""

from __future__ import annotations

import math

import numpy as np

_DRAWS, _AT_ONCE = 1000, 100


def score_numbers(wanted: np.ndarray, given: np.ndarray) -> dict[str, float | list[float]]:
    """Return R², mean absolute error, root mean squared error and the correlations of Pearson and of Spearman, each
    with the 95 % interval that the number of rows leaves to it (`<name>_interval`: percentile bootstrap over rows).

    R² is 0 for rows that are all equal. A correlation with numbers that are all equal is none: 0 is told.
    """
    wanted, given = np.asarray(wanted, dtype=np.float64), np.asarray(given, dtype=np.float64)
    errors = given - wanted
    metrics: dict[str, float | list[float]] = {
        "r2": float(shares_explained(wanted, given).mean()) if len(wanted) else 0.0,
        "mae": float(np.abs(errors).mean()),
        "rmse": math.sqrt(float(np.square(errors).mean())),
        "pearson": float(_correlations(wanted[None], given[None])[0]),
        "spearman": float(_correlations(ranks(wanted)[None], ranks(given)[None])[0]),
    }
    found = _drawn(wanted, given)
    for name, values in found.items():
        metrics[f"{name}_interval"] = [float(end) for end in np.percentile(values, [2.5, 97.5])]
    return metrics


def shares_explained(wanted: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return for each row (N,) one less its squared error by the variance of all; their mean is R²."""
    variance = float(np.var(wanted))
    if variance == 0.0 or not np.ptp(wanted):  # that of equal numbers may be rounding
        return np.zeros(len(wanted))
    return np.asarray(1.0 - np.square(given - wanted) / variance)


def half_width(wanted: np.ndarray, given: np.ndarray, coverage: float) -> float | None:
    """Return how far from an estimate the true number of a new row lies at most, with this probability: the
    ⌈(N + 1) coverage⌉-th smallest absolute error of rows that nothing was learned from (split conformal prediction;
    Lei et al. 2018, Distribution-Free Predictive Inference for Regression, algorithm 2). None where the rows are too
    few."""
    # Less a hair: rounding must not lift a whole number to the next.
    place = math.ceil((len(wanted) + 1) * coverage - 1e-9)
    if place > len(wanted):
        return None
    return float(np.sort(np.abs(given - wanted))[place - 1])


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, equal ones sharing the mean of theirs; along the last axis."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values, axis=-1), dtype=np.float64)


def _drawn(wanted: np.ndarray, given: np.ndarray) -> dict[str, np.ndarray]:
    """Return each metric on rows that are drawn with replacement, many times."""
    random, count = np.random.default_rng(0), len(wanted)
    found: dict[str, list[np.ndarray]] = {}
    # In parts: all draws at once would take a thousand times the memory of the rows.
    for _ in range(_DRAWS // _AT_ONCE):
        drawn = random.integers(0, count, (_AT_ONCE, count))
        own, other = wanted[drawn], given[drawn]  # (A, N)
        squares = np.square(other - own).mean(axis=1)
        variances = own.var(axis=1)
        flat = (variances == 0.0) | (np.ptp(own, axis=1) == 0.0)  # that of equal numbers may be rounding
        parts = {
            "r2": np.where(flat, 0.0, 1.0 - squares / np.where(flat, 1.0, variances)),
            "mae": np.abs(other - own).mean(axis=1),
            "rmse": np.sqrt(squares),
            "pearson": _correlations(own, other),
            "spearman": _correlations(ranks(own), ranks(other)),
        }
        for name, part in parts.items():
            found.setdefault(name, []).append(part)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation (A,) of each pair of rows (A, N); 0 where one of them is constant."""
    (first, first_flat), (second, second_flat) = _directions(first), _directions(second)
    return np.where(first_flat | second_flat, 0.0, (first * second).sum(axis=1))


def _directions(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows (A, N) less their means, of length 1, and which of them (A,) are constant."""
    largest = np.abs(numbers).max(axis=1, keepdims=True)
    # Of any unit: squares of very small numbers would be 0.
    numbers = numbers / np.where(largest == 0.0, 1.0, largest)
    centred = numbers - numbers.mean(axis=1, keepdims=True)
    length = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    # What is left of equal numbers less their mean is rounding.
    flat = length <= 1e-13 * np.sqrt(numbers.shape[1])
    return centred / np.where(flat, 1.0, length), flat[:, 0]
