"""Whether a map tells the truth: what a model says when the places it names are taken away, or are all it is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hftransfer.attribution.network import PixelModel

_STEPS = 10
SIDE = 14
"""Cells along each side: pixels alone would be removed in a dust that no image has."""


@dataclass(frozen=True)
class Faithfulness:
    """The mean probability of the class while cells go (deletion: lower is better) or come (insertion: higher), those
    the map values most first; and the same in random order (RISE; Petsiuk et al., arXiv 1806.07421, section 4.3)."""

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @property
    def beats_chance(self) -> bool:
        """Return whether both are better than in random order."""
        return self.deletion < self.random_deletion and self.insertion > self.random_insertion


@torch.inference_mode()
def faithfulness(network: PixelModel, pixels: Tensor, found: np.ndarray, target: int, seed: int = 0) -> Faithfulness:
    """Return the scores of a map (H, W) of one image (1, 3, H, W); what is hidden is mid-grey."""
    by_map = np.argsort(-cells_of(found).ravel(), kind="stable")
    at_random = np.random.default_rng(seed).permutation(SIDE * SIDE)
    scores = [_removed(network, pixels, order, target) for order in (by_map, at_random)]
    return Faithfulness(scores[0][0], scores[0][1], scores[1][0], scores[1][1])


def cells_of(found: np.ndarray) -> np.ndarray:
    """Return the mean of a map (H, W) over each of 14 × 14 cells."""
    rows = np.array_split(np.arange(found.shape[0]), SIDE)
    columns = np.array_split(np.arange(found.shape[1]), SIDE)
    return np.array([[found[np.ix_(row, column)].mean() for column in columns] for row in rows])


def _removed(network: PixelModel, pixels: Tensor, order: np.ndarray, target: int) -> tuple[float, float]:
    """Return the mean score while cells are deleted, and while they are inserted, in this order."""
    height, width = pixels.shape[2:]
    kept = []
    for step in range(_STEPS + 1):
        gone = np.zeros(SIDE * SIDE, bool)
        gone[order[: round(step * len(order) / _STEPS)]] = True
        grid = torch.from_numpy(~gone.reshape(SIDE, SIDE)).float()[None, None]  # (1, 1, SIDE, SIDE)
        kept.append(torch.nn.functional.interpolate(grid, (height, width), mode="nearest")[0])
    mask = torch.stack(kept).to(pixels.device)  # (S, 1, H, W)
    deleted, inserted = network(pixels * mask), network(pixels * (1 - mask))
    found = [_mean_score(network, logits, target) for logits in (deleted, inserted)]
    return found[0], found[1]


def _mean_score(network: PixelModel, logits: Tensor, target: int) -> float:
    """Return the mean score over the steps; of one prompt alone, its mean logit."""
    alone = network.texts is not None and logits.shape[1] == 1
    return float((logits if alone else network.scores(logits))[:, target].mean())
