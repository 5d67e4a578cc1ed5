"""Which differences are real: intervals over seeds, and paired tests on the same test examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hftransfer.metrics.intervals import student_interval

_DRAWS = 9999
_LEVEL = 0.05
_SIGNS_AT_ONCE = 1 << 22

Scores = Mapping[str, float]
"""The score of every test example of one run, by the example's id: 1 or 0 for right or wrong, or F1."""


@dataclass(frozen=True)
class Difference:
    """The difference by which the second of two arms is better than the first, over the same test examples."""

    first: str
    second: str
    mean: float
    interval: tuple[float, float]
    """95 % over all pairs: the differences that the same test, as corrected, does not reject. It leaves out 0 where
    `holm_p` is below 0.05, and there alone."""
    p: float
    """Of the paired permutation test (sign flips) that both are equally good."""
    holm_p: float
    """The same, corrected for how many pairs were tested (Holm 1979)."""
    mcnemar: tuple[float, ...]
    """The exact p of McNemar's test of every seed; none where scores are no shares."""
    examples: int | None = None
    """How many test examples both were tested on, each counted once."""

    @property
    def is_real(self) -> bool:
        """Return whether the difference is more than chance, at 5 % over all pairs."""
        return self.holm_p < _LEVEL

    def is_no_loss(self, margin: float) -> bool:
        """Return whether the second is shown to be worse by less than a margin (0.01 is a point), if it is worse at
        all.

        Of few examples nothing shows it, whatever they say: were the second worse on a share `margin` of all that could
        be asked, `examples_needed` of them would be needed to meet one.
        """
        enough = self.examples is None or self.examples >= examples_needed(margin)
        return enough and self.interval[0] > -margin


def examples_needed(margin: float) -> float:
    """Return how many test examples it takes to show that what none of them has is rarer than a margin, at 95 %: about
    three by the margin."""
    return float(np.ceil(np.log(_LEVEL) / np.log1p(-margin))) if 0 < margin < 1 else float(np.inf if margin <= 0 else 1)


def mean_and_interval(values: Sequence[float], *, bounded: bool = True) -> tuple[float, tuple[float, float] | None]:
    """Return the mean over seeds and its 95 % interval by Student's t; None for one seed. `bounded` scores lie between
    0 and 1."""
    interval = student_interval(values, bounded=bounded)
    return float(np.mean(values)), None if interval is None else (interval[0], interval[1])


def differences(
    arms: Mapping[str, Mapping[int, Scores]], *, shares: bool = True, bounded: bool = True
) -> list[Difference]:
    """Return every pair of arms, each with its runs by seed; seeds that both have are compared. Of `shares`, scores are
    1 for right and 0 for wrong, and McNemar's test goes with them; `bounded` ones lie between 0 and 1.

    Of an example that several seeds tested, the mean difference counts once: the permutation test (sign flips) draws
    examples, not runs. Intervals are of that test, each at the level at which Holm's correction tests its pair.
    """
    names = list(arms)
    pairs = [(one, two) for place, one in enumerate(names) for two in names[place + 1 :]]
    both = [(one, two) for one, two in pairs if set(arms[one]) & set(arms[two])]
    gaps = [_gaps(arms[one], arms[two]) for one, two in both]
    tests = [SignFlips(own) for own in gaps]
    ps = [test.p_of(0.0) for test in tests]
    return [
        Difference(
            one,
            two,
            float(own.mean()),
            test.interval(_LEVEL * p / corrected, bounded=bounded),
            p,
            corrected,
            _mcnemar_by_seed(arms[one], arms[two]) if shares else (),
            len(own),
        )
        for (one, two), own, test, p, corrected in zip(both, gaps, tests, ps, holm(ps), strict=True)
    ]


def holm(ps: Sequence[float]) -> list[float]:
    """Return several p values by Holm's step-down correction (Holm 1979, Scand. J. Statist. 6)."""
    order = np.argsort(ps, kind="stable")
    corrected = np.empty(len(ps))
    largest = 0.0
    for place, index in enumerate(order):
        # A corrected p is never below that of a smaller one.
        largest = max(largest, min(1.0, (len(ps) - place) * ps[index]))
        corrected[index] = largest
    return [float(p) for p in corrected]


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the exact p of McNemar's test (1947) that two classifiers err equally often on the same examples."""
    from scipy.stats import binomtest

    # Examples that both get right, or both wrong, say nothing of which is better.
    better = sum(two > one for one, two in zip(first, second, strict=True))
    worse = sum(two < one for one, two in zip(first, second, strict=True))
    return 1.0 if better + worse == 0 else float(binomtest(better, better + worse).pvalue)


def _gaps(first: Mapping[int, Scores], second: Mapping[int, Scores]) -> NDArray[np.float64]:
    """Return how much better the second is on every example (N,), the mean over the seeds that tested it."""
    gaps: dict[str, list[float]] = {}
    for seed in sorted(set(first) & set(second)):
        for name, score in first[seed].items():
            gaps.setdefault(name, []).append(second[seed][name] - score)
    return np.array([np.mean(values) for values in gaps.values()])


def _mcnemar_by_seed(first: Mapping[int, Scores], second: Mapping[int, Scores]) -> tuple[float, ...]:
    seeds = sorted(set(first) & set(second))
    return tuple(mcnemar(list(first[s].values()), [second[s][name] for name in first[s]]) for s in seeds)


class SignFlips:
    """The permutation test of paired differences, and the interval of the means that it does not reject.

    A mean m is tested by flipping signs of `gaps - m`. A draw of signs speaks for m (its sum is at least as far from 0
    as that of the gaps) exactly where m lies between the mean of the gaps it flips and that of those it does not: so
    p of m falls on both sides of the mean, and p and interval, of the same draws, can't contradict each other.
    """

    def __init__(self, gaps: NDArray[np.float64]) -> None:
        number = len(gaps)
        # So few examples have so few patterns of signs that all are tried.
        every = 2**number <= _DRAWS
        self._own = 0 if every else 1  # the gaps as they are: among all draws, but not among random ones
        counts, sums = [], []
        random = np.random.default_rng(0)
        draws, at_once = 2**number if every else _DRAWS, max(1, _SIGNS_AT_ONCE // max(1, number))
        for start in range(0, draws, at_once):
            here = np.arange(start, min(start + at_once, draws))
            flips = (here[:, None] >> np.arange(number)) & 1 if every else random.integers(0, 2, (len(here), number))
            counts.append(flips.sum(axis=1))
            sums.append(flips @ gaps)  # (B,)
        flipped, total = np.concatenate(counts), np.concatenate(sums)  # (draws,) each
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.array([total / flipped, (gaps.sum() - total) / (number - flipped)])  # (2, draws)
        slack = 1e-12 * max(1.0, float(np.abs(gaps).max(initial=0.0)))  # sums in another order are no other sums
        unbounded = (flipped == 0) | (flipped == number)
        self._low = np.where(unbounded, -np.inf, ends.min(axis=0) - slack)
        self._high = np.where(unbounded, np.inf, ends.max(axis=0) + slack)
        self._draws = len(flipped)

    def p_of(self, mean: float) -> float:
        """Return the p of the test that the mean is `mean`."""
        speaking = int(np.count_nonzero((self._low <= mean) & (mean <= self._high)))
        return (speaking + self._own) / (self._draws + self._own)

    def interval(self, level: float, *, bounded: bool = True) -> tuple[float, float]:
        """Return the means whose p is `level` or more, never beyond what a difference of `bounded` scores can be."""
        # Less a hair: rounding must not lift a whole number to the next.
        needed = max(1, int(np.ceil(level * (self._draws + self._own) - self._own - 1e-9)))
        low, high = np.sort(self._low)[needed - 1], np.sort(self._high)[-needed]
        return (max(-1.0, float(low)), min(1.0, float(high))) if bounded else (float(low), float(high))
