"""What enters the learning part: the examples of each split, with the activations of their frozen part kept or anew."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hftransfer.adapters.base import Adapter
from hftransfer.adapters.dense import Grid
from hftransfer.base.errors import RecipeError, must_be
from hftransfer.data.inspection import inspect_rows
from hftransfer.data.rows import are_streamed
from hftransfer.data.skipped import without_faults
from hftransfer.data.splits import Splits
from hftransfer.tasks.contract import Examples
from hftransfer.tasks.items import InFetchingOrder, Items
from hftransfer.tasks.sense import FETCHED_ONCE
from hftransfer.training.activations import (
    ActivationStore,
    Source,
    StoredActivations,
    fill_store,
    key_parts,
    worth_keeping,
)
from hftransfer.training.frozen import frozen_twin
from hftransfer.training.job import Job

if TYPE_CHECKING:
    from hftransfer.training.maps import StoredMaps


@dataclass
class Sources:
    """The training source of each epoch, and one of each other split."""

    train: Callable[[int], Source]
    others: dict[str, Source]
    views: list[StoredActivations]
    plain: Source
    """The training split as it is, or in its first view."""
    items: Sequence[Items] = ()
    """Those of each view."""


@contextmanager
def features_of(job: Job) -> Iterator[tuple[dict[str, Examples], dict[str, StoredActivations]]]:
    """The examples of every split, and the features that a head would be solved on; nothing learns."""
    examples = examples_of(job)
    with activation_store(job) as store:
        yield examples, stored_features(sources_of(job, examples, store))


@contextmanager
def maps_of(job: Job) -> Iterator[tuple[dict[str, Examples], dict[str, StoredMaps]]]:
    """The examples of every split, and the maps that a head would be solved on, with their masks; nothing learns."""
    from hftransfer.training.maps import StoredMaps

    with features_of(job) as (examples, stored):
        classes, grids = len(job.splits.class_names), grids_of(job)
        yield (
            examples,
            {
                name: StoredMaps(own, grids, job.task.map_targets(examples[name], classes))
                for name, own in stored.items()
            },
        )


def grids_of(job: Job) -> Sequence[Grid]:
    """Return the sizes of the maps that enter the head."""
    shape = job.adapter.split.features_shape[1:]
    return getattr(job.adapter.head, "grids", None) or [(shape[0], shape[1], shape[2])]


def stored_features(sources: Sources) -> dict[str, StoredActivations]:
    """Return what is kept of each split, the training split in its first view."""
    stored = {"train": sources.views[0], **{name: source.stored for name, source in sources.others.items()}}
    return {name: part for name, part in stored.items() if part is not None}


def examples_of(job: Job) -> dict[str, Examples]:
    """Return the examples of every split that has some."""
    found = {}
    for name, split in job.splits.items():
        if len(split):
            found[name] = job.task.examples(job.adapter, split, job.data)
            for note in found[name].notes:
                job.progress.line(f"  {name}: {note}")
    return found


def sources_of(job: Job, examples: dict[str, Examples], store: ActivationStore | None) -> Sources:
    """Return what enters the learning part. Rows that can't be read leave the job's splits and the examples.

    Raises:
        DataError: rows can't be read, and they are not to be skipped.
    """
    if store is None:
        require_here(job.splits)
        if job.task.reader.decodes:
            _leave_out_undecodable(job, examples)
        return _live_sources(job, examples)
    views = _views(job, examples["train"])
    named = [("train", view) for view in views] + [(n, e.items) for n, e in examples.items() if n != "train"]
    total = sum(len(items.digests) for _, items in named)
    stop = job.data.on_error == "stop"
    faults: dict[int, str] = {}
    # Faults are known by their place among the rows of all splits.
    starts = dict(zip(job.splits.sizes(), np.cumsum([0, *job.splits.sizes().values()]).tolist(), strict=False))
    parts: list[Items] = [items for _, items in named]
    if are_streamed(job.splits.train.rows):  # each group of rows is fetched once, for all splits and views
        parts = [InFetchingOrder(parts)]
    with job.progress.stage("activations", total) as advance:
        for place, items in enumerate(parts):
            found = fill_store(store, job.adapter, job.boundary, items, job.compute, advance, stop_at_fault=stop)
            for item, reason in found.items():
                part, own = items.places[item] if isinstance(items, InFetchingOrder) else (place, item)
                faults[starts[named[part][0]] + own] = reason
    if faults:
        job.splits = without_faults(job.splits, faults, job.data)
        examples.update(examples_of(job))
        # What could be read is in the store by now, and only found again.
        return sources_of(job, examples, store)
    stored = [store.activations(view.digests) for view in views]
    sources = [_source(job, view, activations) for view, activations in zip(views, stored, strict=True)]
    others = {
        name: _source(job, part.items, store.activations(part.items.digests))
        for name, part in examples.items()
        if name != "train"
    }
    return Sources(lambda epoch: sources[epoch % len(sources)], others, stored, sources[0], views)


def require_here(splits: Splits) -> None:
    """Return if no image must be fetched whenever it is read.

    Raises:
        RecipeError: some must.
    """
    if are_streamed(splits.train.rows):
        allowed = "left out where nothing that frozen layers give is kept"
        raise RecipeError(must_be("data.streaming", allowed, "true", FETCHED_ONCE))


def _leave_out_undecodable(job: Job, examples: dict[str, Examples]) -> None:
    """Leave out the images that can't be decoded, before a loop that decodes them anew in every epoch.

    Raises:
        DataError: there are some and they are not to be skipped; all are named.
    """
    rows = [row for _, split in job.splits.items() for row in split.rows]
    places = job.compute.processes.share(range(len(rows)))

    def own() -> dict[int, str]:
        found = inspect_rows([rows[place] for place in places], advance, decode=True).faults
        return {places[index]: reason for index, reason in found.items()}

    with job.progress.stage("decoding every image", len(places)) as advance:
        faults = {place: reason for part in job.compute.processes.agree(own) for place, reason in part.items()}
    if faults:
        job.splits = without_faults(job.splits, faults, job.data)
        examples.update(examples_of(job))


def _source(job: Job, items: Items, stored: StoredActivations | None = None, frozen: Adapter | None = None) -> Source:
    return Source(items, job.adapter, job.boundary, job.compute, stored, frozen)


def _views(job: Job, train: Examples) -> list[Items]:
    """Return the training items: as they are, or in several augmented views."""
    if not job.views:
        return [train.items]
    return [_augmented(job, train, view) for view in range(job.views)]


def _augmented(job: Job, train: Examples, view: int) -> Items:
    return job.task.augmented(job.adapter, train, job.augment(view), job.data.decode)


def _live_sources(job: Job, examples: dict[str, Examples]) -> Sources:
    """Sources that compute the frozen part anew each time."""
    frozen = frozen_twin(job.adapter, job.compute) if job.boundary else None
    train = examples["train"]

    def of_epoch(epoch: int) -> Source:
        if not job.augments:
            return _source(job, train.items, frozen=frozen)
        return _source(job, _augmented(job, train, epoch % job.views if job.views else epoch), frozen=frozen)

    others = {name: _source(job, e.items, frozen=frozen) for name, e in examples.items() if name != "train"}
    # As where views are kept, the first of them stands for the images.
    plain = of_epoch(0) if job.views else _source(job, train.items, frozen=frozen)
    return Sources(of_epoch, others, [], plain)


@contextmanager
def activation_store(job: Job) -> Iterator[ActivationStore | None]:
    """The store of the boundary's activations; None where they are computed anew each time."""
    if not _stores(job):
        yield None
        return
    parts = key_parts(job.adapter, job.weights_sha256, job.boundary, job.compute)
    if job.train.cache == "off" and job.scratch is not None:
        yield ActivationStore(job.scratch, parts)
    elif job.train.cache == "off":
        together = job.compute.processes
        with tempfile.TemporaryDirectory(prefix="hftransfer-") as folder:
            yield ActivationStore(Path(together.gather(folder)[together.machine]), parts)
            together.gather(None)  # the folder goes when all are done with it
    else:
        yield ActivationStore.in_cache(parts, job.progress.line)


def _stores(job: Job) -> bool:
    """Return whether activations are computed once: always at the head, else where they are worth keeping."""
    if job.own.transform is not None:
        kept = f"{job.views} views of each are kept" if job.views else "their activations are not cached"
        job.progress.line(f"training images go through your transform: {kept}")
    if job.changes_images:
        return False
    if job.at_head:
        return True
    count = sum(job.splits.sizes().values()) * max(1, job.views)
    return worth_keeping(job.train.cache, job.adapter, job.boundary, count, job.progress)
