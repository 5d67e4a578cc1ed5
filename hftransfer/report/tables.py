"""What a run prints: the data before training, the results after it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.base.errors import some
from hftransfer.base.plain import JsonObject, shown_number
from hftransfer.metrics.metric import metric_words, score_name
from hftransfer.report.rendering import sentence

if TYPE_CHECKING:
    from hftransfer.data.splits import Splits

_SHOWN_CLASSES = 20
CLASS_SCORES = {"iou": "IoU", "precision": "precision", "recall": "recall", "f1": "F1"}
"""What is told of a class, by its name in the metrics, and its title."""
_LEAST_OTHER = 0.05
_FILES = {
    "report.html": "the run on one page: scores, mistakes, how to go on",
    "model/": "the trained model in its native layout; its README.md says how to use it",
    "merged/": "the same with LoRA merged into it: loads in plain transformers",
    "metrics.json": "all numbers",
    "history.csv": "loss and validation scores by epoch",
    "classes.csv": "how often each class was found, and what it was taken for",
    "folds.csv": "the scores of every fold, and what its validation chose",
    "shots.csv": "the scores of every number of shots and draw",
    "prompts.csv": "what each template does alone, and what it adds to the others",
    "retrieval.parquet": "every test caption, and how early it and its image find each other",
    "predictions.parquet": "every test example with its probabilities",
    "recipe.yaml": "what was run, every default spelled out",
}

_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?(e[+-]\d+)?|nan")


def data_table(splits: Splits, inputs: str) -> str:
    """Return classes × splits, and what was noticed; `inputs` is what examples are called."""
    notes = [f"  {note}" for note in splits.notes]
    if splits.skipped:
        names = some((entry.id for entry in splits.skipped), 3)
        notes.append(f"  unreadable and skipped: {len(splits.skipped)} ({names})")
    counts, sizes = _by_part(splits)
    if not splits.class_names:
        lines = [["", *sizes], [inputs, *(str(size) for size in sizes.values())]]
        return "\n".join([columns_of(lines), *notes])
    lines = [["class", *counts]]
    order = range(len(splits.class_names))
    lines += [
        [" ".join(splits.class_names[i].split()), *(str(part[i]) for part in counts.values())]
        for i in list(order)[:_SHOWN_CLASSES]
    ]
    if len(order) > _SHOWN_CLASSES:
        lines.append([f"… {len(order) - _SHOWN_CLASSES} more", *("" for _ in counts)])
    lines.append(["all", *(str(size) for size in sizes.values())])
    return "\n".join([columns_of(lines), *notes])


def _by_part(splits: Splits) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Return how many examples of each class there are, and how many in all, by split, or by fold where there are
    folds."""
    if not splits.folds:
        return splits.counts(), splits.sizes()
    counts, sizes = {}, {}
    for fold in range(max(splits.folds) + 1):
        own = splits.train.only([place for place, found in enumerate(splits.folds) if found == fold])
        counts[f"fold {fold + 1}"] = splits.kind.counts(own.targets, splits.class_names)
        sizes[f"fold {fold + 1}"] = len(own)
    counts["all"] = splits.kind.counts(splits.train.targets, splits.class_names)
    return counts, {**sizes, "all": len(splits.train)}


def results_table(metrics: JsonObject, folder: Path) -> str:
    """Return what was measured, how long it took, and where everything lies."""
    test, validation = metrics["test"], metrics["validation"]
    names = [name for name, value in (test or validation).items() if isinstance(value, float)]
    before = metrics.get("before", {}).get("test" if test else "validation", {})
    lines = [["", *(["before"] if before else []), "test", "validation"]]
    for name in names:
        first = [_score(before, name)] if before else []
        lines.append([score_name(name, test or validation), *first, _score(test, name), _score(validation, name)])
    lines = [line[:-1] for line in lines] if not validation else lines
    sizes, parameters, seconds = metrics["examples"], metrics["parameters"], metrics["seconds"]
    facts = [
        ["examples", f"{sizes['train']} train, {sizes['validation']} validation, {sizes['test']} test"],
        ["parameters", f"{parameters['trainable']:,} trained of {parameters['total']:,}"],
        ["seconds", ", ".join(f"{name} {value:.1f}" for name, value in seconds_of(seconds).items())],
        ["peak memory", f"{metrics['peak_memory_bytes'] / 2**20:,.0f} MiB"],
    ]
    files = [[f"{folder / name}", text] for name, text in _FILES.items() if (folder / name).exists()]
    drawn = [file.stem.replace("_", " ") for file in sorted((folder / "figures").glob("*.png"))]
    files += [[f"{folder / 'figures'}", ", ".join(drawn)]] if drawn else []
    parts = [columns_of(lines), columns_of(facts), columns_of(files)]
    if curve := metrics.get("shots"):
        most, draws = curve[-1]["shots"], curve[-1]["draws"]
        parts = [columns_of(_shot_lines(curve, metrics)), f"  Of the model, the first draw of {most} shots:", *parts]
        parts[0] = f"  Means over {draws} draws, with 95 % intervals:\n{parts[0]}" if draws > 1 else parts[0]
    if folds := metrics.get("folds"):
        parts.insert(0, "\n".join(f"  {line}" for line in folds_in_words(folds)))
    return "\n\n".join(parts)


def seconds_of(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of each stage, what is left of the total as `other`, and the total."""
    stages = {name: value for name, value in seconds.items() if name != "total"}
    if "total" not in seconds:
        return stages
    other = seconds["total"] - sum(stages.values())
    return {**stages, **({"other": other} if other >= _LEAST_OTHER else {}), "total": seconds["total"]}


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes = round(seconds / 60) if seconds >= 3600 else int(seconds // 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {seconds - 60 * minutes:.0f} s"


def scores_of_classes(judged: JsonObject, class_names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return IoU, precision, recall and F1 of each class as text, as far as the metrics of a split tell them, or the
    confusion matrix does; what has no value is a dash."""
    if per_class := judged.get("per_class"):
        told = {name: {key: own[key] for key in CLASS_SCORES if key in own} for name, own in per_class.items()}
    else:
        # Rows are true classes, columns predicted ones.
        matrix = judged.get("confusion_matrix") or []
        taken = [sum(column) for column in zip(*matrix, strict=True)]
        told = {}
        for index, (name, row) in enumerate(zip(class_names, matrix, strict=False)):
            hits, there = row[index], sum(row)
            told[name] = {
                "precision": hits / taken[index] if taken[index] else None,
                "recall": hits / there if there else None,
                "f1": 2 * hits / (taken[index] + there) if taken[index] + there else None,
            }
    return {
        name: {key: "–" if value is None else f"{value:.4f}" for key, value in own.items()}
        for name, own in told.items()
    }


def refit_in_words(metrics: JsonObject) -> str:
    """Return what `train.refit` did, as a sentence; empty where it did nothing."""
    if (refit := metrics.get("refit")) is None:
        return ""
    learned = f"In the end trained on all {refit['examples']:,} examples of training and validation"
    return f"{learned}, with what validation had chosen; the validation scores are those of the model before."


def folds_in_words(folds: JsonObject) -> list[str]:
    """Return what the folds of a cross-validation come to, in sentences."""
    name, scores = folds["metric"], folds["scores"]
    own = ", ".join(f"{row[name]:.4f}" for row in scores)
    tested = sum(row["test"] for row in scores)
    lines = [
        f"{folds['count']} folds, {tested:,} examples each tested once by a model of the others.",
        f"{sentence(metric_words(name))} of the folds: {own}; mean {folds['mean']:.4f}, deviation "
        f"{folds['deviation']:.4f}.",
    ]
    if by := folds.get("by_groups"):
        measured = next(key for key in by if f"{key}_interval" in by)
        low, high = by[f"{measured}_interval"]
        lines.append(
            f"Mean over the {by['groups']} groups of '{by['column']}': {metric_words(measured)} {by[measured]:.4f} "
            f"({low:.4f} to {high:.4f})."
        )
    taken = ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in folds["taken"].items())
    lines.append(f"The model learned from all of them, with what the folds chose ({taken or 'nothing'}).")
    return lines


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()


def _shot_lines(curve: Sequence[JsonObject], metrics: JsonObject) -> list[list[str]]:
    """Return one line for each number of shots, after what the names of the classes alone give."""
    lines = [["shots", "accuracy", "from", "to"]]
    before = metrics.get("zero_shot", {}).get("before")
    if before:
        lines.append(["zero-shot", f"{before['accuracy']:.4f}", "", ""])
    for entry in curve:
        interval = entry["accuracy_interval"] or ("", "")
        lines.append(
            [str(entry["shots"]), f"{entry['accuracy']:.4f}", *(f"{end:.4f}" if end != "" else "" for end in interval)]
        )
    return lines


def metrics_table(metrics: JsonObject) -> str:
    """Return the metrics that are one number, one to a line."""
    lines = [["", "score"]]
    lines += [
        [score_name(name, metrics), shown_number(value)] for name, value in metrics.items() if isinstance(value, float)
    ]
    return columns_of(lines)


def _score(scores: JsonObject, name: str) -> str:
    return shown_number(scores[name]) if name in scores else ""


def columns_of(lines: Sequence[Sequence[str]]) -> str:
    """Return text in aligned columns: the first to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    numeric = [all(_is_number(line[column]) for line in lines[1:]) for column in range(len(widths))]
    rows = []
    for line in lines:
        cells = [
            cell.rjust(width) if number and column else cell.ljust(width)
            for column, (cell, width, number) in enumerate(zip(line, widths, numeric, strict=True))
        ]
        rows.append("  " + "  ".join(cells).rstrip())
    return "\n".join(rows)


def _is_number(text: str) -> bool:
    return not text or _NUMBER.fullmatch(text) is not None


def validation_names(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the names in the rows of the history that are of the validation split; where there are several rows,
    those that are in more than one."""
    names = [name for name in rows[0] if name not in ("epoch", "train_loss", "learning_rate", "seconds")]
    return [name for name in names if sum(not math.isnan(row[name]) for row in rows) >= min(2, len(rows))]
