"""Pictures of a run: the confusion matrix, the worst mistakes, examples of what the model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from hftransfer.base.errors import printable
from hftransfer.base.plain import JsonObject
from hftransfer.data.images import enough_for
from hftransfer.data.inspection import decode_row
from hftransfer.data.rows import Row
from hftransfer.metrics.metric import metric_words
from hftransfer.report.tables import validation_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from hftransfer.tasks.shown import Plot

THUMBNAIL_PX = 224
RIGHT, WRONG, INK, QUIET = "#2a7f62", "#c0392b", "#22313f", "#5d6b78"
MAP_COLORS = "inferno"


def draw_confusion_matrix(path: Path, matrix: Sequence[Sequence[int]], class_names: Sequence[str]) -> None:
    """Draw counts as numbers and each row's shares as shades."""
    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (C, C)
    classes = len(class_names)
    side = min(16.0, max(4.0, 0.45 * classes + 2.2))
    figure = figure_of(side, side * 0.92)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    if classes <= 30:
        size = 13 if classes <= 5 else 8
        for row, column in np.ndindex(classes, classes):
            if counts[row, column]:
                color = "white" if shares[row, column] > 0.55 else INK
                text = f"{counts[row, column]:.0f}"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    names = [short_label(name, 24) for name in class_names]
    # More names than these would lie on each other.
    shown = range(0, classes, max(1, classes // 60))
    long = max(map(len, names)) > 8 or classes > 6
    axes.set_xticks(list(shown), [names[i] for i in shown], rotation=90 if long else 0, fontsize=9)
    axes.set_yticks(list(shown), [names[i] for i in shown], fontsize=9)
    axes.set_xlabel("predicted", color=QUIET)
    axes.set_ylabel("true", color=QUIET)
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f"Test: {right} of {total} right", loc="left", color=INK, fontsize=12, pad=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    save_figure(figure, path)


def draw_mistakes(
    path: Path, rows: Sequence[Row], labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> None:
    """Draw the test images whose true class got the least probability, worst first (at most 24)."""
    # The probability of the true class: the least sure come first.
    own = probabilities[np.arange(len(labels)), labels]  # (N,)
    predicted = probabilities.argmax(axis=1)
    wrong = [int(i) for i in np.argsort(own, kind="stable") if predicted[i] != labels[i]]
    captions = [
        f"{short_label(class_names[labels[i]], 26)}\n"
        f"predicted as {short_label(class_names[predicted[i]], 14)}, {probabilities[i, predicted[i]]:.0%}"
        for i in wrong[:24]
    ]
    title = f"Worst mistakes: {len(wrong)} of {len(labels)} test images"
    if not wrong:
        title = f"No mistakes in {len(labels)} test images. The least confident:"
        wrong = [int(i) for i in np.argsort(own, kind="stable")[:12]]
        captions = [f"{short_label(class_names[labels[i]], 20)}\n{own[i]:.0%} sure" for i in wrong]
        draw_sheet(path, [thumbnail(rows[i]) for i in wrong], captions, title, RIGHT)
    else:
        draw_sheet(path, [thumbnail(rows[i]) for i in wrong[:24]], captions, title, WRONG)


def draw_history(path: Path, rows: Sequence[Mapping[str, float]], kept_epoch: int | None, kept: str) -> None:
    """Draw the training loss and the validation metrics over the epochs, the one that is kept marked, if it is one; the
    title says what was kept."""
    epochs = [row["epoch"] for row in rows]
    names = validation_names(rows)
    # Shares on the right, up to 1; losses and what else goes beyond 1 (perplexity, errors in units) on the left.
    shares = [name for name in names if "loss" not in name and not any(row[name] > 1 for row in rows)]
    losses = ["train_loss", *(name for name in names if name not in shares)]
    figure = figure_of(8.0 if shares else 4.4, 3.2)
    left, *more = figure.subplots(1, 2 if shares else 1, sharex=True, squeeze=False)[0]
    for axes, shown in ((left, losses), *((right, shares) for right in more)):
        for name, color in zip(shown, (INK, RIGHT, WRONG), strict=False):
            label = "training loss" if name == "train_loss" else f"validation {metric_words(name)}"
            axes.plot(epochs, [row[name] for row in rows], marker="o", markersize=4, color=color, label=label)
        if kept_epoch is not None:
            axes.axvline(kept_epoch, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch", color=QUIET)
        if shown:
            axes.legend(frameon=False, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if axes is not left and axes.get_ylim()[1] > 1:
            axes.set_ylim(top=1.005)
    if len(epochs) == 1:
        left.set_xticks(epochs)
    else:
        left.xaxis.get_major_locator().set_params(integer=True)
    left.set_title(f"Kept: {kept}", loc="left", color=INK, fontsize=11)
    save_figure(figure, path)


def draw_l2(path: Path, tried: Sequence[tuple[float, float]], measure: str = "validation log loss") -> None:
    """Draw the validation log loss, or another measure, against the L2 strength of a solved head, the best marked."""
    figure = figure_of(4.4, 3.2)
    axes = figure.subplots()
    strengths, losses = zip(*tried, strict=True)
    best = min(range(len(tried)), key=lambda place: losses[place])
    axes.plot(strengths, losses, marker="o", markersize=4, color=RIGHT)
    axes.axvline(strengths[best], color=QUIET, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("L2 strength", color=QUIET)
    axes.set_ylabel(measure, color=QUIET)
    axes.set_title(f"L2 strength: {strengths[best]:.3g}", loc="left", color=INK, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_calibration(path: Path, probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Draw how often the model is right against how sure it is, in ten bins, and how many fall into each (Guo et al.
    2017, figure 1)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    # A probability of 1 falls into the last bin, not behind it.
    which = np.clip((sure * 10).astype(int), 0, 9)
    count = np.bincount(which, minlength=10)  # (10,)
    there = count > 0
    accuracy = np.bincount(which, weights=right, minlength=10)[there] / count[there]
    mean = np.bincount(which, weights=sure, minlength=10)[there] / count[there]
    figure = figure_of(4.4, 3.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
    axes.bar(np.arange(10)[there] / 10 + 0.05, count[there] / count.sum(), width=0.09, color=QUIET, alpha=0.25)
    axes.plot(mean, accuracy, marker="o", markersize=5, color=RIGHT)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("confidence (bars: share of examples)", color=QUIET)
    axes.set_ylabel("accuracy", color=QUIET)
    axes.set_title("Calibration on the test split", loc="left", color=INK, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def draw_prompts(path: Path, rows: Sequence[JsonObject], accuracy: float) -> None:
    """Draw the accuracy of each template alone, and how much it adds to all of them together, in log loss (of many, the
    ten that add most and the ten that add least)."""
    shown = list(rows) if len(rows) <= 20 else [*rows[:10], *rows[-10:]]
    figure = figure_of(10.0, 1.3 + 0.27 * len(shown))
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(shown))[::-1]
    left.scatter([row["accuracy_alone"] for row in shown], places, color=INK, s=22)
    left.axvline(accuracy, color=QUIET, linewidth=0.8, linestyle=":")
    left.set_yticks(places, [short_label(row["template"], 42) for row in shown], fontsize=8)
    left.set_xlabel(f"accuracy alone (dotted: all together, {accuracy:.4f})", color=QUIET)
    gains = [1000 * row["log_loss_gain"] for row in shown]
    right.barh(places, gains, color=[WRONG if gain < 0 else RIGHT for gain in gains], height=0.6)
    right.axvline(0, color=QUIET, linewidth=0.8)
    right.set_xlabel("rise of the log loss without it, 0.001 nats", color=QUIET)
    harm = sum(row["log_loss_gain"] < 0 for row in rows)
    left.set_title(f"{len(rows)} templates: {len(rows) - harm} help, {harm} harm", loc="left", color=INK, fontsize=11)
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
    save_figure(figure, path)


def draw_shots(path: Path, rows: Sequence[JsonObject], summary: Sequence[JsonObject], zero_shot: float | None) -> None:
    """Draw accuracy against the training examples of each class: every draw, their mean and its 95 % interval, and
    where it is known what the names of the classes alone give."""
    figure = figure_of(6.4, 4.0)
    axes = figure.subplots()
    shots = [entry["shots"] for entry in summary]
    means = [entry["accuracy"] for entry in summary]
    bands = [entry["accuracy_interval"] or [entry["accuracy"]] * 2 for entry in summary]
    axes.fill_between(shots, [low for low, _ in bands], [min(1.0, high) for _, high in bands], color=RIGHT, alpha=0.15)
    axes.plot(shots, means, color=RIGHT, marker="o", markersize=4, label=f"mean of {summary[0]['draws']} draws, 95 %")
    axes.scatter(
        [row["shots"] for row in rows], [row["accuracy"] for row in rows], color=INK, s=10, alpha=0.6, zorder=3
    )
    if zero_shot is not None:
        axes.axhline(zero_shot, color=QUIET, linestyle=":", linewidth=1.2, label=f"zero-shot, {zero_shot:.4f}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(number) for number in shots])
    axes.minorticks_off()
    axes.set_xlabel("training examples of each class", color=QUIET)
    axes.set_ylabel("test accuracy", color=QUIET)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_title("Accuracy by number of shots", loc="left", color=INK, fontsize=11)
    save_figure(figure, path)


def draw_examples(path: Path, rows: Sequence[Row], labels: np.ndarray, class_names: Sequence[str]) -> None:
    """Draw training images, taken from all classes in turn (at most 24)."""
    places = [np.flatnonzero(labels == label) for label in range(len(class_names))]
    # One of each class, then the next of each: no class fills the sheet.
    turns = [int(found[turn]) for turn in range(24) for found in places if turn < len(found)]
    chosen = turns[:24]
    captions = [short_label(class_names[labels[i]], 22) for i in chosen]
    title = f"Examples of the training split: {len(labels)} images, {len(class_names)} classes"
    draw_sheet(path, [thumbnail(rows[i]) for i in chosen], captions, title)


def draw_sheet(
    path: Path | BinaryIO,
    images: Sequence[np.ndarray | Image.Image],
    captions: Sequence[str],
    title: str,
    color: str = INK,
) -> None:
    """Draw images, arrays or PIL's, in rows of six at most, each under its caption."""
    columns = min(6, max(3, len(images)))
    lines = max(1, -(-len(images) // columns))
    cell, gap, title_space = 1.8, 0.08, 0.42  # inches
    caption_space = 0.14 + 0.15 * (1 + max((caption.count("\n") for caption in captions), default=0))
    width = columns * (cell + gap) + gap
    height = title_space + lines * (cell + caption_space) + gap
    figure = figure_of(width, height, constrained=False)
    # One for all images, in inches: 24 axes of their own took 0.58 s, this takes 0.21 s (matplotlib 3.10).
    sheet = figure.add_axes((0, 0, 1, 1))
    sheet.axis("off")
    sheet.text(gap, height - 0.13, title, color=INK, fontsize=12, va="top")
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = gap + (place % columns) * (cell + gap)
        top = height - title_space - (place // columns) * (cell + caption_space)
        pixels = np.asarray(image)  # (H, W, 3)
        high, wide = (cell * size / max(pixels.shape[:2]) for size in pixels.shape[:2])
        x, y = left + cell / 2, top - caption_space - cell / 2
        sheet.imshow(pixels, extent=(x - wide / 2, x + wide / 2, y - high / 2, y + high / 2))
        sheet.text(x, y + high / 2 + 4 / 72, caption, color=color, fontsize=8.5, ha="center", va="baseline")
    # Each image has set them to its own.
    sheet.set(xlim=(0, width), ylim=(0, height))
    save_figure(figure, path)


def thumbnail(row: Row) -> Image.Image:
    """Return a row's image fitted into a square, on white."""
    return on_white(decode_row(row, enough_for(THUMBNAIL_PX)))


def on_white(image: Image.Image) -> Image.Image:
    """Return an image fitted into a square, on white."""
    from PIL import ImageOps

    return ImageOps.pad(image, (THUMBNAIL_PX, THUMBNAIL_PX), color="white")


def overlaid(seen: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return a map (H, W) in [0, 1] over an image (H, W, 3): the more it says, the less of the image shows through."""
    from matplotlib import colormaps

    alpha = (0.25 + 0.5 * found)[..., None]  # (H, W, 1)
    mixed: np.ndarray = (1 - alpha) * seen + alpha * colormaps[MAP_COLORS](found)[..., :3]
    return mixed


def figure_of(width: float, height: float, *, constrained: bool = True) -> Figure:
    """Return a figure of its own, in inches: no global state, no window. Constrained, its parts make room for each
    other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained" if constrained else None)
    # Not by pyplot, which keeps figures and may open a window.
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path | BinaryIO) -> None:
    """Write a figure as a PNG on white."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # class names in scripts the font lacks are drawn as boxes
        figure.savefig(path, format="png", dpi=120, facecolor="white", pil_kwargs={"compress_level": 2})


def short_label(text: str, longest: int) -> str:
    """Return a text cut to a length, none of it taken for a formula."""
    # matplotlib reads text between dollars as a formula.
    escaped = printable(text).replace("$", r"\$")
    return escaped if len(escaped) <= longest else escaped[: longest - 1] + "…"


_LINE_COLORS = ("#2a7f62", "#c0392b", "#2d6ca2", "#b7791f", "#6b4c9a", "#8795a1", "#d98880", "#76b7a0", "#22313f")


def draw_plot(path: Path, plot: Plot) -> None:
    """Draw what a task shows of its results."""
    if plot.matrix is not None:
        _draw_matrix(path, plot)
        return
    figure = figure_of(6.4, 4.8)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    if plot.points is not None:
        x, y = plot.points
        axes.scatter(x, y, s=12, color=RIGHT, alpha=max(0.15, min(0.8, 60 / max(1, len(x)))), linewidths=0)
        if plot.reference == "diagonal":
            ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
            axes.plot(ends, ends, color=QUIET, linewidth=1, linestyle="--")
        elif plot.reference == "zero":
            axes.axhline(0.0, color=QUIET, linewidth=1, linestyle="--")
    if plot.bars:
        _draw_bars(axes, plot)
    for number, line in enumerate(() if plot.bars else plot.lines):
        axes.plot(line.x, line.y, label=short_label(line.name, 28), color=_LINE_COLORS[number % len(_LINE_COLORS)])
    if plot.lines and not plot.bars:
        axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel(plot.x_label, color=QUIET)
    axes.set_ylabel(plot.y_label, color=QUIET)
    axes.set_title(plot.title, loc="left", color=INK, fontsize=12, pad=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    save_figure(figure, path)


def _draw_bars(axes: Any, plot: Plot) -> None:
    """Draw the values of the first line as bars with their names."""
    values = plot.lines[0].y
    axes.bar(range(len(values)), values, color=RIGHT, width=0.7)
    if len(values) <= 30:
        for place, value in enumerate(values.tolist()):
            axes.text(place, value, f"{value:.2f}", ha="center", va="bottom", fontsize=8, color=INK)
    axes.set_xticks(
        range(len(values)), [short_label(name, 20) for name in plot.names], rotation=60, ha="right", fontsize=8
    )
    axes.set_ylim(0, max(1.0, float(values.max(initial=0)) * 1.05))


def _draw_matrix(path: Path, plot: Plot) -> None:
    """Draw counts as numbers, and as shades of the largest."""
    assert plot.matrix is not None
    counts, names = np.asarray(plot.matrix, dtype=float), [short_label(name, 24) for name in plot.names]
    side = min(14.0, max(4.0, 0.45 * len(names) + 2.2))
    figure = figure_of(side, side * 0.92)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    most = counts.max(initial=0) or 1.0
    axes.imshow(counts, cmap="Greens", vmin=0, vmax=most)
    for row, column in np.ndindex(*counts.shape) if counts.size <= 900 else ():
        if counts[row, column]:
            color = "white" if counts[row, column] > 0.55 * most else INK
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_xlabel(plot.x_label, color=QUIET)
    axes.set_ylabel(plot.y_label, color=QUIET)
    axes.set_title(plot.title, loc="left", color=INK, fontsize=12, pad=10)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    save_figure(figure, path)
