"""Pairs of texts, each read by itself: one backbone for both, and what the features of both come to under a linear head
(a bi-encoder; Reimers and Gurevych, arXiv 1908.10084; Conneau et al., arXiv 1705.02364)."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from typing_extensions import override

from hftransfer.adapters.anatomy import Inputs
from hftransfer.adapters.base import Pooling
from hftransfer.adapters.texts import PooledClassifier, PooledTextAdapter, Tokens, pool

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_STEP_TOKENS = 8


class PairedClassifier(PooledClassifier):
    """A text backbone that reads both texts of a pair, and one linear layer on their pooled features of length 1, u and
    v: (u, v, |u - v|, u · v)."""

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, classes: int) -> None:
        super().__init__(backbone, pooling, classes)
        self.head = nn.Linear(4 * self.head.in_features, classes)

    @override
    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return `logits` (B, C) of `input_ids` and `attention_mask`, each (B, 2, T)."""
        rows = {name: tensor.flatten(0, 1) for name, tensor in inputs.items()}  # (2B, T)
        tokens = self.backbone(**rows).last_hidden_state  # (2B, T, D)
        # Of length 1, so that the sum of u · v is the cosine: what sentence encoders are trained by.
        pooled = normalize(pool(tokens, rows["attention_mask"], self.pooling), dim=-1)  # (2B, D)
        first, second = pooled.reshape(-1, 2, pooled.shape[-1]).unbind(1)  # (B, D) each
        features = torch.cat([first, second, (first - second).abs(), first * second], dim=-1)  # (B, 4D)
        return SimpleNamespace(logits=self.head(features.to(self.head.weight.dtype)))


class PairedTextAdapter(PooledTextAdapter):
    """A backbone that reads both texts of a pair by itself, under a head on the features of both. It is one stage: two
    texts cross no boundary inside it together.

    The tokens of a pair are those of both texts, one after the other, and `part` says which text each is of.
    """

    can_go_by_length: ClassVar[bool] = False
    remedy_for_padding: ClassVar[str] = "With strategy.pair: joint it reads both texts at once."

    @override
    def tokenize(self, example: str | tuple[str, str | None], max_tokens: int | None = None) -> Tokens:
        first, second = example if isinstance(example, tuple) else (example, "")
        return _together(*(super(PairedTextAdapter, self).tokenize(text, max_tokens) for text in (first, second or "")))

    @override
    def tokenize_all(
        self, examples: Sequence[tuple[str, str | None]], max_tokens: int | None = None
    ) -> tuple[list[Tokens], list[int]]:
        both: list[tuple[str, str | None]] = [(text or "", None) for pair in examples for text in pair]
        tokens, cut = super().tokenize_all(both, max_tokens)
        return [_together(*pair) for pair in zip(tokens[::2], tokens[1::2], strict=True)], sorted({i // 2 for i in cut})

    @override
    def pad(self, batch: Sequence[Tokens], at_least: int = 0) -> Inputs:
        """Return `input_ids` and `attention_mask`, each (B, 2, T), padded on the right; with `at_least` T is the next
        multiple of a few tokens, so that there are few shapes."""
        texts = [own for tokens in batch for own in _apart(tokens)]
        longest = max(len(own["input_ids"]) for own in texts)
        if at_least:
            longest = max(longest, min(-(-longest // _STEP_TOKENS) * _STEP_TOKENS, self.max_tokens))
        return {name: tensor.reshape(-1, 2, tensor.shape[-1]) for name, tensor in super().pad(texts, longest).items()}

    @override
    def processor_settings(self) -> dict[str, object]:
        return {**super().processor_settings(), "pair": "features"}

    @override
    def _find_stages(self) -> list[nn.Module]:
        return []

    @override
    def _sample_inputs(self, count: int) -> Inputs:
        known = getattr(self.model.config.get_text_config(), "vocab_size", 2**31)
        batch = [self.tokenize(pair) for pair in _TRIAL_PAIRS[:count]]
        for tokens in batch:
            tokens["input_ids"] = [min(token, known - 1) for token in tokens["input_ids"]]
        return self.pad(batch)


_TRIAL_PAIRS = (
    ("a few words, so that there are several tokens", "others"),
    ("a few words more, so that the second is longer than it", "and another of a few words"),
)


def _together(first: Tokens, second: Tokens) -> Tokens:
    """Return the tokens of two texts as those of one pair."""
    sizes = len(first["input_ids"]), len(second["input_ids"])
    joined = {name: first[name] + second[name] for name in ("input_ids", "attention_mask")}
    return {**joined, "part": [0] * sizes[0] + [1] * sizes[1]}


def _apart(tokens: Tokens) -> tuple[Tokens, Tokens]:
    """Return the tokens of both texts of a pair."""
    size = tokens["part"].index(1)
    names = ("input_ids", "attention_mask")
    return {name: tokens[name][:size] for name in names}, {name: tokens[name][size:] for name in names}
