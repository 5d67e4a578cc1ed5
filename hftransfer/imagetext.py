"""Image-text transfer: two pretrained towers brought into one space by images with captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hftransfer.adapters.dual import DualEncoder, Tower
from hftransfer.data.captions import Captioned, CaptionedSplits
from hftransfer.errors import RecipeError, must_be
from hftransfer.metrics.retrieval import recalls, retrieval_ranks
from hftransfer.progress import Progress
from hftransfer.strategies import LinearProbe
from hftransfer.tasks.base import Judged
from hftransfer.tasks.items import ImageItems
from hftransfer.training.contrastive import PairSource, Pooled, ProjectionAdapter, infonce
from hftransfer.training.devices import Compute
from hftransfer.training.loop import Evaluation, History, Keeping, Plan, fit
from hftransfer.training.settings import TrainSettings
from hftransfer.training.tracking import Log, not_tracked
from hftransfer.zeroshot import TextItems, embed


@dataclass
class CaptionJob:
    """One transfer of a dual encoder to images with captions: everything it needs, as values."""

    dual: DualEncoder
    new: bool
    """Whether the projections are new, and not those of a trained dual encoder."""
    weights_sha256: dict[str, str]
    """By tower."""
    strategy: LinearProbe
    splits: CaptionedSplits
    train: TrainSettings
    compute: Compute
    progress: Progress
    stage: Callable[[str], Any]
    keeping: Keeping | None = None
    log: Log = not_tracked


@dataclass
class CaptionsLearned:
    """What came of it: how well images and captions find each other by split, and the ranks of the test split."""

    metrics: dict[str, dict[str, float]]
    history: History
    ranks: dict[str, np.ndarray]
    parameters: dict[str, int]
    save: Callable[[], None]


def learn_captions(job: CaptionJob) -> CaptionsLearned:
    """The dual encoder's projections trained on the training split, chosen on the validation split, and tested.

    Raises:
        RecipeError: several processes share the work, or parts of a batch are asked for.
        DataError: images can't be read.
        ModelError: the dual encoder has no linear projections.
    """
    _require_sense(job)
    with job.stage("activations"):
        pooled = {name: _pooled(job, split) for name, split in job.splits.splits.items() if len(split)}
    with job.stage("train"):
        adapter = ProjectionAdapter(job.dual, pooled["train"], new=job.new, seed=job.train.seed)
        standard = {name: adapter.standardised(part) for name, part in pooled.items()}
        adapter.model.to(job.compute.device)

        def judged(name: str) -> tuple[dict[str, float], dict[str, np.ndarray]]:
            part = standard[name]
            images, captions = adapter.embedded(part, job.compute.device)
            to_captions, to_images = retrieval_ranks(images, captions, part.owners)
            found = recalls(to_captions, "image_to_text") | recalls(to_images, "text_to_image")
            return found, {"image_to_text": to_captions, "text_to_image": to_images}

        def evaluate() -> Evaluation:
            metrics, _ = judged("validation")
            shown = {name: metrics[name] for name in ("image_to_text_recall_at_10", "text_to_image_recall_at_10")}
            score = (metrics[job.train.metric],) if job.train.metric else (sum(metrics.values()),)
            return Evaluation(Judged(metrics, score, {}), shown, score)

        plan: Any = Plan(
            adapter=adapter,  # type: ignore[arg-type]
            boundary=0,
            train=lambda epoch: PairSource(standard["train"], job.compute, job.train.seed, epoch),  # type: ignore[arg-type, return-value]
            loss=infonce(len(standard["train"].images)),
            evaluate=evaluate,
            name_of=lambda item: str(job.splits.splits["train"].rows[item].id),
            rates=job.strategy,
            settings=job.train,
            epochs=job.train.epochs or 100,
            compute=job.compute,
            progress=job.progress,
            keeping=job.keeping,
            log=job.log,
        )
        fitted = fit(plan)
    with job.stage("evaluate"):
        results = {name: judged(name) for name in standard if name != "train"}
        adapter.write_back()
    total = sum(parameter.numel() for parameter in job.dual.model.parameters())
    learned = sum(parameter.numel() for parameter in adapter.model.parameters())
    return CaptionsLearned(
        {name: metrics for name, (metrics, _) in results.items()},
        fitted.history,
        results["test"][1] if "test" in results else {},
        {"total": total, "trainable": learned},
        fitted.save,
    )


def _require_sense(job: CaptionJob) -> None:
    if job.compute.processes.count > 1:
        remedy = "The loss compares all images of a batch; frozen towers leave little to share."
        raise RecipeError(must_be("the processes of task image-text", "one", job.compute.processes.count, remedy))


def _pooled(job: CaptionJob, split: Captioned) -> Pooled:
    """What the towers make of a split's images and captions, kept in the cache.

    Raises:
        DataError: an image can't be decoded.
    """
    texts, owners = split.texts()
    towers = {name: Tower(job.dual, name, pooled=True) for name in ("image", "text")}
    items: dict[str, Any] = {
        "image": ImageItems(split.rows, split.digests, towers["image"]),
        "text": TextItems(texts, job.dual),
    }
    found = []
    for name, tower in towers.items():
        stage = {"image": "images", "text": "captions"}[name]
        store, _ = embed(tower, items[name], job.weights_sha256[name], job.compute, job.progress, stage)
        stored = store.activations(items[name].digests)
        found.append(stored.rows(0, stored.shape[0]))
    return Pooled(found[0], found[1], owners)
