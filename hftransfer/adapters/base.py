"""The Adapter contract: stages below a head, and a boundary between what is frozen and what learns."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

Inputs = dict[str, Tensor]


class Adapter(ABC):
    """One native pretrained model with its processor.

    The network is a sequence of `stages` with a `head` on top. A boundary b in 0..len(stages) means that stages
    below b are frozen; b = len(stages) is the boundary at the head.
    """

    modality: ClassVar[Literal["image", "text", "image-text"]]
    offers: ClassVar[frozenset[str]]

    model: Any
    """The `nn.Module` that is trained, saved and pushed: always a native checkpoint."""
    processor: Any
    stages: list[nn.Module]
    """From input to output; unfreezing counts from the end."""
    head: nn.Linear
    """Features (B, D) to logits (B, C): the only new weights."""

    @abstractmethod
    def twin(self, model: nn.Module) -> Adapter:
        """The same adapter around another copy of its model (on another device, in another precision)."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of the logits."""
        names = self.model.config.id2label
        return tuple(str(names[index]) for index in range(len(names)))

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> Inputs:
        """What the model takes, from raw examples (images or texts)."""

    @abstractmethod
    def features(self, inputs: Inputs) -> Tensor:
        """What enters the head: (B, D)."""

    @abstractmethod
    def processor_settings(self) -> dict[str, Any]:
        """Everything that shapes `encode`, as plain values: part of the key of stored activations."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Nothing; writes the native layout: config, safetensors, processor."""

    def below(self, inputs: Inputs, boundary: int) -> Tensor:
        """The activations at the boundary; at the head, the features (B, D)."""
        self._require_head_boundary(boundary)
        return self.features(inputs)

    def above(self, activations: Tensor, boundary: int) -> Tensor:
        """The logits (B, C) from activations at the boundary."""
        self._require_head_boundary(boundary)
        logits: Tensor = self.head(activations.to(self.head.weight.dtype))
        return logits

    def set_head(self, weight: Tensor, bias: Tensor) -> None:
        """Nothing; the head becomes the linear layer with this weight (C, D) and bias (C,)."""
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def freeze_below(self, boundary: int) -> None:
        """Nothing; all modules below the boundary stop learning and go to eval mode, buffers included."""
        self._require_head_boundary(boundary)
        self.model.requires_grad_(False)
        self.model.eval()
        self.head.requires_grad_(True)

    def _require_head_boundary(self, boundary: int) -> None:
        if boundary != len(self.stages):
            raise NotImplementedError("only the boundary at the head is supported yet")


def parameter_counts(model: nn.Module) -> dict[str, int]:
    """How many parameters a model has, and how many of them learn."""
    total = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return {"total": total, "trainable": trainable}


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """transformers without its loading bars and notes, as it was afterwards."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
