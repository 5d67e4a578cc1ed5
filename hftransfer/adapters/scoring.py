"""The scores that a classifier's logits become: probabilities of one label, of each label by itself, or plain
numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from hftransfer.base.errors import ModelError, must_be, some

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

Scoring = Literal["softmax", "sigmoid", "none"]
"""One label of several (softmax); each label, or the only one, by itself (sigmoid); numbers of a regression (none)."""


class ExactLinear(nn.Linear):
    """A linear layer that computes in the precision of its weights, whatever autocast says: 1,990 has no near
    neighbours in 16 bits."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs (B, C) of features (B, D)."""
        with torch.autocast(features.device.type, enabled=False):
            return linear(features.to(self.weight.dtype), self.weight, self.bias)


def scoring_of(config: PreTrainedConfig | None, outputs: int) -> Scoring:
    """Return what a configuration asks for, in the order in which pipelines of transformers look."""
    kind = getattr(config, "problem_type", None)
    if kind == "regression":
        return "none"
    return "sigmoid" if kind == "multi_label_classification" or outputs == 1 else "softmax"


def scores_of(logits: Tensor, scoring: Scoring) -> Tensor:
    """Return the scores (B, C) of logits (B, C), in float32; of several labels in float64 and in the host's memory, as
    their thresholds are found: near 1 many logits are one number in float32."""
    values = logits.float()
    if scoring == "none":
        return values
    return values.cpu().double().sigmoid() if scoring == "sigmoid" else values.softmax(dim=-1)


def require_numbers(scores: np.ndarray | Tensor, name: str) -> None:
    """Return if all scores, or logits, are numbers.

    Raises:
        ModelError: some are NaN or infinite.
    """
    if not bool(torch.isfinite(torch.as_tensor(scores)).all()):
        remedy = "Its weights or its preprocessing (image_std, rescale_factor) are damaged, or the precision too low."
        raise ModelError(must_be(f"what model '{name}' computes", "finite numbers", "NaN or infinity", remedy))


def names_of(id2label: Mapping[int, str]) -> tuple[str, ...]:
    """Return the names of the outputs 0, 1, …; a name that came before is told apart by its number: `crane (517)`."""
    names: dict[str, None] = {}
    for index in range(len(id2label)):
        name = str(id2label[index])
        # Names that come twice would be one key in a prediction's scores.
        while name in names:
            name = f"{name} ({index})"
        names[name] = None
    return tuple(names)


def require_names(id2label: object, name: str) -> None:
    """Return if names are given to all outputs, from 0 on.

    Raises:
        ModelError: they count from another number, or leave some out.
    """
    keys = list(id2label) if isinstance(id2label, Mapping) else []
    if not keys:
        raise ModelError(must_be(f"id2label of model '{name}'", "a name for each output", "none"))
    if set(keys) != set(range(len(keys))):
        remedy = "Number them in its config.json in the order of the outputs; the order can't be guessed."
        got = some(str(key) for key in keys)
        raise ModelError(
            must_be(f"id2label of model '{name}'", f"names for the outputs 0 to {len(keys) - 1}", got, remedy)
        )
