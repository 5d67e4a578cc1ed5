"""Image-text transfer: two pretrained towers brought into one space by images with captions.

With a linear probe the towers are locked and their projections learn, on outputs that are computed once (LiT; Zhai et
al., arXiv 2111.07991). With fine-tuning or LoRA the towers learn too, from the boundary of each up; of towers that were
not paired before, the projections learn alone first, so that good features aren't bent towards random ones (Kumar et
al., arXiv 2202.10054).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hftransfer.adapters.base import Adapter, parameter_counts
from hftransfer.adapters.dual import DualEncoder, Tower
from hftransfer.adapters.towers import TextTowerAdapter, dual_of_towers, hold_fixed, tower_adapters
from hftransfer.base.errors import RecipeError, must_be
from hftransfer.base.progress import Progress
from hftransfer.data.captions import captions_of
from hftransfer.data.inspection import inspect_rows
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Split, Splits
from hftransfer.data.tables import raise_first
from hftransfer.metrics.retrieval import recalls, retrieval_ranks
from hftransfer.strategies import LinearProbe, Strategy
from hftransfer.tasks.contract import Judged
from hftransfer.tasks.image_text import PROBE_OF_CAPTIONS
from hftransfer.tasks.items import ImageItems, Items, TokenItems
from hftransfer.training.activations import ActivationStore, Source, fill_store, key_parts, worth_keeping
from hftransfer.training.contrastive import (
    PairSource,
    Pooled,
    ProjectionAdapter,
    Scores,
    TowersAdapter,
    TowersSource,
    captions_of_epoch,
    contrastive_loss,
)
from hftransfer.training.devices import Compute
from hftransfer.training.embeddings import TextItems, embed, unit
from hftransfer.training.frozen import frozen_twin
from hftransfer.training.loop import Evaluation, Fitted, History, Keeping, OnEpoch, Plan, fit, predict
from hftransfer.training.settings import LossName, TrainSettings
from hftransfer.training.sources import require_here
from hftransfer.training.tracking import Log, not_tracked

Embedded = tuple[np.ndarray, np.ndarray]
"""The normalised embeddings of a split's images (N, D) and captions (M, D)."""


@dataclass
class CaptionJob:
    """One transfer of a dual encoder to images with captions: everything it needs, as values."""

    dual: DualEncoder
    new: bool
    """Whether the projections are new, and not those of a trained dual encoder."""
    weights_sha256: dict[str, str]
    """By tower."""
    strategy: Strategy
    data: DataSettings
    splits: Splits
    train: TrainSettings
    compute: Compute
    progress: Progress
    stage: Callable[[str], AbstractContextManager[object]]
    keeping: Keeping | None = None
    log: Log = not_tracked
    on_epoch: OnEpoch | None = None

    @property
    def loss(self) -> LossName:
        """The loss of images and captions."""
        return "sigmoid" if self.train.loss == "sigmoid" else "infonce"


@dataclass
class CaptionsLearned:
    """The outcome: the dual encoder, how well images and captions find each other by split, and the ranks of the
    test split."""

    dual: DualEncoder
    splits: Splits
    metrics: dict[str, dict[str, float]]
    history: History
    ranks: dict[str, np.ndarray]
    parameters: dict[str, int]
    save: Callable[[], None]


def learn_captions(job: CaptionJob) -> CaptionsLearned:
    """Return the dual encoder as the strategy makes it on the training split, chosen on the validation split, and
    tested.

    Raises:
        RecipeError: several processes share the work, or a strategy asks for what the towers don't have.
        DataError: images can't be read.
        ModelError: its towers can't be told apart.
    """
    if job.compute.processes.count > 1:
        remedy = "The loss compares all images of a batch, so they can't be split across processes."
        raise RecipeError(must_be("the processes of task image-text", "one", job.compute.processes.count, remedy))
    if isinstance(job.strategy, LinearProbe):
        return _learn_projections(job)
    if job.new:
        first = job.train.model_copy(update=PROBE_OF_CAPTIONS)
        # A person sees one training: lines of the first go to the log alone.
        quiet, strategy = job.progress.in_background(), LinearProbe()
        _learn_projections(replace(job, strategy=strategy, train=first, progress=quiet, keeping=None, log=not_tracked))
        job.progress.line("the new projections are trained; now the towers are trained with them")
    return _learn_towers(job)


# --- the projections alone -------------------------------------------------------------------------------------------


def _learn_projections(job: CaptionJob) -> CaptionsLearned:
    with job.stage("activations"):
        pooled = {name: _pooled(job, split) for name, split in job.splits.items() if len(split)}
    with job.stage("train"):
        adapter = ProjectionAdapter(job.dual, pooled["train"], new=job.new, seed=job.train.seed, loss=job.loss)
        standard = {name: adapter.standardised(part) for name, part in pooled.items()}
        adapter.model.to(job.compute.device)

        def embedded(name: str) -> Embedded:
            return adapter.embedded(standard[name], job.compute.device)

        def source(epoch: int) -> PairSource:
            return PairSource(standard["train"], job.compute, job.train.seed, epoch)

        fitted = _fit(job, adapter, source, embedded)
    with job.stage("evaluate"):
        found = _judged(job, embedded)
        adapter.write_back()
    total = sum(parameter.numel() for parameter in job.dual.model.parameters())
    learned = parameter_counts(adapter.model)["trainable"]
    return _learned(job.dual, job.splits, found, fitted, {"total": total, "trainable": learned})


def _pooled(job: CaptionJob, split: Split) -> Pooled:
    """Return what the towers make of a split's images and captions, kept in the cache.

    Raises:
        DataError: an image can't be decoded.
    """
    texts, owners = captions_of(split)
    towers = {name: Tower(job.dual, name, pooled=True) for name in ("image", "text")}
    items: dict[str, Items] = {
        "image": ImageItems(split.rows, split.digests, towers["image"], decode=job.data.decode),
        "text": TextItems(texts, job.dual),
    }
    found = []
    for name, tower in towers.items():
        stage = {"image": "images", "text": "captions"}[name]
        store, _ = embed(tower, items[name], job.weights_sha256[name], job.compute, job.progress, stage)
        stored = store.activations(items[name].digests)
        found.append(stored.rows(0, stored.shape[0]))
    return Pooled(found[0], found[1], owners)


# --- the towers ------------------------------------------------------------------------------------------------------


def _learn_towers(job: CaptionJob) -> CaptionsLearned:
    images, texts = tower_adapters(job.dual)
    boundaries = job.strategy.prepare(images, job.train.seed), job.strategy.prepare(texts, job.train.seed)
    # After `prepare`, which lets all above the boundary learn.
    hold_fixed(images, texts)
    scores = Scores(job.dual.scale, job.loss, job.dual.bias)
    adapter = TowersAdapter(images, texts, boundaries, scores)
    counts = parameter_counts(adapter.model)
    job.progress.line(
        f"{counts['trainable']:,} of {counts['total']:,} parameters learn; boundaries {boundaries[0]} of "
        f"{len(images.stages)} stages for images, {boundaries[1]} of {len(texts.stages)} for texts"
    )
    owners = {name: captions_of(split)[1] for name, split in job.splits.items()}
    sources = _sources(job, images, texts, boundaries)
    with job.stage("train"):
        adapter.model.to(job.compute.device)

        def embedded(name: str) -> Embedded:
            pairs = zip((images, texts), sources[name], strict=True)
            found = [np.stack(predict(tower, source, job.compute)) for tower, source in pairs]
            return unit(found[0]), unit(found[1])

        def source(epoch: int) -> TowersSource:
            of_images, of_texts = sources["train"]
            chosen = captions_of_epoch(owners["train"], len(of_images), job.train.seed, epoch)
            return TowersSource(of_images, of_texts, chosen)

        fitted = _fit(job, adapter, source, embedded)
    with job.stage("evaluate"):
        found = _judged(job, embedded)
    adapter.model.to("cpu")
    dual = dual_of_towers(job.dual, images, texts)
    adapter.model["scores"].write_back(dual)  # type: ignore[operator]
    return _learned(dual, job.splits, found, fitted, counts)


def _sources(
    job: CaptionJob, images: Adapter, texts: TextTowerAdapter, boundaries: tuple[int, int]
) -> dict[str, tuple[Source, Source]]:
    """Return, by split, the images and all captions as they are at the towers' boundaries; kept there where that
    pays."""
    items: dict[str, tuple[Items, Items]] = {}
    cut = 0
    for name, split in job.splits.items():
        if len(split):
            tokens, longer = texts.tokenize_all([(text, None) for text in captions_of(split)[0]])
            pictures = ImageItems(split.rows, split.digests, images, decode=job.data.decode)
            items[name] = pictures, TokenItems(tokens, texts)
            cut += len(longer)
    if cut:
        job.progress.line(f"  {cut} captions are longer than {texts.max_tokens} tokens and were cut")
    with job.stage("activations"):
        found = []
        for side, (tower, own) in enumerate(zip((images, texts), boundaries, strict=True)):
            parts = {name: pair[side] for name, pair in items.items()}
            sha = job.weights_sha256[("image", "text")[side]]
            found.append(_at_boundary(job, tower, own, parts, sha))
    return {name: (found[0][name], found[1][name]) for name in items}


def _at_boundary(
    job: CaptionJob, tower: Adapter, boundary: int, items: dict[str, Items], sha: str
) -> dict[str, Source]:
    count = sum(len(part.digests) for part in items.values())
    if not worth_keeping(job.train.cache, tower, boundary, count, job.progress):
        # Nothing is kept at the input: a fault would show in the midst of the first epoch.
        if tower.modality == "image":
            require_here(job.splits)
        if boundary == 0 and tower.modality == "image" and job.data.on_error == "stop":  # else done with the splits
            _require_decodable(job)
        frozen = frozen_twin(tower, job.compute) if boundary else None
        return {name: Source(part, tower, boundary, job.compute, None, frozen) for name, part in items.items()}
    store = ActivationStore.in_cache(key_parts(tower, sha, boundary, job.compute), job.progress.line)
    with job.progress.stage({"image": "images", "text": "captions"}[tower.modality], count) as advance:
        for part in items.values():
            fill_store(store, tower, boundary, part, job.compute, advance)
    return {
        name: Source(part, tower, boundary, job.compute, store.activations(part.digests))
        for name, part in items.items()
    }


def _require_decodable(job: CaptionJob) -> None:
    """Return if every image can be decoded, which a loop that does so in every epoch should know before.

    Raises:
        DataError: with those that can't.
    """
    rows = [row for _, split in job.splits.items() for row in split.rows]
    with job.progress.stage("decoding every image", len(rows)) as advance:
        faults = inspect_rows(rows, advance, decode=True).faults
    raise_first(list(faults.values()))


# --- what both have in common ----------------------------------------------------------------------------------------


def _fit(job: CaptionJob, adapter: Any, source: Callable[[int], Any], embedded: Callable[[str], Embedded]) -> Fitted:
    rows, owners = job.splits.train.rows, captions_of(job.splits.validation)[1]

    def evaluate() -> Evaluation:
        metrics, _ = _found_of(*embedded("validation"), owners)
        shown = {name: metrics[name] for name in ("image_to_text_recall_at_10", "text_to_image_recall_at_10")}
        # No single recall says all: without a wish their sum decides.
        score = (metrics[job.train.metric],) if job.train.metric else (sum(metrics.values()),)
        return Evaluation(Judged(metrics, score, {}), shown, score)

    return fit(
        Plan(
            adapter=adapter,
            boundary=0,
            train=source,
            loss=contrastive_loss(job.loss, len(rows)),
            evaluate=evaluate,
            name_of=lambda item: str(rows[item].id),
            rates=job.strategy.rates(),
            settings=job.train,
            epochs=job.train.epochs or job.strategy.usual_epochs,
            compute=job.compute,
            progress=job.progress,
            keeping=job.keeping,
            log=job.log,
            on_epoch=job.on_epoch,
            from_start=not isinstance(job.strategy, LinearProbe) or not job.new,
        )
    )


def _judged(
    job: CaptionJob, embedded: Callable[[str], Embedded]
) -> dict[str, tuple[dict[str, float], dict[str, np.ndarray]]]:
    splits = {name: split for name, split in job.splits.items() if name != "train" and len(split)}
    return {name: _found_of(*embedded(name), captions_of(split)[1]) for name, split in splits.items()}


def _found_of(
    images: np.ndarray, captions: np.ndarray, owners: np.ndarray
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return how often images and captions find each other, and the ranks of what they look for."""
    to_captions, to_images = retrieval_ranks(images, captions, owners)
    found = recalls(to_captions, "image_to_text") | recalls(to_images, "text_to_image")
    return found, {"image_to_text": to_captions, "text_to_image": to_images}


def _learned(
    dual: DualEncoder,
    splits: Splits,
    found: dict[str, tuple[dict[str, float], dict[str, np.ndarray]]],
    fitted: Fitted,
    parameters: dict[str, int],
) -> CaptionsLearned:
    metrics = {name: own for name, (own, _) in found.items()}
    ranks = found["test"][1] if "test" in found else {}
    return CaptionsLearned(dual, splits, metrics, fitted.history, ranks, parameters, fitted.save)
