"""Embeddings of images and texts in the space of a dual encoder, computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from hftransfer.adapters.dual import DualEncoder, Tower
from hftransfer.base.progress import Progress
from hftransfer.tasks.items import Batch, Items
from hftransfer.tasks.prompts import sentences
from hftransfer.training.activations import ActivationStore, fill_store, key_parts
from hftransfer.training.devices import Compute


class TextItems:
    """Texts as items of the store of activations."""

    def __init__(self, texts: Sequence[str], dual: DualEncoder) -> None:
        self.texts, self.dual = texts, dual
        self.digests = [hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest() for text in texts]
        # In characters: near enough to sort by, and known without the tokenizer.
        self.lengths = np.array([len(text) for text in texts], dtype=np.int64)

    def batch(self, chosen: Sequence[int], tokens: int = 0) -> Batch:
        """Return the tokens of these texts."""
        del tokens
        return Batch(list(chosen), self.dual.encode_texts([self.texts[item] for item in chosen]), {})

    def beside(self, chosen: Sequence[int], tokens: int = 0) -> dict[str, Tensor]:
        """Return nothing: their activations need nothing beside them."""
        del chosen, tokens
        return {}


def embed_prompts(
    dual: DualEncoder,
    names: Sequence[str],
    templates: Sequence[str],
    weights_sha256: str,
    compute: Compute,
    progress: Progress | None = None,
) -> np.ndarray:
    """Return the normalised embeddings (T, C, D) of every template with every name; each text is computed once and
    kept."""
    texts = [text for template in templates for text in sentences(names, template)]
    items = TextItems(texts, dual)
    store, _ = embed(dual.texts, items, weights_sha256, compute, progress or Progress(None), "prompts")
    embedded = store.activations(items.digests).rows(0, len(texts))
    return unit(embedded.astype(np.float64)).reshape(len(templates), len(names), -1)


def embed(
    tower: Tower,
    items: Items,
    weights_sha256: str,
    compute: Compute,
    progress: Progress,
    stage: str,
    *,
    folder: Path | None = None,
    stop_at_fault: bool = True,
) -> tuple[ActivationStore, dict[int, str]]:
    """Return the store (in the cache folder, or another) in which a tower's outputs for these items are, and the items
    that can't be decoded with the reason.

    Raises:
        DataError: `stop_at_fault`, and an image can't be decoded.
    """
    parts = key_parts(tower, weights_sha256, 1, compute)
    store = ActivationStore(folder, parts) if folder else ActivationStore.in_cache(parts, progress.line)
    with progress.stage(stage, len(items.digests)) as advance:
        faults = fill_store(store, tower, 1, items, compute, advance, stop_at_fault=stop_at_fault)
    return store, faults


def ensemble(per_template: np.ndarray) -> np.ndarray:
    """Return one normalised embedding (C, D) per class from those of its sentences (T, C, D)."""
    return unit(per_template.mean(axis=0))


def logits(images: np.ndarray, classes: np.ndarray, dual: DualEncoder) -> np.ndarray:
    """Return logits (N, C) from embeddings of images (N, D), normalised or not, and normalised ones of classes (C,
    D)."""
    found: np.ndarray = dual.scale * (unit(images.astype(np.float64)) @ classes.T) + dual.bias
    return found


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (…, D) scaled to length 1."""
    # A vector of zeros stays one.
    normalised: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return normalised
