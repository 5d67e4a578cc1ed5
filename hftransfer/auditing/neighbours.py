"""Rows that are near each other by their features, found without a table of all pairs in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hftransfer.training.solver import varying

MOST_ROWS = 50_000
"""Of more rows the comparison of each with all takes too long."""
_NEIGHBOURS = 10
_PAIRS_AT_ONCE = 1 << 20  # of which 16 MB are held, however many rows there are
_NORMAL = 1.4826  # of a normal distribution the deviation is so many median deviations
# Deviations, and times the usual distance, beyond which a row is far. Of 800 photos of cats and dogs 2 are, by
# EfficientNet-Lite0, or none, by ViT-Tiny; of 8 other pictures among 270 seven, by both, and 1 of the 270 by one.
_FAR, _LEAST_TIMES = 2.0, 1.4


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of each row (N, K), nearest first, and their cosine similarities (N, K)."""

    places: np.ndarray
    similarities: np.ndarray

    def pairs(self, least: float, among: int = 5) -> dict[tuple[int, int], float]:
        """Return the similarity of each two rows of which one is among the other's first neighbours."""
        found: dict[tuple[int, int], float] = {}
        for first, column in zip(*np.nonzero(self.similarities[:, :among] >= least), strict=True):
            second = int(self.places[first, column])
            pair = (min(int(first), second), max(int(first), second))
            found[pair] = float(self.similarities[first, column])
        return found

    def outliers(self) -> dict[int, float]:
        """Return the rows that are much farther from their neighbours than is usual, and how sure that is, from 0 to 1.

        The distance is the mean over the neighbours, as in Kuan and Mueller (arXiv 2207.03061); what is usual, and how
        far from it is much, say the median of its logarithm and the median deviation from that.
        """
        if not self.places.shape[1]:
            return {}
        distances = np.maximum(1.0 - self.similarities.mean(axis=1), 1e-6)  # (N,)
        usual = float(np.median(distances))
        # Ratios, and not differences: distances of other features have another scale.
        apart = np.log(distances / usual)
        deviation = _NORMAL * float(np.median(np.abs(apart)))
        limit = max(_FAR * deviation, float(np.log(_LEAST_TIMES)))
        return {int(i): float(1.0 - usual / distances[i]) for i in np.flatnonzero(apart > limit)}


def standardised(features: np.ndarray) -> np.ndarray:
    """Return features (N, D) less their mean and divided by their deviation; constant ones are 0."""
    values = features.astype(np.float32)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    return np.asarray((values - mean) / np.where(varying(mean, deviation), deviation, np.inf))


def find_neighbours(features: np.ndarray, count: int = _NEIGHBOURS) -> Neighbours:
    """Return the rows with the highest cosine similarity to each row of the features (N, D)."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)  # (N, 1)
    unit = (features / np.maximum(lengths, 1e-12)).astype(np.float32)  # (N, D)
    count = min(count, len(unit) - 1)
    places = np.empty((len(unit), count), dtype=np.int64)  # (N, K)
    similarities = np.empty((len(unit), count), dtype=np.float32)  # (N, K)
    # Blocks of rows: a table of all pairs would grow with the square of their number.
    at_once = max(1, _PAIRS_AT_ONCE // max(1, len(unit)))
    for start in range(0, len(unit), at_once):
        block = unit[start : start + at_once] @ unit.T  # (B, N)
        own = np.arange(len(block))
        # A row is no neighbour of itself.
        block[own, start + own] = -np.inf
        # The few nearest are found without sorting all, and sorted then.
        nearest = np.argpartition(-block, max(0, count - 1), axis=1)[:, :count]  # (B, K)
        order = np.argsort(-np.take_along_axis(block, nearest, axis=1), axis=1, kind="stable")  # (B, K)
        places[start : start + at_once] = np.take_along_axis(nearest, order, axis=1)
        similarities[start : start + at_once] = np.take_along_axis(block, places[start : start + at_once], axis=1)
    return Neighbours(places, similarities)
