"""Metrics of numbers, against scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from hftransfer.metrics.regression import half_width, score_numbers, shares_explained


def _numbers(seed: int, count: int = 80, steps: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    wanted = random.normal(300, 40, count)
    given = wanted + random.normal(5, 30, count)
    return (np.round(wanted / steps) * steps, np.round(given / steps) * steps) if steps else (wanted, given)


@pytest.mark.parametrize("steps", [0.0, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_those_of_scikit_learn_and_scipy(seed: int, steps: float) -> None:
    wanted, given = _numbers(seed, steps=steps)
    found = score_numbers(wanted, given)
    assert found["r2"] == pytest.approx(oracle.r2_score(wanted, given))
    assert found["mae"] == pytest.approx(oracle.mean_absolute_error(wanted, given))
    assert found["rmse"] == pytest.approx(oracle.root_mean_squared_error(wanted, given))
    assert found["pearson"] == pytest.approx(stats.pearsonr(wanted, given).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(wanted, given).statistic)  # ties share their ranks


def test_intervals_are_about_those_of_scipys_bootstrap() -> None:
    wanted, given = _numbers(0, count=60)
    found = score_numbers(wanted, given)
    for name, statistic in {
        "mae": lambda one, other: np.abs(one - other).mean(),
        "pearson": lambda one, other: stats.pearsonr(one, other).statistic,
    }.items():
        drawn = stats.bootstrap(
            (wanted, given), statistic, paired=True, vectorized=False, n_resamples=1000, method="percentile", rng=1
        ).confidence_interval
        width = drawn.high - drawn.low
        assert found[f"{name}_interval"] == pytest.approx([drawn.low, drawn.high], abs=0.15 * width)
    for name in ("r2", "mae", "rmse", "pearson", "spearman"):
        interval: Any = found[f"{name}_interval"]
        assert interval[0] < found[name] < interval[1]


def test_constant_numbers_have_no_correlation() -> None:
    wanted, _ = _numbers(0)
    found = score_numbers(wanted, np.full(len(wanted), 0.1))
    assert (found["pearson"], found["spearman"]) == (0.0, 0.0)
    assert found["spearman_interval"] == [0.0, 0.0]
    assert score_numbers(np.ones(4), np.arange(4.0))["r2"] == 0.0


@pytest.mark.parametrize("unit", [1e-100, 1e-7, 1e9])
def test_correlations_do_not_depend_on_the_unit(unit: float) -> None:
    wanted, given = _numbers(0)
    plain, found = score_numbers(wanted, given), score_numbers(wanted * unit, given * unit + unit)
    for name in ("pearson", "spearman"):
        assert found[name] == pytest.approx(plain[name])
        assert found[f"{name}_interval"] == pytest.approx(plain[f"{name}_interval"])


def test_r2_of_equal_numbers_is_0_whatever_their_mean_is_rounded_to() -> None:
    equal = np.full(3, 0.1)
    assert np.var(equal) > 0
    found = score_numbers(equal, np.arange(3.0))
    assert (found["r2"], found["r2_interval"], found["pearson"]) == (0.0, [0.0, 0.0], 0.0)


def test_r2_is_the_mean_of_one_number_a_row() -> None:
    wanted, given = _numbers(1)
    assert shares_explained(wanted, given).mean() == pytest.approx(oracle.r2_score(wanted, given))


@pytest.mark.parametrize(("count", "coverage", "place"), [(9, 0.9, 8), (19, 0.9, 17), (99, 0.95, 94), (10, 0.5, 5)])
def test_the_half_width_is_the_quantile_of_split_conformal_prediction(count: int, coverage: float, place: int) -> None:
    errors = np.random.default_rng(0).permutation(np.arange(count) + 1.0)
    assert half_width(np.zeros(count), errors, coverage) == place + 1.0


def test_too_few_rows_give_no_half_width() -> None:
    assert half_width(np.zeros(8), np.ones(8), 0.9) is None


def test_intervals_hold_as_often_as_they_should() -> None:
    random = np.random.default_rng(0)
    held = []
    for _ in range(400):
        known, new = random.standard_t(3, 30), random.standard_t(3)
        held.append(abs(new) <= (half_width(np.zeros(30), known, 0.8) or np.inf))
    assert np.mean(held) == pytest.approx(0.8, abs=0.06)
