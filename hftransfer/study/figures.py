"""Pictures of a comparison: what accuracy costs in time and parameters, and how it grows with examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.report.figures import INK, QUIET, figure_of, save_figure, short_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hftransfer.study.results import Arm, Study

_COLORS = ("#2a7f62", "#c0392b", "#2c6fad", "#b7791f", "#6b4c9a", "#22313f", "#0f8b8d", "#a3586d")


def draw_study(study: Study, folder: Path) -> list[Path]:
    """Return the pictures of a comparison, drawn into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [
        _draw_costs(folder / "seconds.png", study, _drawn_seconds, "seconds of learning"),
        _draw_costs(folder / "parameters.png", study, lambda arm: arm.trainable, "trained parameters"),
    ]
    return [*drawn, _draw_curve(folder / "shots.png", study)] if study.curve else drawn


def _drawn_seconds(arm: Arm) -> float:
    """Return whole milliseconds, and one at least: an axis of logarithms has no place for 0, nor limits between two
    numbers that differ in their last digit alone (matplotlib 3.11)."""
    return max(0.001, round(arm.seconds, 3))


def _draw_costs(path: Path, study: Study, cost: Callable[[Arm], float], label: str) -> Path:
    """Return the score of every arm, with its interval, against what it costs; the runs of each seed as points."""
    figure = figure_of(6.4, 4.0)
    axes = figure.subplots()
    colors = _colors_of(study)
    for arm in study.arms:
        color = colors[arm.name]
        low, high = arm.interval or (arm.score, arm.score)
        axes.errorbar(
            [cost(arm)],
            [arm.score],
            yerr=[[arm.score - min(low, arm.score)], [max(high, arm.score) - arm.score]],
            fmt="o",
            color=color,
            markersize=7,
            capsize=3,
            label=short_label(arm.name, 34),
        )
        own = [result.score or 0.0 for result in arm.results]
        axes.scatter([cost(arm)] * len(own), own, color=color, s=10, alpha=0.5, zorder=3)
    _number_axis(axes)
    axes.set_xlabel(label, color=QUIET)
    _finish(axes, study)
    save_figure(figure, path)
    return path


def _draw_curve(path: Path, study: Study) -> Path:
    """Return the score of every arm against the training examples of each class, with its interval as a band."""
    figure = figure_of(6.4, 4.0)
    axes = figure.subplots()
    # `all` comes after every number.
    shots = sorted({arm.shots for arm in study.curve}, key=lambda one: 10**9 if one == "all" else int(one))
    names = list(dict.fromkeys(arm.name for arm in study.curve))
    colors = _colors_of(study)
    for name in names:
        color = colors[name]
        own = {arm.shots: arm for arm in study.curve if arm.name == name}
        places = [place for place, number in enumerate(shots) if number in own]
        found = [own[shots[place]] for place in places]
        bands = [arm.interval or (arm.score, arm.score) for arm in found]
        axes.fill_between(places, [low for low, _ in bands], [high for _, high in bands], color=color, alpha=0.12)
        axes.plot(
            places, [arm.score for arm in found], color=color, marker="o", markersize=4, label=short_label(name, 34)
        )
    axes.set_xticks(range(len(shots)), [str(number) for number in shots])
    axes.set_xlabel("training examples of each class", color=QUIET)
    _finish(axes, study)
    save_figure(figure, path)
    return path


def _number_axis(axes: Axes) -> None:
    """Make the axis logarithmic, with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.margins(x=0.12)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,), numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 100 else f"{value:.3g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _finish(axes: Axes, study: Study) -> None:
    axes.set_ylabel(f"test {study.metric}", color=QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    _end_at_whole_shares(axes)
    axes.legend(frameon=False, fontsize=8, loc="best")
    chance = "95 % over seeds" if any(arm.over_seeds for arm in study.arms) else "95 % over test examples"
    axes.set_title(f"{study.metric.capitalize()}, {chance}", loc="left", color=INK, fontsize=11)


def _colors_of(study: Study) -> dict[str, str]:
    """Return the color of every arm, the same in all pictures."""
    names = sorted({arm.name for arm in (*study.arms, *study.curve)})
    return {name: _COLORS[place % len(_COLORS)] for place, name in enumerate(names)}


def _end_at_whole_shares(axes: Axes) -> None:
    """Leave no room on the axis of scores for less than none or more than all."""
    low, high = axes.get_ylim()
    if low < -0.1:  # as R² may be
        axes.set_ylim(top=min(high, 1.03))
        return
    pad = 0.03 * (min(high, 1.0) - max(low, 0.0))
    axes.set_ylim(max(low, -pad), min(high, 1.0 + pad))
