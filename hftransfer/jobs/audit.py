"""The audit of a recipe's data: every row read, one pass of the frozen network, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hftransfer.auditing.examine import STEPS, Subject, examine
from hftransfer.auditing.findings import Audit, Finding, in_order
from hftransfer.auditing.images import odd_about_image
from hftransfer.data.rows import Row, decoding_faults
from hftransfer.data.sources import Found
from hftransfer.extras import require_extra
from hftransfer.jobs.common import Clock, found_checkpoint, load_rows, splits_of
from hftransfer.jobs.early import ROWS_OF, early_look, task_of
from hftransfer.progress import Progress
from hftransfer.recipe import Recipe, load_recipe, with_memory
from hftransfer.strategies import LinearProbe
from hftransfer.tasks.registry import TASKS


def audit(
    recipe: str | Path | Mapping[str, Any],
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    data: Any = None,
    progress: Progress | None = None,
) -> Audit:
    """What is wrong with the data of a recipe: files that can't be read, duplicates within and across splits, labels
    that are likely wrong, rows unlike all others, odd texts and images. Nothing is changed.

    Labels are judged by linear probes on the recipe's model that never saw the row. `data` as in `run`.

    Raises:
        HftransferError: the recipe or the model is not as it must be, the data can't be made into splits at all, or
            the packages of the extra `audit` are not installed.
    """
    progress = progress or Progress()
    loaded = load_recipe(recipe, with_memory(overrides, data)).recipe
    require_extra("audit", "hftransfer audit")
    early_look(loaded, data, peek=True)
    kind = ROWS_OF[loaded.task]
    found = load_rows(loaded, kind, data, progress)
    unreadable: list[Finding] = []
    odd: dict[int, list[str]] = {}
    if kind == "images":
        found, unreadable, odd = _read(found, progress)
    splits = splits_of(loaded, kind, found, progress)
    subject = Subject.of(splits, kind)
    subject.odd = {place: odd[id(row)] for place, row in enumerate(subject.rows) if id(row) in odd}
    if loaded.task in TASKS and kind != "questions":
        _look_through_the_network(subject, splits, loaded, progress)
    with progress.stage("comparing rows", STEPS) as advance:
        findings, notes = examine(subject, loaded.train.seed, advance)
    if subject.features is None:
        notes.append(f"labels and outliers are not judged for task {loaded.task}")
    return Audit(
        len(subject.rows) + len(unreadable), in_order([*unreadable, *findings]), tuple(notes), subject.contents()
    )


def _read(found: Found, progress: Progress) -> tuple[Found, list[Finding], dict[int, list[str]]]:
    """The rows whose images can be decoded, findings on the others, and what is odd about the first, by `id(row)`."""
    odd: dict[int, list[str]] = {}

    def see(row: Row, image: Image.Image) -> None:
        if told := odd_about_image(image):
            odd[id(row)] = told

    unreadable: list[Finding] = []
    kept: Found = {}
    with progress.stage("decoding every image", sum(len(rows) for rows in found.values())) as advance:
        for name, rows in found.items():
            faults = decoding_faults(rows, advance, see)
            kept[name] = [row for place, row in enumerate(rows) if place not in faults]
            unreadable += [
                Finding("unreadable", name, rows[place].id, rows[place].label, fault) for place, fault in faults.items()
            ]
    return kept, unreadable, odd


def _look_through_the_network(subject: Subject, splits: Any, recipe: Recipe, progress: Progress) -> None:
    """Nothing; the subject has features, and knows which texts are cut."""
    from hftransfer.adapters.loading import load_adapter
    from hftransfer.training.devices import choose_compute
    from hftransfer.training.settings import TrainSettings
    from hftransfer.training.transfer import Job, features_of

    checkpoint = found_checkpoint(recipe.model.name, recipe.model.revision)
    compute = choose_compute(recipe.train.precision, recipe.train.inference_batch_size)
    probe = LinearProbe()
    task_name: Any = recipe.task
    pooling = probe.pooling_for(task_name)
    adapter = load_adapter(checkpoint, splits.class_names, task=task_name, pooling=pooling, seed=recipe.train.seed)
    job = Job(
        adapter=adapter,
        boundary=probe.prepare(adapter),
        task=task_of(recipe),
        strategy=probe,
        splits=splits,
        data=recipe.data,
        train=TrainSettings(cache=recipe.train.cache),
        weights_sha256=checkpoint.weights_sha256,
        compute=compute,
        progress=progress,
        stage=Clock().stage,
    )
    with features_of(job) as (examples, stored):
        parts = [stored[name].rows(0, stored[name].shape[0]) for name, _ in splits.items() if name in stored]
        subject.features = np.concatenate(parts)
    start = 0
    cut: dict[int, list[str]] = {}
    for name, split in splits.items():
        if name in examples:
            lengths = examples[name].items.lengths
            assert lengths is not None or not examples[name].cut
            cut |= {start + p: [f"longer than the {lengths[p]} tokens that are read"] for p in examples[name].cut}  # type: ignore[index]
        start += len(split)
    subject.odd = {**subject.odd, **cut}
