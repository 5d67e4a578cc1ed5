"""What the features of training examples look like, and how unlike them others are: none of the classes, perhaps.

Two distances are added, each as it lies among training examples: that of Mahalanobis to the nearest class, all classes
sharing one covariance (Lee et al., arXiv 1807.03888), and one less the cosine to the nearest class. Features are
standardised and scaled to length 1 before, the covariance is shrunk (Ledoit and Wolf 2004, "A well-conditioned
estimator for large-dimensional covariance matrices"), and only its largest directions are kept. No example is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np

_DIRECTIONS = 256
_LEAST_ROWS = 10
_MOST_LEFT_OUT, _FEWER_LEFT_OUT = 20, 5
"""Of more classes so many are left out in turn, evenly spread."""
_QUICK = 512
"""Features from which on a decomposition takes a while: fewer classes are left out."""
_LEAST_JUDGED = 5
"""Examples of a class, and of all others, from which on an area under a curve says something."""
_FOLDS, _FEWER_FOLDS = 5, 2
_WIDE = 1024
"""Features from which on a decomposition takes seconds: fewer are made."""
_QUANTILES = 1001
_TINY = 1e-12
_MANY_UNSEEN = 50


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The looks of training features of C classes, D features each; all parts are float32."""

    mean: np.ndarray
    """(D,)"""
    scale: np.ndarray
    """(D,)"""
    centers: np.ndarray
    """Of the classes (C, D), standardised and scaled to length 1 before the mean was taken."""
    directions: np.ndarray
    """The largest of the covariance within classes (R, D)."""
    precisions: np.ndarray
    """One over the variance in each of them, and in all others (R + 1,)."""
    spread: np.ndarray
    """The mean and standard deviation of both distances over training examples (2, 2)."""
    reference: np.ndarray
    """The strangeness of training examples in rising order (Q,), each as if it had not been among them."""

    def unlike(self, features: np.ndarray) -> np.ndarray:
        """Return, for features (B, D), the share (B,) of training examples that are less unusual."""
        found = np.searchsorted(self.reference, self.strangeness(features), side="left")  # (B,)
        shares: np.ndarray = found / len(self.reference)
        return shares

    def strangeness(self, features: np.ndarray) -> np.ndarray:
        """Return how strange features (B, D) are (B,): the sum of both distances, in standard deviations."""
        distances = self.distances(features)  # (B, 2)
        added: np.ndarray = ((distances - self.spread[0]) / self.spread[1]).sum(axis=1)
        return added

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return both distances (B, 2) of features (B, D)."""
        rows = _unit((features.astype(np.float64) - self.mean) / self.scale)  # (B, D)
        centers = self.centers.astype(np.float64)  # (C, D)
        whole = _squared(rows, centers)  # (B, C)
        own, theirs = rows @ self.directions.T, centers @ self.directions.T  # (B, R), (C, R)
        weights, rest = np.sqrt(self.precisions[:-1]), self.precisions[-1]
        inside = _squared(own * weights, theirs * weights) - rest * _squared(own, theirs)
        mahalanobis = (inside + rest * whole).min(axis=1)  # (B,)
        cosine = (rows @ _unit(centers).T).max(axis=1)  # (B,)
        return np.stack([mahalanobis, 1 - cosine], axis=1)

    def parts(self) -> dict[str, np.ndarray]:
        """Return the arrays that it consists of, by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @classmethod
    def of_parts(cls, parts: Mapping[str, np.ndarray], classes: int) -> Self:
        """Return the same of arrays that were read.

        Raises:
            ValueError: they do not fit together, are no numbers, or are of another number of classes.
        """
        names = [part.name for part in fields(cls)]
        if sorted(parts) != sorted(names):
            raise ValueError(f"the parts {', '.join(sorted(parts))}")
        found = cls(**{name: np.asarray(parts[name], dtype=np.float32) for name in names})
        width, kept = found.mean.shape, found.directions.shape[:1]
        wanted = [width, (classes, *width), (*kept, *width), (kept[0] + 1,), (2, 2)] if kept else []
        own = [found.scale, found.centers, found.directions, found.precisions, found.spread]
        if [part.shape for part in own] != wanted or found.reference.ndim != 1 or not len(found.reference):
            raise ValueError("parts that do not fit together, or of other classes")
        if not all(np.isfinite(part).all() for part in found.parts().values()):
            raise ValueError("what is no number")
        if (found.scale <= 0).any() or (found.precisions < 0).any() or (found.spread[1] <= 0).any():
            raise ValueError("a spread of nothing")
        return found


def familiarity(
    features: np.ndarray, labels: np.ndarray, classes: int, unseen: np.ndarray | None = None
) -> Familiarity | None:
    """Return what features (N, D) with class ids (N,) look like; None where they are too few, or all alike.

    How strange training examples are is told by parts of them that were left out in turn; where the features
    learned from these very examples, by others that they did not learn from (`unseen`, (M, D)).
    """
    if len(features) < max(_LEAST_ROWS, classes) or len(np.unique(labels)) < classes:
        return None
    if not np.isfinite(features).all() or not (features.std(axis=0) > 0).any():
        return None
    found = _fitted(features, labels)
    distances = _left_out(features, labels) if unseen is None else found.distances(unseen)  # (N, 2) or (M, 2)
    spread = np.stack([distances.mean(axis=0), np.maximum(distances.std(axis=0), _TINY)])  # (2, 2)
    strangeness = np.sort(((distances - spread[0]) / spread[1]).sum(axis=1))
    if unseen is not None and len(unseen) < _MANY_UNSEEN:
        strangeness = _foretold(strangeness)
    if len(strangeness) > _QUANTILES:
        strangeness = np.quantile(strangeness, np.linspace(0, 1, _QUANTILES))
    made = replace(found, spread=spread, reference=strangeness)
    return replace(made, **{name: np.ascontiguousarray(part, dtype=np.float32) for name, part in made.parts().items()})


def _foretold(few: np.ndarray) -> np.ndarray:
    """Return how strange many examples (Q,) would be, by a few of them: the quantiles of the t distribution that
    foretells one more. The strangest of nine is passed by every tenth, and nine say nothing of the last hundredth."""
    from scipy.special import stdtrit

    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    width = max(float(few.std(ddof=1)), _TINY) * np.sqrt(1 + 1 / len(few))
    return np.asarray(few.mean() + width * stdtrit(len(few) - 1, shares))


def unseen_class_areas(
    known: Familiarity, features: np.ndarray, labels: np.ndarray, others: np.ndarray, other_labels: np.ndarray
) -> dict[int, float]:
    """Return by class how well `unlike` would tell it from the rest if nothing of it were learned: the area under the
    ROC curve of features (M, D) of examples that were not learned from, those of the class against those of the rest.

    For each class the looks of training features (N, D) of the rest are found anew; how much both distances count, and
    what is usual, is that of all, which are `known`. Of more than 20 classes 20 are tried, of wide features 5, and
    none with too few examples.
    """
    # Predictions read familiarity, and need none of what this brings.
    from hftransfer.metrics.classification import area_under_curve

    classes = len(known.centers)
    here, there = np.bincount(labels, minlength=classes), np.bincount(other_labels, minlength=classes)
    enough = (there >= _LEAST_JUDGED) & (len(other_labels) - there >= _LEAST_JUDGED)
    tried = np.flatnonzero(enough & (len(labels) - here >= max(_LEAST_ROWS, classes)))
    most = min(len(tried), _MOST_LEFT_OUT if min(features.shape) <= _QUICK else _FEWER_LEFT_OUT)
    places = np.linspace(0, len(tried) - 1, most).round().astype(np.int64)
    found = {}
    for left_out in tried[places].tolist():
        rest = labels != left_out
        looks = replace(_fitted(features[rest], labels[rest]), spread=known.spread, reference=known.reference)
        found[left_out] = area_under_curve(looks.unlike(others), other_labels == left_out)
    return found


def _left_out(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the distances (N, 2) of every row to all but those of its fold."""
    folds = _FOLDS if min(features.shape) <= _WIDE else _FEWER_FOLDS
    # Within each class in turn, so that every fold has some of all.
    order = np.argsort(labels, kind="stable")
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % folds
    distances = np.empty((len(labels), 2))
    for number in range(folds):
        mine = fold == number
        distances[mine] = _fitted(features[~mine], labels[~mine]).distances(features[mine])
    return distances


def _fitted(features: np.ndarray, labels: np.ndarray) -> Familiarity:
    """Return class centres and covariance of features (N, D); how strange they are is not known yet."""
    values = features.astype(np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.maximum(scale, 1e-6 * max(float(scale.max()), _TINY))
    rows = _unit((values - mean) / scale)  # (N, D)
    ids, places = np.unique(labels, return_inverse=True)
    centers = np.stack([rows[places == place].mean(axis=0) for place in range(len(ids))])  # (C, D)
    directions, variances = _covariance(rows - centers[places])
    nothing = np.stack([np.zeros(2), np.ones(2)])
    return Familiarity(mean, scale, centers, directions, 1 / variances, nothing, np.zeros(1))


def _covariance(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest directions (R, D) of the shrunk covariance of centred rows (N, D), and the variance in each of
    them and in all others (R + 1,)."""
    count, width = rows.shape
    # Of fewer rows than features the smaller product has the same eigenvalues.
    product = rows @ rows.T if count < width else rows.T @ rows
    values, vectors = np.linalg.eigh(product / count)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    mean = values.sum() / width
    distance = max(float((values**2).sum() - width * mean**2), _TINY)
    noise = float(((rows**2).sum(axis=1) ** 2).mean() - (values**2).sum()) / count
    share = min(1.0, max(0.0, noise / distance))
    kept = min(_DIRECTIONS, len(values))
    if count < width:
        directions = (rows.T @ vectors[:, :kept]).T  # (R, D)
        lengths = np.linalg.norm(directions, axis=1)
        directions = directions[lengths > 1e-9] / lengths[lengths > 1e-9, None]
        kept = len(directions)
    else:
        directions = vectors[:, :kept].T
    rest = (values.sum() - values[:kept].sum()) / max(1, width - kept)
    shrunk = (1 - share) * np.append(values[:kept], rest) + share * mean
    return directions, np.maximum(shrunk, 1e-6 * max(mean, _TINY))


def _squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return squared distances (B, C) of rows (B, D) and (C, D)."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.maximum(squares, 0))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return rows (N, D) scaled to length 1."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY))
