"""Classification by class names alone: the most similar of the texts that a dual encoder makes of them.

As in CLIP (Radford et al., arXiv 2103.00020, section 3.1): each name is put into every template, the embeddings of a
class's sentences are normalised, averaged and normalised again, and an image belongs to the class whose embedding has
the largest cosine with its own.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
import torch

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint, sidecar
from hftransfer.adapters.dual import DualEncoder, load_dual
from hftransfer.adapters.families import require_paired
from hftransfer.adapters.images import conv_network
from hftransfer.adapters.scoring import require_numbers
from hftransfer.base.errors import DataError, ModelError, first_line, must_be
from hftransfer.base.html import Fragment
from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.data.captions import captions_of
from hftransfer.data.pictures import IMAGES
from hftransfer.data.reading import InputColumns
from hftransfer.data.settings import DataSettings
from hftransfer.data.skipped import without_test_faults
from hftransfer.data.splits import Split, Splits
from hftransfer.metrics.retrieval import recalls, retrieval_ranks
from hftransfer.predictors.gallery import Gallery
from hftransfer.predictors.inputs import OneImage, as_list, decoded, is_one
from hftransfer.predictors.predictor import all_or_faults, in_batches
from hftransfer.tasks.contract import Examples, Explains
from hftransfer.tasks.facts import DualFacts, is_of_dual
from hftransfer.tasks.items import ImageItems
from hftransfer.tasks.labelled import softmax
from hftransfer.tasks.outcomes import Prediction, prediction_of
from hftransfer.tasks.prompts import PROMPT_SETS, require_labels, templates_of
from hftransfer.tasks.zero_shot import ZeroShot
from hftransfer.training.activations import StoredActivations, forward
from hftransfer.training.devices import Compute, Precision, choose_compute
from hftransfer.training.embeddings import embed, embed_prompts, ensemble, logits, unit
from hftransfer.training.frozen import frozen_twin
from hftransfer.training.solver import KnownHead

if TYPE_CHECKING:
    from PIL import Image

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Evaluated:
    """The results of zero-shot classification of a split."""

    splits: Splits
    metrics: JsonObject
    probabilities: np.ndarray
    """(N, C)."""
    columns: JsonObject
    """A table of predictions."""
    classes: list[JsonObject]
    """One row per class: how often it was found, and what it was taken for."""
    prompts: list[JsonObject]
    """One row per template, best first, where they were compared."""


@overload
def zero_shot(  # type: ignore[overload-overlap]
    model: str | os.PathLike[str],
    images: OneImage,
    labels: Sequence[str],
    *,
    prompts: str | Sequence[str] = "simple",
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
) -> Prediction: ...
@overload
def zero_shot(
    model: str | os.PathLike[str],
    images: Iterable[OneImage],
    labels: Sequence[str],
    *,
    prompts: str | Sequence[str] = "simple",
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
) -> list[Prediction]: ...


def zero_shot(
    model: str | os.PathLike[str],
    images: object,
    labels: Sequence[str],
    *,
    prompts: str | Sequence[str] = "simple",
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
) -> Prediction | list[Prediction]:
    """Return a `Prediction` of an image, of several a list: which of the labels fits it best, as far as a dual encoder
    knows.

    `model` is a Hub id, a folder, `open_clip:NAME/TAG` or `bundled/dual-encoder`; images are paths, bytes, PIL images
    or uint8 arrays (H, W[, 3]). `prompts` is a template such as "a photo of a {}.", a list of
    them, or the name of a set (simple, openai-7, openai-80, cifar, pets, food, flowers).

    >>> ht.zero_shot("bundled/dual-encoder", "photo.jpg", ["cat", "dog", "bicycle"])

    Raises:
        ModelError: the model has no text tower, or its weights are not whole.
        RecipeError: labels or prompts are not as they must be.
        DataError: images can't be read; all of them are named.
    """
    names, templates = require_labels(labels), templates_of(prompts)  # told before a model is fetched
    found: Prediction | list[Prediction]
    found = dual_predictor(model, precision).predict(cast(Any, images), names, prompts=templates)
    return found


def zero_shot_each(
    model: str | os.PathLike[str],
    images: Sequence[object],
    labels: Sequence[str],
    *,
    prompts: str | Sequence[str] = "simple",
    precision: Literal["auto", "fp32", "bf16"] = "fp32",
) -> Iterator[Prediction | DataError]:
    """Yield a prediction for each image in turn, or the error that says why it can't be read. See `zero_shot`."""
    names, templates = require_labels(labels), templates_of(prompts)
    yield from dual_predictor(model, precision).predict_each(images, names, prompts=templates)


def dual_predictor(model: str | os.PathLike[str], precision: Literal["auto", "fp32", "bf16"] = "fp32") -> DualPredictor:
    """Return the dual encoder of a name.

    Raises:
        ModelError: there is no such model, it has no text tower, or its weights are not whole.
    """
    checkpoint = find_checkpoint(os.fspath(model))
    assert checkpoint is not None
    require_paired(checkpoint.name, checkpoint.family)
    return DualPredictor(checkpoint, precision)


def compute_for(dual: DualEncoder, precision: Precision, batch_size: int | None = None) -> Compute:
    """Return where a dual encoder computes without training. As `auto` a convolutional one takes float32 on CPUs: no
    head is fitted to what bfloat16 loses, which of EfficientNet-Lite0 turned one label of 200.

    Raises:
        RecipeError: the device does not compute the asked precision.
    """
    compute = choose_compute(precision, batch_size)
    if precision == "auto" and compute.device.type == "cpu" and conv_network(dual.model):
        return replace(compute, precision="fp32")
    return compute


class DualPredictor:
    """A dual encoder ready to choose between names, and to embed: what `hftransfer.load` gives of one."""

    reader = IMAGES
    explains: Explains = "maps"
    takes = IMAGES.inputs

    def __init__(self, checkpoint: Checkpoint, precision: Literal["auto", "fp32", "bf16"] = "fp32") -> None:
        facts = _facts_in(checkpoint.folder)
        self.pixels, self.columns = facts.pixels, InputColumns(learned=facts.columns)
        """The range of values of the deep greyscale images that it learned from."""
        self.checkpoint, self.dual = checkpoint, load_dual(checkpoint)
        self._precision = precision
        self.compute = compute_for(self.dual, precision)
        self._images = frozen_twin(self.dual.images, self.compute)
        self._one_at_a_time = threading.Lock()  # hooks catch what goes through a tower: threads take turns

    @overload
    def predict(  # type: ignore[overload-overlap]
        self, images: OneImage, labels: Sequence[str] = (), *, prompts: str | Sequence[str] = "simple"
    ) -> Prediction: ...
    @overload
    def predict(
        self, images: Iterable[OneImage], labels: Sequence[str] = (), *, prompts: str | Sequence[str] = "simple"
    ) -> list[Prediction]: ...

    def predict(
        self, images: object, labels: Sequence[str] = (), *, prompts: str | Sequence[str] = "simple"
    ) -> Prediction | list[Prediction]:
        """Return a `Prediction` of an image, of several a list: which of the labels fits it best. See
        `hftransfer.zero_shot`. The model may be called instead: `model(images, labels)`.

        Raises:
            RecipeError: labels or prompts are not as they must be.
            DataError: images can't be read; all of them are named.
        """
        given = as_list(images, IMAGES)
        told = all_or_faults(self.predict_each(given, labels, prompts=prompts))
        return told[0] if is_one(images, IMAGES) else Gallery(told, given, IMAGES, pixels=self.pixels)

    __call__ = predict

    def __repr__(self) -> str:
        return f"DualPredictor({self.checkpoint.name}: images and texts)"

    def _repr_html_(self) -> str:
        lines = ['model(images, ["cat", "dog"]) chooses between names.', "embed_images and embed_texts give vectors."]
        return Fragment(repr(self), lines).html()

    def __reduce__(self) -> tuple[type[DualPredictor], tuple[object, ...]]:
        """Pickle where it lies: a dual encoder is as it was fetched."""
        return DualPredictor, (self.checkpoint, self._precision)

    def predict_each(
        self, images: Sequence[object], labels: Sequence[str], *, prompts: str | Sequence[str] = "simple"
    ) -> Iterator[Prediction | DataError]:
        """Yield a prediction for each image in turn, or the error that says why it can't be read."""
        names, templates = require_labels(labels), templates_of(prompts)
        with self._one_at_a_time:
            sentences = embed_prompts(self.dual, names, templates, self.checkpoint.weights_sha256, self.compute)
        classes = ensemble(sentences)

        def probabilities(inputs: Inputs) -> np.ndarray:
            found = softmax(logits(self._embedded(inputs), classes, self.dual))
            require_numbers(found, self.dual.name)
            return found

        yield from in_batches(
            images, self.compute, self._decoded, self._images.encode, probabilities, partial(prediction_of, names)
        )

    def embed_images(self, images: object) -> np.ndarray:
        """Return the normalised embeddings (N, D) of images, in float32.

        Raises:
            DataError: images can't be read; all of them are named.
            ModelError: what the model computes is no number.
        """
        readable = [self._decoded(image, place) for place, image in enumerate(as_list(images, IMAGES))]
        if faults := [fault for image in readable if isinstance(image, DataError) for fault in image.faults]:
            raise DataError(*faults)
        size = self.compute.batch_size
        parts = [self._images.encode(readable[at : at + size]) for at in range(0, len(readable), size)]
        found = unit(np.concatenate([self._embedded(part) for part in parts]))
        require_numbers(found, self.dual.name)
        return found

    def embed_each(self, images: Sequence[object]) -> Iterator[np.ndarray | DataError]:
        """Yield the normalised embedding (D,) of each image in turn, or the error that says why it can't be read."""

        def embedded(inputs: Inputs) -> np.ndarray:
            found = unit(self._embedded(inputs))
            require_numbers(found, self.dual.name)
            return found

        yield from in_batches(images, self.compute, self._decoded, self._images.encode, embedded, lambda row: row)

    def embed_texts(self, texts: str | Sequence[str]) -> np.ndarray:
        """Return the normalised embeddings (N, D) of texts, in float32."""
        given = [texts] if isinstance(texts, str) else list(texts)
        found = []
        with self._one_at_a_time, torch.inference_mode():
            for start in range(0, len(given), 64):
                found.append(self.dual.embed_texts(self.dual.encode_texts(given[start : start + 64])).float().numpy())
        return unit(np.concatenate(found))

    def _decoded(self, image: object, place: int) -> Image.Image | DataError:
        return decoded(image, place, self.pixels)

    def _embedded(self, inputs: Inputs) -> np.ndarray:
        with self._one_at_a_time:
            found: np.ndarray = forward(self._images, 1, inputs, self.compute)["hidden"].float().cpu().numpy()
        return found


def _facts_in(folder: Path) -> DualFacts:
    """Return what `hftransfer.json` says of a dual encoder; nothing where there is none, or it is of another model.

    Raises:
        ModelError: it is damaged.
    """
    try:
        said = sidecar(folder)
        return DualFacts.model_validate(said) if is_of_dual(said) else DualFacts()
    except ValueError as error:
        raise ModelError(
            must_be(f"{folder}/hftransfer.json", "a valid file of hftransfer", first_line(error))
        ) from error


@dataclass(frozen=True)
class ClassTexts:
    """Two heads that a dual encoder makes of the names of classes: by the templates chosen, and by others."""

    head: KnownHead
    held_out: KnownHead
    held_out_templates: tuple[str, ...]


def class_texts(
    dual: DualEncoder,
    words: Sequence[str],
    templates: Sequence[str],
    weights_sha256: str,
    compute: Compute,
    progress: Progress,
) -> ClassTexts:
    """Return the linear layer on normalised image embeddings that gives zero-shot's logits; and beside it the one of
    templates that were held out, by which it shows whether a tower that learns keeps what it knew."""
    others = [[t for t in PROMPT_SETS[name] if t not in templates] for name in ("openai-7", "openai-80", "simple")]
    held_out = next(tuple(found) for found in others if found)
    heads = []
    for chosen in (templates, held_out):
        classes = ensemble(embed_prompts(dual, words, chosen, weights_sha256, compute, progress))
        heads.append(KnownHead(dual.scale * classes, np.full(len(words), dual.bias)))
    return ClassTexts(heads[0], heads[1], held_out)


@dataclass(frozen=True)
class NamesJob:
    """One evaluation by the names of classes: everything it needs, as values."""

    dual: DualEncoder
    weights_sha256: str
    splits: Splits
    words: Sequence[str]
    """What each class is called in prompts."""
    templates: Sequence[str]
    settings: DataSettings
    compute: Compute
    progress: Progress
    stage: Callable[[str], AbstractContextManager[None]]
    keep: bool = False
    """Whether embeddings of images stay in the store of activations, so that other prompts cost no second pass."""
    compare: bool = False
    """Whether it is told which templates help and which harm."""


def evaluate(job: NamesJob) -> Evaluated:
    """Return how well the test split's images are told apart by the words for their classes.

    Embeddings are read from their store block by block, so that memory does not grow with them.

    Raises:
        DataError: images can't be read and are not to be skipped.
    """
    dual, splits, templates = job.dual, job.splits, job.templates
    with job.stage("prompts"):
        per_template = embed_prompts(dual, job.words, templates, job.weights_sha256, job.compute, job.progress)
    with _place_of_embeddings(keep=job.keep) as folder:
        with job.stage("activations"):
            splits, images = _embed_images(job, folder)
        with job.stage("evaluate"):
            classes, labels, task = ensemble(per_template), splits.test.class_ids, ZeroShot()
            examples = Examples(splits.test, ImageItems(splits.test.rows, splits.test.digests, dual.images))
            outcomes = []
            for start in range(0, len(labels), _ROWS_AT_ONCE):
                places = range(start, min(start + _ROWS_AT_ONCE, len(labels)))
                scores = logits(images.rows(places.start, places.stop), classes, dual)  # (B, C)
                outcomes += task.decode(list(scores), places, examples)
            judged = task.judge(outcomes, examples, splits.class_names)
            table = (
                _compared(images, labels, per_template, templates, dual) if job.compare and len(templates) > 1 else []
            )
    assert judged.probabilities is not None
    names, matrix = splits.class_names, np.asarray(judged.metrics["confusion_matrix"])
    by_class = _by_class(matrix, names, job.words)
    metrics = {**judged.metrics, "most_confused": _most_confused(matrix, names)}
    return Evaluated(splits, metrics, judged.probabilities, judged.columns, by_class, table)


def retrieval(predictor: DualPredictor, split: Split, settings: DataSettings, progress: Progress) -> JsonObject:
    """Return how well the images and captions of a split find each other: recall at 1, 5 and 10 in both directions.

    Raises:
        DataError: an image can't be decoded.
    """
    dual = predictor.dual
    texts, owners = captions_of(split)
    captions = predictor.embed_texts(texts)
    items = ImageItems(split.rows, split.digests, dual.images, decode=settings.decode)
    sha, compute = predictor.checkpoint.weights_sha256, predictor.compute
    with _place_of_embeddings(keep=False) as folder:
        store, _ = embed(dual.images, items, sha, compute, progress, "images", folder=folder)
        stored = store.activations(items.digests)
        images = unit(stored.rows(0, stored.shape[0]))
    to_captions, to_images = retrieval_ranks(images, captions, owners)
    return {
        "examples": len(split),
        "captions": len(texts),
        **recalls(to_captions, "image_to_text"),
        **recalls(to_images, "text_to_image"),
    }


@contextmanager
def _place_of_embeddings(*, keep: bool) -> Iterator[Path | None]:
    """Give the folder that embeddings lie in within the block; None for the cache folder, where they stay."""
    if keep:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="hftransfer-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _embed_images(job: NamesJob, folder: Path | None) -> tuple[Splits, StoredActivations]:
    """Return the embeddings of the test split's images, and the splits less those that can't be decoded."""
    dual, splits = job.dual, job.splits
    items = ImageItems(splits.test.rows, splits.test.digests, dual.images, decode=job.settings.decode)
    stop = job.settings.on_error == "stop"
    store, faults = embed(
        dual.images,
        items,
        job.weights_sha256,
        job.compute,
        job.progress,
        "activations",
        folder=folder,
        stop_at_fault=stop,
    )
    if faults:
        # Rows that can't be read leave the split, so that labels and embeddings stay in line.
        splits = without_test_faults(splits, faults, job.settings)
    kept = [digest for place, digest in enumerate(items.digests) if place not in faults]
    return splits, store.activations(kept)


# --- what is told of it ----------------------------------------------------------------------------------------------


def _compared(
    images: StoredActivations, labels: np.ndarray, per_template: np.ndarray, templates: Sequence[str], dual: DualEncoder
) -> list[JsonObject]:
    """Return one row per template: its accuracy alone, and by how much accuracy and log loss (in nats) of all together
    are better with it than without; most helpful first."""
    summed = per_template.sum(axis=0)  # (C, D)
    # All together, each alone, and all but each: the three ways in which a template is judged.
    forms = [unit(form) for form in (summed, *per_template, *(summed - own for own in per_template))]
    right, lost = np.zeros(len(forms)), np.zeros(len(forms))
    for start in range(0, len(labels), _ROWS_AT_ONCE):
        block = images.rows(start, start + _ROWS_AT_ONCE)
        own = labels[start : start + _ROWS_AT_ONCE]
        for place, form in enumerate(forms):
            probabilities = softmax(logits(block, form, dual))
            right[place] += np.sum(probabilities.argmax(axis=1) == own)
            lost[place] -= np.log(np.maximum(probabilities[np.arange(len(own)), own], 1e-12)).sum()
    accuracy, log_loss, count = right / len(labels), lost / len(labels), len(templates)
    rows: list[JsonObject] = [
        {
            "template": template,
            "accuracy_alone": float(accuracy[1 + index]),
            "accuracy_gain": float(accuracy[0] - accuracy[1 + count + index]),
            "log_loss_gain": float(log_loss[1 + count + index] - log_loss[0]),
        }
        for index, template in enumerate(templates)
    ]
    return sorted(rows, key=lambda row: -row["log_loss_gain"])


def _by_class(counts: np.ndarray, names: Sequence[str], words: Sequence[str]) -> list[JsonObject]:
    rows = []
    for index, name in enumerate(names):
        own, others = counts[index, index], np.delete(counts[index], index)
        taken_for = int(np.argmax(np.where(np.arange(len(names)) == index, -1, counts[index])))
        rows.append(
            {
                "class": name,
                "words": words[index],
                "examples": int(counts[index].sum()),
                "recall": float(own / max(1, counts[index].sum())),
                "precision": float(own / max(1, counts[:, index].sum())),
                "most_often_taken_for": names[taken_for] if others.any() else "",
            }
        )
    return rows


def _most_confused(counts: np.ndarray, names: Sequence[str], most: int = 10) -> list[JsonObject]:
    """Return the pairs of classes that are confused most often, both directions counted together."""
    pairs = [
        (int(counts[first, second] + counts[second, first]), first, second)
        for first in range(len(names))
        for second in range(first)
        if counts[first, second] + counts[second, first]
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [{"classes": [names[second], names[first]], "count": count} for count, first, second in pairs[:most]]
