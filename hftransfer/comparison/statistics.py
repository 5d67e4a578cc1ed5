"""Which differences are real: intervals over seeds, and paired tests on the same test examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hftransfer.metrics.intervals import student_interval

_DRAWS = 9999
_LEVEL = 0.05

Scores = Mapping[str, float]
"""The score of every test example of one run, by the example's id: 1 or 0 for right or wrong, or F1."""


@dataclass(frozen=True)
class Difference:
    """How much better the second of two arms is than the first, over the same test examples."""

    first: str
    second: str
    mean: float
    interval: tuple[float, float]
    """95 %, by the paired bootstrap over test examples."""
    p: float
    """Of the paired permutation test that both are equally good."""
    holm_p: float
    """The same, corrected for how many pairs were tested (Holm 1979)."""
    mcnemar: tuple[float, ...]
    """The exact p of McNemar's test of every seed; none where scores are no shares."""

    @property
    def is_real(self) -> bool:
        """Whether the difference is more than chance, at 5 % over all pairs."""
        return self.holm_p < _LEVEL


def mean_and_interval(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """The mean over seeds and its 95 % interval by Student's t; None for one seed."""
    interval = student_interval(values)
    return float(np.mean(values)), None if interval is None else (interval[0], interval[1])


def differences(arms: Mapping[str, Mapping[int, Scores]], *, shares: bool = True) -> list[Difference]:
    """Every pair of arms, each with its runs by seed; seeds that both have are compared. Of `shares`, scores are 1 for
    right and 0 for wrong, and McNemar's test goes with them.

    Of an example that several seeds tested, the mean difference counts once: the bootstrap and the permutation test
    (sign flips) draw examples, not runs.
    """
    names = list(arms)
    pairs = [(one, two) for place, one in enumerate(names) for two in names[place + 1 :]]
    both = [(one, two) for one, two in pairs if set(arms[one]) & set(arms[two])]
    found = [_difference(one, two, arms[one], arms[two], shares=shares) for one, two in both]
    corrected = holm([difference.p for difference in found])
    return [replace(difference, holm_p=p) for difference, p in zip(found, corrected, strict=True)]


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p values (Holm 1979, Scand. J. Statist. 6)."""
    order = np.argsort(ps, kind="stable")
    corrected = np.empty(len(ps))
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        corrected[index] = largest
    return [float(p) for p in corrected]


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """The exact p of McNemar's test (1947) that two classifiers err equally often on the same examples."""
    from scipy.stats import binomtest

    better = sum(two > one for one, two in zip(first, second, strict=True))
    worse = sum(two < one for one, two in zip(first, second, strict=True))
    return 1.0 if better + worse == 0 else float(binomtest(better, better + worse).pvalue)


def _difference(
    one: str, two: str, first: Mapping[int, Scores], second: Mapping[int, Scores], *, shares: bool
) -> Difference:
    gaps: dict[str, list[float]] = {}
    per_seed = []
    for seed in sorted(set(first) & set(second)):
        ids = list(first[seed])
        own, other = [first[seed][i] for i in ids], [second[seed][i] for i in ids]
        for name, a, b in zip(ids, own, other, strict=True):
            gaps.setdefault(name, []).append(b - a)
        if shares:
            per_seed.append(mcnemar(own, other))
    means = np.array([np.mean(values) for values in gaps.values()])
    low, high, p = _tested(means)
    return Difference(one, two, float(means.mean()), (low, high), p, p, tuple(per_seed))


def _tested(gaps: np.ndarray) -> tuple[float, float, float]:
    """The ends of the bootstrap's interval of the mean, and the p of the permutation test that it is 0."""
    from scipy.stats import bootstrap, permutation_test

    if len(gaps) < 2 or not np.any(gaps):
        return float(gaps.mean()), float(gaps.mean()), 1.0
    random = np.random.default_rng(0)
    drawn = bootstrap((gaps,), np.mean, n_resamples=_DRAWS, batch=500, method="percentile", rng=random)
    zeros = np.zeros_like(gaps)
    tested = permutation_test(
        (gaps, zeros),
        lambda one, two, axis: np.mean(one - two, axis=axis),
        permutation_type="samples",
        n_resamples=_DRAWS,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    interval = drawn.confidence_interval
    return float(interval.low), float(interval.high), float(tested.pvalue)
