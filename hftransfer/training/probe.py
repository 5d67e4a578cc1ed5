"""The linear probe of a job: its head solved on the features of frozen examples, or set before a training begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from hftransfer.base.plain import shown_number
from hftransfer.data.rows import Row
from hftransfer.strategies import LinearProbe
from hftransfer.tasks.contract import Examples
from hftransfer.training.activations import Source, StoredActivations
from hftransfer.training.job import Job
from hftransfer.training.likeness import spread_places
from hftransfer.training.loop import outcomes_of
from hftransfer.training.similarity import FeatureAdapter
from hftransfer.training.solver import SOLVERS, Features, InMemory, Problem, SolvedHead, TokenRows
from hftransfer.training.sources import Sources, grids_of

if TYPE_CHECKING:
    from hftransfer.training.maps import StoredMaps

_MOST_START_ROWS = 1 << 16
"""Rows of features that a training's first head is solved on: they lie in memory."""
_MOST_START_NUMBERS, _LEAST_START_MAPS = 1 << 27, 32
"""Numbers in maps that it is solved on, 512 MiB, and items at least."""
_PILOT_TOKENS = 8192
"""Tokens of which a linear probe's L2 strength is chosen: texts have many, and look alike."""


class _Together:
    """The features of several views, one after the other."""

    def __init__(self, views: Sequence[Features]) -> None:
        self.views = views

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return sum(view.shape[0] for view in self.views), self.views[0].shape[1]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop as float32 (stop - start, D)."""
        parts, first = [], 0
        for view in self.views:
            count = view.shape[0]
            if start < first + count and stop > first:
                parts.append(view.rows(max(0, start - first), min(count, stop - first)))
            first += count
        return np.concatenate(parts)


def solve_probe(job: Job, sources: Sources, examples: dict[str, Examples]) -> tuple[tuple[float, float], ...]:
    """Return the L2 strengths that were tried; the adapter's head is the solved one."""
    validation = sources.others["validation"].stored
    assert validation is not None
    train = _Together([_rows_of(job, view, examples["train"]) for view in sources.views])
    held_out = _rows_of(job, validation, examples["validation"])
    targets = [job.task.solver_targets(examples[name]) for name in ("train", "validation")]
    return take_head(job, solved_head(job, (train, targets[0]), (held_out, targets[1])))


def solved_head(
    job: Job, train: tuple[Features, np.ndarray], validation: tuple[Features, np.ndarray], *, learned: bool = False
) -> SolvedHead:
    """Return the head that is solved on features and targets of the training split, in one or more views; features are
    `learned` where these very examples have shaped them."""
    task = job.task
    assert task.solver is not None
    views = max(1, train[0].shape[0] // max(1, len(train[1])))
    groups = _groups_of(job.splits.train.rows)
    problem = Problem(
        train[0],
        np.concatenate([train[1]] * views),
        *validation,
        classes=len(job.splits.class_names),
        l2=_wished_l2(job),
        near=None if job.names is None else job.names.head,
        balanced=job.class_weights,
        pilot_rows=_PILOT_TOKENS if task.head.of_tokens else None,
        independent=views == 1
        and not (learned or task.head.of_tokens)
        and (groups is None or len(groups) == len(train[1])),
        groups=groups,
        learned=learned,
    )
    solve = SOLVERS[task.solver]
    head = job.compute.processes.first(lambda: solve(problem))
    job.made.l2 = head.l2
    return head


def _groups_of(rows: Sequence[Row]) -> np.ndarray | None:
    """Return the number (N,) of each row's group, where some are in one; a row without a group is one of its own."""
    if all(row.group is None for row in rows):
        return None
    names = [(row.group, None if row.group is not None else place) for place, row in enumerate(rows)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def _wished_l2(job: Job) -> float | None:
    """Return the L2 strength that a recipe names, or another training chose; None: it is looked for."""
    if job.taken is not None and job.taken.l2 is not None:
        return job.taken.l2
    l2 = job.strategy.l2 if isinstance(job.strategy, LinearProbe) else "auto"
    return None if l2 == "auto" else l2


def solved_on_directions(
    job: Job, train: tuple[InMemory, np.ndarray], validation: tuple[InMemory, np.ndarray]
) -> SolvedHead:
    """Return the head that is solved on features of length 1, in which cosines were learned, for features as they are:
    lengths say little then, and of 8 examples a class the accuracy was a point higher so (docs/few_shot.md)."""
    lengths = np.linalg.norm(train[0].values, axis=1, keepdims=True)  # (N, 1)
    usual = float(lengths.mean()) or 1.0
    directions = InMemory(train[0].values / np.maximum(lengths, 1e-6 * usual))
    scaled = InMemory(validation[0].values / usual)
    head = solved_head(job, (directions, train[1]), (scaled, validation[1]), learned=True)
    return replace(head, weight=head.weight / usual)


def solve_map_head(job: Job, sources: Sources, examples: dict[str, Examples]) -> tuple[tuple[float, float], ...]:
    """Return the L2 strengths that were tried; the adapter's head on maps is the solved one."""
    from hftransfer.training.maps import StoredMaps

    classes, grids = len(job.splits.class_names), grids_of(job)
    views = [job.task.map_targets(replace(examples["train"], items=items), classes) for items in sources.items]
    validation = sources.others["validation"].stored
    assert validation is not None
    train = [StoredMaps(view, grids, targets) for view, targets in zip(sources.views, views, strict=True)]
    held_out = StoredMaps(validation, grids, job.task.map_targets(examples["validation"], classes))
    return take_head(job, _solved_on_maps(job, train, held_out))


def _solved_on_maps(job: Job, train: Sequence[StoredMaps], validation: StoredMaps) -> SolvedHead:
    """Return the head that is solved on maps of the training split, in one or more views."""
    from hftransfer.training.maps import MapProblem, solve_maps

    problem = MapProblem(
        train,
        validation,
        len(job.splits.class_names),
        l2=_wished_l2(job),
        balanced=job.train.class_weights == "auto",
        seed=job.train.seed,
    )
    head = job.compute.processes.first(lambda: solve_maps(problem))
    job.made.l2 = head.l2
    return head


def _rows_of(job: Job, stored: StoredActivations, examples: Examples) -> Features:
    """Return the rows of features that a solver takes: one an item, or the tokens of each that count."""
    tokens = job.task.token_rows(examples)
    return stored if tokens is None else TokenRows(stored, tokens, job.adapter.head.weight.shape[1])


def learning_rows(job: Job, examples: Examples, source: Source, most: int | None = None) -> tuple[InMemory, np.ndarray]:
    """Return the rows of features that a solver takes, and their targets, as the network gives them now; about so many
    at the `most`, evenly spread."""
    tokens, targets = job.task.token_rows(examples), job.task.solver_targets(examples)
    counts = [1] * len(targets) if tokens is None else [len(own) for own in tokens]
    first, every = np.cumsum([0, *counts]), max(1, -(-len(targets) // (most or len(targets) or 1)))

    def kept(places: Sequence[int], features: list[np.ndarray]) -> list[np.ndarray]:
        chosen = []
        for place, own in zip(places, features, strict=True):
            mine = own[None] if tokens is None else own[tokens[place]]  # (n, D)
            # Of all rows in their order each `every`-th: this item's begin at first[place].
            chosen.append(mine[int(-first[place] % every) :: every].copy())
        return chosen

    features = cast(Any, FeatureAdapter(job.adapter))
    found = np.concatenate(outcomes_of(features, source, job.compute, kept))
    return InMemory(found), targets[::every]


def take_head(job: Job, head: SolvedHead) -> tuple[tuple[float, float], ...]:
    """Return the L2 strengths that were tried for a solved head; the adapter has it."""
    job.adapter.set_head(torch.from_numpy(head.weight), torch.from_numpy(head.bias))
    job.made.l2_measure = head.measure
    job.progress.line(f"solved: {_in_words(job, head)}")
    return head.path


def _in_words(job: Job, head: SolvedHead) -> str:
    """Return the L2 strength of a solved head, and what chose it; of one that learns from all rows that would say
    nothing."""
    told = f"L2 strength {head.l2:g}"
    return told if job.taken is not None else f"{told}, {head.measure} {shown_number(head.measured)}"


def begin_solved(job: Job, sources: Sources, examples: dict[str, Examples]) -> None:
    """Let the head begin as the linear probe of the features as they are: trained from a random head, features are
    distorted before the head says anything (Kumar et al., arXiv 2202.10054)."""
    if job.keeping is not None and job.keeping.resume is not None:
        return  # the checkpoint has the head
    job.adapter.model.to(job.compute.device)
    start = _start_on_maps if job.task.head.of_maps else _start_on_rows
    head = start(job, sources, examples)
    if head is None:
        return  # the first step's loss tells of it
    job.task.begin_solved(job.adapter, torch.from_numpy(head.weight), torch.from_numpy(head.bias))
    job.progress.line(f"the head starts from a solved one: {_in_words(job, head)}")


def _start_on_rows(job: Job, sources: Sources, examples: dict[str, Examples]) -> SolvedHead | None:
    """Return the head that is solved on rows of features as they are now; None where some are not finite."""
    train = learning_rows(job, examples["train"], sources.plain, _MOST_START_ROWS)
    validation = learning_rows(job, examples["validation"], sources.others["validation"], _MOST_START_ROWS)
    if not all(np.isfinite(features.values).all() for features, _ in (train, validation)):
        return None
    return solved_head(job, train, validation)


def _start_on_maps(job: Job, sources: Sources, examples: dict[str, Examples]) -> SolvedHead | None:
    """Return the head that is solved on maps of features as they are now; None where some are not finite."""
    train = _maps_now(job, examples["train"], sources.plain)
    validation = _maps_now(job, examples["validation"], sources.others["validation"])
    if not all(np.isfinite(row).all() for maps in (train, validation) for row in maps.stored.shards):
        return None
    return _solved_on_maps(job, [train], validation)


def _maps_now(job: Job, examples: Examples, source: Source) -> StoredMaps:
    """Return the maps that enter the head, and their targets, as the network gives them now: of as many items, evenly
    spread, as have room in memory."""
    from hftransfer.training.maps import StoredMaps

    grids = grids_of(job)
    room = max(_LEAST_START_MAPS, _MOST_START_NUMBERS // sum(math.prod(grid) for grid in grids))
    places = spread_places(len(source), room).tolist()
    features = cast(Any, FeatureAdapter(job.adapter))

    def kept(_: Sequence[int], maps: list[np.ndarray]) -> list[np.ndarray]:
        return [own.reshape(-1).copy() for own in maps]  # a view would keep its whole batch

    rows = outcomes_of(features, source, job.compute, kept, places)
    found = np.array([(place, 0, len(row)) for place, row in enumerate(rows)])
    targets = job.task.map_targets(replace(examples, items=source.items), len(job.splits.class_names))
    return StoredMaps(StoredActivations(rows, found), grids, targets.only(places))
