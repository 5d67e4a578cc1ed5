"""How well masks agree: intersection over union, Dice, accuracies and borders, of a data set and of single images."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hftransfer.metrics.intervals import mean_interval

_DRAWS = 1000


class Agreement(NamedTuple):
    """How the pixels of one mask agree with the truth: the pairs that occur, t · C + p of truth t and prediction p, and
    how many pixels have each; and of borders how many pixels of both there are, and how many are near the other's."""

    pairs: np.ndarray
    counts: np.ndarray
    borders: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Predicted border pixels, those near a true one; true border pixels, those near a predicted one."""

    @classmethod
    def of(cls, truth: np.ndarray, predicted: np.ndarray, classes: int) -> Agreement:
        """Count the pixels (H, W) of class ids; those whose truth is below 0 count nowhere."""
        counts = confusion(truth, predicted, classes).ravel()
        pairs = np.flatnonzero(counts)
        return cls(pairs.astype(np.int32), counts[pairs], _borders(truth, predicted))

    def matrix(self, classes: int) -> np.ndarray:
        """Return the counts (C, C), true classes in rows."""
        found = np.zeros(classes * classes, dtype=np.int64)
        found[self.pairs] = self.counts
        return found.reshape(classes, classes)


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how many pixels of class ids there are of each pair (C, C), true classes in rows; those whose truth is
    below 0 count nowhere."""
    known = truth >= 0
    flat = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(flat, minlength=classes * classes).astype(np.int64).reshape(classes, classes)


def joined(parts: list[Agreement], classes: int) -> Agreement:
    """Return the agreement of several parts of one image."""
    matrix = sum(part.matrix(classes) for part in parts)
    flat = np.asarray(matrix).ravel()
    pairs = np.flatnonzero(flat)
    borders = np.sum([part.borders for part in parts], axis=0).tolist()
    return Agreement(pairs.astype(np.int32), flat[pairs], tuple(borders))


def _borders(truth: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int, int]:
    """Return the counts of border pixels, near meaning within 0.75 % of the diagonal (Csurka et al., BMVC 2013), what
    is ignored being no border."""
    from scipy.ndimage import binary_dilation, generate_binary_structure, iterate_structure

    known = truth >= 0
    true, said = _edges(truth) & known, _edges(np.where(known, predicted, truth)) & known
    reach = max(1, round(0.0075 * float(np.hypot(*truth.shape))))
    disc = iterate_structure(generate_binary_structure(2, 1), reach)
    near_true, near_said = binary_dilation(true, disc), binary_dilation(said, disc)
    return int(said.sum()), int((said & near_true).sum()), int(true.sum()), int((true & near_said).sum())


def _edges(ids: np.ndarray) -> np.ndarray:
    """Return the pixels (H, W) whose right or lower neighbour is of another class."""
    found = np.zeros(ids.shape, dtype=bool)
    found[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    found[:-1] |= ids[:-1] != ids[1:]
    return found


def class_scores(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return `iou`, `dice`, `precision` and `recall` (…, C) of counts (…, C, C); NaN where there is nothing to
    divide by."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    true, said = matrix.sum(axis=-1), matrix.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "iou": hits / (true + said - hits),
            "dice": 2 * hits / (true + said),
            "precision": hits / said,
            "recall": hits / true,
        }


def mean_of_classes(values: np.ndarray, matrix: np.ndarray) -> float:
    """Return the mean of a score (C,) over the classes that occur among the counts (C, C): one without a true pixel has
    no recall, and its IoU says nothing."""
    there = matrix.sum(axis=1) > 0
    return float(values[there].mean()) if there.any() else 0.0


def image_score(own: Agreement, classes: int) -> float:
    """Return the mean IoU of the classes that are in an image's mask or its prediction; 1 where none is."""
    found = class_scores(own.matrix(classes))["iou"]
    return float(np.nanmean(found)) if np.isfinite(found).any() else 1.0


def score_masks(images: list[Agreement], names: list[str]) -> dict[str, Any]:
    """Return the metrics of a data set: mean IoU over the classes that it has, of all pixels together and as the mean
    over images, with 95 % intervals of the bootstrap over images (Efron 1979). In `per_class` the scores of a class
    without a true pixel are None."""
    classes = len(names)
    total = np.zeros((classes, classes), dtype=np.int64)
    for one in images:
        total += one.matrix(classes)
    scores = class_scores(total)
    each = np.array([image_score(one, classes) for one in images])
    said, near_true, true, near_said = np.sum([one.borders for one in images], axis=0).tolist() if images else [0] * 4
    precision, recall = near_true / max(1, said), near_said / max(1, true)
    low, high = _interval(images, classes, total.sum(axis=1) > 0)
    return {
        "mean_iou": mean_of_classes(scores["iou"], total),
        "mean_iou_interval": [low, high],
        "image_mean_iou": float(each.mean()) if len(each) else 0.0,
        "image_mean_iou_interval": mean_interval(each),
        "mean_dice": mean_of_classes(scores["dice"], total),
        "pixel_accuracy": float(np.trace(total) / max(1, total.sum())),
        "mean_class_accuracy": mean_of_classes(scores["recall"], total),
        "boundary_f1": 2 * precision * recall / max(precision + recall, 1e-12),
        "per_class": {name: _scores_of(place, scores, int(total[place].sum())) for place, name in enumerate(names)},
        "pixel_confusion": total.tolist(),
    }


def _scores_of(place: int, scores: dict[str, np.ndarray], support: int) -> dict[str, float | None]:
    """Return the scores of one class, None where it has no true pixel: 0 would say that all of them were missed."""
    own = {**scores, "f1": scores["dice"]}
    told = {key: float(np.nan_to_num(values[place])) if support else None for key, values in own.items()}
    return {**told, "support": support}


def _interval(images: list[Agreement], classes: int, there: np.ndarray) -> tuple[float, float]:
    if len(images) < 2 or not there.any():
        return 0.0, 1.0
    hits, unions = np.zeros((len(images), classes)), np.zeros((len(images), classes))
    for place, one in enumerate(images):
        matrix = one.matrix(classes)
        hits[place] = np.diag(matrix)
        unions[place] = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    random = np.random.default_rng(0)
    found = []
    for _ in range(_DRAWS):
        drawn = np.bincount(random.integers(0, len(images), len(images)), minlength=len(images))
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = (drawn @ hits) / (drawn @ unions)
        found.append(np.nanmean(np.where(there, iou, np.nan)))
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)
