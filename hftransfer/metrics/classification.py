"""Metrics of single-label classification.

Each class works like any `evaluate` metric: `Accuracy().compute(predictions=…, references=…)`. Those of probabilities
take `predictions` of shape (N, C), rows summing to 1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np

from hftransfer.metrics.intervals import share_interval

_LABELS = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
_PROBABILITIES = {
    "predictions": datasets.Sequence(datasets.Value("float64")),
    "references": datasets.Value("int64"),
}


class _LocalMetric(evaluate.Metric):
    """A metric whose code is this class: no module file, no download, data kept in memory."""

    takes: ClassVar[dict[str, Any]]

    def __init__(self, **options: Any) -> None:
        super().__init__(keep_in_memory=True, **options)

    def _info(self) -> Any:
        text = (type(self).__doc__ or "").strip()
        return evaluate.MetricInfo(
            description=text, citation="", inputs_description="", features=datasets.Features(self.takes)
        )

    def _download_and_prepare(self, dl_manager: Any) -> None:
        """Nothing to fetch."""


class Accuracy(_LocalMetric):
    """The share of examples whose predicted class is right."""

    takes = _LABELS

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


class BalancedAccuracy(_LocalMetric):
    """The mean over classes of the share of their examples that are found (mean per-class recall)."""

    takes = _LABELS

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        matrix = confusion(np.asarray(predictions), np.asarray(references))
        present = matrix.sum(axis=1) > 0
        recall = np.diag(matrix)[present] / matrix.sum(axis=1)[present]
        return {"balanced_accuracy": float(recall.mean())}


class MacroF1(_LocalMetric):
    """The mean of the F1 scores of all classes that occur among labels or predictions."""

    takes = _LABELS

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        matrix = confusion(np.asarray(predictions), np.asarray(references))
        either = matrix.sum(axis=0) + matrix.sum(axis=1)
        present = either > 0
        return {"macro_f1": float(np.mean(2 * np.diag(matrix)[present] / either[present]))}


class ConfusionMatrix(_LocalMetric):
    """Counts of examples, rows by true class, columns by predicted class."""

    takes = _LABELS

    def _compute(self, predictions: Any, references: Any, num_classes: int = 0) -> dict[str, Any]:
        matrix = confusion(np.asarray(predictions), np.asarray(references), num_classes)
        return {"confusion_matrix": matrix.tolist()}


class TopKAccuracy(_LocalMetric):
    """The share of examples whose class is among the k most probable ones (ties count against the example)."""

    takes = _PROBABILITIES

    def _compute(self, predictions: Any, references: Any, k: int = 5) -> dict[str, float]:
        scores, labels = np.asarray(predictions), np.asarray(references)
        own = scores[np.arange(len(labels)), labels][:, None]
        rivals = (scores >= own).sum(axis=1) - 1
        return {f"top_{k}_accuracy": float(np.mean(rivals < k))}


class ExpectedCalibrationError(_LocalMetric):
    """The mean gap between confidence and accuracy, weighted by bin size, over equal-width bins of confidence.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2, equation 3 (15 bins).
    """

    takes = _PROBABILITIES

    def _compute(self, predictions: Any, references: Any, bins: int = 15) -> dict[str, float]:
        scores, labels = np.asarray(predictions), np.asarray(references)
        confidence = scores.max(axis=1)
        right = scores.argmax(axis=1) == labels
        # Bins are (a, b]: a confidence of exactly 1 falls into the last one.
        which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        gap = np.bincount(which, weights=confidence, minlength=bins) - np.bincount(which, weights=right, minlength=bins)
        return {"expected_calibration_error": float(np.abs(gap).sum() / len(labels))}


class LogLoss(_LocalMetric):
    """The mean negative logarithm of the probability given to the true class, in nats."""

    takes = _PROBABILITIES

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        scores, labels = np.asarray(predictions), np.asarray(references)
        own = scores[np.arange(len(labels)), labels]
        return {"log_loss": float(-np.log(np.clip(own, 1e-12, 1.0)).mean())}


def confusion(predictions: np.ndarray, references: np.ndarray, num_classes: int = 0) -> np.ndarray:
    """The confusion matrix (C, C) of counts, rows true, columns predicted."""
    classes = max(num_classes, int(max(predictions.max(initial=0), references.max(initial=0))) + 1)
    return np.bincount(references * classes + predictions, minlength=classes**2).reshape(classes, classes)


def score_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """All metrics of probabilities (N, C) for labels (N,); top-5 where there are more than five classes."""
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    scores: dict[str, Any] = {}
    for metric in (Accuracy(), BalancedAccuracy(), MacroF1()):
        scores |= metric.compute(predictions=predicted, references=labels)
    scores["accuracy_interval"] = share_interval(int((predicted == labels).sum()), len(labels))
    of_probabilities: list[evaluate.Metric] = [TopKAccuracy()] if classes > 5 else []
    for metric in (*of_probabilities, ExpectedCalibrationError(), LogLoss()):
        scores |= metric.compute(predictions=probabilities, references=labels)
    scores |= ConfusionMatrix().compute(predictions=predicted, references=labels, num_classes=classes)
    return scores
