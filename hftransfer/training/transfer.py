"""The learning of a run, whatever the task and strategy: the frozen part once, what lies above it solved or stepped,
and what came of it judged."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import nn

from hftransfer.adapters.base import Adapter
from hftransfer.adapters.dense import Grid
from hftransfer.base.errors import ModelError, RecipeError, must_be, some
from hftransfer.base.progress import Progress
from hftransfer.data.inspection import inspect_rows
from hftransfer.data.settings import DataSettings
from hftransfer.data.skipped import without_faults
from hftransfer.data.splits import Splits
from hftransfer.strategies import FineTune, LinearProbe, LoRA
from hftransfer.tasks.contract import Examples, Judged, Loss
from hftransfer.tasks.head_task import HeadTask
from hftransfer.tasks.items import Augment, Items
from hftransfer.training.activations import (
    ActivationStore,
    Source,
    StoredActivations,
    fill_store,
    key_parts,
    worth_keeping,
)
from hftransfer.training.devices import Compute
from hftransfer.training.frozen import frozen_twin
from hftransfer.training.interrupts import Interrupted
from hftransfer.training.loop import Evaluation, Fitted, History, Keeping, Plan, fit, outcomes_of, predict
from hftransfer.training.settings import TrainSettings
from hftransfer.training.similarity import FeatureAdapter, similarity_loss
from hftransfer.training.solver import (
    SOLVERS,
    Features,
    InMemory,
    KnownHead,
    Problem,
    SolvedHead,
    TokenRows,
)
from hftransfer.training.tracking import Log, not_tracked

if TYPE_CHECKING:
    from hftransfer.training.maps import StoredMaps

Stage = Callable[[str], AbstractContextManager[object]]
_MOST_START_ROWS = 1 << 16
"""Rows of features that a training's first head is solved on: they lie in memory."""
_PILOT_TOKENS = 8192
"""Tokens of which a linear probe's L2 strength is chosen: texts have many, and look alike."""


@dataclass
class Transferred:
    """The adapter as a strategy made it, and how good it is by split."""

    adapter: Adapter
    task: HeadTask[Any]
    splits: Splits
    judged: dict[str, Judged]
    history: History
    extras: dict[str, object] = field(default_factory=dict)
    by_names: dict[str, object] = field(default_factory=dict)
    """Of a head that began with the names of the classes: accuracy before and after, by those and by other prompts."""
    save: Callable[[], None] | None = None
    """Writes a checkpoint of the finished training, where there was one."""
    l2_path: tuple[tuple[float, float], ...] = ()
    """Of a solved head: the L2 strengths that were tried, and the validation log loss of each."""
    features: dict[str, StoredActivations] = field(default_factory=dict)
    """Of a head solved on a row of features an item: those, by split; mapped files, not memory."""


class NamedHeads(Protocol):
    """Heads on a dual encoder's embedding that are made of the names of classes (zeroshot.ClassTexts)."""

    @property
    def head(self) -> KnownHead:
        """The one that training begins with."""

    @property
    def held_out(self) -> KnownHead:
        """One of other templates."""

    @property
    def held_out_templates(self) -> tuple[str, ...]:
        """Those."""


@dataclass
class Job:
    """One transfer: everything it needs, as values."""

    adapter: Adapter
    boundary: int
    task: HeadTask[Any]
    strategy: LinearProbe | FineTune | LoRA
    splits: Splits
    data: DataSettings
    train: TrainSettings
    weights_sha256: str
    compute: Compute
    progress: Progress
    stage: Stage
    keeping: Keeping | None = None
    log: Log = not_tracked
    names: NamedHeads | None = None
    """Of a head that begins with the names of the classes."""

    @property
    def at_head(self) -> bool:
        """Return whether the boundary is the one at the head."""
        return self.boundary == len(self.adapter.stages)

    @property
    def solves(self) -> bool:
        """Return whether what learns is one linear layer on features, which is solved."""
        is_linear = self.adapter.head_is_linear or (self.task.head.of_tokens and self.adapter.head_is_direct)
        return isinstance(self.strategy, LinearProbe) and is_linear and self.task.solver is not None

    @property
    def begins_solved(self) -> bool:
        """Return whether the loop begins with the head that a linear probe would end with."""
        has_own_start = self.solves or self.strategy.contrasts or self.names is not None or self.task.head.of_maps
        if has_own_start or not self.strategy.begins_solved or self.task.solver is None:
            return False
        return self.adapter.last_layer_is_solvable

    @property
    def epochs(self) -> int:
        """Return how often the loop passes over the training split."""
        return self.train.epochs or self.strategy.usual_epochs

    @property
    def changes_images(self) -> bool:
        """Return whether training sees other images in each epoch, so that nothing below the boundary can be kept."""
        augmented = self.train.augment != "none" and not self.views
        return augmented or self.train.mixup is not None or self.train.cutmix is not None

    @property
    def views(self) -> int:
        """Return how many augmented views of an image are kept; 0 for a new one in each epoch or none at all."""
        return 0 if self.train.augment == "none" else self.train.views or 0


def transfer(job: Job) -> Transferred:
    """Return the adapter with its learning part trained, and its scores on the splits.

    Raises:
        RecipeError: settings that don't go together.
        DataError: examples can't be read.
        TrainingError: the loss became NaN or infinite.
    """
    _require_sense(job)
    with job.stage("data"):
        examples = _examples(job)
    with _store(job) as store:
        with job.stage("activations"):
            sources = _sources(job, examples, store)
        fitted: Fitted | None = None
        l2_path: tuple[tuple[float, float], ...] = ()
        if job.solves or job.names is not None:
            # The loop brings the model to the device by itself; a solver does not.
            job.adapter.model.to(job.compute.device)
        by_names = _ByNames(job, sources, examples)
        if job.names is not None:
            with job.stage("evaluate"):
                by_names.look("before")
        with job.stage("train"):
            if job.solves and job.task.head.of_maps:
                l2_path = _solve_maps(job, sources, examples)
            elif job.solves:
                l2_path = _solve(job, sources, examples)
            elif job.strategy.contrasts:
                fitted, l2_path = _contrast(job, sources, examples)
            else:
                fitted = _fit(job, sources, examples)
        with job.stage("evaluate"):
            try:
                if job.strategy.interpolate is not None:
                    by_names.look("learned")
                    by_names.mix(job.strategy.interpolate)
                judged = _judge(job, sources, examples, fitted)
                by_names.look("after")
            except Interrupted:
                if fitted is not None:
                    # What was learned is whole: a run that goes on has only to judge it.
                    fitted.save()
                raise
    extras = judged["validation"].extras
    history = fitted.history if fitted is not None else History()
    save = fitted.save if fitted is not None else None
    pooled = job.solves and not (job.task.head.of_tokens or job.task.head.of_maps)
    features = _features(sources) if pooled else {}
    return Transferred(
        job.adapter, job.task, job.splits, judged, history, extras, by_names.found, save, l2_path, features
    )


@contextmanager
def features_of(job: Job) -> Iterator[tuple[dict[str, Examples], dict[str, StoredActivations]]]:
    """The examples of every split, and the features that a head would be solved on; nothing learns."""
    examples = _examples(job)
    with _store(job) as store:
        yield examples, _features(_sources(job, examples, store))


@contextmanager
def maps_of(job: Job) -> Iterator[tuple[dict[str, Examples], dict[str, StoredMaps]]]:
    """The examples of every split, and the maps that a head would be solved on, with their masks; nothing learns."""
    from hftransfer.training.maps import StoredMaps

    with features_of(job) as (examples, stored):
        classes, grids = len(job.splits.class_names), _grids_of(job)
        yield (
            examples,
            {
                name: StoredMaps(own, grids, job.task.map_targets(examples[name], classes))
                for name, own in stored.items()
            },
        )


def _grids_of(job: Job) -> Sequence[Grid]:
    """Return the sizes of the maps that enter the head."""
    shape = job.adapter.trace.features.shape[1:]
    return getattr(job.adapter.head, "grids", None) or [(shape[0], shape[1], shape[2])]


def _features(sources: _Sources) -> dict[str, StoredActivations]:
    stored = {"train": sources.views[0], **{name: source.stored for name, source in sources.others.items()}}
    return {name: part for name, part in stored.items() if part is not None}


def _require_sense(job: Job) -> None:
    if job.strategy.contrasts:
        _require_pairs(job)
    if not job.solves:
        if job.strategy.head_init == "solved" and not job.begins_solved:
            allowed = "one whose last layer is linear with a bias, with strategy.head_init: solved"
            raise ModelError(must_be(f"model '{job.adapter.name}'", allowed, "another"))
        return
    faults = [
        must_be(f"train.{name}", "left out for a linear probe, which is solved", value)
        for name, value in (("mixup", job.train.mixup), ("cutmix", job.train.cutmix))
        if value is not None
    ]
    # Not refused: compare gives the same settings to a probe and to what is stepped.
    idle = {"label_smoothing": job.train.label_smoothing, "loss": job.train.loss if job.train.loss == "huber" else None}
    for name, value in idle.items():
        if value:
            job.progress.line(f"train.{name}: {value} has no effect on a head that is solved")
    if job.train.augment != "none" and not job.train.views:
        faults.append(must_be("train.views", "given with train.augment for a linear probe", "none", "Try views: 4."))
    if faults:
        raise RecipeError(*faults)


def _require_pairs(job: Job) -> None:
    """Return if features can learn by pairs of examples here."""
    if job.compute.processes.count > 1:
        remedy = "The loss compares all examples of a batch, which processes would share out."
        allowed = "one with strategy.objective: contrastive"
        raise RecipeError(must_be("the processes", allowed, job.compute.processes.count, remedy))
    alone = [n for n, count in zip(job.splits.class_names, job.splits.counts()["train"], strict=True) if count < 2]
    if alone:
        job.progress.line(f"no pair of a class can be made of its single training example: {some(alone)}")
    if not job.adapter.head_is_linear:
        remedy = "strategy.pooling: mean has one." if job.task.pools_tokens else ""
        allowed = "one whose head is a single linear layer, with strategy.objective: contrastive"
        raise ModelError(must_be(f"model '{job.adapter.name}'", allowed, "another", remedy))


# --- examples and what enters the learning part ----------------------------------------------------------------------


def _examples(job: Job) -> dict[str, Examples]:
    """Return the examples of every split that has some."""
    found = {}
    for name, split in job.splits.items():
        if len(split):
            found[name] = job.task.examples(job.adapter, split, job.data)
            for note in found[name].notes:
                job.progress.line(f"  {name}: {note}")
    return found


@dataclass
class _Sources:
    """The training source of each epoch, and one of each other split."""

    train: Callable[[int], Source]
    others: dict[str, Source]
    views: list[StoredActivations]
    plain: Source
    """The training split as it is, or in its first view."""
    items: Sequence[Items] = ()
    """Those of each view."""


def _sources(job: Job, examples: dict[str, Examples], store: ActivationStore | None) -> _Sources:
    if store is None:
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
    with job.progress.stage("activations", total) as advance:
        for name, items in named:
            found = fill_store(store, job.adapter, job.boundary, items, job.compute, advance, stop_at_fault=stop)
            faults |= {starts[name] + item: reason for item, reason in found.items()}
    if faults:
        job.splits = without_faults(job.splits, faults, job.data)
        examples.update(_examples(job))
        # What could be read is in the store by now, and only found again.
        return _sources(job, examples, store)
    stored = [store.activations(view.digests) for view in views]
    sources = [_source(job, view, activations) for view, activations in zip(views, stored, strict=True)]
    others = {
        name: _source(job, part.items, store.activations(part.items.digests))
        for name, part in examples.items()
        if name != "train"
    }
    return _Sources(lambda epoch: sources[epoch % len(sources)], others, stored, sources[0], views)


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
        examples.update(_examples(job))


def _source(job: Job, items: Items, stored: StoredActivations | None = None, frozen: Adapter | None = None) -> Source:
    return Source(items, job.adapter, job.boundary, job.compute, stored, frozen)


def _views(job: Job, train: Examples) -> list[Items]:
    """Return the training items: as they are, or in several augmented views."""
    if not job.views:
        return [train.items]
    return [_augmented(job, train, view) for view in range(job.views)]


def _augmented(job: Job, train: Examples, view: int) -> Items:
    augment = Augment(cast(Any, job.train.augment), job.train.seed, view)
    return job.task.augmented(job.adapter, train, augment, job.data.decode)


def _live_sources(job: Job, examples: dict[str, Examples]) -> _Sources:
    """Sources that compute the frozen part anew each time."""
    frozen = frozen_twin(job.adapter, job.compute) if job.boundary else None
    train = examples["train"]

    def of_epoch(epoch: int) -> Source:
        if job.train.augment == "none":
            return _source(job, train.items, frozen=frozen)
        return _source(job, _augmented(job, train, epoch % job.views if job.views else epoch), frozen=frozen)

    others = {name: _source(job, e.items, frozen=frozen) for name, e in examples.items() if name != "train"}
    return _Sources(of_epoch, others, [], _source(job, train.items, frozen=frozen))


@contextmanager
def _store(job: Job) -> Iterator[ActivationStore | None]:
    """The store of the boundary's activations; None where they are computed anew each time."""
    if not _stores(job):
        yield None
        return
    parts = key_parts(job.adapter, job.weights_sha256, job.boundary, job.compute)
    if job.train.cache == "off":
        together = job.compute.processes
        with tempfile.TemporaryDirectory(prefix="hftransfer-") as folder:
            yield ActivationStore(Path(together.gather(folder)[together.machine]), parts)
            together.gather(None)  # the folder goes when all are done with it
    else:
        yield ActivationStore.in_cache(parts, job.progress.line)


def _stores(job: Job) -> bool:
    """Return whether activations are computed once: always at the head, else where they are worth keeping."""
    if job.changes_images:
        return False
    if job.at_head:
        return True
    count = sum(job.splits.sizes().values()) * max(1, job.views)
    return worth_keeping(job.train.cache, job.adapter, job.boundary, count, job.progress)


# --- learning --------------------------------------------------------------------------------------------------------


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


def _solve(job: Job, sources: _Sources, examples: dict[str, Examples]) -> tuple[tuple[float, float], ...]:
    """Return the L2 strengths that were tried; the adapter's head is the solved one."""
    validation = sources.others["validation"].stored
    assert validation is not None
    train = _Together([_rows_of(job, view, examples["train"]) for view in sources.views])
    held_out = _rows_of(job, validation, examples["validation"])
    targets = [job.task.solver_targets(examples[name]) for name in ("train", "validation")]
    return _take_head(job, _solved(job, (train, targets[0]), (held_out, targets[1])))


def _solved(job: Job, train: tuple[Features, np.ndarray], validation: tuple[Features, np.ndarray]) -> SolvedHead:
    """Return the head that is solved on features and targets of the training split, in one or more views."""
    task = job.task
    l2 = job.strategy.l2 if isinstance(job.strategy, LinearProbe) else "auto"
    assert task.solver is not None
    views = max(1, train[0].shape[0] // max(1, len(train[1])))
    problem = Problem(
        train[0],
        np.concatenate([train[1]] * views),
        *validation,
        classes=len(job.splits.class_names),
        l2=None if l2 == "auto" else l2,
        near=None if job.names is None else job.names.head,
        balanced=job.train.class_weights == "auto",
        pilot_rows=_PILOT_TOKENS if task.head.of_tokens else None,
    )
    solve = SOLVERS[task.solver]
    return job.compute.processes.first(lambda: solve(problem))


def _solve_maps(job: Job, sources: _Sources, examples: dict[str, Examples]) -> tuple[tuple[float, float], ...]:
    """Return the L2 strengths that were tried; the adapter's head on maps is the solved one."""
    from hftransfer.training.maps import MapProblem, StoredMaps, solve_maps

    strategy, classes = cast(LinearProbe, job.strategy), len(job.splits.class_names)
    grids = _grids_of(job)
    views = [job.task.map_targets(replace(examples["train"], items=items), classes) for items in sources.items]
    validation = sources.others["validation"].stored
    assert validation is not None
    problem = MapProblem(
        [StoredMaps(view, grids, targets) for view, targets in zip(sources.views, views, strict=True)],
        StoredMaps(validation, grids, job.task.map_targets(examples["validation"], classes)),
        classes,
        l2=None if strategy.l2 == "auto" else strategy.l2,
        balanced=job.train.class_weights == "auto",
        seed=job.train.seed,
    )
    return _take_head(job, job.compute.processes.first(lambda: solve_maps(problem)))


def _rows_of(job: Job, stored: StoredActivations, examples: Examples) -> Features:
    """Return the rows of features that a solver takes: one an item, or the tokens of each that count."""
    tokens = job.task.token_rows(examples)
    return stored if tokens is None else TokenRows(stored, tokens, job.adapter.head.weight.shape[1])


def _learning_rows(
    job: Job, examples: Examples, source: Source, most: int | None = None
) -> tuple[InMemory, np.ndarray]:
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
    found = np.concatenate(outcomes_of(features, job.boundary, source, job.compute, kept))
    return InMemory(found), targets[::every]


def _take_head(job: Job, head: SolvedHead) -> tuple[tuple[float, float], ...]:
    """Return the L2 strengths that were tried for a solved head; the adapter has it."""
    job.adapter.set_head(torch.from_numpy(head.weight), torch.from_numpy(head.bias))
    job.progress.line(f"solved: L2 strength {head.l2:g}, {head.measure} {head.validation_log_loss:.4f}")
    return head.path


def _contrast(
    job: Job, sources: _Sources, examples: dict[str, Examples]
) -> tuple[Fitted, tuple[tuple[float, float], ...]]:
    """Return what came of a training of the features, and the L2 strengths that were tried for the head solved on
    them."""
    labels = examples["train"].split.class_ids

    def solved() -> tuple[SolvedHead, Features]:
        train = _learning_rows(job, examples["train"], sources.train(0))
        validation = _learning_rows(job, examples["validation"], sources.others["validation"])
        return _solved(job, train, validation), validation[0]

    def judged() -> Judged:
        head, validation = solved()
        own, logits = examples["validation"], list(head.logits(validation))
        outcomes = job.task.decode(logits, range(len(logits)), own)
        return job.task.judge(outcomes, own, job.splits.class_names)

    job.adapter.head.requires_grad_(False)
    loss = similarity_loss(labels, job.compute.device)
    fitted = fit(_plan(job, cast(Any, FeatureAdapter(job.adapter)), sources, examples, loss, judged))
    job.adapter.head.requires_grad_(True)
    return fitted, _take_head(job, solved()[0])


def _fit(job: Job, sources: _Sources, examples: dict[str, Examples]) -> Fitted:
    """Return what came of a training of what lies above the boundary, the head included."""
    finished = job.task
    job = replace(job, task=job.task.in_training(job.adapter, examples["train"], job.train.loss))
    if job.begins_solved:
        _begin_solved(job, sources, examples)
    loss = job.task.loss(
        examples["train"],
        len(job.splits.class_names),
        job.compute.device,
        label_smoothing=job.train.label_smoothing,
        class_weights=job.train.class_weights == "auto",
    )

    judged = partial(_judged, job, sources, examples, "validation")
    fitted = fit(_plan(job, job.adapter, sources, examples, loss, judged))
    job.task.finish(job.adapter)
    if job.begins_solved and fitted.history.best_epoch == 0:
        job.progress.line(
            "no epoch was better on validation than the linear probe that training began with: the model is that probe"
        )
    # In other units the numbers differ by rounding: those of the finished model count.
    return fitted if job.task is finished else replace(fitted, best=None)


def _begin_solved(job: Job, sources: _Sources, examples: dict[str, Examples]) -> None:
    """Let the head begin as the linear probe of the features as they are: trained from a random head, features are
    distorted before the head says anything (Kumar et al., arXiv 2202.10054)."""
    if job.keeping is not None and job.keeping.resume is not None:
        return  # the checkpoint has the head
    job.adapter.model.to(job.compute.device)
    most = _MOST_START_ROWS
    train = _learning_rows(job, examples["train"], sources.plain, most)
    validation = _learning_rows(job, examples["validation"], sources.others["validation"], most)
    if not all(np.isfinite(features.values).all() for features, _ in (train, validation)):
        return  # the first step's loss tells of it
    head = _solved(job, train, validation)
    job.task.begin_solved(job.adapter, torch.from_numpy(head.weight), torch.from_numpy(head.bias))
    job.progress.line(f"the head begins solved: L2 strength {head.l2:g}, {head.measure} {head.validation_log_loss:.4f}")


def _plan(
    job: Job,
    adapter: Adapter,
    sources: _Sources,
    examples: dict[str, Examples],
    loss: Loss,
    judge: Callable[[], Judged],
) -> Plan:
    """Return the training of an adapter by a loss; what it makes of the validation split is judged after each epoch."""

    def evaluate() -> Evaluation:
        judged = judge()
        shown = {name: value for name, value in judged.metrics.items() if isinstance(value, float)}
        told = {metric.name for metric in job.task.metrics if metric.in_progress}
        names = [*(name for name in shown if name in told), *([job.train.metric] if job.train.metric else [])]
        return Evaluation(judged, {name: shown[name] for name in names}, _score(job, judged))

    return Plan(
        adapter=adapter,
        boundary=job.boundary,
        train=sources.train,
        loss=loss,
        evaluate=evaluate,
        name_of=examples["train"].name_of,
        rates=job.strategy,
        settings=job.train,
        epochs=job.epochs,
        compute=job.compute,
        progress=job.progress,
        keeping=job.keeping,
        log=job.log,
        from_start=job.names is not None or job.begins_solved,
        keeps_last=job.strategy.contrasts,
    )


class _ByNames:
    """How well a dual encoder's image tower goes with the names of classes, before training and after it: on the test
    split, or where there is none on validation. Nothing where the head began at random."""

    def __init__(self, job: Job, sources: _Sources, examples: dict[str, Examples]) -> None:
        self.job, self.names = job, job.names
        self.split = "test" if "test" in examples else "validation"
        self.source, self.labels = sources.others[self.split], examples[self.split].split.targets
        learning = job.adapter.model.named_parameters() if job.strategy.interpolate is not None else ()
        self.start = {name: p.detach().clone() for name, p in learning if p.requires_grad}
        self.found: dict[str, object] = {}
        if self.names is not None:
            self.found = {"split": self.split, "held_out_prompts": list(self.names.held_out_templates)}

    def look(self, when: str) -> None:
        """Note the accuracy of the head as it is, and that of the held-out templates."""
        if self.names is None:
            return
        own, held_out = np.split(self._logits_of_both(self.names.held_out), 2, axis=1)
        right = [float(np.mean(scores.argmax(axis=1) == self.labels)) for scores in (own, held_out)]
        found = dict(zip(("accuracy", "held_out_prompts_accuracy"), right, strict=True))
        self.found[when] = found
        words = {"before": "zero-shot", "learned": "as learned", "after": "in the end"}[when]
        told = f"{words}: {self.split} accuracy {found['accuracy']:.4f}"
        self.job.progress.line(f"{told}, by held-out prompts {found['held_out_prompts_accuracy']:.4f}")

    def mix(self, share: float) -> None:
        """Mix what learned with what it was, the learned weights having this share (WiSE-FT;
        Wortsman et al., arXiv 2109.01903). Of LoRA one factor of the product is scaled, which comes to the same."""
        with torch.no_grad():
            for name, parameter in self.job.adapter.model.named_parameters():
                if name in self.start and ".lora_A." not in name:
                    began = self.start[name].to(parameter.device)
                    parameter.copy_(began + share * (parameter - began))

    @torch.no_grad()
    def _logits_of_both(self, other: KnownHead) -> np.ndarray:
        """Return the logits (N, 2C) of the head as it is, and of another, in one pass."""
        head = cast(nn.Linear, self.job.adapter.head)
        own = head.weight, head.bias
        try:
            for name, mine, theirs in zip(("weight", "bias"), own, other, strict=True):
                both = torch.cat([mine, torch.from_numpy(theirs).to(mine)])
                setattr(head, name, nn.Parameter(both, requires_grad=False))
            return np.stack(predict(self.job.adapter, self.job.boundary, self.source, self.job.compute))
        finally:
            head.weight, head.bias = own


def _score(job: Job, judged: Judged) -> tuple[float, ...]:
    """Return what chooses the best epoch, the higher the better: the metric asked for, of equals the task's own."""
    if job.train.metric is None:
        return judged.score
    metric = next(metric for metric in job.task.metrics if metric.name == job.train.metric)
    value = float(judged.metrics[metric.name])
    return (value if metric.higher_is_better else -value, *judged.score)


def _judge(job: Job, sources: _Sources, examples: dict[str, Examples], fitted: Fitted | None) -> dict[str, Judged]:
    """Return the scores of validation and test; what was tuned on validation holds for the test."""
    mixed = job.strategy.interpolate is not None
    known = fitted.best if fitted is not None and not mixed else None
    judged = {"validation": known.judged if known is not None else _judged(job, sources, examples, "validation")}
    if "test" in examples:
        judged["test"] = _judged(job, sources, examples, "test", **judged["validation"].extras)
    return judged


def _judged(job: Job, sources: _Sources, examples: dict[str, Examples], name: str, **extras: object) -> Judged:
    own = examples[name]
    keep = partial(job.task.decode, examples=own)
    outcomes = outcomes_of(
        job.adapter, job.boundary, sources.others[name], job.compute, lambda places, logits: keep(logits, places)
    )
    told = {**job.task.judging_settings(job.data), **extras}
    return job.task.judge(outcomes, own, job.splits.class_names, **told)
