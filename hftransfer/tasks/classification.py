"""One label per image or text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from hftransfer.adapters.heads import IMAGE_CLASSES, TEXT_CLASSES, Head
from hftransfer.tasks.base import Examples, Judged, Loss

if TYPE_CHECKING:
    from torch import Tensor

    from hftransfer.adapters.base import Adapter
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split


class _Classification:
    """What classification of images and of texts share."""

    metrics: ClassVar[tuple[str, ...]] = (
        *("accuracy", "balanced_accuracy", "macro_f1"),
        *("log_loss", "expected_calibration_error"),
    )

    def loss(
        self, examples: Examples, classes: int, device: Any, *, label_smoothing: float, class_weights: bool
    ) -> Loss:
        """Cross-entropy; with `class_weights` each class counts by the inverse of its frequency."""
        import torch
        from torch.nn.functional import cross_entropy

        labels = torch.from_numpy(examples.split.labels).to(device)
        by_class = balanced_weights(examples.split.labels, classes) if class_weights else np.ones(classes)
        weights = torch.from_numpy(by_class).float().to(device)

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            wanted = labels[torch.as_tensor(chosen, device=device)]
            return cross_entropy(logits, wanted, weight=weights, label_smoothing=label_smoothing, reduction="sum")

        return Loss(total, by_class[examples.split.labels])

    def judge(
        self, logits: Sequence[np.ndarray], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Accuracy and its kin; the best model has the highest accuracy, of equals the lowest log loss."""
        from hftransfer.metrics.classification import score_probabilities

        del extras
        probabilities = softmax(np.asarray(logits, dtype=np.float64).reshape(-1, len(class_names)))
        labels, names = examples.split.labels, list(class_names)
        metrics = score_probabilities(probabilities, labels)
        columns: dict[str, Any] = {
            "id": [row.id for row in examples.split.rows],
            "label": [names[label] for label in labels],
            "prediction": [names[label] for label in probabilities.argmax(axis=1)],
        }
        columns |= {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
        return Judged(metrics, (metrics["accuracy"], -metrics["log_loss"]), columns, probabilities)


class ImageClassification(_Classification):
    """One label per image."""

    name: ClassVar[Literal["image-classification"]] = "image-classification"
    modality: ClassVar[Literal["image"]] = "image"
    rows: ClassVar[Literal["images"]] = "images"
    head: ClassVar[Head] = IMAGE_CLASSES

    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """The images of a split, decoded when they are needed."""
        from hftransfer.adapters.images import ImageAdapter
        from hftransfer.tasks.items import ImageItems

        items = ImageItems(split.rows, split.digests, cast(ImageAdapter, adapter), decode=settings.decode)
        return Examples(split, items)


class TextClassification(_Classification):
    """One label per text or pair of texts."""

    name: ClassVar[Literal["text-classification"]] = "text-classification"
    modality: ClassVar[Literal["text"]] = "text"
    rows: ClassVar[Literal["texts"]] = "texts"
    head: ClassVar[Head] = TEXT_CLASSES

    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """The texts of a split as tokens, and how many of them were cut."""
        from hftransfer.adapters.texts import TextAdapter
        from hftransfer.tasks.items import TokenItems

        text_adapter = cast(TextAdapter, adapter)
        contents = [cast(Any, row.content) for row in split.rows]
        texts = [(content.text, content.pair) for content in contents]
        tokens, cut = text_adapter.tokenize_all(texts, settings.max_tokens)
        longest = min(settings.max_tokens or text_adapter.max_tokens, text_adapter.max_tokens)
        notes = text_adapter.notes_on(settings.max_tokens)
        if cut:
            notes.append(f"{len(cut)} of {len(texts)} texts are longer than {longest} tokens and were cut")
        return Examples(split, TokenItems(tokens, text_adapter), notes, cut=cut)


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """One weight (C,) per class, N / (C · count), as scikit-learn's `balanced`."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Class probabilities (N, C) from logits (N, C)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
