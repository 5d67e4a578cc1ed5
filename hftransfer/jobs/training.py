"""A run that makes a model of a pretrained one and labelled examples, and one that does so along a k-shot curve."""

from __future__ import annotations

import copy
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.adapters.terms import note_on_license
from hftransfer.artifact import ModelFacts, save_model
from hftransfer.data.rows import TextContent
from hftransfer.data.sources import BUNDLED, DRAWINGS
from hftransfer.data.splits import Splits, few_shots, require_shots
from hftransfer.errors import HftransferError, ModelError, first_line, user_path
from hftransfer.jobs.cards import write_examples, write_own_card
from hftransfer.jobs.common import (
    Clock,
    environment,
    facts_of,
    found_checkpoint,
    identity_of,
    importing_ahead,
    load_splits,
    peak_memory_bytes,
    require_same_data,
    require_same_run,
    resolved_yaml,
    tell_differences,
    write_skipped,
)
from hftransfer.jobs.early import task_of
from hftransfer.jobs.pages import write_page
from hftransfer.progress import Progress
from hftransfer.recipe import (
    LoadedRecipe,
    Recipe,
    ResolvedFacts,
    flat_settings,
)
from hftransfer.report.tables import data_table
from hftransfer.run_folder import LOGS, RunFolder, write_table
from hftransfer.tabular import csv_text
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.adapters.base import Adapter
    from hftransfer.tasks.base import Judged
    from hftransfer.training.checkpoint import Checkpoints, Saved
    from hftransfer.training.devices import Compute
    from hftransfer.training.transfer import Transferred
    from hftransfer.zeroshot import ClassTexts


@dataclass(frozen=True)
class Trained:
    """A trained model and what was measured on the way."""

    done: Transferred
    checkpoint: Checkpoint
    compute: Compute
    boundary: int
    facts: ResolvedFacts
    model_facts: ModelFacts
    curve: list[dict[str, float]] | None = None
    """The rows of a k-shot curve, one of each cell."""

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware: on the card, on the page, and in a file."""
        return environment(self.compute)


def train_curve(
    loaded: LoadedRecipe,
    checkpoint: Checkpoint | None,
    data: Any,
    clock: Clock,
    progress: Progress,
    logs: Path,
    checkpoints: Checkpoints,
    *,
    resume: bool,
) -> Trained:
    """The last cell of a k-shot curve, with the rows of all."""
    from hftransfer.curve import FinishedCells, learn_curve
    from hftransfer.training.processes import processes

    together, recipe = processes(), loaded.recipe
    with clock.stage("data"):
        splits = together.in_turn(lambda: load_splits(recipe, task_of(recipe).rows, data, progress))
        progress.line(data_table(splits))
        for number in recipe.data.numbers_of_shots:
            require_shots(splits, number)
        known = checkpoint or together.in_turn(lambda: found_checkpoint(recipe.model.name, recipe.model.revision))
        facts = facts_of(known, splits)
        require_same_data(together.gather(facts.data_fingerprint))
        finished = FinishedCells(checkpoints.folder, identity_of(recipe, facts), keeps=together.is_first)
        if resume:
            together.together(finished.read)
    kept: list[Any] = []
    trained: Trained
    trained, rows = learn_curve(
        recipe,
        finished,
        progress,
        lambda own, quiet: train_model(own, known, data, clock, quiet, loaded.name, logs, splits=splits, kept=kept),
        lambda cell: _plain_metrics({"": cell.done.judged.get("test", cell.done.judged["validation"])}),
    )
    return replace(trained, facts=facts, curve=rows)


def train_model(
    recipe: Recipe,
    checkpoint: Checkpoint | None,
    data: Any,
    clock: Clock,
    progress: Progress,
    project: str,
    logs: Path,
    checkpoints: Checkpoints | None = None,
    saved: Saved | None = None,
    splits: Splits | None = None,
    kept: list[Any] | None = None,
) -> Trained:
    """The data (where they aren't given), then the model, then what the strategy learns, then its scores. In the list
    `kept`, where it is given, the adapter lies as it was loaded, for the next time."""
    from hftransfer.training.processes import processes

    together = processes()
    with clock.stage("data"), importing_ahead(when=data is None and recipe.data.source == DRAWINGS):
        task = task_of(recipe)
        splits = splits or together.in_turn(lambda: load_splits(recipe, task.rows, data, progress))
        if isinstance(recipe.data.shots, int):
            splits = few_shots(splits, recipe.data.shots, recipe.train.seed)
        progress.line(data_table(splits))
    with clock.stage("load"):
        from hftransfer.training.loop import Keeping
        from hftransfer.training.tracking import tracked
        from hftransfer.training.transfer import Job, transfer

        checkpoint = checkpoint or together.in_turn(lambda: found_checkpoint(recipe.model.name, recipe.model.revision))
        ready = _make_ready(recipe, checkpoint, splits.class_names, kept, progress)
        facts = facts_of(checkpoint, splits)
        require_same_data(together.gather(facts.data_fingerprint))
        tell_differences(recipe.resolved, facts, progress)
        keeping = None
        if checkpoints is not None:
            keeping = Keeping(checkpoints, identity_of(recipe, facts), saved)
            together.together(lambda: require_same_run(keeping))
    with tracked(recipe.train.trackers, logs, project, flat_settings(recipe), ready.compute) as log:
        job = Job(
            adapter=ready.adapter,
            boundary=ready.boundary,
            task=task,
            strategy=recipe.strategy,
            splits=splits,
            data=recipe.data,
            train=recipe.train,
            weights_sha256=checkpoint.weights_sha256,
            compute=ready.compute,
            progress=progress,
            stage=clock.stage,
            keeping=keeping,
            log=log,
            names=ready.texts,
        )
        done = transfer(job)
        steps_per_epoch = math.ceil(len(done.splits.train) / recipe.train.batch_size)
        log(_plain_metrics(done.judged), len(done.history.rows) * steps_per_epoch)
    clock.at_least("train", sum(row["seconds"] for row in done.history.rows))  # before an interruption, too
    if len(done.splits.skipped) > len(splits.skipped):
        progress.line(data_table(done.splits))
    model_facts = _model_facts(recipe, checkpoint, splits, done)
    return Trained(done, checkpoint, ready.compute, ready.boundary, facts, model_facts)


@dataclass(frozen=True)
class _Ready:
    """A model on which the strategy has decided what learns, and where it will."""

    adapter: Adapter
    boundary: int
    compute: Compute
    texts: ClassTexts | None
    """What the names of the classes say, where the head begins with them."""


def _make_ready(
    recipe: Recipe,
    checkpoint: Checkpoint,
    class_names: Sequence[str],
    kept: list[Any] | None,
    progress: Progress,
) -> _Ready:
    """The model of a checkpoint with the recipe's head and strategy; says what of it learns, and where."""
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.tasks.registry import TASKS
    from hftransfer.training.devices import choose_compute
    from hftransfer.training.processes import processes

    together, seed = processes(), recipe.train.seed
    compute = together.together(lambda: choose_compute(recipe.train.precision, recipe.train.inference_batch_size))
    pooling = recipe.strategy.pooling_for(recipe.task, checkpoint.pooling)
    load = partial(load_adapter, checkpoint, class_names, head=TASKS[recipe.task].head, pooling=pooling, seed=seed)
    adapter = _again(kept, seed) or together.in_turn(load)
    if kept is not None and not kept and adapter.head_is_linear:
        kept.append(copy.deepcopy(adapter))
    texts = _texts_as_head(adapter, recipe, class_names, checkpoint, compute, progress)
    ready = _Ready(adapter, together.together(lambda: recipe.strategy.prepare(adapter, seed)), compute, texts)
    _tell(recipe, checkpoint, ready, progress)
    return ready


def _tell(recipe: Recipe, checkpoint: Checkpoint, ready: _Ready, progress: Progress) -> None:
    """Nothing; says what learns, where, and which wishes have no effect."""
    from hftransfer.adapters.base import parameter_counts
    from hftransfer.training.processes import processes, stray_settings

    together, model = processes(), ready.adapter.model
    counts = parameter_counts(model)
    learns = f"{counts['trainable']:,} of {counts['total']:,} parameters learn"
    learns += f", boundary {ready.boundary} of {len(ready.adapter.stages)} stages"
    sharded = recipe.train.distributed == "fsdp"
    where = ready.compute.describe() + (", fsdp" if sharded and together.count > 1 else "")
    batches = f"batches of {recipe.train.batch_size}"
    progress.line(f"{checkpoint.name}: {type(model).__name__}; {learns}; {batches}; {where}")
    if (note := note_on_license(checkpoint.name, checkpoint.license)) is not None:
        progress.line(note)
    if sharded and together.count == 1:
        progress.line("train.distributed is fsdp, and one process has nothing to share: see --processes")
    for key, value in stray_settings().values():
        progress.line(f"an Accelerate configuration asks for {value}: {key} of the recipe decides")


def _again(kept: list[Any] | None, seed: int) -> Any:
    """A copy of an adapter that was kept, its head begun anew; None where there is none."""
    if not kept:
        return None
    from hftransfer.adapters.libraries import seeded

    adapter = copy.deepcopy(kept[0])
    with seeded(seed):
        adapter.begin_head()
    return adapter


def _texts_as_head(
    adapter: Any,
    recipe: Recipe,
    class_names: Sequence[str],
    checkpoint: Checkpoint,
    compute: Compute,
    progress: Progress,
) -> ClassTexts | None:
    """What the names of the classes say, which is the adapter's head from here on; None where it begins at random."""
    if not recipe.strategy.from_zero_shot:
        return None
    import torch

    from hftransfer.tasks.prompts import words_for
    from hftransfer.zeroshot import class_texts

    words, templates = words_for(class_names, recipe.class_names), templates_of(recipe.prompts or "simple")
    texts = class_texts(adapter.dual, words, templates, checkpoint.weights_sha256, compute, progress)
    adapter.set_head(*(torch.from_numpy(part) for part in texts.head))
    return texts


def _plain_metrics(judged: Mapping[str, Judged]) -> dict[str, float]:
    """The metrics that are one number, by split and name."""
    named = {
        f"{split}/{name}".removeprefix("/"): value
        for split, found in judged.items()
        for name, value in found.metrics.items()
    }
    return {name: value for name, value in named.items() if isinstance(value, float)}


def _model_facts(recipe: Recipe, checkpoint: Checkpoint, splits: Splits, done: Transferred) -> ModelFacts:
    base = None
    if done.adapter.peft is not None:
        name, path = _place_of(recipe.model.name)
        base = {
            "name": name,
            "revision": checkpoint.revision,
            "weights_sha256": checkpoint.weights_sha256,
            "path": path,
        }
    contents, texts = [row.content for row in done.splits.train.rows], task_of(recipe).rows == "texts"
    return ModelFacts(
        task=recipe.task,
        pooling=recipe.strategy.pooling_for(recipe.task, checkpoint.pooling),
        class_names=splits.class_names,
        max_tokens=recipe.data.max_tokens,
        stride_tokens=recipe.data.stride_tokens,
        null_threshold=done.extras.get("null_threshold"),
        pixels=splits.pixels,
        pairs=any(c.pair is not None for c in contents if isinstance(c, TextContent)) if texts else None,
        merge=bool(getattr(recipe.strategy, "merge", False)),
        base=base,
        data=recipe.data.source if recipe.data.source in BUNDLED else None,
    )


def _place_of(model: str) -> tuple[str, str | None]:
    """The name of a model without its path, and the whole path of one in a local folder."""
    before = "open_clip:local-dir:" if model.startswith("open_clip:local-dir:") else ""
    path = user_path(model.removeprefix(before), "model", ModelError)
    return (before + path.resolve().name, str(path.resolve())) if path.is_dir() else (model, None)


def write_training(
    folder: RunFolder, loaded: LoadedRecipe, trained: Trained, clock: Clock, progress: Progress
) -> dict[str, Any]:
    """The metrics; writes all that a run leaves."""
    done = trained.done
    metrics = metrics_of(loaded.recipe, trained, clock)
    _write_model(folder, trained, metrics, loaded.recipe)
    folder.write_text("recipe.yaml", resolved_yaml(loaded, trained.facts, folder.path))
    folder.write_json("environment.json", trained.environment)
    if "test" in done.judged:
        write_table(folder, "predictions.parquet", done.judged["test"].columns)
    if done.history.rows:
        folder.write_text("history.csv", csv_text(list(done.history.rows[0]), [r.values() for r in done.history.rows]))
    if done.splits.skipped:
        write_skipped(folder, done.splits)
    _write_figures(folder, done)
    if loaded.recipe.hub.share_examples and done.adapter.modality == "image":
        write_examples(folder, done.splits.test.rows)
    if trained.curve is not None:
        _write_curve(folder, trained.curve, metrics, done)
    folder.note_all_in(LOGS)
    if loaded.recipe.output.report:
        with clock.stage("report"):
            _write_page(folder, loaded, trained, {**metrics, "seconds": clock.all_seconds()}, progress)
    metrics["seconds"] = clock.all_seconds()
    folder.write_json("metrics.json", metrics)
    return metrics


def _write_page(
    folder: RunFolder, loaded: LoadedRecipe, trained: Trained, metrics: dict[str, Any], progress: Progress
) -> None:
    """Nothing; writes the page, or says why there is none: what is computed is not lost for it."""
    try:
        write_page(folder, loaded, trained, metrics)
    except (HftransferError, OSError):
        raise  # a full disk: the other results could not be written either
    except Exception as error:
        progress.note("".join(traceback.format_exception(error)).rstrip())
        progress.line(f"report.html could not be made ({type(error).__name__}: {first_line(error)}); all else is there")


def _write_curve(folder: RunFolder, rows: list[dict[str, float]], metrics: dict[str, Any], done: Transferred) -> None:
    """Nothing; writes the rows of a k-shot curve and its picture, and adds what they come to."""
    from hftransfer.curve import summarised
    from hftransfer.report import figures

    folder.write_text("shots.csv", csv_text(list(rows[0]), [row.values() for row in rows]))
    metrics["shots"] = summarised(rows, "accuracy")
    before = done.by_names.get("before", {}).get("accuracy")
    figures.draw_shots(folder.file("figures/shots.png"), rows, metrics["shots"], before)


def _write_figures(folder: RunFolder, done: Transferred) -> None:
    from hftransfer.report import figures

    splits, names, test = done.splits, done.splits.class_names, done.judged.get("test")
    if done.history.rows:
        figures.draw_history(folder.file("figures/history.png"), done.history.rows, done.history.best_epoch)
    if len(done.l2_path) > 1:
        figures.draw_l2(folder.file("figures/l2.png"), done.l2_path)
    if test is None or test.probabilities is None:
        return
    figures.draw_calibration(folder.file("figures/calibration.png"), test.probabilities, splits.test.labels)
    figures.draw_confusion_matrix(folder.file("figures/confusion_matrix.png"), test.metrics["confusion_matrix"], names)
    if done.adapter.modality == "image":
        figures.draw_examples(folder.file("figures/examples.png"), splits.train.rows, splits.train.labels, names)
        mistakes = folder.file("figures/mistakes.png")
        figures.draw_mistakes(mistakes, splits.test.rows, splits.test.labels, test.probabilities, names)


def metrics_of(recipe: Recipe, trained: Trained, clock: Clock) -> dict[str, Any]:
    """What a run measured, as it stands in `metrics.json`."""
    from hftransfer.adapters.base import parameter_counts

    done = trained.done
    return {
        "task": recipe.task,
        "model": recipe.model.name,
        "strategy": recipe.strategy.kind,
        **({"objective": "contrastive"} if recipe.strategy.contrasts else {}),
        "test": done.judged["test"].metrics if "test" in done.judged else {},
        "validation": done.judged["validation"].metrics,
        **({"zero_shot": done.by_names} if done.by_names else {}),
        **({"best_epoch": done.history.best_epoch, "epochs": len(done.history.rows)} if done.history.rows else {}),
        "parameters": parameter_counts(done.adapter.model),
        "seconds": clock.all_seconds(),
        "examples": done.splits.sizes(),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _write_model(folder: RunFolder, trained: Trained, metrics: dict[str, Any], recipe: Recipe) -> None:
    adapter = trained.done.adapter
    facts = trained.model_facts

    def save(draft: Path) -> None:
        save_model(adapter, facts, draft, folder.path / "model")
        write_own_card(draft, trained, facts, metrics, recipe)

    def save_merged(draft: Path) -> None:
        native = facts.model_copy(update={"base": None})
        save_model(adapter.merged(), native, draft)
        write_own_card(draft, trained, native, metrics, recipe)

    folder.write_folder("model", save)
    if adapter.peft is not None and facts.merge:
        folder.write_folder("merged", save_merged)
