"""Cross-validation: every example tested once, by a model of the others; the model that is kept learned from all.

What is frozen is computed once for all folds, so that a linear probe of five folds takes little longer than one split.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hftransfer.base.plain import JsonObject, shown_number
from hftransfer.data.folds import joined, splits_of_fold
from hftransfer.data.splits import Split, Splits
from hftransfer.jobs.learned import Learned
from hftransfer.jobs.session import Session
from hftransfer.metrics.intervals import mean_interval
from hftransfer.recipe import Recipe
from hftransfer.tasks.contract import Columns, Judged
from hftransfer.tasks.head_task import HeadTask

if TYPE_CHECKING:
    from hftransfer.training.job import Choices

Train = Callable[[Splits, list[Any], "Choices | None", Session], Learned]
"""Trains on the splits of a fold; the outcomes of its test items go to a list. With choices it takes those over."""


@dataclass(frozen=True)
class _Fold:
    """The part of a fold that is kept when its model is gone."""

    sizes: Mapping[str, int]
    test: Split
    judged: Judged
    outcomes: list[Any]
    made: Choices
    history: list[dict[str, float]]


def foretold(recipe: Recipe, count: int) -> str:
    """Return what a cross-validation will do, and how long that takes beside one split."""
    folds = recipe.data.folds
    if recipe.strategy.head_alone:
        work = "frozen layers are computed once, and one head is trained per fold"
    else:
        work = f"{folds} trainings, one after the other: about {(folds or 0) + 1} times as long as one split"
    return f"{folds} folds: {work}; then a final model is trained on all {count:,} examples and kept"


def cross_validated(recipe: Recipe, whole: Splits, session: Session, train: Train) -> Learned:
    """Return the model of all examples with the scores of all folds, each example tested by a model of the others."""
    count = recipe.data.folds or 0
    folds: list[_Fold] = []
    learned: Learned | None = None
    with sharing_activations(recipe, session) as quiet:
        for number in range(count):
            del learned
            outcomes: list[Any] = []
            learned = train(splits_of_fold(whole, number, recipe.data, recipe.train.seed), outcomes, None, quiet)
            folds.append(_fold(learned, outcomes))
            metric, scores = learned.task.headline, folds[-1].judged.metrics
            told = f"{metric.words} {shown_number(scores[metric.name])}"
            session.progress.line(f"fold {number + 1} of {count}: test {told}")
        assert learned is not None
        with session.stage("evaluate"):
            judged = _judged_together(recipe, learned, folds)
            judged = session.own.judged(judged, learned.splits.class_names) if session.own is not None else judged
        taken = replace(_taken([fold.made for fold in folds]), extras=judged.extras)
        # A training wants a validation split: it has no say in this one, and is not told of.
        stand_in = splits_of_fold(whole, 0, recipe.data, recipe.train.seed).validation
        del learned
        last = train(replace(whole, validation=stand_in, test=whole.train.only([]), folds=()), [], taken, quiet)
    return _as_one(recipe, whole, last, folds, judged, taken)


@contextmanager
def sharing_activations(recipe: Recipe, session: Session) -> Iterator[Session]:
    """The session of several trainings: those that keep no activations after the run share them meanwhile."""
    quiet = session.quiet(session.progress.in_background())
    if recipe.train.cache != "off" or session.processes.count > 1:
        yield quiet
        return
    with tempfile.TemporaryDirectory(prefix="hftransfer-") as folder:
        yield replace(quiet, scratch=Path(folder))


def _fold(learned: Learned, outcomes: list[Any]) -> _Fold:
    """Return what is kept of a fold."""
    assert learned.made is not None
    test = learned.splits.test
    return _Fold(learned.splits.sizes(), test, learned.judged["test"], outcomes, learned.made, learned.history.table)


def _taken(made: Sequence[Choices]) -> Choices:
    """Return what the folds chose, for a training on all examples: the median L2 strength (of two the stronger), the
    mean of epochs' weights or the best epoch's as most folds kept, with the median of their epochs, and the geometric
    mean of the temperatures."""
    strengths = sorted(one.l2 for one in made if one.l2 is not None)
    keeps_mean = 2 * sum(one.mean for one in made) > len(made)
    epochs = sorted(one.epochs for one in made if one.mean == keeps_mean)
    return replace(
        made[0],
        l2=strengths[len(strengths) // 2] if strengths else None,
        epochs=epochs[len(epochs) // 2],
        mean=keeps_mean,
        temperature=float(np.exp(np.mean([np.log(one.temperature) for one in made]))),
    )


def _judged_together(recipe: Recipe, learned: Learned, folds: Sequence[_Fold]) -> Judged:
    """Return the scores of all examples, each by the model of its fold; the table says the fold, and the group."""
    task = cast(HeadTask[Any], learned.task)
    assert learned.adapter is not None
    test = joined([fold.test for fold in folds])
    examples = task.examples(learned.adapter, test, recipe.data)
    outcomes = [outcome for fold in folds for outcome in fold.outcomes]
    tuned = [(len(fold.test), fold.made.extras) for fold in folds]
    names, settings = learned.splits.class_names, task.judging_settings(recipe.data, learned.splits.train.targets)
    judged = task.judge_folds(outcomes, examples, names, tuned, **settings)
    columns: Columns = dict(judged.columns)
    columns["fold"] = np.repeat(np.arange(1, len(folds) + 1), [len(fold.test) for fold in folds])
    if recipe.data.group_column is not None:
        columns["group"] = [row.group for row in test.rows]
    return replace(judged, columns=columns)


def _as_one(
    recipe: Recipe, whole: Splits, last: Learned, folds: Sequence[_Fold], judged: Judged, taken: Choices
) -> Learned:
    """Return the model of all examples with the scores of all folds."""
    test = joined([fold.test for fold in folds])
    # Every example is trained on in the end, and tested before by a model that had not seen it.
    splits = replace(whole, train=last.splits.train, test=test, skipped=last.splits.skipped, folds=())
    rows = [_row(number, fold) for number, fold in enumerate(folds, 1)]
    history = [{"fold": number, **row} for number, fold in enumerate(folds, 1) for row in fold.history]
    told = _scores(recipe, last, rows, judged) | {"taken": _in_words(taken, rows)}
    facts = last.facts.model_copy(update={"data_fingerprint": whole.fingerprint()})
    return replace(
        last,
        recipe=recipe,
        splits=splits,
        judged={"test": judged},
        facts=facts,
        history=type(last.history)(),
        more={**{key: value for key, value in last.more.items() if key not in _OF_ONE}, "folds": told},
        tables={"predictions.parquet": judged.columns},
        sheets={"folds.csv": rows, **({"history.csv": history} if history else {})},
        l2_path=(),
        # Of the examples that were learned from, and are tested too: an audit would call them copies.
        features={},
        curve=None,
    )


_OF_ONE = ("zero_shot", "before")
"""What a training tells of its own splits."""


def _row(number: int, fold: _Fold) -> JsonObject:
    """Return what is told of one fold."""
    scores = {name: value for name, value in fold.judged.metrics.items() if isinstance(value, float)}
    return {"fold": number, **fold.sizes, **scores, **_chosen(fold.made, stepped=bool(fold.history))}


def _chosen(made: Choices, *, stepped: bool) -> JsonObject:
    """Return the choices that there were to make, by name."""
    told: JsonObject = {} if made.l2 is None else {"l2": made.l2}
    if stepped:
        told |= {"epochs": made.epochs, "averaged_epochs": made.mean}
    return told | {"temperature": made.temperature}


def _in_words(taken: Choices, rows: Sequence[JsonObject]) -> JsonObject:
    """Return what the model of all examples took over from the folds, by name."""
    told = _chosen(taken, stepped=any("epochs" in row for row in rows))
    return {name: value for name, value in told.items() if any(name in row for row in rows)}


def _scores(recipe: Recipe, last: Learned, rows: Sequence[JsonObject], judged: Judged) -> JsonObject:
    """Return the scores of the folds, how they spread, and the mean over groups, where there are some."""
    name = last.task.headline.name
    values = np.array([row[name] for row in rows])
    told: JsonObject = {
        "count": len(rows),
        "metric": name,
        "mean": float(values.mean()),
        "deviation": float(values.std(ddof=1)),
        "least": float(values.min()),
        "most": float(values.max()),
        "scores": list(rows),
    }
    if recipe.data.group_column is not None:
        told["by_groups"] = _by_groups(recipe.data.group_column, last, judged)
    return told


def _by_groups(column: str, last: Learned, judged: Judged) -> JsonObject:
    """Return the mean over groups of the mean score of each, with the interval of a new draw of groups: rows of one
    group are alike, and say less than as many of others."""
    found: dict[str, list[float]] = {}
    for group, value in zip(judged.columns["group"], last.task.of_each(judged.columns), strict=True):
        found.setdefault(str(group), []).append(value)
    means = [float(np.mean(own)) for own in found.values()]
    name = last.task.compared.name
    return {
        "column": column,
        "groups": len(means),
        name: float(np.mean(means)),
        f"{name}_interval": mean_interval(means),
    }
