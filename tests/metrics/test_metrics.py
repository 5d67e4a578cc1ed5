"""Metrics, against slow plain loops and scikit-learn."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sk

from hftransfer.data.rows import BytesContent, Row
from hftransfer.data.splits import Split
from hftransfer.metrics.classification import positive_scores, ranking_scores, score_probabilities
from hftransfer.metrics.for_evaluate import (
    Accuracy,
    BalancedAccuracy,
    ConfusionMatrix,
    ExpectedCalibrationError,
    LogLoss,
    MacroF1,
    TopKAccuracy,
)
from hftransfer.metrics.intervals import mean_interval, share_interval
from hftransfer.tasks import TASKS
from hftransfer.tasks.image_classification import ImageClassification


def predictions(classes: int, count: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random probabilities (N, C) that lean towards random labels (N,)."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    scores = generator.exponential(1.0, (count, classes)) ** 2
    scores[np.arange(count), labels] *= 3
    return scores / scores.sum(axis=1, keepdims=True), labels


def computed(metric: Any, predicted: Any, labels: Any, **options: Any) -> Any:
    (value,) = metric().compute(predictions=predicted, references=labels, **options).values()
    return value


def slow_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    scores = []
    for name in sorted(set(predicted.tolist()) | set(labels.tolist())):
        pairs = list(zip(predicted.tolist(), labels.tolist(), strict=True))
        hits = sum(1 for p, t in pairs if p == t == name)
        wrong = sum(1 for p, t in pairs if (p == name) != (t == name))
        scores.append(2 * hits / (2 * hits + wrong))
    return sum(scores) / len(scores)


def slow_calibration_error(scores: np.ndarray, labels: np.ndarray, bins: int) -> float:
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [i for i in range(len(labels)) if low < max(scores[i]) <= high]
        if inside:
            right = sum(1 for i in inside if int(np.argmax(scores[i])) == labels[i]) / len(inside)
            sure = sum(max(scores[i]) for i in inside) / len(inside)
            error += len(inside) / len(labels) * abs(right - sure)
    return error


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_slow_loops_and_of_scikit_learn(classes, seed):
    scores, labels = predictions(classes, seed=seed)
    predicted = scores.argmax(axis=1)
    assert computed(Accuracy, predicted, labels) == pytest.approx(
        sum(int(p == t) for p, t in zip(predicted, labels, strict=True)) / len(labels)
    )
    assert computed(Accuracy, predicted, labels) == pytest.approx(sk.accuracy_score(labels, predicted))
    assert computed(BalancedAccuracy, predicted, labels) == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert computed(MacroF1, predicted, labels) == pytest.approx(slow_f1(predicted, labels))
    assert computed(MacroF1, predicted, labels) == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert computed(LogLoss, scores, labels) == pytest.approx(
        -sum(math.log(scores[i][t]) for i, t in enumerate(labels)) / len(labels)
    )
    assert computed(LogLoss, scores, labels) == pytest.approx(sk.log_loss(labels, scores, labels=range(classes)))
    assert (
        computed(ConfusionMatrix, predicted, labels, num_classes=classes)
        == sk.confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    )


@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_is_that_of_a_slow_loop_and_of_scikit_learn(k):
    scores, labels = predictions(10)
    hits = 0
    for row, label in zip(scores, labels, strict=True):
        best = sorted(range(10), key=lambda index: -row[index])[:k]
        hits += int(label in best)
    assert computed(TopKAccuracy, scores, labels, k=k) == pytest.approx(hits / len(labels))
    theirs = sk.top_k_accuracy_score(labels, scores, k=k, labels=range(10))
    assert computed(TopKAccuracy, scores, labels, k=k) == pytest.approx(theirs)


def test_ties_count_against_the_example():
    """A network that gives the same score to all classes has found nothing."""
    even = np.full((4, 4), 0.25)
    assert computed(TopKAccuracy, even, [0, 1, 2, 3], k=3) == 0.0
    assert computed(TopKAccuracy, even, [0, 1, 2, 3], k=4) == 1.0


def test_top_k_is_named_after_k():
    assert TopKAccuracy().compute(predictions=np.eye(3), references=[0, 1, 2], k=2) == {"top_2_accuracy": 1.0}


@pytest.mark.parametrize("bins", [1, 5, 15])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_calibration_error_is_that_of_a_slow_loop(bins, classes):
    scores, labels = predictions(classes)
    ours = computed(ExpectedCalibrationError, scores, labels, bins=bins)
    assert ours == pytest.approx(slow_calibration_error(scores, labels, bins))


def test_a_confidence_at_the_edge_of_two_bins_belongs_to_the_lower():
    """Bins are (a, b]: 0.5 of two bins is in the first, where its gap of 0.5 and that of 0.4 cancel nothing."""
    scores = np.array([[0.5, 0.5, 0.0], [0.6, 0.4, 0.0]])
    labels = [0, 1]
    assert computed(ExpectedCalibrationError, scores, labels, bins=2) == pytest.approx((0.5 + 0.6) / 2)
    assert slow_calibration_error(scores, np.array(labels), 2) == pytest.approx((0.5 + 0.6) / 2)


def test_a_confidence_of_one_is_in_the_last_bin():
    assert computed(ExpectedCalibrationError, np.eye(3), [0, 1, 2]) == 0.0
    assert computed(ExpectedCalibrationError, np.eye(3), [1, 2, 0]) == 1.0


def test_calibrated_confidence_has_no_error():
    scores = np.array([[0.75, 0.25]] * 4)
    assert computed(ExpectedCalibrationError, scores, [0, 0, 0, 1]) == pytest.approx(0.0)


def test_classes_absent_from_the_labels_do_not_count_for_recall():
    predicted, labels = np.array([0, 1, 3, 0]), np.array([0, 1, 1, 0])
    assert computed(BalancedAccuracy, predicted, labels) == pytest.approx((1 + 1 / 2) / 2)


def test_classes_absent_everywhere_do_not_count_for_f1():
    predicted, labels = np.array([0, 1, 3, 0]), np.array([0, 1, 1, 0])
    assert computed(MacroF1, predicted, labels) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_the_confusion_matrix_has_true_rows_and_a_place_for_every_class():
    matrix = computed(ConfusionMatrix, [0, 1, 1], [0, 0, 1], num_classes=4)
    assert matrix == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_probability_of_nothing_costs_much_but_not_infinitely():
    assert computed(LogLoss, np.array([[1.0, 0.0]]), [1]) == pytest.approx(-math.log(1e-12))


def test_metrics_can_be_fed_in_parts_as_any_metric_of_evaluate():
    metric = Accuracy()
    metric.add_batch(predictions=[0, 1], references=[0, 0])
    metric.add_batch(predictions=[1], references=[1])
    assert metric.compute() == {"accuracy": pytest.approx(2 / 3)}


def test_all_scores_come_together_as_fractions():
    scores, labels = predictions(4)
    found = score_probabilities(scores, labels)
    names = {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "expected_calibration_error",
        "log_loss",
        "confusion_matrix",
    }
    assert set(found) == names | {"accuracy_interval"}
    assert all(0 <= found[name] <= 1 for name in names - {"log_loss", "confusion_matrix"})
    assert all(type(found[name]) is float for name in names - {"confusion_matrix"})
    assert np.shape(found["confusion_matrix"]) == (4, 4)


@pytest.mark.parametrize(("classes", "there"), [(5, False), (6, True)])
def test_top_five_is_told_where_there_are_more_than_five_classes(classes, there):
    assert ("top_5_accuracy" in score_probabilities(*predictions(classes))) == there


def test_the_task_scores_by_these_metrics():
    scores, labels = predictions(3)
    task: Any = TASKS["image-classification"]
    assert isinstance(task, ImageClassification)
    rows = [Row(str(number), BytesContent(b""), "") for number in range(len(labels))]
    examples: Any = SimpleNamespace(split=Split(rows, labels, [b""] * len(rows)))
    outcomes = task.decode(list(np.log(np.maximum(scores, 1e-300))), range(len(labels)), examples)
    judged = task.judge(outcomes, examples, [str(n) for n in range(scores.shape[1])])
    wanted = score_probabilities(scores, labels)
    assert judged.metrics["accuracy"] == wanted["accuracy"]
    assert judged.metrics["log_loss"] == pytest.approx(wanted["log_loss"])
    assert judged.score == (judged.metrics["accuracy"], -judged.metrics["log_loss"])


def test_intervals_hold_the_true_score_as_often_as_they_say():
    """Of 400 samples of 80 examples about 95 % give an interval that holds the share, or mean, they were drawn with."""
    random = np.random.default_rng(0)
    drawn = random.random((400, 80)) < 0.9
    shares = [share_interval(int(sample.sum()), 80) for sample in drawn]
    assert 0.92 <= np.mean([low <= 0.9 <= high for low, high in shares]) <= 0.98
    means = [mean_interval(sample) for sample in random.beta(2, 1, (100, 80))]
    assert 0.89 <= np.mean([low <= 2 / 3 <= high for low, high in means]) <= 1


def test_intervals_of_nothing_and_of_certainty_are_told():
    assert share_interval(0, 0) == [0.0, 1.0]
    assert mean_interval([]) == [0.0, 1.0]
    assert mean_interval([1.0, 1.0]) == [1.0, 1.0]
    for found, count in ((30, 40), (0, 7), (7, 7), (1, 1000)):
        oracle = binomtest(found, count).proportion_ci(0.95, method="wilson")
        assert share_interval(found, count) == pytest.approx([oracle.low, oracle.high], abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_areas_and_average_precision_are_those_of_scikit_learn(classes: int) -> None:
    random = np.random.default_rng(classes)
    labels = random.integers(0, classes, 90)
    scores = random.dirichlet(np.ones(classes), 90).round(2) + 0.2 * np.eye(classes)[labels]  # with ties
    scores /= scores.sum(axis=1, keepdims=True)
    found = ranking_scores(scores, labels)
    if classes == 2:
        area, precision = sk.roc_auc_score(labels, scores[:, 1]), sk.average_precision_score(labels, scores[:, 1])
    else:
        area = sk.roc_auc_score(labels, scores, multi_class="ovr", average="macro")
        precision = sk.average_precision_score(np.eye(classes)[labels], scores, average="macro")
    assert (found["roc_auc"], found["average_precision"]) == pytest.approx((area, precision))


def test_precision_and_recall_are_of_the_second_class() -> None:
    predicted, labels = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 1])
    wanted = sk.precision_score(labels, predicted), sk.recall_score(labels, predicted)
    assert tuple(positive_scores(predicted, labels).values()) == pytest.approx(wanted)
    assert positive_scores(np.zeros(3), np.zeros(3)) == {"precision": 0.0, "recall": 0.0}
    assert ranking_scores(np.array([[0.2, 0.8]]), np.array([1])) == {}  # one class alone
