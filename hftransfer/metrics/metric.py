"""What is known of a metric: its name, which way is better, and what it is of one example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Scores: TypeAlias = dict[str, Any]
"""Metrics by their names: a number in most cases, an interval of two, or a confusion matrix as lists of counts."""


_CASED = {"iou": "IoU", "f1": "F1", "roc": "ROC", "auc": "AUC", "auroc": "AUROC", "rouge": "ROUGE", "bleu": "BLEU"}
_NAMED = {
    "r2": "R²",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "image_mean_iou": "mean IoU of each image",
    "example_f1": "F1 of each example",
    "set_size_90": "labels in a 90 % prediction set",
    "set_coverage_90": "coverage of 90 % prediction sets",
    "unseen_class_auroc": "AUROC of unseen classes",
}


def metric_words(name: str) -> str:
    """Return what people call a metric, as within a sentence: `mean_iou` is the mean IoU, `roc_auc` the ROC AUC."""
    return _NAMED.get(name) or " ".join(_CASED.get(word, word) for word in name.split("_"))


@dataclass(frozen=True)
class Metric:
    """A metric that may choose the best epoch."""

    name: str
    higher_is_better: bool = True
    title: str = ""
    """Its name on pages, where that is another."""
    is_share: bool = False
    """Whether it is a share of examples that are right, each of which counts as 0 or 1."""
    is_bounded: bool = True
    """Whether it lies between 0 and 1, of each example too."""
    in_progress: bool = False
    """Whether it is shown after each epoch."""

    @property
    def words(self) -> str:
        """The name for people."""
        return self.title or metric_words(self.name)


def score_name(name: str, scores: Scores) -> str:
    """Return what people call a score; precision and recall of one of two classes say of which."""
    words = metric_words(name)
    positive = scores.get("positive_class")
    return f"{words} of '{positive}'" if positive is not None and name in ("precision", "recall") else words
