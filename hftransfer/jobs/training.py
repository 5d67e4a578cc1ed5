"""Runs that train a head on one network, and stages below it: once, or along a k-shot curve."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.adapters.terms import note_on_license
from hftransfer.base.errors import ModelError, user_path
from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.data.sources import BUNDLED
from hftransfer.data.splits import Splits, few_shots, require_shots
from hftransfer.jobs.identity import (
    identity_of,
    require_same_run,
    resolved_facts,
    tell_differences,
)
from hftransfer.jobs.learned import Learned
from hftransfer.jobs.session import Session
from hftransfer.predictors.predictor import save_model
from hftransfer.recipe import LoadedRecipe, Recipe, ResolvedFacts, flat_settings
from hftransfer.report.tables import data_table
from hftransfer.tasks import for_targets
from hftransfer.tasks.contract import Judged
from hftransfer.tasks.facts import ModelFacts
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.causal import CausalAdapter
    from hftransfer.predictors.dual import ClassTexts
    from hftransfer.tasks.head_task import HeadTask
    from hftransfer.training.devices import Compute
    from hftransfer.training.job import Choices
    from hftransfer.training.loop import Keeping
    from hftransfer.training.transfer import Transferred


def train_head(loaded: LoadedRecipe, checkpoint: Checkpoint | None, session: Session, *, resume: bool) -> Learned:
    """Return what a recipe's strategy makes of its model; of a curve the last cell, with the rows of all."""
    if isinstance(loaded.recipe.data.shots, list):
        return _train_curve(loaded, checkpoint, session, resume=resume)
    if loaded.recipe.data.folds is not None:
        return train_folds(loaded.recipe, session, checkpoint)
    return train_model(loaded.recipe, session, checkpoint)


def train_folds(recipe: Recipe, session: Session, checkpoint: Checkpoint | None) -> Learned:
    """Return the model of all examples of a recipe's data, with the scores of a cross-validation."""
    from hftransfer.jobs.folds import cross_validated, foretold

    with session.stage("data"):
        whole = session.folded(recipe)
        session.progress.line(data_table(whole, recipe.chosen_task.reader.inputs))
    session.progress.line(foretold(recipe, len(whole.train)))
    known = session.checkpoint(recipe.model.name, recipe.model.revision, checkpoint)
    kept: list[Adapter] = []

    def train(splits: Splits, tested: list[Any], taken: Choices | None, own: Session) -> Learned:
        return train_model(once, own, known, splits, kept, Folded(tested, taken))

    # The data of a fold are not those of the run that a resolved recipe tells of.
    once = recipe.model_copy(update={"resolved": None})
    learned = cross_validated(recipe, whole, session, train)
    tell_differences(recipe.resolved, learned.facts, session.progress)
    return learned


def _train_curve(loaded: LoadedRecipe, checkpoint: Checkpoint | None, session: Session, *, resume: bool) -> Learned:
    """Return the last cell of a k-shot curve, with the rows of all."""
    from hftransfer.jobs.curve import FinishedCells, learn_curve, summarised

    together, recipe = session.processes, loaded.recipe
    assert session.checkpoints is not None
    with session.stage("data"):
        splits = session.splits(recipe)
        session.progress.line(data_table(splits, recipe.chosen_task.reader.inputs))
        for number in recipe.data.numbers_of_shots:
            require_shots(splits, number)
        known = session.checkpoint(recipe.model.name, recipe.model.revision, checkpoint)
        facts = resolved_facts(known.weights_sha256, known.revision, splits, together)
        finished = FinishedCells(session.checkpoints.folder, identity_of(recipe, facts), keeps=together.is_first)
        if resume:
            together.together(finished.read)
    kept: list[Adapter] = []
    learned, rows = learn_curve(
        recipe,
        finished,
        session.progress,
        lambda own, quiet: train_model(own, session.quiet(quiet), known, splits, kept),
        lambda cell: _plain_metrics({"": cell.judged.get("test", cell.judged["validation"])}),
    )
    headline = recipe.chosen_task.headline.name
    curve = {"shots": summarised(rows, headline)}
    return replace(learned, recipe=recipe, facts=facts, sheets={"shots.csv": rows}, more={**learned.more, **curve})


@dataclass(frozen=True)
class Folded:
    """The part of a training among others: where its outcomes go, and what the last takes over."""

    tested: list[Any] | None = None
    taken: Choices | None = None
    whole: Splits | None = None
    """The splits that the run is of, where those that are trained on are a part of them."""


def train_model(
    recipe: Recipe,
    session: Session,
    checkpoint: Checkpoint | None,
    splits: Splits | None = None,
    kept: list[Adapter] | None = None,
    folded: Folded | None = None,
) -> Learned:
    """Return what the strategy learned, and its scores: the data come first (where they aren't given), then the model.

    With `train.refit` it is the model of training and validation together. In the list `kept`, where it is given, the
    adapter lies as it was loaded, for the next time.
    """
    progress = session.progress
    with session.stage("data"), session.importing_ahead(recipe):
        splits = splits or session.splits(recipe)
        task = for_targets(recipe.chosen_task, splits.kind)
        if isinstance(recipe.data.shots, int):
            splits = few_shots(splits, recipe.data.shots, recipe.train.seed)
        progress.line(data_table(splits, task.reader.inputs))
    wished = recipe.strategy.contrasts if recipe.train.refit == "auto" else recipe.train.refit
    if not wished or folded is not None:
        return _trained(recipe, session, checkpoint, splits, kept, folded)
    from hftransfer.jobs.refit import refitted

    known = session.checkpoint(recipe.model.name, recipe.model.revision, checkpoint)
    first_loaded = [] if kept is None else kept

    whole = splits

    def train(part: Splits, taken: Choices | None, own: Session) -> Learned:
        return _trained(recipe, own, known, part, first_loaded, Folded(None, taken, whole))

    return refitted(recipe, whole, session, train)


def _trained(
    recipe: Recipe,
    session: Session,
    checkpoint: Checkpoint | None,
    splits: Splits,
    kept: list[Adapter] | None,
    folded: Folded | None,
) -> Learned:
    """Return what the strategy learned of these splits."""
    task, progress = for_targets(recipe.chosen_task, splits.kind), session.progress
    with session.loading():
        from hftransfer.training.job import Job
        from hftransfer.training.own import Own
        from hftransfer.training.tracking import tracked
        from hftransfer.training.transfer import transfer

        checkpoint = session.checkpoint(recipe.model.name, recipe.model.revision, checkpoint)
        ready = _make_ready(recipe, checkpoint, task, splits, kept, session)
        whole = folded.whole if folded is not None and folded.whole is not None else splits
        facts = resolved_facts(checkpoint.weights_sha256, checkpoint.revision, whole, session.processes)
        # A resolved recipe says which weights and data it was; others may have come in their place.
        tell_differences(recipe.resolved, facts, progress)
        keeping = _keeping(recipe, facts, session)
    with tracked(recipe.train.trackers, session.logs, session.name, flat_settings(recipe), ready.compute) as log:
        job = Job(
            adapter=ready.adapter,
            boundary=ready.boundary,
            task=task,
            strategy=recipe.strategy,
            splits=splits,
            data=recipe.data,
            train=recipe.train,
            weights_sha256=checkpoint.weights_sha256,
            compute=ready.compute,
            progress=progress,
            stage=session.stage,
            keeping=keeping,
            log=log,
            on_epoch=session.on_epoch,
            own=session.own or Own(),
            names=ready.texts,
            tested=folded.tested if folded is not None else None,
            taken=folded.taken if folded is not None else None,
            scratch=session.scratch,
        )
        done = transfer(job)
        log(_plain_metrics(done.judged), done.steps)
    # Before an interruption, too.
    session.clock.at_least("train", sum(row["seconds"] for row in done.history.rows))
    if len(done.splits.skipped) > len(splits.skipped):
        progress.line(data_table(done.splits, task.reader.inputs))
    return _learned(recipe, checkpoint, facts, ready.compute, done)


def _keeping(recipe: Recipe, facts: ResolvedFacts, session: Session) -> Keeping | None:
    """Return where checkpoints go, and the one to go on from, which must be this very run's; None without any."""
    from hftransfer.training.loop import Keeping

    if session.checkpoints is None:
        return None
    identity = identity_of(recipe, facts)
    if session.own is not None and session.own.head is not None:
        identity["head"] = repr(session.own.head)
    keeping = Keeping(session.checkpoints, identity, session.saved)
    session.processes.together(lambda: require_same_run(keeping))
    return keeping


def _learned(
    recipe: Recipe, checkpoint: Checkpoint, facts: ResolvedFacts, compute: Compute, done: Transferred
) -> Learned:
    """Return what a training came to, as it is written and shown."""
    from hftransfer.adapters.base import parameter_counts

    model_facts = _model_facts(recipe, checkpoint, done)
    more = {"objective": "contrastive"} if recipe.strategy.contrasts else {}
    test = done.judged.get("test")
    return Learned(
        recipe=recipe,
        splits=done.splits,
        judged=done.judged,
        compute=compute,
        facts=facts,
        parameters=parameter_counts(done.adapter.model),
        history=done.history,
        method=recipe.strategy.kind,
        bases=(checkpoint,),
        more={
            **more,
            **({"temperature": done.temperature} if done.temperature != 1 else {}),
            **({"zero_shot": done.by_names} if done.by_names else {}),
            **_before(done),
        },
        tables={"predictions.parquet": test.columns} if test is not None else {},
        save_model=lambda folder, place: save_model(done.adapter, model_facts, folder, place),
        save_checkpoint=done.save,
        adapter=done.adapter,
        model_facts=model_facts,
        l2_path=done.l2_path,
        features=done.features,
        curve=done.curve,
        made=done.made,
    )


def _before(done: Transferred) -> JsonObject:
    """Return what was measured before training, where something was."""
    return {"before": {name: own.metrics for name, own in done.before.items()}} if done.before else {}


@dataclass(frozen=True)
class _Ready:
    """A model on which the strategy has decided what learns, and where it will."""

    adapter: Adapter
    boundary: int
    compute: Compute
    texts: ClassTexts | None
    """What the names of the classes say, where the head begins with them."""


def _make_ready(
    recipe: Recipe,
    checkpoint: Checkpoint,
    task: HeadTask[Any],
    splits: Splits,
    kept: list[Adapter] | None,
    session: Session,
) -> _Ready:
    """Return the model of a checkpoint with the recipe's head and strategy; say what of it learns, and where."""
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.training.devices import choose_compute

    together, seed = session.processes, recipe.train.seed
    compute = together.together(lambda: choose_compute(recipe.train.precision, recipe.train.inference_batch_size))
    pair = recipe.strategy.pair_for(task, pairs=splits.has_pairs)
    pooling = recipe.strategy.pooling_for(task, checkpoint.pooling, pair)
    if pooling == "mean" and checkpoint.pools_otherwise:
        session.progress.line("the model's folder pools tokens in a way that is not known here: their mean is taken")
    load = partial(
        load_adapter,
        checkpoint,
        task.output_names(splits),
        head=task.head,
        pooling=pooling,
        seed=seed,
        problem_type=task.problem_type,
        pair=pair,
        size=recipe.data.height_and_width,
    )
    adapter = _begun_anew(kept[0], seed) if kept else together.in_turn(load)
    if session.own is not None and (head := session.own.head) is not None:
        together.together(lambda: adapter.put_head(head))
    if kept is not None and not kept and adapter.head_is_linear:
        # Before anything is trained: the next cell begins with it, and need not load it again.
        kept.append(copy.deepcopy(adapter))
    if recipe.train.packing:
        cast("CausalAdapter", adapter).pack()
    texts = _texts_as_head(adapter, recipe, splits.class_names, checkpoint, compute, session.progress)
    ready = _Ready(adapter, together.together(lambda: recipe.strategy.prepare(adapter, seed)), compute, texts)
    _tell(recipe, checkpoint, ready, session.progress)
    return ready


def _tell(recipe: Recipe, checkpoint: Checkpoint, ready: _Ready, progress: Progress) -> None:
    """Say what learns, where, and which wishes have no effect."""
    from hftransfer.adapters.base import parameter_counts
    from hftransfer.training.processes import processes, stray_settings

    together, model = processes(), ready.adapter.model
    counts = parameter_counts(model)
    learns = f"{counts['trainable']:,} of {counts['total']:,} parameters learn"
    learns += f", boundary {ready.boundary} of {len(ready.adapter.stages)} stages"
    sharded = recipe.train.distributed == "fsdp"
    where = ready.compute.describe() + (", fsdp" if sharded and together.count > 1 else "")
    tokens = recipe.train.tokens_per_batch if recipe.chosen_task.reader.fields else None
    batches = f"batches of {f'{tokens:,} tokens' if tokens else recipe.train.batch_size}"
    progress.line(f"{checkpoint.name}: {type(model).__name__}; {learns}; {batches}; {where}")
    for told in ready.adapter.notes:
        progress.line(told)
    if (note := note_on_license(checkpoint.name, checkpoint.license)) is not None:
        progress.line(note)
    if sharded and together.count == 1:
        progress.line("train.distributed: fsdp has no effect with a single process: see --processes")
    for key, value in stray_settings().values():
        progress.line(f"the Accelerate configuration asks for {value}, but {key} of the recipe is used")


def _begun_anew(adapter: Adapter, seed: int) -> Adapter:
    """Return a copy of an adapter with its head begun anew."""
    from hftransfer.adapters.libraries import seeded

    copied = copy.deepcopy(adapter)
    with seeded(seed):
        copied.begin_head()
    return copied


def _texts_as_head(
    adapter: Any,
    recipe: Recipe,
    class_names: Sequence[str],
    checkpoint: Checkpoint,
    compute: Compute,
    progress: Progress,
) -> ClassTexts | None:
    """Let the names of the classes be the adapter's head, and return what they say; None where it begins at random."""
    if not recipe.strategy.from_zero_shot:
        return None
    import torch

    from hftransfer.predictors.dual import class_texts
    from hftransfer.tasks.prompts import words_for

    words, templates = words_for(class_names, recipe.class_names), templates_of(recipe.prompts or "simple")
    texts = class_texts(adapter.dual, words, templates, checkpoint.weights_sha256, compute, progress)
    adapter.set_head(*(torch.from_numpy(part) for part in texts.head))
    return texts


def _plain_metrics(judged: Mapping[str, Judged]) -> dict[str, float]:
    """Return the metrics that are one number, by split and name."""
    named = {
        f"{split}/{name}".removeprefix("/"): value
        for split, found in judged.items()
        for name, value in found.metrics.items()
    }
    return {name: value for name, value in named.items() if isinstance(value, float)}


def _model_facts(recipe: Recipe, checkpoint: Checkpoint, done: Transferred) -> ModelFacts:
    base = None
    if done.adapter.peft is not None:
        name, path = _place_of(recipe.model.name)
        base = {
            "name": name,
            "revision": checkpoint.revision,
            "weights_sha256": checkpoint.weights_sha256,
            "path": path,
        }
    pairs = done.splits.has_pairs if len(done.task.reader.fields) == 1 else None
    pair = recipe.strategy.pair_for(done.task, pairs=done.splits.has_pairs)
    return ModelFacts(
        task=recipe.task,
        pooling=recipe.strategy.pooling_for(done.task, checkpoint.pooling, pair),
        pair=pair,
        class_names=done.task.output_names(done.splits),
        # A saved model has no folder of sentence-transformers beside it that says how much it reads.
        max_tokens=recipe.data.max_tokens or getattr(done.adapter, "folder_tokens", None),
        stride_tokens=recipe.data.stride_tokens,
        size=recipe.data.height_and_width,
        tile=recipe.data.tile,
        maps=getattr(done.adapter.model, "form", None),
        problem_type=done.task.problem_type if base is not None else None,
        **done.extras,
        pixels=done.splits.pixels,
        pairs=pairs,
        columns=recipe.data.named_columns,
        merge=bool(getattr(recipe.strategy, "merge", False)),
        base=base,
        data=recipe.data.source if recipe.data.source in BUNDLED else None,
        familiarity=done.familiarity,
        own_head=own.kind if (own := done.adapter.own_head) is not None else None,
    )


def _place_of(model: str) -> tuple[str, str | None]:
    """Return the name of a model without its path, and the whole path of one in a local folder."""
    before = "open_clip:local-dir:" if model.startswith("open_clip:local-dir:") else ""
    path = user_path(model.removeprefix(before), "model", ModelError)
    return (before + path.resolve().name, str(path.resolve())) if path.is_dir() else (model, None)
