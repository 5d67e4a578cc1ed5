"""A run that learns from images with captions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.data.sources import find_rows
from hftransfer.data.splits import build_test_only
from hftransfer.jobs.cards import write_dual_card
from hftransfer.jobs.common import (
    Clock,
    environment,
    found_checkpoint,
    identity_of,
    load_captions,
    peak_memory_bytes,
    require_same_run,
    resolved_yaml,
    tell_differences,
)
from hftransfer.jobs.early import notes_on_licenses
from hftransfer.progress import Progress
from hftransfer.recipe import (
    LoadedRecipe,
    Recipe,
    ResolvedFacts,
    flat_settings,
)
from hftransfer.report.tables import data_table
from hftransfer.run_folder import RunFolder, write_table
from hftransfer.tabular import csv_text
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.adapters.dual import DualEncoder
    from hftransfer.data.captions import CaptionedSplits
    from hftransfer.imagetext import CaptionsLearned
    from hftransfer.training.checkpoint import Checkpoints, Saved
    from hftransfer.training.devices import Compute


@dataclass(frozen=True)
class ImageText:
    """A dual encoder that learned from captions, and what was measured on the way."""

    done: CaptionsLearned
    splits: CaptionedSplits
    zero_shot: dict[str, Any] | None
    compute: Compute
    facts: ResolvedFacts
    licenses: tuple[str, ...] = ()
    """Those of the base models, as far as they are known."""

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions and hardware: on the card, and in a file."""
        return environment(self.compute)


def learn_from_captions(
    loaded: LoadedRecipe,
    checkpoint: Checkpoint | None,
    data: Any,
    clock: Clock,
    progress: Progress,
    logs: Path,
    checkpoints: Checkpoints,
    saved: Saved | None,
) -> ImageText:
    """The captions, then the towers, then what their projections learn, then how well both find each other."""
    recipe = loaded.recipe
    with clock.stage("data"):
        splits = load_captions(recipe, data, progress)
        progress.line(data_table(splits.as_splits()))
    with clock.stage("load"):
        from hftransfer.adapters.dual import load_dual
        from hftransfer.adapters.pairing import pair_towers
        from hftransfer.adapters.projections import SIDES
        from hftransfer.imagetext import CaptionJob, learn_captions
        from hftransfer.training.devices import choose_compute
        from hftransfer.training.loop import Keeping
        from hftransfer.training.tracking import tracked

        compute = choose_compute(recipe.train.precision, recipe.train.inference_batch_size)
        if recipe.model.is_pair:
            towers = [found_checkpoint(str(name)) for name in (recipe.model.image, recipe.model.text)]
            hashes = {side: tower.weights_sha256 for side, tower in zip(("image", "text"), towers, strict=True)}
            dual: DualEncoder = pair_towers(towers[0], towers[1], recipe.model.width, recipe.train.seed)
        else:
            checkpoint = checkpoint or found_checkpoint(recipe.model.name, recipe.model.revision)
            towers = [checkpoint]
            hashes = dict.fromkeys(("image", "text"), checkpoint.weights_sha256)
            dual = load_dual(checkpoint)
        dual.require_towers(*SIDES)
        learns = "projections learn" if recipe.strategy.kind == "linear-probe" else recipe.strategy.kind
        for note in notes_on_licenses(recipe):
            progress.line(note)
        progress.line(f"{recipe.model.name}: {type(dual.model).__name__}; {learns}; {compute.describe()}")
        facts = ResolvedFacts(
            weights_sha256=hashes["image"] if hashes["image"] == hashes["text"] else " ".join(hashes.values()),
            model_revision=checkpoint.revision if checkpoint is not None else None,
            data_fingerprint=splits.fingerprint(),
            hftransfer_version=version("hftransfer"),
        )
        tell_differences(recipe.resolved, facts, progress)
        keeping = Keeping(checkpoints, identity_of(recipe, facts), saved)
        require_same_run(keeping)
    with tracked(recipe.train.trackers, logs, loaded.name, flat_settings(recipe), compute) as log:
        job = CaptionJob(
            dual=dual,
            new=recipe.model.is_pair,
            weights_sha256=hashes,
            strategy=recipe.strategy,
            data=recipe.data,
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
    licenses = tuple(tower.license for tower in towers if tower.license is not None)
    return ImageText(done, splits, zero_shot, compute, facts, licenses)


def _zero_shot_after(
    recipe: Recipe, dual: DualEncoder, compute: Compute, clock: Clock, progress: Progress
) -> dict[str, Any]:
    """How well the dual encoder tells labelled images apart by class names, having learned from captions."""
    from hftransfer.data.settings import DataSettings
    from hftransfer.tasks.prompts import words_for
    from hftransfer.zeroshot import evaluate

    settings = DataSettings(source=str(recipe.zero_shot_data))
    splits = build_test_only(find_rows(settings, progress), settings, progress)
    words = words_for(splits.class_names, recipe.class_names)
    digest = hashlib.sha256()
    for tensor in dual.model.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    found = evaluate(
        dual,
        digest.hexdigest(),
        splits,
        words,
        templates_of(recipe.prompts or "simple"),
        settings,
        compute,
        progress,
        stage=clock.stage,
    )
    progress.line(f"zero-shot on {recipe.zero_shot_data}: accuracy {found.metrics['accuracy']:.4f}")
    return found.metrics


def write_captions(folder: RunFolder, loaded: LoadedRecipe, learned: ImageText, clock: Clock) -> dict[str, Any]:
    """The metrics; writes all that a run leaves."""
    from hftransfer.report import figures

    done, recipe, rows = learned.done, loaded.recipe, learned.done.history.rows
    folder.write_text("recipe.yaml", resolved_yaml(loaded, learned.facts, folder.path))
    folder.write_json("environment.json", learned.environment)
    folder.write_text("history.csv", csv_text(list(rows[0]), [row.values() for row in rows]))
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
        "peak_memory_bytes": peak_memory_bytes(),
        "seconds": clock.all_seconds(),
    }

    def save(draft: Path) -> None:
        done.dual.save(draft)
        write_dual_card(draft, learned, metrics, recipe)

    folder.write_folder("model", save)
    folder.write_json("metrics.json", metrics)
    return metrics
