"""Charts of a comparison's page: what accuracy costs, how it grows with examples, and epoch by epoch."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.metrics.metric import metric_words
from hftransfer.report.charts import COLORS, Axis, Chart, Series
from hftransfer.report.tables import validation_names

if TYPE_CHECKING:
    from hftransfer.study.results import Arm, Study


def study_charts(study: Study) -> list[Chart]:
    """Return the charts of a comparison; costs are drawn where there is something to compare."""
    charts = []
    if len(study.arms) > 1:
        charts = [
            _costs(study, lambda arm: max(0.001, arm.seconds), "seconds of learning"),
            _costs(study, lambda arm: max(1, arm.trainable), "trained parameters"),
        ]
    if study.curve:
        charts.append(_curve(study))
    return [*charts, *_epochs(study)]


def _y(study: Study, label: str) -> Axis:
    metric = next((result.metric for result in study.results if result.metric is not None), None)
    return Axis(label, most=1.0 if metric is None or metric.is_bounded else None)


def _costs(study: Study, cost: Callable[[Arm], float], label: str) -> Chart:
    """Return the score of every arm, with its interval, against what it costs."""
    colors = _colors_of(study)
    series = []
    for arm in study.arms:
        low, high = arm.interval or (arm.score, arm.score)
        ends = [min(low, arm.score)], [max(high, arm.score)]
        series.append(Series(arm.name, [cost(arm)], [arm.score], ends, "intervals", colors[arm.name]))
    over = "seeds" if any(arm.over_seeds for arm in study.arms) else "test examples"
    return Chart(
        f"By {label}",
        Axis(label, "log"),
        _y(study, f"test {metric_words(study.metric)}"),
        series,
        f"Vertical lines: 95 % intervals over {over}",
    )


def _curve(study: Study) -> Chart:
    """Return the score of every arm against the training examples of each class, with its interval as a band."""
    # `all` comes after every number.
    shots = sorted({arm.shots for arm in study.curve}, key=lambda one: 10**9 if one == "all" else int(one))
    colors, series = _colors_of(study), []
    for name in dict.fromkeys(arm.name for arm in study.curve):
        own = {arm.shots: arm for arm in study.curve if arm.name == name}
        places = [place for place, number in enumerate(shots) if number in own]
        found = [own[shots[place]] for place in places]
        bands = [arm.interval or (arm.score, arm.score) for arm in found]
        ends = [low for low, _ in bands], [high for _, high in bands]
        series.append(Series(name, places, [arm.score for arm in found], ends, color=colors[name]))
    x = Axis("training examples of each class", names=[str(number) for number in shots])
    return Chart("By training examples", x, _y(study, f"test {metric_words(study.metric)}"), series)


def _epochs(study: Study) -> list[Chart]:
    """Return what validation came to, epoch by epoch, of the first run of each arm that had epochs."""
    colors, found = _colors_of(study), []
    for arm in study.arms:
        files = [result.folder / "history.csv" for result in arm.results[:1]]
        for file in filter(Path.is_file, files):
            with file.open(encoding="utf-8", newline="") as lines:
                rows = [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(lines)]
            found.append((arm, rows))
    found = [(arm, rows) for arm, rows in found if rows]
    if not found:
        return []
    names = list(dict.fromkeys(name for _, rows in found for name in validation_names(rows)))
    column = study.metric if study.metric in names else next(iter(names), "train_loss")
    series = [
        Series(
            arm.name,
            [row["epoch"] for row in rows],
            [row[column] for row in rows],
            color=colors[arm.name],
        )
        for arm, rows in found
        if column == "train_loss" or column in validation_names(rows)
    ]
    label = "training loss" if column == "train_loss" else f"validation {metric_words(column)}"
    y = _y(study, label) if column == study.metric else Axis(label)
    note = f"The first run of each that had epochs{'' if len(series) > 1 else f': {series[0].name}'}"
    return [Chart("Epoch by epoch", Axis("epoch", "whole"), y, series, note)]


def _colors_of(study: Study) -> dict[str, str]:
    """Return the color of every arm, the same in all charts."""
    names = sorted({arm.name for arm in (*study.arms, *study.curve)})
    return {name: f"s{place % COLORS}" for place, name in enumerate(names)}
