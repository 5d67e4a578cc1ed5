"""The charts of a run's page: its epochs, what was tried, how sure it is, and what its task draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from markupsafe import Markup

from hftransfer.base.plain import JsonObject
from hftransfer.metrics.metric import Metric, metric_words
from hftransfer.report.charts import Axis, Bars, Chart, Series, short
from hftransfer.report.tables import validation_names

if TYPE_CHECKING:
    from hftransfer.tasks.shown import Plot

_MOST_BARS, _MOST_LINES, _MOST_CELLS = 60, 8, 200
_BINS = 10
_SHARES = Axis("confidence", least=0.0, most=1.0, is_whole=True)


@dataclass(frozen=True)
class HeatMap:
    """Counts (R, C) as shades, of more rows than a table can show."""

    title: str
    counts: np.ndarray
    x_label: str
    y_label: str
    note: str = ""
    legend: Sequence[tuple[Markup, str]] = ()

    def svg(self) -> Markup:
        """Return the drawing: one path for each shade."""
        rows, columns = self.counts.shape
        most = np.maximum(self.counts.sum(axis=1, keepdims=True), 1)  # (R, 1)
        shades = np.ceil(5 * self.counts / most).astype(int)  # (R, C), 0 to 5
        paths = []
        for shade in range(1, 6):
            cells = "".join(f"M{x} {y}h1v1h-1z" for y, x in np.argwhere(shades == shade))
            paths.append(Markup('<path class="fill" style="opacity: {}" d="{}"/>').format(0.12 + 0.17 * shade, cells))
        told = f"{self.title}: {self.y_label} by {self.x_label}"
        return Markup('<svg class="heat s0" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            columns, rows, told, Markup("").join(paths)
        )


Drawn: TypeAlias = Chart | Bars | HeatMap


def history_charts(rows: Sequence[Mapping[str, float]], kept_epoch: int | None, kept: str) -> list[Chart]:
    """Return the training loss and the validation metrics over the epochs, that which is kept marked, if it is one."""
    epochs = [row["epoch"] for row in rows]
    names = validation_names(rows)
    # Shares on their own, up to 1; losses and what else goes beyond 1 (perplexity, errors in units) apart.
    shares = [name for name in names if "loss" not in name and not any(row[name] > 1 for row in rows)]
    losses = [name for name in names if name not in shares]
    near = [name for name in losses if "loss" in name]
    far = [name for name in losses if name not in near]
    x = Axis("epoch", "whole", at=epochs if len(epochs) <= 8 else ())

    def series(name: str) -> Series:
        told = "training loss" if name == "train_loss" else f"validation {metric_words(name)}"
        return Series(told, epochs, [row[name] for row in rows])

    marked = [] if kept_epoch is None else [float(kept_epoch)]
    note = f"Dotted: kept, {kept}" if marked else f"Kept: {kept}"
    note += "; epoch 0: before the first step" if epochs and epochs[0] == 0 else ""
    charts = [Chart("Loss", x, Axis("loss"), [series(name) for name in ("train_loss", *near)], note, marked)]
    if shares:
        told = [series(name) for name in shares[:_MOST_LINES]]
        charts.append(Chart("Validation scores", x, Axis("score", most=1.0), told, note, marked))
    # Each in units of its own.
    charts += [
        Chart(f"Validation {metric_words(name)}", x, Axis(metric_words(name)), [series(name)], note, marked)
        for name in far
    ]
    return charts


def l2_chart(tried: Sequence[tuple[float, float]], measure: str) -> Chart:
    """Return the validation log loss, or another measure, against the L2 strength of a solved head, the best marked."""
    strengths, losses = zip(*tried, strict=True)
    best = min(range(len(tried)), key=lambda place: losses[place])
    note = f"Dotted line: the strength chosen, {strengths[best]:.3g}"
    return Chart("L2 strength", Axis("L2 strength", "log"), Axis(measure), [Series("", strengths, losses)], note,
                 [strengths[best]])  # fmt: skip


def calibration_chart(probabilities: np.ndarray, labels: np.ndarray) -> Chart:
    """Return how often the model is right against how sure it is, in ten bins (Guo et al. 2017, figure 1)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    # A probability of 1 falls into the last bin, not behind it.
    which = np.clip((sure * _BINS).astype(int), 0, _BINS - 1)
    count = np.bincount(which, minlength=_BINS)  # (10,)
    there = count > 0
    accuracy = np.bincount(which, weights=right, minlength=_BINS)[there] / count[there]
    mean = np.bincount(which, weights=sure, minlength=_BINS)[there] / count[there]
    series = [
        Series("share of examples", (np.arange(_BINS)[there] / 10 + 0.05).tolist(),
               (count[there] / count.sum()).tolist(), form="bars", color="s5", is_pale=True),
        Series("accuracy", mean.tolist(), accuracy.tolist(), color="s0"),
    ]  # fmt: skip
    return Chart("Calibration", _SHARES, replace(_SHARES, label="share"), series,
                 "On the dotted line, confidence equals accuracy", diagonal=True)  # fmt: skip


def certainty_chart(probabilities: np.ndarray, labels: np.ndarray) -> Chart:
    """Return how many examples got how much probability for their true class, right and wrong ones apart."""
    own, right = probabilities[np.arange(len(labels)), labels], probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, 2 * _BINS + 1)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    series = []
    for name, kind, chosen in (("right", "s0", right), ("wrong", "s1", ~right)):
        counts = np.histogram(own[chosen], edges)[0]
        series.append(Series(name, middles, counts.astype(float).tolist(), form="bars", color=kind))
    x = replace(_SHARES, label="probability of the true class")
    return Chart("Spread of scores", x, Axis("test examples", "whole", least=0.0), series)


def learning_chart(points: Sequence[tuple[int, Sequence[float]]], metric: Metric) -> Chart:
    """Return the score against the number of training examples, the last point being the run itself; its note says
    what the last doubling brought."""
    sizes = [float(size) for size, _ in points]
    means = [float(np.mean(scores)) for _, scores in points]
    ends = [min(scores) for _, scores in points], [max(scores) for _, scores in points]
    singles = [(size, score) for size, scores in points[:-1] for score in scores]
    draws = Series("single draws", [size for size, _ in singles], [score for _, score in singles], form="points",
                   color="s5", is_pale=True)  # fmt: skip
    gain = (means[-1] - means[-2]) / np.log2(sizes[-1] / sizes[-2])
    told = f"{100 * gain:+.1f} points" if metric.is_share else f"{gain:+.3f}"
    x = Axis("training examples", "log", at=sizes)
    y = Axis(metric.words, most=1.0 if metric.is_bounded else None)
    return Chart("Learning curve", x, y, [Series("mean", sizes, means, ends, color="s0"), draws],
                 f"The last doubling of examples: {told}")  # fmt: skip


def prompt_charts(rows: Sequence[JsonObject]) -> list[Bars]:
    """Return the accuracy of each template alone, and what it adds to all of them together, in log loss (of many, the
    ten that add most and the ten that add least)."""
    shown = list(rows) if len(rows) <= 20 else [*rows[:10], *rows[-10:]]
    names = [row["template"] for row in shown]
    alone = [float(row["accuracy_alone"]) for row in shown]
    gains = [1000 * float(row["log_loss_gain"]) for row in shown]
    harm = sum(row["log_loss_gain"] < 0 for row in rows)
    note = f"{len(rows)} templates: {len(rows) - harm} help, {harm} harm"
    return [
        Bars("Each template alone", names, alone, [f"{value:.4f}" for value in alone], unit="accuracy"),
        Bars("What each adds", names, gains, [f"{value:+.2f}" for value in gains], note,
             "rise of the log loss without it, 0.001 nats"),
    ]  # fmt: skip


def shots_chart(rows: Sequence[JsonObject], summary: Sequence[JsonObject], zero_shot: float | None) -> Chart:
    """Return accuracy against the training examples of each class: every draw, their mean and its 95 % interval, and
    where it is known what the names of the classes alone give."""
    shots = [float(entry["shots"]) for entry in summary]
    bands = [entry["accuracy_interval"] or [entry["accuracy"]] * 2 for entry in summary]
    ends = [low for low, _ in bands], [min(1.0, high) for _, high in bands]
    draws = [Series("single draws", [row["shots"] for row in rows], [row["accuracy"] for row in rows], form="points",
                    color="s5", is_pale=True)]  # fmt: skip
    mean = Series("mean, 95 %", shots, [entry["accuracy"] for entry in summary], ends, color="s0")
    note = "" if zero_shot is None else f"Dotted: the names of the classes alone, {zero_shot:.4f}"
    x = Axis("training examples of each class", "log", at=shots)
    return Chart("Accuracy by number of shots", x, Axis("test accuracy", least=0.0, most=1.0), [mean, *draws], note,
                 at_y=[] if zero_shot is None else [zero_shot])  # fmt: skip


def plot_chart(plot: Plot) -> Drawn | None:
    """Return what a task draws of its results; None for a matrix, which is a table of the page."""
    if plot.matrix is not None:
        return None
    if plot.bars:
        values = [float(value) for value in plot.lines[0].y[:_MOST_BARS]]
        return Bars(plot.title, list(plot.names)[:_MOST_BARS], values, [f"{value:.4f}" for value in values],
                    unit=plot.y_label)  # fmt: skip
    series = [Series(line.name, line.x.tolist(), line.y.tolist()) for line in plot.lines[:_MOST_LINES]]
    x, y = Axis(plot.x_label), Axis(plot.y_label)
    if plot.points is None:
        left = len(plot.lines) - len(series)
        note = f"The first {len(series)} of {len(plot.lines)}" if left else ""
        return Chart(plot.title, x, y, series, note)
    points = Series("", plot.points[0].tolist(), plot.points[1].tolist(), form="points")
    return Chart(plot.title, x, y, [points, *series], diagonal=plot.reference == "diagonal",
                 at_y=[0.0] if plot.reference == "zero" else [])  # fmt: skip


@dataclass(frozen=True)
class CountedCell:
    """One cell of a matrix: its key, what it counts in words, the count, and its share of the row or of the most."""

    key: str
    words: str
    count: int
    share: float


@dataclass(frozen=True)
class Matrix:
    """Counts that a page shows as a table, whose cells choose examples."""

    title: str
    x_label: str
    y_label: str
    names: Sequence[str]
    rows: Sequence[tuple[str, Sequence[CountedCell]]]
    pairs: Sequence[tuple[str, str, CountedCell]] = ()
    """Of more names than a table can show: the largest counts off the diagonal alone."""
    heat: HeatMap | None = None
    note: str = ""


_MOST_NAMES, _MOST_PAIRS = 16, 30


def matrix_of(
    counts: np.ndarray, names: Sequence[str], title: str, labels: tuple[str, str], *, by_row: bool, told: str
) -> Matrix:
    """Return counts (C, C) as a table; `labels` are those of columns and rows, `told` is what a cell counts, with the
    row's and the column's name. Shades are shares of a row, or else of the largest count."""
    counts = np.asarray(counts).astype(int)
    whole = np.maximum(counts.sum(axis=1, keepdims=True), 1) if by_row else max(1, int(counts.max(initial=0)))
    shares = counts / whole
    shown = [short(name, 24) for name in names]

    def cell(row: int, column: int) -> CountedCell:
        words = told.format(short(names[row]), short(names[column]))
        return CountedCell(f"{row}-{column}", words, int(counts[row, column]), float(shares[row, column]))

    if len(names) <= _MOST_NAMES:
        places = range(len(names))
        return Matrix(title, *labels, shown, [(shown[row], [cell(row, column) for column in places]) for row in places])
    off = counts.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_PAIRS]
    found = [(int(place) // len(names), int(place) % len(names)) for place in order]
    pairs = [(shown[row], shown[column], cell(row, column)) for row, column in found if off[row, column]]
    few = len(names) <= _MOST_CELLS
    heat = HeatMap(title, counts, *labels, note=f"{labels[1]} (down) by {labels[0]} (across)") if few else None
    return Matrix(title, *labels, [], [], pairs, heat, "The pairs that are confused most")
