"""A run from recipe to results, top to bottom."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from hftransfer.adapters.bundled import BUNDLED_MODELS
from hftransfer.adapters.checkpoint import Checkpoint, fetch_config, find_checkpoint
from hftransfer.adapters.families import Modality, require_modality, require_paired
from hftransfer.artifact import ModelFacts, save_model
from hftransfer.data.rows import TextContent, decoding_faults
from hftransfer.data.skipped import without_faults, without_test_faults
from hftransfer.data.sources import BUNDLED, find_rows, look_at_source, rows_from_python
from hftransfer.data.splits import Splits, build_splits, build_test_only, few_shots, require_shots
from hftransfer.errors import (
    DataError,
    HftransferError,
    ModelError,
    OutputError,
    RecipeError,
    must_be,
    nearest,
    user_path,
)
from hftransfer.progress import Progress
from hftransfer.recipe import (
    IMAGE_TEXT,
    ZERO_SHOT,
    LoadedRecipe,
    Recipe,
    ResolvedFacts,
    flat_settings,
    load_recipe,
    recipe_yaml,
)
from hftransfer.report.tables import data_table
from hftransfer.run_folder import CHECKPOINTS, LOGS, RunFolder, write_table
from hftransfer.strategies import LinearProbe, Strategy
from hftransfer.tasks.base import RowKind
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.adapters.dual import DualEncoder
    from hftransfer.artifact import Predictor
    from hftransfer.curve import FinishedCells
    from hftransfer.data.captions import CaptionedSplits
    from hftransfer.imagetext import CaptionsLearned
    from hftransfer.tasks.base import Judged, Task
    from hftransfer.training.checkpoint import Checkpoints, Saved
    from hftransfer.training.devices import Compute
    from hftransfer.training.loop import Keeping
    from hftransfer.training.transfer import Transferred
    from hftransfer.zeroshot import ClassTexts, Evaluated

LIBRARIES = (
    *("hftransfer", "torch", "torchvision", "transformers", "datasets", "accelerate", "peft", "evaluate", "timm"),
    *("huggingface_hub", "safetensors", "numpy", "scipy", "pillow"),
)


ROWS_OF: dict[str, RowKind] = {
    "image-classification": "images",
    "text-classification": "texts",
    "question-answering": "questions",
    ZERO_SHOT: "images",
    IMAGE_TEXT: "images",
}
MODALITY_OF: dict[str, Modality] = {
    "image-classification": "image",
    "text-classification": "text",
    "question-answering": "text",
    ZERO_SHOT: "image",
    IMAGE_TEXT: "image",
}


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and its metrics (as in `metrics.json`)."""

    folder: Path
    metrics: dict[str, Any]


@dataclass
class _Clock:
    """Seconds by stage."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def at_least(self, name: str, seconds: float) -> None:
        """Nothing; a stage, and the total with it, took so long at least."""
        more = max(0.0, seconds - self.seconds.get(name, 0.0))
        self.seconds[name] = self.seconds.get(name, 0.0) + more
        self.started -= more

    def all_seconds(self) -> dict[str, float]:
        """The stages in their order, and the total since the start."""
        total = time.perf_counter() - self.started
        return {name: round(value, 3) for name, value in (self.seconds | {"total": total}).items()}


def run(
    recipe: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    data: Any = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Result:
    """The run of a recipe: a trained, tested and saved model in a folder.

    `data` may hold Python objects instead of `data.source`: rows of (image, label), a pandas frame, a
    `datasets.Dataset`, or a mapping of split names to these. With `resume` an interrupted run goes on from its newest
    whole checkpoint, in the folder `out` or the newest one of this recipe, and ends as if it had not been interrupted.

    Raises:
        HftransferError: the recipe, the data, the model or the output folder is not as it must be, or not as it was
            when the run was interrupted.
    """
    from hftransfer.training.checkpoint import Checkpoints
    from hftransfer.training.processes import processes

    clock, together = _Clock(), processes()
    progress = (progress or Progress()) if together.is_first else Progress(None)
    loaded = together.together(lambda: load_recipe(recipe, _with_memory(overrides, data)))
    checkpoint = together.in_turn(lambda: _early_look(loaded.recipe, data, peek=True))
    folder = together.first(lambda: _output_folder(loaded, out, overwrite=overwrite, resume=resume))
    checkpoints = Checkpoints(folder.path / CHECKPOINTS, loaded.recipe.train.keep_checkpoints)
    with ExitStack() as stack:
        together.together(lambda: stack.enter_context(folder.in_use()) if together.is_first else None)
        if together.is_first:
            progress.write_log(folder.log_so_far(goes_on=resume))
            stack.enter_context(_end_told(progress))
        is_curve = isinstance(loaded.recipe.data.shots, list)
        goes_on = resume and not is_curve  # a curve goes on where its cells ended
        saved = together.first(lambda: _newest(checkpoints, progress, resume=goes_on, held=together.count > 1))
        if loaded.recipe.task == ZERO_SHOT:
            evaluated = _zero_shot(loaded.recipe, checkpoint, data, clock, progress)
            metrics = together.first(
                lambda: _written(folder, progress, lambda: _write_zero_shot(folder, loaded, evaluated, clock))
            )
            return Result(folder.path, metrics)
        logs = folder.path / LOGS
        if loaded.recipe.task == IMAGE_TEXT:
            learned = _image_text(loaded, checkpoint, data, clock, progress, logs, checkpoints, saved)
            metrics = _written(
                folder, progress, lambda: _write_image_text(folder, loaded, learned, clock), learned.done.save
            )
            checkpoints.remove_all()
            return Result(folder.path, metrics)
        if is_curve:
            trained = _curve(loaded, checkpoint, data, clock, progress, logs, checkpoints, resume=resume)
        else:
            trained = _train(loaded.recipe, checkpoint, data, clock, progress, loaded.name, logs, checkpoints, saved)
        metrics = together.first(
            lambda: _written(folder, progress, lambda: _write(folder, loaded, trained, clock), trained.done.save)
        )
        if together.is_first:
            if trained.curve is not None:
                trained.curve.finished.remove()
            checkpoints.remove_all()
    return Result(folder.path, metrics)


@dataclass(frozen=True)
class _ZeroShot:
    """An evaluation by class names alone, and what it was made of."""

    found: Evaluated
    compute: Compute
    facts: ResolvedFacts
    parameters: int
    templates: tuple[str, ...]


def _zero_shot(
    recipe: Recipe, checkpoint: Checkpoint | None, data: Any, clock: _Clock, progress: Progress
) -> _ZeroShot:
    """The data, then what the class names alone make of the images in them."""
    from hftransfer.training.processes import processes

    together = processes()
    with clock.stage("data"), _importing_ahead(when=data is None and recipe.data.source in BUNDLED):
        splits = together.in_turn(lambda: _load_splits(recipe, "images", data, progress))
        progress.line(data_table(splits))
    with clock.stage("load"):
        from hftransfer.adapters.dual import load_dual
        from hftransfer.training.devices import choose_compute
        from hftransfer.zeroshot import evaluate, words_for

        templates = templates_of(recipe.prompts or "simple")
        words = words_for(splits.class_names, recipe.class_names)
        checkpoint = checkpoint or together.in_turn(lambda: _found(recipe.model.name, recipe.model.revision))
        compute = together.together(lambda: choose_compute(recipe.train.precision, recipe.train.inference_batch_size))
        dual = together.in_turn(lambda: load_dual(checkpoint))
        parameters = sum(parameter.numel() for parameter in dual.model.parameters())
        kind = f"{checkpoint.name}: {type(dual.model).__name__}; {parameters:,} parameters, none learns"
        progress.line(f"{kind}; {len(templates)} templates, {len(words)} classes; {compute.describe()}")
        facts = _facts(checkpoint, splits)
        _require_same_data(together.gather(facts.data_fingerprint))
        _tell_differences(recipe.resolved, facts, progress)
    store = None if recipe.train.cache != "off" else Path(tempfile.mkdtemp(prefix="hftransfer-"))
    try:
        found = evaluate(
            dual,
            checkpoint.weights_sha256,
            splits,
            words,
            templates,
            recipe.data,
            compute,
            progress,
            store=store,
            compare=recipe.compare_prompts,
            stage=clock.stage,
        )
    finally:
        if store is not None:
            shutil.rmtree(store, ignore_errors=True)
    return _ZeroShot(found, compute, facts, parameters, templates)


def _write_zero_shot(folder: RunFolder, loaded: LoadedRecipe, done: _ZeroShot, clock: _Clock) -> dict[str, Any]:
    """The metrics; writes all that an evaluation leaves: no model, for nothing was trained."""
    from hftransfer.report import figures

    found, recipe = done.found, loaded.recipe
    names, test = found.splits.class_names, found.splits.test
    folder.write_text("recipe.yaml", _resolved_yaml(loaded, done.facts))
    folder.write_json("environment.json", environment(done.compute))
    write_table(folder, "predictions.parquet", found.columns)
    for name, rows in (("classes.csv", found.classes), ("prompts.csv", found.prompts)):
        if rows:
            folder.write_text(name, _csv_text(list(rows[0]), [row.values() for row in rows]))
    if found.splits.skipped:
        _write_skipped(folder, found.splits)
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
        "peak_memory_bytes": _peak_memory_bytes(),
        "seconds": clock.all_seconds(),
    }
    folder.write_json("metrics.json", metrics)
    return metrics


@dataclass(frozen=True)
class _ImageText:
    """A dual encoder that learned from captions, and what was measured on the way."""

    done: CaptionsLearned
    splits: CaptionedSplits
    zero_shot: dict[str, Any] | None
    compute: Compute
    facts: ResolvedFacts


def _image_text(
    loaded: LoadedRecipe,
    checkpoint: Checkpoint | None,
    data: Any,
    clock: _Clock,
    progress: Progress,
    logs: Path,
    checkpoints: Checkpoints,
    saved: Saved | None,
) -> _ImageText:
    """The captions, then the towers, then what their projections learn, then how well both find each other."""
    recipe = loaded.recipe
    with clock.stage("data"):
        splits = _load_captions(recipe, data, progress)
        progress.line(data_table(splits.as_splits()))
    with clock.stage("load"):
        from hftransfer.adapters.dual import load_dual
        from hftransfer.adapters.pairing import pair_towers
        from hftransfer.imagetext import CaptionJob, learn_captions
        from hftransfer.training.devices import choose_compute
        from hftransfer.training.loop import Keeping
        from hftransfer.training.tracking import tracked

        compute = choose_compute(recipe.train.precision, recipe.train.inference_batch_size)
        if recipe.model.is_pair:
            towers = [_found(str(name)) for name in (recipe.model.image, recipe.model.text)]
            hashes = {side: tower.weights_sha256 for side, tower in zip(("image", "text"), towers, strict=True)}
            dual: DualEncoder = pair_towers(towers[0], towers[1], recipe.model.width, recipe.train.seed)
        else:
            checkpoint = checkpoint or _found(recipe.model.name, recipe.model.revision)
            hashes = dict.fromkeys(("image", "text"), checkpoint.weights_sha256)
            dual = load_dual(checkpoint)
        dual.projections()
        learns = "projections learn" if recipe.strategy.kind == "linear-probe" else recipe.strategy.kind
        progress.line(f"{recipe.model.name}: {type(dual.model).__name__}; {learns}; {compute.describe()}")
        facts = ResolvedFacts(
            weights_sha256=hashes["image"] if hashes["image"] == hashes["text"] else " ".join(hashes.values()),
            model_revision=checkpoint.revision if checkpoint is not None else None,
            data_fingerprint=splits.fingerprint(),
            hftransfer_version=version("hftransfer"),
        )
        _tell_differences(recipe.resolved, facts, progress)
        keeping = Keeping(checkpoints, _identity(recipe, facts), saved)
        _require_same_run(keeping)
    with tracked(recipe.train.trackers, logs, loaded.name, flat_settings(recipe), compute) as log:
        job = CaptionJob(
            dual=dual,
            new=recipe.model.is_pair,
            weights_sha256=hashes,
            strategy=recipe.strategy,
            splits=splits,
            train=recipe.train,
            compute=compute,
            progress=progress,
            stage=clock.stage,
            keeping=keeping,
            log=log,
        )
        done = learn_captions(job)
    zero_shot = _zero_shot_after(recipe, done.dual, compute, clock, progress) if recipe.zero_shot_data else None
    return _ImageText(done, splits, zero_shot, compute, facts)


def _zero_shot_after(
    recipe: Recipe, dual: DualEncoder, compute: Compute, clock: _Clock, progress: Progress
) -> dict[str, Any]:
    """How well the dual encoder tells labelled images apart by class names, having learned from captions."""
    from hftransfer.data.settings import DataSettings
    from hftransfer.zeroshot import evaluate, words_for

    settings = DataSettings(source=str(recipe.zero_shot_data))
    splits = build_test_only(find_rows(settings, progress), settings, progress)
    words = words_for(splits.class_names, recipe.class_names)
    digest = hashlib.sha256()
    for tensor in dual.model.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    learned = digest.hexdigest()
    with tempfile.TemporaryDirectory(prefix="hftransfer-") as store:
        found = evaluate(
            dual,
            learned,
            splits,
            words,
            templates_of(recipe.prompts or "simple"),
            settings,
            compute,
            progress,
            store=Path(store),
            stage=clock.stage,
        )
        metrics = dict(found.metrics)
    progress.line(f"zero-shot on {recipe.zero_shot_data}: accuracy {metrics['accuracy']:.4f}")
    return metrics


def _found(name: str, revision: str | None = None) -> Checkpoint:
    checkpoint = find_checkpoint(name, revision)
    assert checkpoint is not None
    return checkpoint


def _write_image_text(folder: RunFolder, loaded: LoadedRecipe, learned: _ImageText, clock: _Clock) -> dict[str, Any]:
    """The metrics; writes all that a run leaves."""
    from hftransfer.report import figures

    done, recipe, rows = learned.done, loaded.recipe, learned.done.history.rows
    folder.write_folder("model", learned.done.dual.save)
    folder.write_text("recipe.yaml", _resolved_yaml(loaded, learned.facts))
    folder.write_json("environment.json", environment(learned.compute))
    folder.write_text("history.csv", _csv_text(list(rows[0]), [row.values() for row in rows]))
    figures.draw_history(folder.file("figures/history.png"), rows, done.history.best_epoch)
    if done.ranks:
        test = learned.splits.splits["test"]
        texts, owners = test.texts()
        ranks = {
            "caption_rank_of_image": done.ranks["image_to_text"][owners],
            "image_rank": done.ranks["text_to_image"],
        }
        columns = {"id": [test.rows[owner].id for owner in owners], "caption": texts, **ranks}
        write_table(folder, "retrieval.parquet", columns)
    metrics = {
        "task": recipe.task,
        "model": recipe.model.name,
        "strategy": recipe.strategy.kind,
        "test": done.metrics.get("test", {}),
        "validation": done.metrics.get("validation", {}),
        **({"zero_shot": learned.zero_shot} if learned.zero_shot else {}),
        "best_epoch": done.history.best_epoch,
        "epochs": len(rows),
        "parameters": done.parameters,
        "examples": learned.splits.sizes(),
        "peak_memory_bytes": _peak_memory_bytes(),
        "seconds": clock.all_seconds(),
    }
    folder.write_json("metrics.json", metrics)
    return metrics


@contextmanager
def _end_told(progress: Progress) -> Iterator[None]:
    """Meanwhile a log is kept; at its end stands what stopped the run, if something did."""
    try:
        yield
    except BaseException as error:
        progress.note(f"stopped: {error or type(error).__name__}")
        raise
    finally:
        progress.end_log()


def _written(
    folder: RunFolder, progress: Progress, write: Callable[[], dict[str, Any]], save: Callable[[], None] | None = None
) -> dict[str, Any]:
    """The metrics of a run whose results are in its folder.

    Raises:
        OutputError: they can't be written; a checkpoint of the finished training is, if there is still room for it.
    """
    try:
        with folder.results():
            metrics = write()
            log = folder.note_log()
        progress.move_log(log)
    except OutputError:
        if save is not None:
            with suppress(OutputError):
                save()
        raise
    return metrics


def _newest(checkpoints: Checkpoints, progress: Progress, *, resume: bool, held: bool) -> Saved | None:
    """The checkpoint to go on from, its tensors read already if it is to be `held` for other processes."""
    if not resume:
        checkpoints.remove_all()
        return None
    saved = checkpoints.newest(progress.line)
    if saved is None:
        progress.line("there is no whole checkpoint: the run begins anew")
    return saved.held() if saved is not None and held else saved


@dataclass(frozen=True)
class _Curve:
    """The rows of a k-shot curve, one of each cell, and where those of the finished cells are kept."""

    rows: list[dict[str, float]]
    finished: FinishedCells


@dataclass(frozen=True)
class _Trained:
    """A trained model and what was measured on the way."""

    done: Transferred
    checkpoint: Checkpoint
    compute: Compute
    boundary: int
    facts: ResolvedFacts
    model_facts: ModelFacts
    curve: _Curve | None = None


def _curve(
    loaded: LoadedRecipe,
    checkpoint: Checkpoint | None,
    data: Any,
    clock: _Clock,
    progress: Progress,
    logs: Path,
    checkpoints: Checkpoints,
    *,
    resume: bool,
) -> _Trained:
    """The last cell of a k-shot curve, with the rows of all."""
    from hftransfer.curve import FinishedCells, learn_curve
    from hftransfer.training.processes import processes

    together, recipe = processes(), loaded.recipe
    with clock.stage("data"):
        splits = together.in_turn(lambda: _load_splits(recipe, task_of(recipe).rows, data, progress))
        progress.line(data_table(splits))
        known = checkpoint or together.in_turn(lambda: _found(recipe.model.name, recipe.model.revision))
        facts = _facts(known, splits)
        _require_same_data(together.gather(facts.data_fingerprint))
        finished = FinishedCells(checkpoints.folder, _identity(recipe, facts), keeps=together.is_first)
        if resume:
            together.together(finished.read)
    trained: _Trained
    trained, rows = learn_curve(
        recipe,
        finished,
        progress,
        lambda own, quiet: _train(own, known, data, clock, quiet, loaded.name, logs, splits=splits),
        lambda cell: _plain_metrics({"": cell.done.judged.get("test", cell.done.judged["validation"])}),
    )
    return replace(trained, facts=facts, curve=_Curve(rows, finished))


def _train(
    recipe: Recipe,
    checkpoint: Checkpoint | None,
    data: Any,
    clock: _Clock,
    progress: Progress,
    project: str,
    logs: Path,
    checkpoints: Checkpoints | None = None,
    saved: Saved | None = None,
    splits: Splits | None = None,
) -> _Trained:
    """The data (where they aren't given), then the model, then what the strategy learns, then its scores."""
    from hftransfer.training.processes import processes, stray_settings

    together = processes()
    with clock.stage("data"), _importing_ahead(when=data is None and recipe.data.source in BUNDLED):
        task = task_of(recipe)
        splits = splits or together.in_turn(lambda: _load_splits(recipe, task.rows, data, progress))
        if isinstance(recipe.data.shots, int):
            splits = few_shots(splits, recipe.data.shots, recipe.train.seed)
        progress.line(data_table(splits))
    with clock.stage("load"):
        from hftransfer.adapters.base import parameter_counts
        from hftransfer.adapters.loading import load_adapter
        from hftransfer.training.devices import choose_compute
        from hftransfer.training.loop import Keeping
        from hftransfer.training.tracking import tracked
        from hftransfer.training.transfer import Job, transfer

        checkpoint = checkpoint or together.in_turn(lambda: _found(recipe.model.name, recipe.model.revision))
        pooling = recipe.strategy.pooling_for(recipe.task)
        seed, names = recipe.train.seed, splits.class_names
        compute = together.together(lambda: choose_compute(recipe.train.precision, recipe.train.inference_batch_size))
        task_name: Any = recipe.task
        load = partial(load_adapter, checkpoint, names, task=task_name, pooling=pooling, seed=seed)
        adapter = together.in_turn(load)
        texts = _texts_as_head(adapter, recipe, names, checkpoint, compute, progress)
        boundary = together.together(lambda: recipe.strategy.prepare(adapter, seed))
        counts = parameter_counts(adapter.model)
        learns = f"{counts['trainable']:,} of {counts['total']:,} parameters learn, boundary {boundary}"
        learns += f" of {len(adapter.stages)} stages"
        batch = f"batches of {recipe.train.batch_size}"
        where = compute.describe() + (", fsdp" if recipe.train.distributed == "fsdp" and together.count > 1 else "")
        progress.line(f"{checkpoint.name}: {type(adapter.model).__name__}; {learns}; {batch}; {where}")
        if recipe.train.distributed == "fsdp" and together.count == 1:
            progress.line("train.distributed is fsdp, and one process has nothing to share: see --processes")
        for key, value in stray_settings().values():
            progress.line(f"an Accelerate configuration asks for {value}: {key} of the recipe decides")
        facts = _facts(checkpoint, splits)
        _require_same_data(together.gather(facts.data_fingerprint))
        _tell_differences(recipe.resolved, facts, progress)
        keeping = None
        if checkpoints is not None:
            keeping = Keeping(checkpoints, _identity(recipe, facts), saved)
            together.together(lambda: _require_same_run(keeping))
    with tracked(recipe.train.trackers, logs, project, flat_settings(recipe), compute) as log:
        job = Job(
            adapter=adapter,
            boundary=boundary,
            task=task,
            strategy=recipe.strategy,
            splits=splits,
            data=recipe.data,
            train=recipe.train,
            weights_sha256=checkpoint.weights_sha256,
            compute=compute,
            progress=progress,
            stage=clock.stage,
            keeping=keeping,
            log=log,
            names=texts,
        )
        done = transfer(job)
        steps_per_epoch = math.ceil(len(done.splits.train) / recipe.train.batch_size)
        log(_plain_metrics(done.judged), len(done.history.rows) * steps_per_epoch)
    clock.at_least("train", sum(row["seconds"] for row in done.history.rows))  # before an interruption, too
    if len(done.splits.skipped) > len(splits.skipped):
        progress.line(data_table(done.splits))
    return _Trained(done, checkpoint, compute, boundary, facts, _model_facts(recipe, checkpoint, splits, done))


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

    from hftransfer.zeroshot import class_texts, words_for

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


def _require_same_data(fingerprints: Sequence[str]) -> None:
    """Nothing, if all processes see the same data.

    Raises:
        DataError: they do not.
    """
    others = [str(rank) for rank, found in enumerate(fingerprints) if found != fingerprints[0]]
    if others:
        where = "the data in every process"
        raise DataError(must_be(where, "those of process 0", f"others in process {', '.join(others)}"))


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
        pooling=recipe.strategy.pooling_for(recipe.task),
        class_names=splits.class_names,
        max_tokens=recipe.data.max_tokens,
        stride_tokens=recipe.data.stride_tokens,
        null_threshold=done.extras.get("null_threshold"),
        pairs=any(c.pair is not None for c in contents if isinstance(c, TextContent)) if texts else None,
        merge=bool(getattr(recipe.strategy, "merge", False)),
        base=base,
    )


def _place_of(model: str) -> tuple[str, str | None]:
    """The name of a model without its path, and the whole path of one in a local folder."""
    before = "open_clip:local-dir:" if model.startswith("open_clip:local-dir:") else ""
    path = user_path(model.removeprefix(before), "model", ModelError)
    return (before + path.resolve().name, str(path.resolve())) if path.is_dir() else (model, None)


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe."""
    from hftransfer.tasks.registry import TASKS

    return TASKS[recipe.task]


def _write(folder: RunFolder, loaded: LoadedRecipe, trained: _Trained, clock: _Clock) -> dict[str, Any]:
    """The metrics; writes all that a run leaves."""
    done = trained.done
    metrics = _metrics(loaded.recipe, trained, clock)
    _write_model(folder, trained, metrics, loaded.recipe)
    folder.write_text("recipe.yaml", _resolved_yaml(loaded, trained.facts))
    folder.write_json("environment.json", environment(trained.compute))
    if "test" in done.judged:
        write_table(folder, "predictions.parquet", done.judged["test"].columns)
    if done.history.rows:
        folder.write_text("history.csv", _csv_text(list(done.history.rows[0]), [r.values() for r in done.history.rows]))
    if done.splits.skipped:
        _write_skipped(folder, done.splits)
    _write_figures(folder, done)
    if trained.curve is not None:
        _write_curve(folder, trained.curve, metrics, done)
    folder.note_all_in(LOGS)
    metrics["seconds"] = clock.all_seconds()
    folder.write_json("metrics.json", metrics)
    return metrics


def _write_curve(folder: RunFolder, curve: _Curve, metrics: dict[str, Any], done: Transferred) -> None:
    """Nothing; writes the rows of a k-shot curve and its picture, and adds what they come to."""
    from hftransfer.curve import summarised
    from hftransfer.report import figures

    rows = curve.rows
    folder.write_text("shots.csv", _csv_text(list(rows[0]), [row.values() for row in rows]))
    metrics["shots"] = summarised(rows, "accuracy")
    before = done.by_names.get("before", {}).get("accuracy")
    figures.draw_shots(folder.file("figures/shots.png"), rows, metrics["shots"], before)


def _write_skipped(folder: RunFolder, splits: Splits) -> None:
    skipped = [[entry.split, entry.id, entry.reason] for entry in splits.skipped]
    folder.write_text("skipped.csv", _csv_text(["split", "id", "reason"], skipped))


def fit(
    task: str,
    *,
    model: str,
    train: Any,
    validation: Any = None,
    test: Any = None,
    strategy: Strategy | type[Strategy] | str | Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Predictor:
    """The model that a strategy makes of a pretrained one and your rows, ready to predict.

    Rows are lists of tuples or dicts, pandas frames, `datasets.Dataset`s or paths: (image, label) with images as
    paths, bytes, PIL images or arrays; (text, label) or ((text, text), label); for questions, dicts with SQuAD's
    columns. `train` may also be a `DatasetDict`, or a dict of rows by split. Without `validation` a part of the
    training rows is held out; `test` rows, if given, are scored. What was measured is in `.metrics`, and epoch by
    epoch in `.history`. `data` holds other settings of a recipe's `data:` section, further keywords those of its
    `train:` section.

    >>> rows = [("loved it", "pos"), ("a bore", "neg"), …]
    >>> model = ht.fit("text-classification", model="bundled/minilm-l6", train=rows, strategy=ht.LinearProbe())
    >>> model.predict(["what a film"])
    [Prediction(label='pos', score=0.93, scores={'neg': 0.07, 'pos': 0.93})]
    >>> model.save("reviews")

    Raises:
        HftransferError: settings, rows or the model are not as they must be.
    """
    from hftransfer.artifact import Predictor

    rows = _rows_by_split(train, validation, test)
    if isinstance(strategy, type) and issubclass(strategy, BaseModel):
        strategy = strategy()
    chosen: Any = strategy.model_dump() if isinstance(strategy, BaseModel) else strategy or "linear-probe"
    document = {
        "task": task,
        "model": model,
        "data": {"source": "memory", **({} if "test" in rows else {"test_fraction": 0}), **(data or {})},
        "strategy": chosen,
        "train": settings,
    }
    clock, progress = _Clock(), progress or Progress()
    loaded = load_recipe(document)
    if isinstance(loaded.recipe.data.shots, list):
        got = str(loaded.recipe.data.shots)
        raise RecipeError(must_be("data.shots", "one number for ht.fit", got, "A curve is a run: ht.run(recipe)."))
    checkpoint = _early_look(loaded.recipe, rows, peek=True)
    trained = _train(loaded.recipe, checkpoint, rows, clock, progress, "hftransfer", Path(LOGS))
    metrics = _metrics(loaded.recipe, trained, clock)
    done = trained.done
    facts = trained.model_facts
    return Predictor(
        done.adapter,
        facts=facts,
        metrics=metrics,
        history=done.history.rows,
        write_card=lambda draft: _write_card(draft, trained, facts, metrics, loaded.recipe),
    )


def _rows_by_split(train: Any, validation: Any, test: Any) -> dict[str, Any]:
    """The rows of each split; `train` may itself be a mapping of split names to rows, such as a `DatasetDict`.

    Raises:
        DataError: a split that was given has no rows.
    """
    given = {"validation": validation, "test": test}
    rows = {**(train if isinstance(train, Mapping) else {"train": train})}
    rows |= {name: part for name, part in given.items() if part is not None}
    empty = [name for name, part in rows.items() if hasattr(part, "__len__") and len(part) == 0]
    if empty:
        raise DataError(*(must_be(f"the {name} rows", "some", "no rows") for name in empty))
    return rows


def check(
    recipe: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    data: Any = None,
    progress: Progress | None = None,
) -> Splits:
    """The splits a run of the recipe would see, after all that can be checked without training: the recipe, the
    model's files where they are local, and every image, decoded in full.

    Raises:
        HftransferError: something is not as it must be; all unreadable images are named.
    """
    progress = progress or Progress()
    loaded = load_recipe(recipe, _with_memory(overrides, data))
    _early_look(loaded.recipe, data)
    kind = ROWS_OF[loaded.recipe.task]
    splits = _load_splits(loaded.recipe, kind, data, progress)
    for shots in _listed(loaded.recipe.data.shots):
        require_shots(splits, shots)
    if kind != "images":
        return splits
    rows = [row for _, split in splits.items() for row in split.rows]
    with progress.stage("decoding every image", len(rows)) as advance:
        faults = decoding_faults(rows, advance)
    if loaded.recipe.task == ZERO_SHOT:
        return without_test_faults(splits, faults, loaded.recipe.data)
    return without_faults(splits, faults, loaded.recipe.data)


def _listed(shots: int | list[int] | None) -> list[int]:
    return shots if isinstance(shots, list) else [] if shots is None else [shots]


def require_sound(recipe: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | Sequence[str] = ()) -> None:
    """Nothing, if all is as it must be that shows without reading data or a model.

    Raises:
        HftransferError: with all that is not.
    """
    _early_look(load_recipe(recipe, overrides).recipe, None)


def not_looked_at(
    recipe: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | Sequence[str] = ()
) -> list[str]:
    """What `check` can't tell without fetching or loading a model, for people."""
    loaded = load_recipe(recipe, overrides).recipe
    notes, name = [], loaded.model.name
    if not name.startswith("bundled/") and find_checkpoint(name, loaded.model.revision, fetch=False) is None:
        notes.append(f"whether there is a model '{name}': it is no folder here and would be fetched from the Hub")
    named = [key for key in ("unfreeze", "targets") if getattr(loaded.strategy, key, None) not in (None, "all", "auto")]
    if named:
        notes.append(f"whether the model has what strategy.{named[0]} asks for: that shows when it is loaded")
    return notes


def environment(compute: Compute | None = None) -> dict[str, Any]:
    """Versions and hardware, without names of users or folders."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "git_commit": _git_commit(),
    }
    if compute is not None:
        import torch

        found |= {"device": compute.backend, "precision": compute.precision, "threads": torch.get_num_threads()}
        found |= {"processes": compute.processes.count}
    return found


# --- the stages ------------------------------------------------------------------------------------------------------


def _with_memory(overrides: Mapping[str, Any] | Sequence[str], data: Any) -> Mapping[str, Any] | Sequence[str]:
    """The overrides, with a name for data that is given as Python objects."""
    if data is None:
        return overrides
    if isinstance(overrides, Mapping):
        return {"data.source": "memory", **overrides}
    return ["data.source=memory", *overrides]


def _early_look(recipe: Recipe, data: Any, *, peek: bool = False) -> Checkpoint | None:
    """The model's checkpoint where its files are on this disk. Faults of model and data that show without reading or
    fetching either are told together, before any work; with `peek` the configuration of a Hub model is fetched."""
    checkpoint = None
    faults: list[HftransferError] = []
    for look in (lambda: recipe.strategy.pooling_for(recipe.task), lambda: _require_sense(recipe)):
        try:
            look()
        except HftransferError as error:
            faults.append(error)
    try:
        if recipe.model.is_pair:
            _look_at_pair(recipe)
        else:
            checkpoint = find_checkpoint(recipe.model.name, recipe.model.revision, fetch=False)
        seen = checkpoint
        if seen is None and peek and not recipe.model.is_pair and not recipe.model.name.startswith("bundled/"):
            seen = fetch_config(recipe.model.name, recipe.model.revision)
        bundle = BUNDLED_MODELS.get(recipe.model.name)
        family = seen.family if seen is not None else bundle.family if bundle is not None else ""
        if recipe.task in (ZERO_SHOT, IMAGE_TEXT) or recipe.strategy.from_zero_shot:
            require_paired(recipe.model.name, family)
        else:
            require_modality(recipe.model.name, family, recipe.task, MODALITY_OF[recipe.task])
    except HftransferError as error:
        faults.append(error)
    if data is None:
        try:
            look_at_source(recipe.data, ROWS_OF[recipe.task])
        except HftransferError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise RecipeError(*(fault for error in faults for fault in error.faults))
    return checkpoint


def _look_at_pair(recipe: Recipe) -> None:
    """Nothing, if a pair of towers is what it says, as far as files on this disk tell.

    Raises:
        HftransferError: the task takes no pair, or a tower is of the other kind.
    """
    if recipe.task != IMAGE_TEXT:
        raise RecipeError(must_be("model", f"one model for task {recipe.task}", "a pair of towers"))
    for modality, name in (("image", recipe.model.image), ("text", recipe.model.text)):
        seen = find_checkpoint(str(name), fetch=False)
        bundle = BUNDLED_MODELS.get(str(name))
        family = seen.family if seen is not None else bundle.family if bundle is not None else ""
        require_modality(str(name), family, f"{IMAGE_TEXT} (model.{modality})", cast(Modality, modality))


def _require_sense_of_captions(recipe: Recipe) -> None:
    from hftransfer.metrics.retrieval import RETRIEVAL_METRICS

    faults, train = [], recipe.train
    if recipe.data.shots is not None:
        faults.append(must_be("data.shots", f"left out for task {IMAGE_TEXT}, which has no classes", recipe.data.shots))
    if isinstance(getattr(recipe.strategy, "unfreeze", None), list):
        allowed = f"all or a number of stages of each tower for task {IMAGE_TEXT}"
        faults.append(must_be("strategy.unfreeze", allowed, "names"))
    for name in ("interpolate", "merge"):
        if value := getattr(recipe.strategy, name, None):
            faults.append(must_be(f"strategy.{name}", f"left out for task {IMAGE_TEXT}", value))
    if train.metric is not None and train.metric not in RETRIEVAL_METRICS:
        faults.append(must_be("train.metric", f"one of {', '.join(RETRIEVAL_METRICS)}", f"'{train.metric}'"))
    for name, usual in (("augment", "none"), ("mixup", None), ("cutmix", None), ("micro_batch_size", None)):
        if (value := getattr(train, name)) != usual:
            faults.append(must_be(f"train.{name}", f"left out for task {IMAGE_TEXT}", value))
    if recipe.prompts is not None:
        templates_of(recipe.prompts)
    if recipe.compare_prompts:
        faults.append(must_be("compare_prompts", f"left out for task {IMAGE_TEXT}", "true"))
    if faults:
        raise RecipeError(*faults)


def _require_sense(recipe: Recipe) -> None:
    """Nothing, if the settings go together, as far as that can be told without the model.

    Raises:
        RecipeError: all that do not.
    """
    if recipe.task == ZERO_SHOT:
        _require_sense_of_zero_shot(recipe)
        return
    if recipe.task == IMAGE_TEXT:
        _require_sense_of_captions(recipe)
        return
    task, train, faults = task_of(recipe), recipe.train, []
    by_names = ("prompts", "class_names") if recipe.strategy.from_zero_shot else ()
    for name in ("prompts", "class_names", "compare_prompts", "zero_shot_data"):
        if (value := getattr(recipe, name)) and name not in by_names:
            remedy = "It goes with strategy.head_init: zero-shot." if name in ("prompts", "class_names") else ""
            faults.append(must_be(name, f"left out for task {task.name}", value, remedy))
    if recipe.strategy.from_zero_shot and recipe.prompts is not None:
        faults += _faults_of(lambda: templates_of(recipe.prompts or ""))
    if recipe.data.shots is not None and task.rows == "questions":
        faults.append(must_be("data.shots", f"left out for task {task.name}, which has no classes", recipe.data.shots))
    if train.metric is not None and train.metric not in task.metrics:
        allowed = f"a metric of task {task.name} ({', '.join(task.metrics)})"
        faults.append(must_be("train.metric", allowed, f"'{train.metric}'", nearest(train.metric, task.metrics)))
    if train.loss != "infonce":
        faults.append(must_be("train.loss", f"left out for task {task.name}", train.loss))
    if train.augment != "none" and task.rows != "images":
        faults.append(must_be("train.augment", f"none for task {task.name}", train.augment))
    for tracker in train.trackers:
        if find_spec(tracker) is None:
            remedy = f"Install it: pip install {tracker.replace('_', '-')}."
            faults.append(must_be("train.trackers", "packages that are installed", f"'{tracker}'", remedy))
    for name, value in (("mixup", train.mixup), ("cutmix", train.cutmix)):
        if value is not None and task.rows != "images":
            faults.append(must_be(f"train.{name}", f"left out for task {task.name}", value))
    if train.views and train.augment == "none":
        faults.append(must_be("train.views", "left out where train.augment is none", train.views))
    if train.cache == "on" and train.augment != "none" and not train.views:
        remedy = "New views in every epoch can't be kept; train.views: 4 keeps four."
        faults.append(must_be("train.cache", "auto or off with train.augment and no train.views", "on", remedy))
    if train.class_weights != "none" and task.rows == "questions":
        faults.append(must_be("train.class_weights", f"none for task {task.name}", train.class_weights))
    if faults:
        raise RecipeError(*faults)


def _faults_of(look: Callable[[], object]) -> list[str]:
    """What is told when something is looked at."""
    try:
        look()
    except HftransferError as error:
        return list(error.faults)
    return []


def _require_sense_of_zero_shot(recipe: Recipe) -> None:
    faults = []
    if recipe.data.shots is not None:
        faults.append(must_be("data.shots", f"left out for task {ZERO_SHOT}, which trains nothing", recipe.data.shots))
    if recipe.strategy != LinearProbe():
        faults.append(must_be("strategy", f"left out for task {ZERO_SHOT}, which trains nothing", recipe.strategy.kind))
    if recipe.prompts is not None:
        faults += _faults_of(lambda: templates_of(recipe.prompts or ""))
    if recipe.compare_prompts and len(templates_of(recipe.prompts or "simple")) < 2 and not faults:
        faults.append(must_be("compare_prompts", "left out where there is one template", "true", "Try openai-7."))
    if faults:
        raise RecipeError(*faults)


def _output_folder(loaded: LoadedRecipe, out: str | Path | None, *, overwrite: bool, resume: bool) -> RunFolder:
    if overwrite and resume:
        raise RecipeError(must_be("--resume", "given without --overwrite", "both"))
    if out is not None:
        return RunFolder.create(Path(out), overwrite=overwrite, resume=resume)
    if resume:
        return RunFolder.newest_interrupted(Path(loaded.recipe.output.folder), loaded.name)
    return RunFolder.create_dated(Path(loaded.recipe.output.folder), loaded.name)


@contextmanager
def _importing_ahead(*, when: bool) -> Iterator[None]:
    """Meanwhile, in a thread, the libraries that loading a model needs are imported: while pictures are drawn in
    other processes this one has nothing else to do."""

    def work() -> None:
        import timm
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        import hftransfer.training.activations

        del timm, AutoImageProcessor, AutoModelForImageClassification, hftransfer

    thread = threading.Thread(target=work, daemon=True)
    if when:
        thread.start()
    yield
    if when:
        thread.join()


def _load_splits(recipe: Recipe, kind: RowKind, data: Any, progress: Progress) -> Splits:
    if recipe.task == IMAGE_TEXT:
        return _load_captions(recipe, data, progress).as_splits()
    if data is None:
        found = find_rows(recipe.data, progress, kind=kind)
    else:
        found = rows_from_python(data, recipe.data, kind=kind)
    if recipe.task == ZERO_SHOT:
        return build_test_only(found, recipe.data, progress)
    return build_splits(found, recipe.data, recipe.train.seed, progress, kind=kind)


def _load_captions(recipe: Recipe, data: Any, progress: Progress) -> CaptionedSplits:
    from hftransfer.data.captions import build_captioned

    column = recipe.data.caption_column or recipe.data.label_column or "caption"
    settings = recipe.data.model_copy(update={"label_column": column, "caption_column": column})
    found = find_rows(settings, progress) if data is None else rows_from_python(data, settings)
    return build_captioned(found, settings, recipe.train.seed, progress)


def _write_figures(folder: RunFolder, done: Transferred) -> None:
    from hftransfer.report import figures

    splits, names, test = done.splits, done.splits.class_names, done.judged.get("test")
    if done.history.rows:
        figures.draw_history(folder.file("figures/history.png"), done.history.rows, done.history.best_epoch)
    if test is None or test.probabilities is None:
        return
    figures.draw_confusion_matrix(folder.file("figures/confusion_matrix.png"), test.metrics["confusion_matrix"], names)
    if done.adapter.modality == "image":
        figures.draw_examples(folder.file("figures/examples.png"), splits.train.rows, splits.train.labels, names)
        mistakes = folder.file("figures/mistakes.png")
        figures.draw_mistakes(mistakes, splits.test.rows, splits.test.labels, test.probabilities, names)


def _metrics(recipe: Recipe, trained: _Trained, clock: _Clock) -> dict[str, Any]:
    from hftransfer.adapters.base import parameter_counts

    done = trained.done
    return {
        "task": recipe.task,
        "model": recipe.model.name,
        "strategy": recipe.strategy.kind,
        "test": done.judged["test"].metrics if "test" in done.judged else {},
        "validation": done.judged["validation"].metrics,
        **({"zero_shot": done.by_names} if done.by_names else {}),
        **({"best_epoch": done.history.best_epoch, "epochs": len(done.history.rows)} if done.history.rows else {}),
        "parameters": parameter_counts(done.adapter.model),
        "seconds": clock.all_seconds(),
        "examples": done.splits.sizes(),
        "peak_memory_bytes": _peak_memory_bytes(),
    }


def _peak_memory_bytes() -> int:
    """The most memory this process has held, mapped files included."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _write_model(folder: RunFolder, trained: _Trained, metrics: dict[str, Any], recipe: Recipe) -> None:
    adapter = trained.done.adapter
    facts = trained.model_facts

    def save(draft: Path) -> None:
        save_model(adapter, facts, draft, folder.path / "model")
        _write_card(draft, trained, facts, metrics, recipe)

    def save_merged(draft: Path) -> None:
        native = facts.model_copy(update={"base": None})
        save_model(adapter.merged(), native, draft)
        _write_card(draft, trained, native, metrics, recipe)

    folder.write_folder("model", save)
    if adapter.peft is not None and facts.merge:
        folder.write_folder("merged", save_merged)


def _write_card(draft: Path, trained: _Trained, facts: ModelFacts, metrics: dict[str, Any], recipe: Recipe) -> None:
    from hftransfer.hub.card import write_card

    adapter = trained.done.adapter
    write_card(
        draft,
        metrics=metrics,
        class_names=trained.done.splits.class_names,
        data_source=_public_name(recipe.data.source),
        hub_id=_hub_id_of(recipe.model.name, trained.checkpoint),
        version=version("hftransfer"),
        facts=facts,
        max_tokens=min(facts.max_tokens or 10**9, getattr(adapter, "max_tokens", 10**9)),
    )


def _hub_id_of(model: str, checkpoint: Checkpoint) -> str | None:
    """The Hub id of the base model, where it lies on the Hub."""
    if model in BUNDLED_MODELS:
        return BUNDLED_MODELS[model].hub_id
    return model if checkpoint.revision is not None and not model.startswith("open_clip:") else None


def _public_name(source: str) -> str:
    """A Hub id or bundled name as it is, of a path the last part: folders of a person's disk are not published."""
    path = user_path(source, "data.source", DataError)
    return path.resolve().name if path.exists() else source


def _facts(checkpoint: Checkpoint, splits: Splits) -> ResolvedFacts:
    return ResolvedFacts(
        weights_sha256=checkpoint.weights_sha256,
        model_revision=checkpoint.revision,
        data_fingerprint=splits.fingerprint(),
        hftransfer_version=version("hftransfer"),
    )


def _tell_differences(before: ResolvedFacts | None, now: ResolvedFacts, progress: Progress) -> None:
    """Nothing; says what differs from the run whose recipe is repeated."""
    if before is None:
        return
    for name, value in now.model_dump().items():
        earlier = getattr(before, name)
        if earlier != value:
            progress.line(
                f"warning: {name} differs from the run this recipe was written by: {earlier} then, {value} now"
            )


_SHAPES_NO_WEIGHTS = (
    "output",
    "resolved",
    "train.checkpoint_",
    "train.keep_checkpoints",
    "train.cache",
    "train.distributed",
    "train.trackers",
)


def _identity(recipe: Recipe, facts: ResolvedFacts) -> dict[str, Any]:
    """What a checkpoint belongs to, as flat keys and plain values: all that shapes the weights."""
    shaping = {key: value for key, value in flat_settings(recipe).items() if not key.startswith(_SHAPES_NO_WEIGHTS)}
    return {**shaping, "the weights' SHA-256": facts.weights_sha256, "the data's fingerprint": facts.data_fingerprint}


def _require_same_run(keeping: Keeping) -> None:
    """Nothing, if the checkpoint to go on from is this very run's.

    Raises:
        RecipeError: with the keys that differ.
    """
    if keeping.resume is None:
        return
    now, before = dict(keeping.identity), dict(keeping.resume.state["identity"])
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    remedy = "Change it back, or begin anew with --overwrite."
    faults = [
        must_be(f"{key} of the interrupted run", f"as it was ({before.get(key)})", now.get(key), remedy)
        for key in differing
    ]
    if faults:
        raise RecipeError(*faults)


def _resolved_yaml(loaded: LoadedRecipe, facts: ResolvedFacts) -> str:
    resolved = loaded.recipe.model_copy(update={"resolved": facts})
    return f"# {loaded.name}, as it was run: every default spelled out\n" + recipe_yaml(resolved)


def _csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def _git_commit() -> str | None:
    """The commit of the folder a run is started in, if it is a git checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def as_json(result: Result) -> str:
    """The metrics and the folder of a run as one JSON object."""
    return json.dumps({"folder": str(result.folder), **result.metrics}, indent=2, ensure_ascii=False)
