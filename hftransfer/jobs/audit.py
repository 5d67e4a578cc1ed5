"""The audit of a recipe's data: every row read, one pass of the frozen network, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hftransfer.auditing.audit import Audit
from hftransfer.auditing.examine import STEPS, Subject, examine
from hftransfer.auditing.findings import Finding, in_order
from hftransfer.auditing.images import odd_about_image
from hftransfer.base.extras import require_extra
from hftransfer.base.progress import Progress
from hftransfer.data.inspection import inspect_rows
from hftransfer.data.roles import Found
from hftransfer.data.rows import GivenRows, Row
from hftransfer.data.splits import Splits, contradictions, shared_content
from hftransfer.jobs.early import early_look
from hftransfer.jobs.session import Clock, found_checkpoint, load_rows, load_splits
from hftransfer.recipe import Recipe, load_recipe, with_memory
from hftransfer.strategies import LinearProbe
from hftransfer.tasks import for_targets

if TYPE_CHECKING:
    from hftransfer.training.job import Job


def audit(
    recipe: str | Path | Mapping[str, object],
    overrides: Mapping[str, object] | Sequence[str] = (),
    *,
    data: GivenRows | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Return what is wrong with the data of a recipe: files that can't be read, duplicates within and across splits,
    labels that are likely wrong, rows unlike all others, odd texts and images. Nothing is changed.

    Labels are judged by linear probes on the recipe's model that never saw the row. `data` as in `run`.

    Raises:
        HftransferError: the recipe or the model is not as it must be, the data can't be made into splits at all, or
            the packages of the extra `audit` are not installed.
    """
    progress = progress or Progress()
    loaded = load_recipe(recipe, with_memory(overrides, data)).recipe
    require_extra("audit", "hftransfer audit")
    early_look(loaded, data, fetches_config=True)
    task = loaded.chosen_task
    found = load_rows(loaded, data, progress)
    unreadable: list[Finding] = []
    odd: dict[int, list[str]] = {}
    if task.reader.decodes:
        found, unreadable, odd = _read(found, progress)
    if unreadable and not any(found.values()):
        return Audit(len(unreadable), in_order(unreadable), ("no image can be read: there is nothing else to look at",))
    splits = load_splits(loaded, found, progress)
    probes = task.judges_labels
    of_masks = task.has_maps
    of_words = probes and for_targets(task, splits.kind).head.of_tokens
    seen = probes and not of_words
    subject = _seen_by_the_network(splits, loaded, progress) if seen else Subject.of(splits, task.reader)
    subject.odd |= {place: odd[id(row)] for place, row in enumerate(subject.rows) if id(row) in odd}
    with progress.stage("comparing rows", STEPS) as advance:
        audit = examine(subject, loaded.train.seed, advance)
    more = () if probes or of_masks else (f"labels and outliers are not judged for task {loaded.task}",)
    tagged = _judged_words(splits, loaded, progress) if of_words else []
    tagged += _judged_masks(splits, loaded, progress) if of_masks else []
    findings = in_order([*unreadable, *audit.findings, *tagged])
    # What two splits share, or has several labels, is a finding, with its rows.
    named = dict(splits.items())
    found_too = [*shared_content(named, task.reader.inputs), *contradictions(named, task.reader, splits.kind)]
    more = (*(note for note in splits.notes if note.startswith("warning: ") and note not in found_too), *more)
    return replace(audit, rows=audit.rows + len(unreadable), findings=findings, notes=(*audit.notes, *more))


def _read(found: Found, progress: Progress) -> tuple[Found, list[Finding], dict[int, list[str]]]:
    """Return the rows whose images can be decoded, findings on the others, and what is odd about the first, by
    `id(row)`."""
    odd: dict[int, list[str]] = {}

    def see(row: Row, image: Image.Image) -> None:
        if told := odd_about_image(image):
            odd[id(row)] = told

    unreadable: list[Finding] = []
    kept = Found()
    with progress.stage("decoding every image", sum(len(rows) for rows in found.values())) as advance:
        for name, rows in found.items():
            faults = inspect_rows(rows, advance, see=see).faults
            kept[name] = [row for place, row in enumerate(rows) if place not in faults]
            unreadable += [
                Finding("unreadable", name, rows[place].id, str(rows[place].target), fault)
                for place, fault in faults.items()
            ]
    return kept, unreadable, odd


def _judged_words(splits: Splits, recipe: Recipe, progress: Progress) -> list[Finding]:
    """Return the rows with words whose tags are likely wrong."""
    from hftransfer.auditing.tags import TaggedWords, tag_findings
    from hftransfer.training.solver import TokenRows
    from hftransfer.training.sources import features_of

    job = _probe_job(splits, recipe, progress)
    task, width = job.task, job.adapter.head.weight.shape[1]
    with features_of(job) as (examples, stored):
        words = {}
        for name, part in examples.items():
            rows, names = zip(*task.token_names(part), strict=True)
            features = TokenRows(stored[name], task.token_rows(part) or [], width)
            words[name] = TaggedWords(features, task.solver_targets(part), rows, names)
        return tag_findings(splits, words, recipe.train.seed)


def _judged_masks(splits: Splits, recipe: Recipe, progress: Progress) -> list[Finding]:
    """Return the images with parts whose class is likely wrong."""
    from hftransfer.auditing.masks import mask_findings
    from hftransfer.training.sources import maps_of

    with maps_of(_probe_job(splits, recipe, progress)) as (_, maps):
        return mask_findings(splits, maps, recipe.train.seed)


def _seen_by_the_network(splits: Splits, recipe: Recipe, progress: Progress) -> Subject:
    """Return the rows with their features; texts that are cut are odd."""
    from hftransfer.training.sources import features_of

    job = _probe_job(splits, recipe, progress)
    with features_of(job) as (examples, stored):
        subject = Subject.of(splits, job.task.reader, stored)
    start = 0
    for part in examples.values():
        for place in part.cut:
            tokens = int(np.asarray(part.items.lengths)[place])
            subject.odd[start + place] = [f"longer than the {tokens} tokens that are read"]
        start += len(part.split)
    return subject


def _probe_job(splits: Splits, recipe: Recipe, progress: Progress) -> Job:
    """Return the transfer whose features a linear probe on the recipe's model would be solved on."""
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.training.devices import choose_compute
    from hftransfer.training.job import Job
    from hftransfer.training.settings import TrainSettings

    checkpoint = found_checkpoint(recipe.model.name, recipe.model.revision)
    compute = choose_compute(recipe.train.precision, recipe.train.inference_batch_size)
    probe = (
        recipe.strategy
        if isinstance(recipe.strategy, LinearProbe)
        else LinearProbe(head_init=recipe.strategy.head_init)
    )
    task = for_targets(recipe.chosen_task, splits.kind)
    pair = probe.pair_for(task, pairs=splits.has_pairs)
    pooling = probe.pooling_for(task, checkpoint.pooling, pair)
    names, seed = task.output_names(splits), recipe.train.seed
    size = recipe.data.height_and_width
    adapter = load_adapter(checkpoint, names, head=task.head, pooling=pooling, seed=seed, pair=pair, size=size)
    return Job(
        adapter=adapter,
        boundary=probe.prepare(adapter),
        task=task,
        strategy=probe,
        splits=splits,
        data=recipe.data,
        train=TrainSettings(cache=recipe.train.cache),
        weights_sha256=checkpoint.weights_sha256,
        compute=compute,
        progress=progress,
        stage=Clock().stage,
    )
