"""Temperatures and conformal sets: beside a grid search, and over many draws of new examples."""

from __future__ import annotations

import numpy as np
import pytest

from hftransfer.metrics.calibration import conformity_of, log_loss, needed_for, temperature_of
from hftransfer.tasks.labelled import softmax


def drawn(count: int, seed: int, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 4) that are right about their labels at sharpness 1, and too sure above it."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(count, 4))
    labels = np.array([random.choice(4, p=row) for row in softmax(logits)])
    return sharpness * logits, labels


@pytest.mark.parametrize("sharpness", [0.3, 3.0])
def test_the_temperature_is_that_of_a_grid_search(sharpness):
    logits, labels = drawn(2000, 0, sharpness)
    found = temperature_of(logits, labels)
    grid = np.geomspace(0.05, 20, 2000)
    best = grid[np.argmin([log_loss(logits / each, labels) for each in grid])]
    assert found == pytest.approx(best, rel=0.01)
    assert found == pytest.approx(sharpness, rel=0.15)


def test_what_is_calibrated_stays_as_it_is():
    found = [temperature_of(*drawn(100, seed)) for seed in range(20)]
    assert found.count(1.0) >= 16  # chance alone is no reason
    assert temperature_of(*drawn(7, 1, 5.0)) == 1.0  # too few to say
    logits, labels = drawn(100, 1)
    assert temperature_of(logits * np.nan, labels) == 1.0
    # Never wrong: the colder the better, as far as it goes.
    assert 0.009 < temperature_of(10 * np.eye(4)[np.arange(100) % 4], np.arange(100) % 4) <= 1


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
def test_sets_hold_the_true_label_as_often_as_asked(coverage):
    held, right = [], []
    for seed in range(60):
        logits, labels = drawn(80, seed)
        own, likeliest = softmax(logits)[np.arange(80), labels], logits.argmax(axis=1) == labels
        conformity = conformity_of(own, likeliest)
        assert conformity is not None
        new, truth = drawn(200, 1000 + seed)
        inside = softmax(new)[np.arange(200), truth] >= needed_for(conformity, coverage)
        held.append((inside | (new.argmax(axis=1) == truth)).mean())
        right.append(likeliest.mean())
    wanted = max(coverage, np.mean(right))
    assert wanted - 0.02 < np.mean(held) < wanted + 0.03  # at least, and by 1/81 more at the most


def test_of_few_examples_a_set_of_nearly_all_holds_every_label():
    conformity = conformity_of(np.linspace(0.3, 0.9, 20), np.zeros(20, dtype=bool))
    assert conformity is not None
    assert len(conformity) == 201
    assert needed_for(conformity, 0.99) == 0  # 20 examples can't tell
    assert needed_for(conformity, 0.9) == pytest.approx(np.linspace(0.3, 0.9, 20)[1], abs=1e-5)
    assert list(conformity) == sorted(conformity, reverse=True)
    assert conformity_of(np.ones(19), np.ones(19, dtype=bool)) is None


def test_rows_that_are_all_right_do_not_make_a_model_certain() -> None:
    labels = np.arange(100) % 3
    logits = 2.0 * np.eye(3)[labels]
    at = temperature_of(logits, labels)
    sure = np.exp(2.0 / at) / (np.exp(2.0 / at) + 2)
    # Of 100 rows one in 102 counts as wrong, and no more is claimed.
    assert sure == pytest.approx(101 / 102, abs=1e-4)


def test_one_wrong_row_of_a_good_model_makes_it_no_less_sure() -> None:
    labels = np.arange(200) % 2
    logits = 5.0 * np.eye(2)[labels]
    logits[7] = logits[7, ::-1]
    # One in 200 is wrong, as 5 to 0 says: 1 / (1 + e⁵) is 1 in 149.
    assert temperature_of(logits, labels) == 1.0
    sharper = 2 * logits  # and e¹⁰ says one in 22,000, yet one row is no proof
    assert temperature_of(sharper, labels) == 1.0


@pytest.mark.parametrize("right", [9, 12, 13])
def test_a_few_rows_that_are_right_less_often_than_they_are_sure_give_the_temperature_at_which_they_are_not(
    right: int,
) -> None:
    labels = np.arange(15) % 2
    logits = np.random.default_rng(0).uniform(6.0, 9.0, (15, 1)) * np.eye(2)[labels]
    logits[right:] = logits[right:, ::-1]
    found = temperature_of(logits, labels)
    assert softmax(logits / found).max(axis=1).mean() == pytest.approx((right + 0.5) / 16, abs=1e-6)


@pytest.mark.parametrize("count", [8, 15, 19, 60])
def test_a_few_rows_that_are_right_as_often_as_they_are_sure_change_little(count: int) -> None:
    found = [temperature_of(*drawn(count, seed)) for seed in range(40)]
    assert found.count(1.0) >= 24
    assert temperature_of(7.0 * np.eye(2)[np.arange(count) % 2], np.arange(count) % 2) <= 1.0  # none is wrong
