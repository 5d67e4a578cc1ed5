"""Runs that judge a dual encoder by the names of classes alone."""

from __future__ import annotations

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.jobs.identity import resolved_facts, tell_differences
from hftransfer.jobs.learned import Learned
from hftransfer.jobs.session import Session
from hftransfer.recipe import LoadedRecipe
from hftransfer.report.tables import data_table
from hftransfer.tasks.contract import Judged
from hftransfer.tasks.prompts import templates_of, words_for


def judge_by_names(loaded: LoadedRecipe, checkpoint: Checkpoint | None, session: Session, *, resume: bool) -> Learned:
    """Return what the class names alone make of the images in the data: nothing is trained."""
    del resume
    recipe, together, progress = loaded.recipe, session.processes, session.progress
    with session.stage("data"), session.importing_ahead(recipe):
        splits = session.splits(recipe)
        progress.line(data_table(splits, recipe.chosen_task.reader.inputs))
    with session.loading():
        from hftransfer.adapters.dual import load_dual
        from hftransfer.predictors.dual import NamesJob, compute_for, evaluate
        from hftransfer.training.loop import History

        templates = templates_of(recipe.prompts or "simple")
        words = words_for(splits.class_names, recipe.class_names)
        known = session.checkpoint(recipe.model.name, recipe.model.revision, checkpoint)
        dual = together.in_turn(lambda: load_dual(known))
        size = recipe.train.inference_batch_size
        compute = together.together(lambda: compute_for(dual, recipe.train.precision, size))
        parameters = sum(parameter.numel() for parameter in dual.model.parameters())
        kind = f"{known.name}: {type(dual.model).__name__}; {parameters:,} parameters, none trained"
        progress.line(f"{kind}; {len(templates)} templates, {len(words)} classes; {compute.describe()}")
        facts = resolved_facts(known.weights_sha256, known.revision, splits, together)
        tell_differences(recipe.resolved, facts, progress)
    job = NamesJob(
        dual=dual,
        weights_sha256=known.weights_sha256,
        splits=splits,
        words=words,
        templates=templates,
        settings=recipe.data,
        compute=compute,
        progress=progress,
        stage=session.stage,
        keep=recipe.train.cache != "off",
        compare=recipe.compare_prompts,
    )
    found = evaluate(job)
    sheets = {"classes.csv": found.classes, "prompts.csv": found.prompts}
    return Learned(
        recipe=recipe,
        splits=found.splits,
        judged={"test": Judged(found.metrics, (), found.columns, found.probabilities)},
        compute=compute,
        facts=facts,
        parameters={"total": parameters, "trainable": 0},
        history=History(),
        method="zero-shot",
        bases=(known,),
        more={"prompts": list(templates)},
        tables={"predictions.parquet": found.columns},
        sheets={name: rows for name, rows in sheets.items() if rows},
    )
