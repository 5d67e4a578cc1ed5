"""The learning of a run, whatever the task and strategy: the frozen part once, what lies above it solved or stepped,
and what came of it judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, cast

import numpy as np

from hftransfer.adapters.base import Adapter
from hftransfer.base.plain import shown_number
from hftransfer.data.splits import Splits, shown_split
from hftransfer.metrics.familiarity import Familiarity
from hftransfer.tasks.contract import Examples, Judged, Loss
from hftransfer.tasks.head_task import HeadTask
from hftransfer.training.activations import Source, StoredActivations
from hftransfer.training.choice import mean_serves
from hftransfer.training.interrupts import Interrupted
from hftransfer.training.job import Choices, Job, require_sense
from hftransfer.training.learning_curve import CurvePoint, learning_curve
from hftransfer.training.likeness import features_at, likeness_of
from hftransfer.training.loop import PATIENCE, Evaluation, Fitted, History, Plan, fit, outcomes_of
from hftransfer.training.named_start import ByNames
from hftransfer.training.probe import (
    begin_solved,
    learning_rows,
    solve_map_head,
    solve_probe,
    solved_on_directions,
    take_head,
)
from hftransfer.training.similarity import FeatureAdapter, similarity_loss
from hftransfer.training.solver import MANY_TO_CHOOSE, Features, SolvedHead
from hftransfer.training.sources import Sources, activation_store, examples_of, sources_of, stored_features
from hftransfer.training.temperature import fold_temperature, may_calibrate

_MOST_KEPT_BYTES = 64 << 20


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
    steps: int = 0
    """How many steps the training had."""
    l2_path: tuple[tuple[float, float], ...] = ()
    """Of a solved head: the L2 strengths that were tried, and what each came to by `made.l2_measure`."""
    before: dict[str, Judged] = field(default_factory=dict)
    """How good the model was before training, by split, where that says something."""
    familiarity: Familiarity | None = None
    """What the features of the training examples look like, where the task keeps that."""
    temperature: float = 1.0
    """What the head's weights were divided by, to calibrate its probabilities."""
    features: dict[str, StoredActivations] = field(default_factory=dict)
    """Of a head solved on a row of features an item: those, by split; mapped files, not memory."""
    curve: Callable[[], list[CurvePoint]] | None = None
    """Of such a head: solves it again on parts of the training examples."""
    made: Choices = field(default_factory=Choices)
    """What validation chose."""


def transfer(job: Job) -> Transferred:
    """Return the adapter with its learning part trained, and its scores on the splits.

    Raises:
        RecipeError: settings that don't go together.
        DataError: examples can't be read.
        TrainingError: the loss became NaN or infinite.
    """
    require_sense(job)
    with job.stage("data"):
        examples = examples_of(job)
    with activation_store(job) as store:
        with job.stage("activations"):
            sources = sources_of(job, examples, store)
        if job.solves or job.names is not None:
            # The loop brings the model to the device by itself; a solver does not.
            job.adapter.model.to(job.compute.device)
        by_names = ByNames(job, sources, examples)
        before, seen_before = _judged_before(job, sources, examples)
        if job.names is not None:
            with job.stage("evaluate"):
                by_names.look("before")
        with job.stage("train"):
            fitted, l2_path = _learn(job, sources, examples)
        with job.stage("evaluate"):
            try:
                if job.strategy.interpolate is not None:
                    by_names.look("learned")
                    by_names.mix(job.strategy.interpolate)
                stepped = fitted is not None and not fitted.history.keeps_start
                sources = _with_features_kept(job, sources)
                temperature = fold_temperature(job, sources, examples, stepped=stepped)
                known = fitted.best if fitted is not None and temperature == 1.0 else None
                judged = _judge(job, sources, examples, known, seen_before)
                by_names.look("after")
                likeness = likeness_of(job, sources, examples)
                judged = likeness.added_to(judged)
            except Interrupted:
                if fitted is not None:
                    # What was learned is whole: a run that goes on has only to judge it.
                    fitted.save()
                raise
    history = fitted.history if fitted is not None else History()
    save, steps = (fitted.save, fitted.steps) if fitted is not None else (None, 0)
    features = stored_features(sources) if job.solves_rows else {}
    return Transferred(
        *(job.adapter, job.task, job.splits, judged, history, _tuned(job, judged), by_names.found),
        save=save,
        steps=steps,
        l2_path=l2_path,
        before=before,
        familiarity=likeness.familiarity,
        temperature=temperature,
        features=features,
        curve=partial(learning_curve, job, features, examples) if "train" in features else None,
        made=_choices(job, history, _tuned(job, judged)),
    )


def _with_features_kept(job: Job, sources: Sources) -> Sources:
    """Return the sources with the features of validation in the place of what they are made of, where a network that
    learns no more would make them several times: to calibrate it, to judge it, and to know what is usual."""
    source, split = sources.others.get("validation"), job.adapter.split
    if source is None or job.at_head or job.taken is not None or not may_calibrate(job):
        return sources
    width = job.adapter.head.weight.shape[1]
    if not split.head_is_direct or len(split.features_shape) != 2 or len(source) * width * 4 > _MOST_KEPT_BYTES:
        return sources
    found = features_at(job, source, np.arange(len(source)))  # (N, D)
    rows = StoredActivations([found.reshape(-1)], np.array([(0, at * width, width) for at in range(len(found))]))
    kept = Source(source.items, job.adapter, len(job.adapter.stages), job.compute, rows)
    return replace(sources, others={**sources.others, "validation": kept})


def _tuned(job: Job, judged: Mapping[str, Judged]) -> dict[str, Any]:
    """Return the fields of `ModelFacts` that validation tuned, or what stands for them."""
    return job.taken.extras if job.taken is not None else judged["validation"].extras


def _choices(job: Job, history: History, extras: dict[str, Any]) -> Choices:
    """Return what validation chose in a training that has ended."""
    epochs = len(history.rows) if history.mean else history.best_epoch
    return replace(job.made, epochs=epochs, mean=bool(history.mean), extras=extras)


def _learn(
    job: Job, sources: Sources, examples: dict[str, Examples]
) -> tuple[Fitted | None, tuple[tuple[float, float], ...]]:
    """Return what came of the steps, where some were made, and of a solved head the L2 strengths that were tried."""
    if job.solves:
        solve = solve_map_head if job.task.head.of_maps else solve_probe
        return None, solve(job, sources, examples)
    if job.strategy.contrasts:
        return _contrast(job, sources, examples)
    return _fit(job, sources, examples), ()


def _contrast(
    job: Job, sources: Sources, examples: dict[str, Examples]
) -> tuple[Fitted, tuple[tuple[float, float], ...]]:
    """Return what came of a training of the features, and the L2 strengths that were tried for the head solved on
    them."""
    labels = examples["train"].split.class_ids

    def solved() -> tuple[SolvedHead, Features]:
        train = learning_rows(job, examples["train"], sources.train(0))
        validation = learning_rows(job, examples["validation"], sources.others["validation"])
        return solved_on_directions(job, train, validation), validation[0]

    def judged() -> Judged:
        head, validation = solved()
        own, logits = examples["validation"], list(head.logits(validation))
        outcomes = job.task.decode(logits, range(len(logits)), own)
        return job.task.judge(outcomes, own, job.splits.class_names)

    job.adapter.head.requires_grad_(False)
    loss = similarity_loss(labels, job.compute.device)
    fitted = fit(_plan(job, cast(Any, FeatureAdapter(job.adapter)), sources, examples, loss, judged))
    job.adapter.head.requires_grad_(True)
    return fitted, take_head(job, solved()[0])


def _fit(job: Job, sources: Sources, examples: dict[str, Examples]) -> Fitted:
    """Return what came of a training of what lies above the boundary, the head included."""
    finished = job.task
    job = replace(job, task=job.task.in_training(job.adapter, examples["train"], job.train.loss))
    if job.begins_solved:
        begin_solved(job, sources, examples)
    loss = job.task.loss(
        examples["train"],
        len(job.splits.class_names),
        job.compute.device,
        label_smoothing=job.train.label_smoothing,
        class_weights=job.class_weights,
    )

    judged = partial(_judged, job, sources, examples, "validation")
    fitted = fit(_plan(job, job.adapter, sources, examples, loss, judged))
    job.task.finish(job.adapter)
    if fitted.history.keeps_start and job.taken is None:
        start = "linear probe that training started from" if job.begins_solved else "model before training"
        kept = "probe" if job.begins_solved else "model"
        job.progress.line(f"no epoch was better on validation than the {start}: that {kept} is kept")
    # In other units the numbers differ by rounding: those of the finished model count.
    return fitted if job.task is finished else replace(fitted, best=None)


def _plan(
    job: Job,
    adapter: Adapter,
    sources: Sources,
    examples: dict[str, Examples],
    loss: Loss,
    judge: Callable[[], Judged],
) -> Plan:
    """Return the training of an adapter by a loss; what it makes of the validation split is judged after each epoch."""

    def evaluate() -> Evaluation:
        judged = job.own.judged(judge(), job.splits.class_names)
        shown = {name: value for name, value in judged.metrics.items() if isinstance(value, float)}
        told = {metric.name for metric in job.task.metrics if metric.in_progress}
        names = [*(name for name in shown if name in told), *([job.train.metric] if job.train.metric else [])]
        names += [name for name in job.own.metrics if name not in names]
        ends = _is_told(job, "validation", judged)
        return Evaluation(judged, {name: shown[name] for name in names if name in shown}, _score(job, judged), ends)

    if job.taken is not None:
        evaluate = cache(evaluate)  # nothing is chosen by validation, and nobody is shown it
    return Plan(
        adapter=adapter,
        boundary=job.boundary,
        train=sources.train,
        loss=loss,
        evaluate=evaluate,
        name_of=examples["train"].name_of,
        rates=job.strategy.rates(gently=job.begins_solved and not job.task.reader.fields),
        settings=job.train,
        epochs=job.epochs,
        compute=job.compute,
        progress=job.progress,
        keeping=job.keeping,
        log=job.log,
        on_epoch=job.on_epoch,
        from_start=job.names is not None or job.begins_solved or job.task.judged_before,
        keeps_last=job.strategy.contrasts or job.taken is not None,
        # No epoch is chosen by it, and with a few examples it takes as long as an epoch; whoever asked to be told is.
        judges_each=not job.strategy.contrasts or job.own.on_evaluate is not None,
        last_epoch=None if job.taken is None else job.taken.epochs,
        mean_serves=_choice_of_mean(job, examples["validation"]),
        # Few rows can't tell that a training gets no better.
        usual_patience=None if job.begins_solved and len(examples["validation"].split) < MANY_TO_CHOOSE else PATIENCE,
    )


def _is_told(job: Job, name: str, judged: Judged) -> bool:
    """Return whether the one who is told of each evaluation ends training; the first process tells."""
    on_evaluate = job.own.on_evaluate
    if on_evaluate is None:
        return False
    return job.compute.processes.first(lambda: on_evaluate(name, dict(judged.metrics)) is True)


def _choice_of_mean(job: Job, validation: Examples) -> Callable[[Judged, Judged], bool] | None:
    """Return what says whether the mean of all epochs' weights is kept; None where it never is."""
    if not _averages(job):
        return None
    if job.taken is not None:
        return _always if job.taken.mean else None
    return partial(_mean_serves, job, validation)


def _always(best: Judged, mean: Judged) -> bool:
    del best, mean
    return True


def _averages(job: Job) -> bool:
    """Return whether the mean of all epochs' weights may be kept: where the start is worth something, and nothing else
    is asked for."""
    asked = job.train.ema is not None or job.strategy.interpolate is not None
    return job.begins_solved and job.train.average_epochs and not asked


def _mean_serves(job: Job, validation: Examples, best: Judged, mean: Judged) -> bool:
    """Return whether the mean of all epochs' weights is kept: where a metric is named to choose by it must be as good
    by that."""
    if job.train.metric is not None:
        return _score(job, mean) >= _score(job, best)
    return mean_serves(job.task, validation.split.class_ids if job.task.has_classes else None, best, mean)


def _score(job: Job, judged: Judged) -> tuple[float, ...]:
    """Return what chooses the best epoch, the higher the better: the metric asked for, of equals the task's own."""
    if job.train.metric is None:
        return judged.score
    if job.train.metric in job.own.metrics:
        return (float(judged.metrics[job.train.metric]), *judged.score)
    metric = next(metric for metric in job.task.metrics if metric.name == job.train.metric)
    # Of one class alone there is no area under a curve: all epochs are equal by it.
    value = float(judged.metrics.get(metric.name, 0.0))
    return (value if metric.higher_is_better else -value, *judged.score)


def _judge(
    job: Job,
    sources: Sources,
    examples: dict[str, Examples],
    best: Evaluation | None,
    before: Mapping[str, object],
) -> dict[str, Judged]:
    """Return the scores of validation and test; what was tuned on validation holds for the test."""
    mixed = job.strategy.interpolate is not None
    known = best if not mixed else None
    shown = shown_split(examples)
    seen = {**_seen(job, examples[shown]), **before}
    own = seen if shown == "validation" else {}
    judged = {}
    if known is not None and not own:
        judged["validation"] = known.judged
    else:
        judged["validation"] = _judged(job, sources, examples, "validation", **own)
    if "test" in examples:
        judged["test"] = _judged(job, sources, examples, "test", **_tuned(job, judged), **seen)
    judged = {name: job.own.judged(own, job.splits.class_names) for name, own in judged.items()}
    for name, found in judged.items():
        _is_told(job, name, found)
    return judged


def _judged_before(
    job: Job, sources: Sources, examples: dict[str, Examples]
) -> tuple[dict[str, Judged], dict[str, object]]:
    """Return how good the model is before training on the split that shows it, and what the judgement afterwards is
    told of it, where the task wants that."""
    if not job.task.judged_before:
        return {}, {}
    with job.stage("evaluate"):
        job.adapter.model.to(job.compute.device)
        name = shown_split(examples)
        seen = _seen(job, examples[name])
        judged = _judged(job, sources, examples, name, **seen)
    if name == "test":  # the loop tells the same of validation
        value = judged.metrics[job.task.headline.name]
        job.progress.line(f"before training: {name} {job.task.headline.words} {shown_number(value)}")
    return {name: judged}, {"before": seen.get("samples")}


def _seen(job: Job, examples: Examples) -> dict[str, object]:
    """Return what judging is told that takes the model itself: texts that it writes, say."""
    count = job.task.look_count(examples, job.data)
    if not count:
        return {}
    with job.progress.stage("writing texts", count) as advance:
        return job.task.looked(job.adapter, examples, job.data, job.compute.autocast, advance)


def _judged(job: Job, sources: Sources, examples: dict[str, Examples], name: str, **extras: object) -> Judged:
    own = examples[name]
    keep = partial(job.task.decode, examples=own)
    outcomes = outcomes_of(job.adapter, sources.others[name], job.compute, lambda places, logits: keep(logits, places))
    if name == "test" and job.tested is not None:
        job.tested[:] = outcomes
    told = {**job.task.judging_settings(job.data, job.splits.train.targets), **extras}
    return job.task.judge(outcomes, own, job.splits.class_names, **told)
