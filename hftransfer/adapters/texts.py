"""Text models of transformers: with their own head, or with pooled token features under a linear head of ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hftransfer.adapters.anatomy import Inputs, alike
from hftransfer.adapters.base import Activations, Adapter, Pooling
from hftransfer.adapters.families import Modality
from hftransfer.adapters.heads import SPANS, TEXT_CLASSES, Head
from hftransfer.adapters.libraries import FAULTS_OF_MODELS, quiet_transformers
from hftransfer.adapters.on_backbone import OnBackbone
from hftransfer.base.errors import ModelError, must_be

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hftransfer.adapters.parts import Parts

_TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
ENDLESS_TOKENS = 1 << 20
"""The limit of models that have none."""
_TRIAL_PADDING = 9
_TRIAL_TEXTS = (
    "a few words, so that there are several tokens",
    "a few words more, so that the second is longer than it",
)

Tokens = dict[str, list[int]]
"""One text or window as the tokenizer gives it, not padded."""


class TextAdapter(Adapter):
    """A network that takes tokens, with its tokenizer. Texts are padded on the right."""

    modality: ClassVar[Modality] = "text"
    carried: ClassVar[tuple[str, ...]] = _TOKEN_INPUTS
    usual_tokens: ClassVar[int] = 512
    """The length to which texts are cut where nobody says another."""
    folder_tokens: int | None = None
    """The length that the model's folder of sentence-transformers says."""
    can_go_by_length: ClassVar[bool] = True
    """Whether texts of one length may go through a network together, where padding would change what it gives."""
    remedy_for_padding: ClassVar[str] = ""
    """What a person can do where they may not."""

    def __init__(
        self,
        model: PreTrainedModel | PooledClassifier,
        processor: PreTrainedTokenizerBase,
        name: str = "",
        family: str = "",
        head: Head = TEXT_CLASSES,
    ) -> None:
        if processor.padding_side != "right" or processor.pad_token_id is None:
            processor = copy.deepcopy(processor)  # the caller's own stays as it is
            processor.padding_side = "right"
        # GPT-2 and Llama have no padding token. Any other serves: what is padded is masked and never read.
        if processor.pad_token_id is None:
            processor.pad_token = processor.eos_token or processor.unk_token
        if getattr(model.config, "pad_token_id", None) is None:
            model.config.pad_token_id = processor.pad_token_id
        if getattr(model.config, "use_cache", False):
            model.config.use_cache = False  # keys and values are kept for writing texts, not for judging them
        self.max_tokens = _most_tokens(model, processor)
        """The longest input that the model takes."""
        super().__init__(model, processor, head, name, family)

    def encode(self, examples: Sequence[Any]) -> Inputs:
        """Return `input_ids`, `attention_mask` (and `token_type_ids`), each (B, T), from texts or pairs of texts."""
        return self.pad([self.tokenize(example) for example in examples])

    def tokenize(self, example: str | tuple[str, str | None], max_tokens: int | None = None) -> Tokens:
        """Return the tokens of one text, or of a pair, cut to `longest(max_tokens)`.

        A text without any token (an empty one, where the tokenizer adds none of its own) becomes one padding token.
        """
        first, second = example if isinstance(example, tuple) else (example, None)
        limit = self.longest(max_tokens)
        pair = (clean_text(first),) if second is None else (clean_text(first), clean_text(second))
        encoded = self.processor(*pair, truncation=True, max_length=limit)
        return self._never_empty({name: list(encoded[name]) for name in _TOKEN_INPUTS if name in encoded})

    def _never_empty(self, tokens: Tokens) -> Tokens:
        if tokens["input_ids"]:
            return tokens
        only = {"input_ids": self.processor.pad_token_id, "attention_mask": 1, "token_type_ids": 0}
        return {name: [only[name]] for name in tokens}

    def tokenize_all(
        self, examples: Sequence[tuple[str, str | None]], max_tokens: int | None = None
    ) -> tuple[list[Tokens], list[int]]:
        """Return the tokens of all texts or pairs, each cut to `longest(max_tokens)`, and which were cut."""
        tokenized: list[Tokens] = [{} for _ in examples]
        cut: list[int] = []
        limit = self.longest(max_tokens)
        alone = [place for place, (_, second) in enumerate(examples) if second is None]
        paired = [place for place, (_, second) in enumerate(examples) if second is not None]
        # In parts: the tokenizer's own encodings of all texts would take far more memory than their numbers.
        parts = [places[start : start + 1000] for places in (alone, paired) for start in range(0, len(places), 1000)]
        for part in parts:
            firsts = [clean_text(examples[place][0]) for place in part]
            seconds = [clean_text(second) for place in part if (second := examples[place][1]) is not None]
            encoded = self.processor(firsts, seconds or None, truncation=True, max_length=limit)
            for row, place in enumerate(part):
                tokens = {name: list(encoded[name][row]) for name in _TOKEN_INPUTS if name in encoded}
                tokenized[place] = self._never_empty(tokens)
                if encoded.encodings and encoded.encodings[row].overflowing:
                    cut.append(place)
        return tokenized, sorted(cut)

    def longest(self, max_tokens: int | None) -> int:
        """Return the length in tokens to which texts are cut: as asked, within the model's limit."""
        return min(max_tokens or self.folder_tokens or self.usual_tokens, self.max_tokens)

    def notes_on(self, max_tokens: int | None, cut: int = 0) -> list[str]:
        """Return a note if a longer length is wanted than the model takes, or texts were cut that it would take."""
        if max_tokens is None:
            if not cut or self.max_tokens <= self.longest(None):
                return []
            most = f"at most {self.max_tokens:,}" if self.max_tokens < ENDLESS_TOKENS else "texts of any length"
            return [f"the model takes {most}: a larger data.max_tokens cuts less, and costs time and memory"]
        if max_tokens <= self.max_tokens:
            return []
        return [
            f"data.max_tokens is {max_tokens:,}, but the model takes at most {self.max_tokens:,}, so "
            f"{self.max_tokens:,} are used"
        ]

    def pad(self, batch: Sequence[Tokens], at_least: int = 0) -> Inputs:
        """Return token lists as tensors (B, T), padded on the right; T is `at_least` so long."""
        lengths = np.array([len(tokens["input_ids"]) for tokens in batch])
        there = np.arange(max(at_least, *lengths)) < lengths[:, None]  # (B, T)
        fill = {"input_ids": self.processor.pad_token_id, "attention_mask": 0, "token_type_ids": 0}
        padded = {}
        for name in batch[0]:
            values = np.full(there.shape, fill[name], dtype=np.int64)  # (B, T)
            values[there] = np.fromiter(chain.from_iterable(tokens[name] for tokens in batch), np.int64, lengths.sum())
            padded[name] = torch.from_numpy(values)
        self._require_known(padded["input_ids"])
        return padded

    def _require_known(self, ids: Tensor) -> None:
        """Return if the model has an embedding for every token.

        Raises:
            ModelError: it lacks one, because the tokenizer is another model's.
        """
        config = getattr(self.model, "config", None)
        known = getattr(config.get_text_config(), "vocab_size", None) if config is not None else None
        highest = int(ids.max())
        if isinstance(known, int) and highest >= known:
            allowed = f"one with token ids below {known:,}, as the model expects"
            raise ModelError(must_be(f"the tokenizer of model '{self.name}'", allowed, f"token {highest:,}"))

    # --- the boundary ---

    def below(self, inputs: Inputs, boundary: int) -> Activations:
        """Return the activations at the boundary: what the frozen part makes of the inputs."""
        below = super().below
        if boundary == 0 or self.split.pads:
            return below(inputs, boundary)
        (hidden,) = by_length(inputs, lambda part: (below(part, boundary)["hidden"],))  # (B, D), (B, T, D)
        return {**inputs, "hidden": hidden}

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return the logits (B, C), of tokens (B, T, C), from activations at the boundary."""
        above = super().above
        if self._goes_together(boundary):
            return above(activations, boundary)
        (logits,) = by_length(activations, lambda part: (above(part, boundary),))
        return logits

    def logits_and_features(self, activations: Activations, boundary: int) -> tuple[Tensor, Tensor]:
        """Return the logits, and what enters the head, (B, D) or (B, T, D), from activations at the boundary."""
        both = super().logits_and_features
        if self._goes_together(boundary):
            return both(activations, boundary)
        logits, features = by_length(activations, lambda part: both(part, boundary))
        return logits, features

    def _goes_together(self, boundary: int) -> bool:
        """Return whether a padded batch goes through what is above the boundary as it is."""
        return self.split.pads or (boundary == len(self.stages) and self.split.head_is_direct)

    def processor_settings(self) -> dict[str, object]:
        """Return no setting of the tokenizer: activations are kept by tokens, not by texts."""
        return {"modality": "text", "family": self.family}

    def save(self, folder: Path) -> None:
        """Write config, safetensors and the tokenizer."""
        self.write_network(folder)
        self.save_processor(folder)

    def save_processor(self, folder: Path) -> None:
        """Write the tokenizer, without the lengths that texts were cut to here."""
        if self.processor.is_fast:
            self.processor.backend_tokenizer.no_truncation()
        with quiet_transformers():
            self.processor.save_pretrained(folder)

    def _sample_inputs(self, count: int) -> Inputs:
        # Longformer looks for the end of a question.
        asked = self.head_port is SPANS
        batch = [self.tokenize((text, text) if asked else text) for text in _TRIAL_TEXTS[:count]]
        known = getattr(self.model.config.get_text_config(), "vocab_size", 2**31)
        for tokens in batch:
            # A tokenizer of another model is told of where texts are encoded, not while the split is found.
            tokens["input_ids"] = [min(token, known - 1) for token in tokens["input_ids"]]
        return self.pad(batch)

    def _keeps_lengths(self) -> bool:
        """Return whether between stages each token has its place, as in what is kept of a text: Longformer adds places
        up to a multiple of its window, Canine has one for four letters, and DeepSeek-V4 has several for each token."""
        whole, top = self.sample_inputs(2), len(self.stages)
        try:
            with torch.no_grad():
                for cut in (0, 1):  # lengths of which at most one is a multiple of anything
                    inputs = {name: tensor[:, : tensor.shape[1] - cut] for name, tensor in whole.items()}
                    for boundary in {1, top // 2, top - 1} - {0, top}:
                        hidden = self.below(inputs, boundary)["hidden"]  # (B, T, D)
                        if hidden.ndim != 3 or hidden.shape[:2] != inputs["input_ids"].shape:
                            return False
        except FAULTS_OF_MODELS:
            return True  # told where the parts are compared with the whole
        return True

    def _find_split(self, known: Parts | None = None) -> None:
        before = self.__dict__.get("split")
        super()._find_split(known)
        # Matrices beside its layers, or another head, change nothing of what a model makes of padding.
        self.split.pads = before.pads if before is not None else self.split.pads

    def _require_lengths(self) -> None:
        """Take a network of a family that isn't known as one stage where tokens have other places between stages."""
        if not self._is_known and not self._keeps_lengths():
            self._as_one_stage = True
            self._find_split()

    def _require_split(self) -> None:
        """Check the split as for any model, and that padding changes nothing, because texts share batches."""
        self._require_lengths()
        super()._require_split()
        if self._is_known:
            return
        # Padding that is attended to would let a text's logits depend on its neighbours in a batch.
        if not self._is_alike_beside_others():
            self.split.pads = False
            if not (self.can_go_by_length and self._takes_one_token() and self._is_alike_beside_others()):
                allowed = "one that gives a text the same outputs alone and beside others"
                raise self.split.unfit(allowed, "one that pays attention to padding", self.remedy_for_padding)

    def _takes_one_token(self) -> bool:
        """Return whether the shortest text goes through the network without padding: Canine needs four letters."""
        try:
            with torch.no_grad():
                self.split.above({name: tensor[:, :1] for name, tensor in self.sample_inputs(1).items()}, 0)
        except FAULTS_OF_MODELS:
            return False
        return True

    def _is_alike_beside_others(self) -> bool:
        inputs = self.sample_inputs(1)
        length = inputs["input_ids"].shape[-1]
        if length >= self.max_tokens:  # half of it has room for padding
            length = (length + 1) // 2
            inputs = {name: one[..., :length] for name, one in inputs.items()}
        # By so many columns: of a few a model may make little, and two texts may be of one length.
        columns = min(_TRIAL_PADDING, self.max_tokens - length) if "attention_mask" in inputs else 0
        fill = {"input_ids": self.processor.pad_token_id}
        padded = {name: functional.pad(one, (0, columns), value=fill.get(name, 0)) for name, one in inputs.items()}
        with torch.no_grad():
            alone = self.above(inputs, 0)[0]
            beside = self.above(padded, 0)[0][: len(alone)]
        return alike(beside, alone)


class PooledClassifier(OnBackbone):
    """A text backbone, its token features pooled, and one linear layer."""

    head: nn.Linear

    def __init__(self, backbone: PreTrainedModel, pooling: Pooling, classes: int) -> None:
        super().__init__(backbone)
        self.pooling = pooling
        self.head = nn.Linear(backbone.config.get_text_config().hidden_size, classes)

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        """Return `logits` (B, C)."""
        tokens = self.backbone(**inputs).last_hidden_state  # (B, T, D)
        pooled = pool(tokens, inputs["attention_mask"], self.pooling)  # (B, D)
        return SimpleNamespace(logits=self.head(pooled.to(self.head.weight.dtype)))


class PooledTextAdapter(TextAdapter):
    """A text backbone under pooling and a linear head of ours."""

    def save(self, folder: Path) -> None:
        """Write the native backbone, the tokenizer, and the head into `head.safetensors`."""
        self.model.save(folder)
        self.save_processor(folder)


def pool(tokens: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector (B, D) per text from token features (B, T, D) and the attention mask (B, T), in float32."""
    if pooling == "cls":
        return tokens[:, 0].float()  # (B, D)
    if pooling == "last":
        last = mask.sum(dim=1).clamp(min=1) - 1  # (B,)
        return tokens[torch.arange(tokens.shape[0], device=tokens.device), last].float()  # (B, D)
    weights = mask.unsqueeze(-1).float()  # (B, T, 1)
    return (tokens.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)  # (B, D)


def by_length(tensors: Activations, run: Callable[[Activations], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return what is made of each text (B, …), or of each of its tokens (B, T, …), where those of one length go through
    a network together without padding; tokens that are none get zeros."""
    lengths, total = tensors["attention_mask"].sum(dim=1), tensors["attention_mask"].shape[1]  # (B,)
    places: list[Tensor] = []
    made: list[list[Tensor]] = []
    for length in sorted(set(lengths.tolist())):
        places.append((lengths == length).nonzero()[:, 0])
        part = {name: tensor[places[-1]] for name, tensor in tensors.items()}
        # Features of whole texts, (B, D), have no token to leave out.
        part = {name: own if name == "hidden" and own.ndim < 3 else own[:, :length] for name, own in part.items()}
        made.append([_filled(found, total) if found.ndim > 2 else found for found in run(part)])
    order = torch.cat(places).argsort()
    return tuple(torch.cat(parts)[order] for parts in zip(*made, strict=True))


def _filled(tokens: Tensor, total: int) -> Tensor:
    """Return features of tokens (B, t, …) with zeros behind them, (B, T, …)."""
    return functional.pad(tokens, (0, 0) * (tokens.ndim - 2) + (0, total - tokens.shape[1]))


def clean_text(text: str) -> str:
    """Return the text with lone surrogates, which no tokenizer takes, replaced one for one by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join("\ufffd" if 0xD800 <= ord(sign) <= 0xDFFF else sign for sign in text)
    return text


def _most_tokens(model: PreTrainedModel | PooledClassifier, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the longest input in tokens that model and tokenizer take."""
    config = model.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 0
    # A tokenizer without a limit gives a number of thirty digits.
    limits = [ENDLESS_TOKENS, int(min(tokenizer.model_max_length, ENDLESS_TOKENS))]
    # XLNet, which has no limit, says -1. DeBERTa-v2 and T5 say 512, and know how far apart two tokens are alone.
    is_relative = getattr(config, "relative_attention", False) or hasattr(config, "relative_attention_num_buckets")
    if positions > 0 and (_position_tables(model) or not is_relative):
        limits.append(positions - positions_before_the_first(model))
    return max(1, min(limits))


def positions_before_the_first(model: nn.Module) -> int:
    """Return how many positions no token has: those of RoBERTa and its kin count on from the padding's."""
    padding = [table.padding_idx for table in _position_tables(model)]
    return max((place + 1 for place in padding if place is not None), default=0)


def _position_tables(model: nn.Module) -> list[nn.Embedding]:
    """Return the tables with a vector for each position in a text."""
    named = (module for name, module in model.named_modules() if name.endswith("position_embeddings"))
    return [module for module in named if isinstance(module, nn.Embedding)]
