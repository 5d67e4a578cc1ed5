"""Which model of a training is kept: when the mean of all epochs' weights serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hftransfer.tasks import head_task
from hftransfer.tasks.contract import Judged
from hftransfer.training.choice import mean_serves

CLASSES = head_task("image-classification")


def _judged(right: int, count: int = 20, sure: float = 0.9) -> Judged:
    """Return how a model is judged that takes the first `right` rows for what they are, class 0, each so surely."""
    own = np.where(np.arange(count) < right, sure, 1 - sure)
    said = ["a" if value > 0.5 else "b" for value in own]
    return Judged({}, (0.0,), {"label": ["a"] * count, "prediction": said}, np.stack([own, 1 - own], axis=1))


def _serves(best: Judged, mean: Judged) -> bool:
    return mean_serves(CLASSES, np.zeros(len(best.columns["label"]), dtype=np.int64), best, mean)


@pytest.mark.parametrize(("right", "serves"), [(20, True), (19, True), (18, False), (15, False)])
def test_a_mean_that_is_worse_by_more_than_a_standard_error_does_not_serve(right: int, serves: bool) -> None:
    """Of 20 rows one wrong one is a difference of 0.05 with an error of 0.05; two are 0.1 with 0.069."""
    gains = np.repeat([0.0, 1.0], [right, 20 - right])
    assert bool(gains.mean() <= gains.std(ddof=1) / np.sqrt(20) + 1e-9) is serves  # by the definition
    assert _serves(_judged(20), _judged(right)) is serves
    assert _serves(_judged(right), _judged(20))  # a better one always does


def test_a_mean_that_is_surely_less_calibrated_does_not_serve() -> None:
    assert _serves(_judged(20, sure=0.99), _judged(20, sure=0.99))
    assert not _serves(_judged(20, sure=0.99), _judged(20, sure=0.6))  # each row, all alike: no error at all
    mixed = _judged(20, sure=0.9)
    assert mixed.probabilities is not None
    mixed.probabilities[:1] = [[0.55, 0.45]]  # one row of twenty
    assert _serves(_judged(20, sure=0.9), mixed)


def test_numbers_are_compared_by_what_each_row_adds() -> None:
    task: Any = head_task("text-regression")
    wanted = np.linspace(0.0, 1.0, 12)

    def near(error: np.ndarray) -> Judged:
        return Judged({}, (0.0,), {"value": wanted, "prediction": wanted + error})

    noise = np.random.default_rng(0).normal(0, 0.1, 12)
    assert mean_serves(task, None, near(noise), near(noise[::-1]))
    assert not mean_serves(task, None, near(noise), near(noise * 6))
    assert mean_serves(task, None, near(noise * 6), near(noise))


def test_a_single_row_chooses_by_itself() -> None:
    assert _serves(_judged(1, 1), _judged(1, 1))
    assert not _serves(_judged(1, 1), _judged(0, 1))
