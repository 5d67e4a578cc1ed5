"""Metrics of several labels a row, each against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle

from hftransfer.metrics.multi_label import (
    average_precision,
    f1_of_rows,
    per_label,
    precision_recall,
    ranking_precision,
    score_labels,
)


def _material(seed: int, rows: int = 40, labels: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities with ties, and what is given; the last label is on no row, a row has none or all."""
    random = np.random.default_rng(seed)
    wanted = (random.random((rows, labels)) < 0.3).astype(np.uint8)
    wanted[:, -1] = 0
    wanted[0], wanted[1, :] = 0, 1
    scores = np.round(np.clip(wanted * 0.3 + random.random((rows, labels)) * 0.7, 0.01, 0.99), 1)
    return wanted, scores, (scores >= 0.5).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_all_metrics_are_those_of_scikit_learn(seed: int) -> None:
    wanted, scores, given = _material(seed)
    wanted[1, -1] = 0
    found = score_labels(wanted, scores, given)
    for average in ("macro", "micro"):
        assert found[f"{average}_f1"] == pytest.approx(oracle.f1_score(wanted, given, average=average, zero_division=0))
    assert found["example_f1"] == pytest.approx(oracle.f1_score(wanted, given, average="samples", zero_division=1))
    known = [i for i in range(wanted.shape[1]) if wanted[:, i].any()]
    expected = np.mean([oracle.average_precision_score(wanted[:, i], scores[:, i]) for i in known])
    assert found["mean_average_precision"] == pytest.approx(expected)
    assert found["subset_accuracy"] == pytest.approx(oracle.accuracy_score(wanted, given))
    assert found["hamming_loss"] == pytest.approx(oracle.hamming_loss(wanted, given))
    ranking = oracle.label_ranking_average_precision_score(wanted, scores)
    assert found["label_ranking_average_precision"] == pytest.approx(ranking)
    losses = [oracle.log_loss(wanted[:, i], scores[:, i], labels=[0, 1]) for i in range(wanted.shape[1])]
    assert found["log_loss"] == pytest.approx(np.mean(losses))
    low, high = found["macro_f1_interval"]
    assert low < found["macro_f1"] < high


@pytest.mark.parametrize("seed", range(3))
def test_of_each_label_and_of_each_row(seed: int) -> None:
    wanted, scores, given = _material(seed)
    names = [f"label {i}" for i in range(wanted.shape[1])]
    table = per_label(wanted, scores, given, names)
    precision, recall, f1, support = oracle.precision_recall_fscore_support(wanted, given, zero_division=0)
    for i, name in enumerate(names):
        told = table[name]
        assert (told["precision"], told["recall"], told["f1"]) == pytest.approx((precision[i], recall[i], f1[i]))
        assert told["support"] == support[i]
    rows = [
        oracle.f1_score(own, seen, zero_division=1) for own, seen in zip(wanted, given, strict=True)
    ]  # of two empty rows 1
    assert f1_of_rows(wanted, given) == pytest.approx(rows)


def test_a_label_on_no_row_has_no_average_precision() -> None:
    assert average_precision(np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3])) is None


def test_equal_scores_are_one_threshold() -> None:
    precision, recall, thresholds = precision_recall(np.array([1, 0, 1]), np.array([0.5, 0.5, 0.2]))
    assert (precision.tolist(), recall.tolist()) == ([0.5, 2 / 3], [0.5, 1.0])
    assert thresholds.tolist() == [0.5, 0.2]


def test_rows_with_no_label_or_all_are_ranked_right() -> None:
    assert ranking_precision(np.array([[0, 0], [1, 1]]), np.array([[0.1, 0.2], [0.3, 0.1]])) == 1.0
