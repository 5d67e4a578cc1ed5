"""Metrics of rows with any number of labels, from labels (N, C) of 0 and 1 and probabilities (N, C)."""

from __future__ import annotations

import numpy as np

from hftransfer.metrics.intervals import mean_interval
from hftransfer.metrics.metric import Scores

_DRAWS, _AT_ONCE = 1000, 50


def score_labels(labels: np.ndarray, probabilities: np.ndarray, given: np.ndarray) -> Scores:
    """Return the metrics of labels (N, C) that were predicted: `given` (N, C) of 0 and 1, by these probabilities.

    As scikit-learn defines them, a share without any case counting as 0: F1 micro and macro (the mean over all labels)
    and of each row (two empty rows agree: 1), mean average precision over the labels that occur, subset accuracy,
    Hamming loss and label ranking average precision. With the 95 % intervals that the number of rows leaves to macro F1
    and to that of each row (percentile bootstrap).
    """
    wanted, given = labels.astype(bool), given.astype(bool)
    hits = wanted & given
    counts = np.stack([part.sum(axis=0) for part in (hits, given, wanted)]).astype(np.float64)  # (3, C)
    precision_of_each = [average_precision(own, scores) for own, scores in zip(wanted.T, probabilities.T, strict=True)]
    known = [value for value in precision_of_each if value is not None]
    of_rows = f1_of_rows(wanted, given)
    return {
        "macro_f1": float(_f1(*counts).mean()),
        "micro_f1": float(_f1(*counts.sum(axis=1, keepdims=True))[0]),
        "example_f1": float(of_rows.mean()),
        "mean_average_precision": float(np.mean(known)) if known else 0.0,
        "subset_accuracy": float((wanted == given).all(axis=1).mean()),
        "hamming_loss": float((wanted != given).mean()),
        "label_ranking_average_precision": ranking_precision(wanted, probabilities),
        "log_loss": float(log_losses(wanted, probabilities).mean()),
        "labels_per_example": float(given.sum(axis=1).mean()),
        "macro_f1_interval": _macro_interval(hits, given, wanted),
        "example_f1_interval": mean_interval(of_rows),
    }


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the mean over labels of each row's (N,) negative log probability of what it has and has not, in nats."""
    own = np.where(labels.astype(bool), probabilities, 1.0 - probabilities)  # (N, C)
    return np.asarray(-np.log(np.clip(own, 1e-12, 1.0)).mean(axis=1))


def f1_of_rows(labels: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the F1 (N,) of each row's labels: 1 where it has none and none is given."""
    wanted, given = labels.astype(bool), given.astype(bool)
    both, either = (wanted & given).sum(axis=1), wanted.sum(axis=1) + given.sum(axis=1)  # (N,)
    return np.where(either == 0, 1.0, 2.0 * both / np.maximum(either, 1))


def best_constant(labels: np.ndarray) -> np.ndarray:
    """Return which labels (C,), given to every row, have the highest mean F1 of rows (N, C).

    Of k labels each adds to a row that has it 2 / (k + labels of the row): so the best k are those with the largest
    sums, and no search is needed.
    """
    wanted = labels.astype(bool)
    sizes = wanted.sum(axis=1)  # (N,)
    by_size = np.zeros((wanted.shape[1] + 1, wanted.shape[1]))  # (C + 1, C)
    np.add.at(by_size, sizes, wanted)
    best, given = float((sizes == 0).sum()), np.zeros(wanted.shape[1], dtype=bool)
    for count in range(1, wanted.shape[1] + 1):
        added = (2.0 / (count + np.arange(len(by_size)))) @ by_size  # (C,)
        chosen = np.argsort(-added, kind="stable")[:count]
        if (total := float(added[chosen].sum())) > best + 1e-9:
            best, given = total, np.isin(np.arange(len(added)), chosen)
    return given


def per_label(labels: np.ndarray, probabilities: np.ndarray, given: np.ndarray, names: list[str]) -> dict[str, Scores]:
    """Return precision, recall, F1, average precision and the number of rows of each label."""
    wanted, given = labels.astype(bool), given.astype(bool)
    hits, taken, there = ((part.sum(axis=0)) for part in (wanted & given, given, wanted))  # (C,) each
    return {
        name: {
            "precision": float(hits[i] / max(1, taken[i])),
            "recall": float(hits[i] / max(1, there[i])),
            "f1": float(2 * hits[i] / max(1, taken[i] + there[i])),
            "average_precision": average_precision(wanted[:, i], probabilities[:, i]),
            "support": int(there[i]),
        }
        for i, name in enumerate(names)
    }


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Return the sum over thresholds of precision times the recall gained, of labels (N,); None without any.

    Rows of equal scores are taken together (Zhu 2004, Recall, Precision and Average Precision).
    """
    precision, recall, _ = precision_recall(labels, scores)
    if not labels.any():
        return None
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and threshold (K,) at each distinct score, from the highest down: a row is taken where
    its score is the threshold or more."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.diff(ranked, append=np.nan))  # the last row of each distinct score
    hits = np.cumsum(labels[order])[last]  # (K,)
    return hits / (last + 1.0), hits / max(1, int(labels.sum())), ranked[last]


def ranking_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean over rows of the share of true labels among those ranked as high as each true one; 1 for rows
    with none or all (Tsoumakas, Katakis and Vlahavas 2010, Mining Multi-label Data)."""
    total = 0.0
    for own, values in zip(labels.astype(bool), scores, strict=True):
        if own.all() or not own.any():
            total += 1.0
            continue
        # Places in sorted lists instead of all comparisons: C² of them would be many.
        ordered, of_true = np.sort(values), np.sort(values[own])
        ranks = len(values) - np.searchsorted(ordered, values[own], "left")  # (T,), T true labels
        above = len(of_true) - np.searchsorted(of_true, values[own], "left")
        total += float(np.mean(above / ranks))
    return total / max(1, len(labels))


def _f1(hits: np.ndarray, taken: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.asarray(2.0 * hits / np.maximum(taken + there, 1.0))


def _macro_interval(hits: np.ndarray, given: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Return the 95 % interval of macro F1: the percentile bootstrap over rows."""
    random, count = np.random.default_rng(0), len(wanted)
    parts = [part.astype(np.float32) for part in (hits, given, wanted)]
    found = []
    for _ in range(_DRAWS // _AT_ONCE):
        # How often each row is drawn says all of a draw: the sums are products of matrices.
        times = random.multinomial(count, np.full(count, 1.0 / count), size=_AT_ONCE).astype(np.float32)  # (A, N)
        found += _f1(*(times @ part for part in parts)).mean(axis=1).tolist()
    return [float(end) for end in np.percentile(found, [2.5, 97.5])]
