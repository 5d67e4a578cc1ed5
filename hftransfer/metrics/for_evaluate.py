"""The metrics of single-label classification and of spans as metrics of `evaluate`.

Each works like any other: `Accuracy().compute(predictions=…, references=…)`. Those of probabilities take `predictions`
of shape (N, C), rows summing to 1. Runs do without: to import `evaluate` and `datasets` takes most of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from hftransfer.metrics.classification import (
    balanced_accuracy,
    calibration_error,
    confusion,
    counts_of,
    log_loss,
    macro_f1,
    rivals_of,
)
from hftransfer.metrics.spans import exact_match, span_f1

if TYPE_CHECKING:
    from datasets.features.features import FeatureType

_LABELS = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
_PROBABILITIES = {
    "predictions": datasets.Sequence(datasets.Value("float64")),
    "references": datasets.Value("int64"),
}
_SPANS = {"predictions": datasets.Value("string"), "references": datasets.Sequence(datasets.Value("string"))}


class LocalMetric(evaluate.Metric):
    """A metric whose code is this class: no module file, no download, data kept in memory."""

    takes: ClassVar[Mapping[str, FeatureType]]

    def __init__(self, **options: object) -> None:
        super().__init__(keep_in_memory=True, **options)

    def _info(self) -> evaluate.MetricInfo:
        text = (type(self).__doc__ or "").strip()
        return evaluate.MetricInfo(
            description=text, citation="", inputs_description="", features=datasets.Features(self.takes)
        )

    def _download_and_prepare(self, dl_manager: datasets.DownloadManager) -> None:
        """Fetch nothing: the code is here."""


class Accuracy(LocalMetric):
    """The share of examples whose predicted class is right."""

    takes = _LABELS

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.asarray(predictions) == np.asarray(references)))}


class BalancedAccuracy(LocalMetric):
    """The mean over classes of the share of their examples that are found (mean per-class recall)."""

    takes = _LABELS

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        return {"balanced_accuracy": balanced_accuracy(counts_of(np.asarray(predictions), np.asarray(references)))}


class MacroF1(LocalMetric):
    """The mean of the F1 scores of all classes that occur among labels or predictions."""

    takes = _LABELS

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        return {"macro_f1": macro_f1(counts_of(np.asarray(predictions), np.asarray(references)))}


class ConfusionMatrix(LocalMetric):
    """Counts of examples, rows by true class, columns by predicted class."""

    takes = _LABELS

    def _compute(
        self, predictions: ArrayLike, references: ArrayLike, num_classes: int = 0
    ) -> dict[str, list[list[int]]]:
        matrix = confusion(np.asarray(predictions), np.asarray(references), num_classes)
        return {"confusion_matrix": matrix.tolist()}


class TopKAccuracy(LocalMetric):
    """The share of examples whose class is among the k most probable ones (ties count against the example)."""

    takes = _PROBABILITIES

    def _compute(self, predictions: ArrayLike, references: ArrayLike, k: int = 5) -> dict[str, float]:
        scores, labels = np.asarray(predictions), np.asarray(references)
        return {f"top_{k}_accuracy": float(np.mean(rivals_of(scores, labels) < k))}


class ExpectedCalibrationError(LocalMetric):
    """The mean gap between confidence and accuracy, weighted by bin size, over equal-width bins of confidence.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2, equation 3 (15 bins).
    """

    takes = _PROBABILITIES

    def _compute(self, predictions: ArrayLike, references: ArrayLike, bins: int = 15) -> dict[str, float]:
        scores, labels = np.asarray(predictions), np.asarray(references)
        return {
            "expected_calibration_error": calibration_error(scores.max(axis=1), scores.argmax(axis=1) == labels, bins)
        }


class LogLoss(LocalMetric):
    """The mean negative logarithm of the probability given to the true class, in nats."""

    takes = _PROBABILITIES

    def _compute(self, predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
        scores, labels = np.asarray(predictions), np.asarray(references)
        return {"log_loss": log_loss(scores[np.arange(len(labels)), labels])}


class ExactMatch(LocalMetric):
    """The share of questions whose normalised prediction equals one of the normalised gold answers.

    No gold answer at all means that the empty prediction is the right one.
    """

    takes = _SPANS

    def _compute(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        return {
            "exact_match": float(np.mean([exact_match(*pair) for pair in zip(predictions, references, strict=True)]))
        }


class SpanF1(LocalMetric):
    """The mean over questions of the best F1 score of the predicted words against those of a gold answer.

    No gold answer at all means 1 for the empty prediction and 0 for any other.
    """

    takes = _SPANS

    def _compute(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        return {"f1": float(np.mean([span_f1(*pair) for pair in zip(predictions, references, strict=True)]))}
