"""Two runs that were made, compared on the test examples that both were judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hftransfer.base.errors import DataError, must_be, some
from hftransfer.base.plain import JsonObject
from hftransfer.jobs.runs import find_run, metrics_of, recipe_of
from hftransfer.metrics.metric import Metric
from hftransfer.recipe import Recipe, flat_settings
from hftransfer.report.headline import task_of
from hftransfer.report.tables import columns_of
from hftransfer.study.statistics import Difference, Scores, differences
from hftransfer.study.words import difference_in_words

TABLE = "predictions.parquet"
_NO_CHOICE = ("output.", "hub.", "compare.", "resolved.", "train.cache", "train.trackers")


@dataclass(frozen=True)
class PairedRuns:
    """Two runs side by side, on the same test examples."""

    folders: tuple[Path, Path]
    metric: Metric
    """The mean of one score for each example."""
    scores: tuple[float, float]
    intervals: tuple[tuple[float, float] | None, tuple[float, float] | None]
    seconds: tuple[float, float]
    trainable: tuple[int, int]
    difference: Difference
    """Of the second over the first."""
    agreement: Mapping[str, int]
    """Of shares: how many examples both got right, the first alone, the second alone, and none."""
    settings: Mapping[str, tuple[object, object]]
    """The settings that differ, by their key."""

    def plain(self) -> JsonObject:
        """Return it as JSON has it."""
        difference = self.difference
        return {
            "runs": [str(folder) for folder in self.folders],
            "metric": self.metric.name,
            "scores": list(self.scores),
            "intervals": [list(one) if one else None for one in self.intervals],
            "seconds": list(self.seconds),
            "trainable": list(self.trainable),
            "examples": difference.examples,
            "difference": difference.mean,
            "difference_interval": list(difference.interval),
            "p": difference.p,
            "mcnemar_p": difference.mcnemar[0] if difference.mcnemar else None,
            **self.agreement,
            "settings": {key: list(values) for key, values in self.settings.items()},
        }


def compare_runs(first: str | Path, second: str | Path) -> PairedRuns:
    """Return two finished runs side by side, paired by the test examples, which must be the same.

    Raises:
        OutputError: one is no finished run.
        DataError: they have other tasks, metrics or test examples, or none at all.
    """
    folders = find_run(first), find_run(second)
    metrics = [metrics_of(folder) for folder in folders]
    task, other = (task_of(one) for one in metrics)
    if task.name != other.name or task.compared != other.compared:
        got = f"{task.name} ({task.compared.words}) and {other.name} ({other.compared.words})"
        raise DataError(must_be("the two runs", "of the same task and metric", got))
    tables = [_table(folder) for folder in folders]
    recipes = recipe_of(folders[0]), recipe_of(folders[1])
    _require_same_examples(*tables, same_data=_fingerprint(recipes[0]) == _fingerprint(recipes[1]))
    scores: list[Scores] = [dict(zip(table["id"], task.of_each(table), strict=True)) for table in tables]
    metric = task.compared
    names = str(folders[0]), str(folders[1]) + (" again" if folders[0] == folders[1] else "")
    found = differences(
        {names[0]: {0: scores[0]}, names[1]: {0: scores[1]}}, shares=metric.is_share, bounded=metric.is_bounded
    )[0]
    return PairedRuns(
        folders,
        metric,
        (metrics[0]["test"][metric.name], metrics[1]["test"][metric.name]),
        (_interval(metrics[0], metric), _interval(metrics[1], metric)),
        (metrics[0]["seconds"]["total"], metrics[1]["seconds"]["total"]),
        (metrics[0]["parameters"]["trainable"], metrics[1]["parameters"]["trainable"]),
        found,
        _agreement(*scores) if metric.is_share else {},
        _differing(*recipes),
    )


def paired_table(pair: PairedRuns) -> str:
    """Return two runs side by side as text: scores, what the difference is worth, and which settings differ."""
    lines = [["", "first", "second"], ["run", *map(str, pair.folders)]]
    lines.append([pair.metric.words, *(f"{score:.4f}" for score in pair.scores)])
    lines.append(["95 % interval", *(f"{one[0]:.4f} to {one[1]:.4f}" if one else "" for one in pair.intervals)])
    lines.append(["parameters trained", *(f"{count:,}" for count in pair.trainable)])
    lines.append(["seconds", *(f"{seconds:.1f}" for seconds in pair.seconds)])
    lines += [[key, *(_shown(value) for value in values)] for key, values in pair.settings.items()]
    parts = [columns_of(lines)]
    if pair.agreement:
        both, first, second, none = (pair.agreement[name] for name in _AGREEMENT)
        parts.append(f"  right: both {both}, only the first {first}, only the second {second}, neither {none}")
    of = f"over {pair.difference.examples} test examples"
    parts.append(f"  The second over the first, {of}: {difference_in_words(pair.difference)}")
    return "\n\n".join(parts)


def _table(run: Path) -> dict[str, Any]:
    """Return the predictions of a run by column.

    Raises:
        DataError: it was not tested, or keeps none.
    """
    import pyarrow
    import pyarrow.parquet

    file = run / TABLE
    try:
        return dict(pyarrow.parquet.read_table(file).to_pydict())
    except (OSError, pyarrow.ArrowException) as error:
        got = "none" if not file.exists() else f"a damaged one ({error})"
        raise DataError(must_be(f"the run {run}", f"one with a table of test examples, {TABLE}", got)) from error


def _fingerprint(recipe: Recipe) -> str | None:
    return recipe.resolved.data_fingerprint if recipe.resolved is not None else None


def _require_same_examples(first: Mapping[str, Any], second: Mapping[str, Any], *, same_data: bool) -> None:
    """Return if both tables are of the same examples, with the same labels.

    Raises:
        DataError: they are not.
    """
    remedy = "Only runs of the same data and seed are tested on the same rows."
    one, two = set(first["id"]), set(second["id"])
    if one != two or len(one) != len(first["id"]) or len(two) != len(second["id"]):
        got = f"{len(one):,} and {len(two):,}, of which {len(one & two):,} are in both"
        raise DataError(must_be("the test examples of the two runs", "the same", got, remedy))
    if not one:
        raise DataError(must_be("the test examples of the two runs", "one or more", "none"))
    given = [column for column in GIVEN if column in first and column in second]
    # A mask is in no table: whether it is the same, the data alone can tell.
    if not given and not same_data:
        raise DataError(must_be("the data of the two runs", "the same", "different data", remedy))
    for column in given:
        told = dict(zip(second["id"], second[column], strict=True))
        odd = [str(name) for name, truth in zip(first["id"], first[column], strict=True) if told[name] != truth]
        if odd:
            got = f"other values for {some(odd, 3)}"
            raise DataError(
                must_be(f"the column '{column}' of the test examples of the two runs", "the same", got, remedy)
            )


GIVEN = ("label", "labels", "value", "answers", "tags", "references", "question", "text", "prompt")
"""Columns of tables of predictions that hold what was given, and not what a model made of it."""


_AGREEMENT = {
    "both_right": (True, True),
    "first_alone": (True, False),
    "second_alone": (False, True),
    "none_right": (False, False),
}


def _agreement(first: Scores, second: Scores) -> dict[str, int]:
    pairs = [(score > 0, second[name] > 0) for name, score in first.items()]
    return {name: pairs.count(kind) for name, kind in _AGREEMENT.items()}


def _interval(metrics: JsonObject, metric: Metric) -> tuple[float, float] | None:
    found = metrics["test"].get(f"{metric.name}_interval")
    return (found[0], found[1]) if found else None


def _differing(first: Recipe, second: Recipe) -> dict[str, tuple[object, object]]:
    one, two = flat_settings(first), flat_settings(second)
    keys = [key for key in dict.fromkeys([*one, *two]) if not key.startswith(_NO_CHOICE)]
    return {key: (one.get(key), two.get(key)) for key in keys if one.get(key) != two.get(key)}


def _shown(value: object) -> str:
    return "" if value is None else str(value)
