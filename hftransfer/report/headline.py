"""The one score of a run that people are told first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hftransfer.base.plain import JsonObject, shown_number
from hftransfer.metrics.metric import Metric, metric_words, score_name
from hftransfer.report.rendering import sentence
from hftransfer.tasks import TASKS
from hftransfer.tasks.contract import Task
from hftransfer.tasks.head_task import HeadTask
from hftransfer.tasks.shown import Chance


@dataclass(frozen=True)
class Headline:
    """The score of a run, its interval (95 % over the examples), and the split that it is of: `test`, or `validation`
    where there was no test."""

    metric: str
    score: float
    interval: tuple[float, float] | None
    split: str
    folds: int = 0
    """Of a cross-validation, how many there were: each example was tested once."""
    before: float | None = None
    """The same score before training, where it was measured."""

    def __str__(self) -> str:
        told = f"{metric_words(self.metric)} {self.score:.4f}"
        more = [f"{self.interval[0]:.4f} to {self.interval[1]:.4f}"] if self.interval else []
        more += [f"{self.before:.4f} before training"] if self.before is not None else []
        told += f" ({'; '.join(more)})" if more else ""
        if self.folds:
            return f"{told}, {self.folds} folds"
        return told if self.split == "test" else f"{told}, on {self.split}"


def headline_of(metrics: JsonObject) -> Headline | None:
    """Return the score that a run's metrics begin with; None where nothing was judged."""
    if metrics.get("task") not in TASKS:
        return None
    split = "test" if metrics.get("test") else "validation"
    scores = metrics.get(split) or {}
    metric = _told_with_interval(task_of(metrics), scores)
    if scores.get(metric.name) is None:
        return None
    interval = scores.get(f"{metric.name}_interval")
    folds = int(metrics.get("folds", {}).get("count", 0))
    ends = (interval[0], interval[1]) if interval else None
    before = metrics.get("before", {}).get(split, {}).get(metric.name)
    return Headline(metric.words, scores[metric.name], ends, split, folds, before)


def task_of(metrics: JsonObject) -> Task:
    """Return the task that a run's metrics are of."""
    task = TASKS[metrics["task"]]
    return task.for_problem(metrics.get("problem_type")) if isinstance(task, HeadTask) else task


def _told_with_interval(task: Task, scores: JsonObject) -> Metric:
    """Return the headline of a task; where it has no interval, and the metric that models are compared by has, that."""
    both = (task.headline, task.compared)
    return next((metric for metric in both if f"{metric.name}_interval" in scores), task.headline)


def in_short(metric: Metric, score: float, interval: tuple[float, float] | None) -> tuple[str, str]:
    """Return a score and its spread as they are read from afar: `88 %` and `± 4`; an interval that is not even about
    the score is told by its ends."""
    unit, factor = (" %", 100.0) if metric.is_share else ("", 1.0)
    if interval is None or not interval[1] > interval[0]:
        return (f"{100 * score:.1f} %" if metric.is_share else shown_number(score)), ""
    low, score, high = (factor * value for value in (interval[0], score, interval[1]))
    below, above = score - low, high - score
    half = (high - low) / 2
    # As many places as the interval leaves sure, and one where it begins with 1.
    places = min(6, max(0, -math.floor(math.log10(half / 2))))
    told = f"{score:,.{places}f}{unit}"
    if min(below, above) >= 0.6 * max(below, above):
        return told, f"± {half:,.{places}f}"
    return told, f"{low:,.{places}f} to {high:,.{places}f}"


def chance_by(metrics: JsonObject, metric: Metric) -> Chance | None:
    """Return what the best constant answer reaches by a metric, as a run's metrics tell it."""
    found = metrics.get("chance", {}).get(metric.name)
    return Chance(found["score"], found["words"]) if found is not None else None


def first_told(
    metric: Metric, score: float, ends: tuple[float, float] | None, of: str, chance: Chance | None
) -> JsonObject:
    """Return a score as the first screen of a page has it: in short, in words (`of` says what of), on a scale, and
    beside what the best constant answer reaches."""
    short, spread = in_short(metric, score, ends)
    exact = f": {shown_number(score)}"
    exact += f", 95 % interval {shown_number(ends[0])} to {shown_number(ends[1])}" if ends else ""
    told = "" if chance is None else f"{sentence(chance.words)} reaches {in_short(metric, chance.score, None)[0]}."
    return {
        "score": short,
        "spread": spread,
        "words": f"{sentence(metric.words)} {of}{exact}",
        "chance": told,
        "scale": _scale(metric, score, ends, chance),
    }


def _scale(
    metric: Metric, score: float, ends: tuple[float, float] | None, chance: Chance | None
) -> dict[str, float] | None:
    """Return where on a line from 0 to 100 the score, its interval and chance lie; None of what has no bounds."""
    if not metric.is_bounded:
        return None
    low, high = ends or (score, score)
    places = {"score": score, "low": low, "high": high, "chance": -1.0 if chance is None else chance.score}
    return {name: round(100 * value, 1) for name, value in places.items()}


def score_table(metrics: JsonObject) -> list[list[str]]:
    """Return the scores that are one number each, of test and validation, under a row that names the columns; nothing
    where nothing was judged."""
    splits = [name for name in ("test", "validation") if metrics.get(name)]
    named = dict.fromkeys(
        name for split in splits for name, value in metrics[split].items() if isinstance(value, float)
    )
    told = metrics[splits[0]] if splits else {}
    rows = [[score_name(name, told), *(_score(metrics[split].get(name)) for split in splits)] for name in named]
    return [["", *splits], *rows] if rows else []


def _score(value: object) -> str:
    return shown_number(value) if isinstance(value, float) else ""
