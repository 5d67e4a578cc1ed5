"""Runs that learn from images with captions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.data.captions import captions_of
from hftransfer.data.settings import NamedColumns
from hftransfer.data.sources import find_rows
from hftransfer.data.splits import Split, build_test_only
from hftransfer.jobs.early import notes_on_licenses
from hftransfer.jobs.identity import identity_of, require_same_run, resolved_facts, tell_differences
from hftransfer.jobs.learned import Learned
from hftransfer.jobs.session import Session, found_checkpoint
from hftransfer.recipe import LoadedRecipe, Recipe, ResolvedFacts, flat_settings
from hftransfer.report.tables import data_table
from hftransfer.tasks.contract import Judged
from hftransfer.tasks.facts import DualFacts
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.adapters.dual import DualEncoder
    from hftransfer.training.devices import Compute
    from hftransfer.training.image_text import CaptionsLearned


@dataclass(frozen=True)
class _Towers:
    """The two towers, each with what identifies its weights, and the checkpoints they are from."""

    dual: DualEncoder
    weights_sha256: Mapping[str, str]
    checkpoints: tuple[Checkpoint, ...]

    @property
    def both_sha256(self) -> str:
        """Return what identifies the weights of both."""
        return " ".join(dict.fromkeys(self.weights_sha256.values()))


def train_towers(loaded: LoadedRecipe, checkpoint: Checkpoint | None, session: Session, *, resume: bool) -> Learned:
    """Return what the towers' projections, and as far as the strategy wants the towers, learn from captions."""
    del resume
    recipe, progress = loaded.recipe, session.progress
    with session.stage("data"):
        splits = session.splits(recipe)
        progress.line(data_table(splits, recipe.chosen_task.reader.inputs))
    with session.loading():
        from hftransfer.adapters.projections import SIDES
        from hftransfer.training.devices import choose_compute
        from hftransfer.training.image_text import CaptionJob, learn_captions
        from hftransfer.training.loop import Keeping
        from hftransfer.training.tracking import tracked

        compute = choose_compute(recipe.train.precision, recipe.train.inference_batch_size)
        towers = _load_towers(recipe, checkpoint)
        towers.dual.require_towers(*SIDES)
        learns = "projections learn" if recipe.strategy.kind == "linear-probe" else recipe.strategy.kind
        for note in notes_on_licenses(recipe):
            progress.line(note)
        progress.line(f"{recipe.model.name}: {type(towers.dual.model).__name__}; {learns}; {compute.describe()}")
        # A pair has two models, of which one commit would say nothing.
        revision = None if recipe.model.is_pair else towers.checkpoints[0].revision
        facts = resolved_facts(towers.both_sha256, revision, splits, session.processes)
        tell_differences(recipe.resolved, facts, progress)
        assert session.checkpoints is not None
        keeping = Keeping(session.checkpoints, identity_of(recipe, facts), session.saved)
        require_same_run(keeping)
    with tracked(recipe.train.trackers, session.logs, loaded.name, flat_settings(recipe), compute) as log:
        job = CaptionJob(
            dual=towers.dual,
            new=recipe.model.is_pair,
            weights_sha256=dict(towers.weights_sha256),
            strategy=recipe.strategy,
            data=recipe.data,
            splits=splits,
            train=recipe.train,
            compute=compute,
            progress=progress,
            stage=session.stage,
            keeping=keeping,
            log=log,
            on_epoch=session.on_epoch,
        )
        done = learn_captions(job)
    return _learned(recipe, towers, facts, done, session, compute)


def _learned(
    recipe: Recipe, towers: _Towers, facts: ResolvedFacts, done: CaptionsLearned, session: Session, compute: Compute
) -> Learned:
    """Return what a training came to, as it is written and shown."""
    more = {}
    if recipe.zero_shot_data:
        more["zero_shot"] = _zero_shot_after(recipe, done, compute, session)
    return Learned(
        recipe=recipe,
        splits=done.splits,
        judged={name: Judged(metrics, (), {}) for name, metrics in done.metrics.items()},
        compute=compute,
        facts=facts,
        parameters=done.parameters,
        history=done.history,
        method=recipe.strategy.kind,
        bases=towers.checkpoints,
        more=more,
        tables={"retrieval.parquet": _ranks(done.splits.test, done.ranks)} if done.ranks else {},
        save_model=lambda folder, _: _save(done, folder, recipe.data.named_columns),
        save_checkpoint=done.save,
        pads_always=done.dual.fixed_length,
    )


def _save(done: CaptionsLearned, folder: Path, columns: NamedColumns) -> None:
    """Write the dual encoder in its native layout, and beside it the range of deep images and the named columns that it
    learned from."""
    done.dual.save(folder)
    if columns or done.splits.pixels is not None:
        text = DualFacts(columns=columns, pixels=done.splits.pixels).model_dump_json(indent=1)
        (folder / "hftransfer.json").write_text(text + "\n", encoding="utf-8")


def _load_towers(recipe: Recipe, checkpoint: Checkpoint | None) -> _Towers:
    """Return the towers of a pair, or those of a dual encoder."""
    from hftransfer.adapters.dual import load_dual
    from hftransfer.adapters.pairing import pair_towers

    sides = ("image", "text")
    if recipe.model.is_pair:
        image, text = (found_checkpoint(str(name)) for name in (recipe.model.image, recipe.model.text))
        dual = pair_towers(image, text, recipe.model.width, recipe.train.seed)
        return _Towers(dual, dict(zip(sides, (image.weights_sha256, text.weights_sha256), strict=True)), (image, text))
    checkpoint = checkpoint or found_checkpoint(recipe.model.name, recipe.model.revision)
    return _Towers(load_dual(checkpoint), dict.fromkeys(sides, checkpoint.weights_sha256), (checkpoint,))


def _ranks(test: Split, ranks: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return a table of all captions of the test split: the rank of each for its image, and of its image for it."""
    texts, owners = captions_of(test)
    return {
        "id": [test.rows[owner].id for owner in owners],
        "caption": texts,
        "caption_rank_of_image": ranks["image_to_text"][owners],
        "image_rank": ranks["text_to_image"],
    }


def _zero_shot_after(recipe: Recipe, done: CaptionsLearned, compute: Compute, session: Session) -> dict[str, object]:
    """Return how well the dual encoder tells labelled images apart by class names, having learned from captions."""
    from hftransfer.data.settings import DataSettings
    from hftransfer.predictors.dual import NamesJob, evaluate
    from hftransfer.tasks.prompts import words_for

    settings = DataSettings(source=str(recipe.zero_shot_data))
    splits = build_test_only(
        find_rows(settings, session.progress), settings, session.progress, known=done.splits.pixels
    )
    words = words_for(splits.class_names, recipe.class_names)
    # Trained weights lie in no file yet: their bytes are the key of what is kept.
    digest = hashlib.sha256()
    for tensor in done.dual.model.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    job = NamesJob(
        dual=done.dual,
        weights_sha256=digest.hexdigest(),
        splits=splits,
        words=words,
        templates=templates_of(recipe.prompts or "simple"),
        settings=settings,
        compute=compute,
        progress=session.progress,
        stage=session.stage,
    )
    found = evaluate(job)
    session.progress.line(f"zero-shot on {recipe.zero_shot_data}: accuracy {found.metrics['accuracy']:.4f}")
    return found.metrics
