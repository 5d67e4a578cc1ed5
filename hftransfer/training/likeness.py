"""What the training examples of a finished job look like to its model."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from hftransfer.metrics.familiarity import Familiarity, familiarity
from hftransfer.tasks.contract import Examples
from hftransfer.training.activations import Source
from hftransfer.training.job import Job
from hftransfer.training.loop import predict
from hftransfer.training.similarity import FeatureAdapter
from hftransfer.training.sources import Sources

_MOST_ROWS = 2048
_LEAST_UNSEEN = 50


def familiar_features(job: Job, sources: Sources, examples: dict[str, Examples]) -> Familiarity | None:
    """Return what the features of training examples look like, of 2,048 at the most; None where the task keeps none.

    Of features that learned, the validation examples tell what is usual: those learned from are nearer than new ones.
    """
    if job.taken is not None and not job.strategy.head_alone:
        return None  # no example is left that learned features have not seen
    # Of some decoders every token enters the head, and not one row an example.
    if not job.task.keeps_familiarity or job.adapter.trace.features.ndim != 2:
        return None
    train = spread_places(len(sources.plain), _MOST_ROWS)
    features = _features(job, sources.plain, train)
    labels = examples["train"].split.class_ids[train]
    unseen = None
    if not job.strategy.head_alone and len(examples["validation"].split) >= _LEAST_UNSEEN:
        held_out = sources.others["validation"]
        unseen = _features(job, held_out, spread_places(len(held_out), _MOST_ROWS))
    return familiarity(features, labels, len(job.splits.class_names), unseen)


def spread_places(count: int, most: int) -> np.ndarray:
    """Return the places of so many items, evenly spread where they are more than the `most`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _features(job: Job, source: Source, places: np.ndarray) -> np.ndarray:
    """Return what enters the head (N, D) for the items at these places."""
    features = cast(Any, FeatureAdapter(job.adapter))
    return np.stack(predict(features, job.boundary, source, job.compute, places.tolist()))
