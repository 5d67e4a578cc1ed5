"""A run that judges a dual encoder by the names of classes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.data.sources import DRAWINGS
from hftransfer.jobs.common import (
    Clock,
    environment,
    facts_of,
    found_checkpoint,
    importing_ahead,
    load_splits,
    peak_memory_bytes,
    require_same_data,
    resolved_yaml,
    tell_differences,
    write_skipped,
)
from hftransfer.progress import Progress
from hftransfer.recipe import (
    LoadedRecipe,
    Recipe,
    ResolvedFacts,
)
from hftransfer.report.tables import data_table
from hftransfer.run_folder import RunFolder, write_table
from hftransfer.tabular import csv_text
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.training.devices import Compute
    from hftransfer.zeroshot import Evaluated


@dataclass(frozen=True)
class ZeroShot:
    """An evaluation by class names alone, and what it was made of."""

    found: Evaluated
    compute: Compute
    facts: ResolvedFacts
    parameters: int
    templates: tuple[str, ...]


def evaluate_by_names(
    recipe: Recipe, checkpoint: Checkpoint | None, data: Any, clock: Clock, progress: Progress
) -> ZeroShot:
    """The data, then what the class names alone make of the images in them."""
    from hftransfer.training.processes import processes

    together = processes()
    with clock.stage("data"), importing_ahead(when=data is None and recipe.data.source == DRAWINGS):
        splits = together.in_turn(lambda: load_splits(recipe, "images", data, progress))
        progress.line(data_table(splits))
    with clock.stage("load"):
        from hftransfer.adapters.dual import load_dual
        from hftransfer.tasks.prompts import words_for
        from hftransfer.zeroshot import compute_for, evaluate

        templates = templates_of(recipe.prompts or "simple")
        words = words_for(splits.class_names, recipe.class_names)
        checkpoint = checkpoint or together.in_turn(lambda: found_checkpoint(recipe.model.name, recipe.model.revision))
        dual = together.in_turn(lambda: load_dual(checkpoint))
        size = recipe.train.inference_batch_size
        compute = together.together(lambda: compute_for(dual, recipe.train.precision, size))
        parameters = sum(parameter.numel() for parameter in dual.model.parameters())
        kind = f"{checkpoint.name}: {type(dual.model).__name__}; {parameters:,} parameters, none learns"
        progress.line(f"{kind}; {len(templates)} templates, {len(words)} classes; {compute.describe()}")
        facts = facts_of(checkpoint, splits)
        require_same_data(together.gather(facts.data_fingerprint))
        tell_differences(recipe.resolved, facts, progress)
    found = evaluate(
        dual,
        checkpoint.weights_sha256,
        splits,
        words,
        templates,
        recipe.data,
        compute,
        progress,
        keep=recipe.train.cache != "off",
        compare=recipe.compare_prompts,
        stage=clock.stage,
    )
    return ZeroShot(found, compute, facts, parameters, templates)


def write_zero_shot(folder: RunFolder, loaded: LoadedRecipe, done: ZeroShot, clock: Clock) -> dict[str, Any]:
    """The metrics; writes all that an evaluation leaves: no model, for nothing was trained."""
    from hftransfer.report import figures

    found, recipe = done.found, loaded.recipe
    names, test = found.splits.class_names, found.splits.test
    folder.write_text("recipe.yaml", resolved_yaml(loaded, done.facts, folder.path))
    folder.write_json("environment.json", environment(done.compute))
    write_table(folder, "predictions.parquet", found.columns)
    for name, rows in (("classes.csv", found.classes), ("prompts.csv", found.prompts)):
        if rows:
            folder.write_text(name, csv_text(list(rows[0]), [row.values() for row in rows]))
    if found.splits.skipped:
        write_skipped(folder, found.splits)
    matrix = found.metrics["confusion_matrix"]
    figures.draw_confusion_matrix(folder.file("figures/confusion_matrix.png"), matrix, names)
    mistakes = folder.file("figures/mistakes.png")
    figures.draw_mistakes(mistakes, test.rows, test.labels, found.probabilities, names)
    if found.prompts:
        figures.draw_prompts(folder.file("figures/prompts.png"), found.prompts, found.metrics["accuracy"])
    metrics = {
        "task": recipe.task,
        "model": recipe.model.name,
        "strategy": "zero-shot",
        "prompts": list(done.templates),
        "test": found.metrics,
        "validation": {},
        "parameters": {"total": done.parameters, "trainable": 0},
        "examples": found.splits.sizes(),
        "peak_memory_bytes": peak_memory_bytes(),
        "seconds": clock.all_seconds(),
    }
    folder.write_json("metrics.json", metrics)
    return metrics
