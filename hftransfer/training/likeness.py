"""What the training examples of a finished job look like to its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from hftransfer.data.splits import shown_split
from hftransfer.metrics.familiarity import Familiarity, familiarity, unseen_class_areas
from hftransfer.tasks.contract import Examples, Judged
from hftransfer.training.activations import Source
from hftransfer.training.job import Job
from hftransfer.training.loop import predict
from hftransfer.training.similarity import FeatureAdapter
from hftransfer.training.sources import Sources

_MOST_ROWS = 2048
_LEAST_UNSEEN = 8


@dataclass(frozen=True)
class Likeness:
    """The looks of the features of training examples, where the task keeps them."""

    familiarity: Familiarity | None = None
    areas: Mapping[str, float] = field(default_factory=dict)
    """By class: how well examples of it are told from others where nothing of it was learned."""

    def added_to(self, judged: Mapping[str, Judged]) -> dict[str, Judged]:
        """Return the scores of all splits, with these areas and their mean among those of the split shown first."""
        if not self.areas:
            return dict(judged)
        name = shown_split(judged)
        told = {
            "unseen_class_auroc": float(np.mean(list(self.areas.values()))),
            "unseen_class_auroc_by_class": dict(self.areas),
        }
        return {**judged, name: replace(judged[name], metrics={**judged[name].metrics, **told})}


def likeness_of(job: Job, sources: Sources, examples: dict[str, Examples]) -> Likeness:
    """Return what the features of training examples look like, of 2,048 at the most.

    Of features that learned, the validation examples tell what is usual: those learned from are nearer than new ones.
    Of features that did not, each class in turn is left out: those that learned from it know it.
    """
    if job.taken is not None and not job.strategy.head_alone:
        return Likeness()  # no example is left that learned features have not seen
    # Of some decoders every token enters the head, and not one row an example.
    if not job.task.keeps_familiarity or len(job.adapter.split.features_shape) != 2:
        return Likeness()
    train = spread_places(len(sources.plain), _MOST_ROWS)
    features = features_at(job, sources.plain, train)
    labels, classes = examples["train"].split.class_ids[train], len(job.splits.class_names)
    unseen = None
    if not job.strategy.head_alone and len(examples["validation"].split) >= _LEAST_UNSEEN:
        held_out = sources.others["validation"]
        unseen = features_at(job, held_out, spread_places(len(held_out), _MOST_ROWS))
    known = familiarity(features, labels, classes, unseen)
    # Folds judge all examples together, and not each its own.
    if known is None or not job.strategy.head_alone or job.tested is not None:
        return Likeness(known)
    shown = shown_split(examples)
    places = spread_places(len(sources.others[shown]), _MOST_ROWS)
    others, ids = features_at(job, sources.others[shown], places), examples[shown].split.class_ids[places]
    areas = unseen_class_areas(known, features, labels, others, ids)
    return Likeness(known, {job.splits.class_names[place]: area for place, area in areas.items()})


def spread_places(count: int, most: int) -> np.ndarray:
    """Return the places of so many items, evenly spread where they are more than the `most`."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def features_at(job: Job, source: Source, places: np.ndarray) -> np.ndarray:
    """Return what enters the head (N, D) for the items at these places."""
    features = cast(Any, FeatureAdapter(job.adapter))
    return np.stack(predict(features, source, job.compute, places.tolist()))
