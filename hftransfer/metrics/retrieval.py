"""How well images and captions find each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RANKS = (1, 5, 10)
RETRIEVAL_METRICS = tuple(f"{way}_recall_at_{rank}" for way in ("image_to_text", "text_to_image") for rank in RANKS)
_ROWS_AT_ONCE = 1024
_ROUNDING = 1e-6
"""Cosines of equal embeddings differ by this much at most, by how the products are summed."""


def retrieval_ranks(images: np.ndarray, captions: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank (from 0) of the best of an image's own captions among all captions, for each image (N,), and of a
    caption's own image among all images, for each caption (M,).

    From normalised embeddings (N, D) and (M, D), and the image that each caption belongs to (M,). Of equals, strangers
    come first: a model that finds everything alike finds nothing.
    """
    to_captions = np.empty(len(images), dtype=np.int64)
    to_images = np.zeros(len(captions), dtype=np.int64)
    own_score = np.einsum("md,md->m", captions, images[owners])  # (M,)
    # All scores (N, M) at once may not fit the memory.
    for start in range(0, len(images), _ROWS_AT_ONCE):
        scores = images[start : start + _ROWS_AT_ONCE] @ captions.T  # (n, M)
        numbers = np.arange(start, start + len(scores))
        mine = owners[None, :] == numbers[:, None]  # (n, M)
        best = np.where(mine, scores, -np.inf).max(axis=1, keepdims=True)  # (n, 1)
        to_captions[numbers] = ((scores >= best - _ROUNDING) & ~mine).sum(axis=1)
        to_images += ((scores >= own_score[None, :] - _ROUNDING) & ~mine).sum(axis=0)
    return to_captions, to_images


def recalls(ranks: np.ndarray, name: str, ats: Sequence[int] = RANKS) -> dict[str, float]:
    """Return the share of ranks below each k, as `<name>_recall_at_<k>`."""
    return {f"{name}_recall_at_{at}": float(np.mean(ranks < at)) for at in ats}
