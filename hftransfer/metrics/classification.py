"""Metrics of single-label classification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hftransfer.metrics.intervals import share_interval
from hftransfer.metrics.metric import Scores


def confusion(predictions: np.ndarray, references: np.ndarray, num_classes: int = 0) -> np.ndarray:
    """Return the confusion matrix (C, C) of counts, rows true, columns predicted."""
    classes = max(num_classes, int(max(predictions.max(initial=0), references.max(initial=0))) + 1)
    # Each pair of classes is one number: a single count finds all.
    return np.bincount(references * classes + predictions, minlength=classes**2).reshape(classes, classes)


MOST_IN_MATRIX = 2_000
"""Classes above which no confusion matrix is told: its numbers grow with their square."""


@dataclass(frozen=True)
class Guesses:
    """The facts that metrics need of the probabilities (N, C) of N examples: each field has shape (N,)."""

    predicted: np.ndarray
    """The most probable class."""
    confidence: np.ndarray
    """Its probability."""
    own: np.ndarray
    """The probability of the true class."""
    rivals: np.ndarray
    """How many other classes are as probable as the true one or more."""

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> Guesses:
        """Return what metrics need of probabilities (N, C) for labels (N,)."""
        own = probabilities[np.arange(len(labels)), labels]
        predicted = probabilities.argmax(axis=1)
        return cls(predicted, probabilities.max(axis=1), own, rivals_of(probabilities, labels))


def rivals_of(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many other classes (N,) are as probable as the true one or more."""
    own = probabilities[np.arange(len(labels)), labels][:, None]  # (N, 1)
    rivals: np.ndarray = (probabilities >= own).sum(axis=1) - 1  # (N,)
    return rivals


def score_guesses(guesses: Guesses, labels: np.ndarray, classes: int) -> Scores:
    """Return all metrics for labels (N,); top-5 where there are more than five classes."""
    predicted, right = guesses.predicted, guesses.predicted == labels
    counts = counts_of(predicted, labels)
    scores: Scores = {
        "accuracy": float(np.mean(right)),
        "balanced_accuracy": balanced_accuracy(counts),
        "macro_f1": macro_f1(counts),
        "accuracy_interval": share_interval(int(right.sum()), len(labels)),
    }
    if classes > 5:
        scores["top_5_accuracy"] = float(np.mean(guesses.rivals < 5))
    scores["expected_calibration_error"] = calibration_error(guesses.confidence, right)
    scores["log_loss"] = log_loss(guesses.own)
    if classes <= MOST_IN_MATRIX:
        scores["confusion_matrix"] = confusion(predicted, labels, classes).tolist()
    return scores


def score_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Return all metrics of probabilities (N, C) for labels (N,)."""
    return score_guesses(Guesses.of(probabilities, labels), labels, probabilities.shape[1])


_MOST_RANKED = 1 << 25
"""Probabilities above which they are not ranked: sorting them would take longer than the network."""


def ranking_scores(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """Return how well probabilities (N, C) rank the examples of each class (N,) above all others: the area under the
    ROC curve and the average precision, their means over the classes that are there and not alone (one-vs-rest); of
    two classes both of the second, as scikit-learn has them. Empty where there are no such classes, or too many
    numbers."""
    from hftransfer.metrics.multi_label import average_precision

    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    known = np.flatnonzero((counts > 0) & (counts < len(labels)))
    if not len(known) or probabilities.size > _MOST_RANKED:
        return {}
    areas, precisions = [], []
    for place in known.tolist() if classes > 2 else [1]:
        own = labels == place
        areas.append(area_under_curve(probabilities[:, place], own))
        precisions.append(average_precision(own, probabilities[:, place]) or 0.0)
    return {"roc_auc": float(np.mean(areas)), "average_precision": float(np.mean(precisions))}


def area_under_curve(scores: np.ndarray, own: np.ndarray) -> float:
    """Return the area under the ROC curve of scores (N,), of which those that are `own` (N,) should be the higher."""
    others = np.sort(scores[~own])
    # Mann and Whitney's statistic: the share of pairs in the right order, a half for those that are equal.
    below, upto = (np.searchsorted(others, scores[own], side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(others))


def positive_scores(predicted: np.ndarray, labels: np.ndarray) -> Scores:
    """Return precision and recall of the second of two classes, for predictions and labels (N,)."""
    hits = float(((predicted == 1) & (labels == 1)).sum())
    taken, there = int((predicted == 1).sum()), int((labels == 1).sum())
    return {"precision": hits / taken if taken else 0.0, "recall": hits / there if there else 0.0}


@dataclass(frozen=True)
class ClassCounts:
    """Examples of each class (C,): there, predicted, and both at once."""

    there: np.ndarray
    taken: np.ndarray
    hits: np.ndarray


def counts_of(predictions: np.ndarray, references: np.ndarray) -> ClassCounts:
    """Return the counts of each class for predictions and labels (N,)."""
    classes = int(max(predictions.max(initial=0), references.max(initial=0))) + 1
    hits = references[predictions == references]
    return ClassCounts(*(np.bincount(of, minlength=classes) for of in (references, predictions, hits)))


def balanced_accuracy(counts: ClassCounts) -> float:
    """Return the mean over classes of the share of their examples that are found (mean per-class recall)."""
    # Of a class without examples there is no share that was found.
    present = counts.there > 0
    return float((counts.hits[present] / counts.there[present]).mean())


def macro_f1(counts: ClassCounts) -> float:
    """Return the mean of the F1 scores of all classes that occur among labels or predictions."""
    either = counts.taken + counts.there
    present = either > 0
    return float(np.mean(2 * counts.hits[present] / either[present]))


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy (N,), weighted by bin size, over equal-width bins (Guo et al.
    2017, arXiv 1706.04599, equation 3)."""
    # Bins are (a, b]: a confidence of exactly 1 falls into the last one.
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # (N,)
    gap = np.bincount(which, weights=confidence, minlength=bins) - np.bincount(which, weights=right, minlength=bins)
    return float(np.abs(gap).sum() / len(right))


def log_loss(own: np.ndarray) -> float:
    """Return the mean negative logarithm of the probabilities (N,) of the true classes, in nats."""
    # One class that was held to be impossible would make the mean infinite.
    return float(-np.log(np.clip(own, 1e-12, 1.0)).mean())
