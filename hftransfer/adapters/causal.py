"""Language models that write: decoders with their own head, and how likely they find each token that is learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hftransfer.adapters.anatomy import Inputs, Reached, alike
from hftransfer.adapters.base import Activations
from hftransfer.adapters.libraries import FAULTS_OF_MODELS, quiet_transformers
from hftransfer.adapters.texts import ENDLESS_TOKENS, TextAdapter, Tokens
from hftransfer.base.errors import ModelError, first_line, must_be

if TYPE_CHECKING:
    pass

LABELS = "labels"
"""The name of the input that says which tokens are learned: (B, T), 1 or 0. The model is not given it."""
LOSS, HIT, SPREAD = 0, 1, 2
"""What is known of each learned token: the negative log of its probability (in nats), whether it is the likeliest, and
the mean of the negative logs of all tokens."""
_CHUNK_ELEMENTS = 1 << 23
"""Logits that lie in memory at once."""


class CausalAdapter(TextAdapter):
    """A decoder with its head. Where inputs say which tokens are learned, `above` gives what is known of them,
    (B, T, 3), in place of logits (B, T, V): those are made where a token is learned alone, a few at a time."""

    carried: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "position_ids")
    usual_tokens: ClassVar[int] = ENDLESS_TOKENS
    can_go_by_length: ClassVar[bool] = False
    packs: bool = False
    """Whether the texts of a batch go through the network in one row, without padding."""

    def pad(self, batch: Sequence[Tokens], at_least: int = 0) -> Inputs:
        """Return `input_ids`, `attention_mask` and `labels`, each (B, T), padded on the right."""
        found = super().pad([{n: own[n] for n in own if n != LABELS} for own in batch], at_least)
        if LABELS in batch[0]:
            marks = torch.zeros_like(found["input_ids"])  # (B, T)
            for row, own in enumerate(batch):
                marks[row, : len(own[LABELS])] = torch.tensor(own[LABELS])
            found[LABELS] = marks
        return found

    # --- the split ---

    def below(self, inputs: Inputs, boundary: int) -> Activations:
        """Return the activations at the boundary, and the labels."""
        labels = {name: inputs[name] for name in (LABELS,) if name in inputs}
        return {**super().below(_without_labels(inputs), boundary), **labels}

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return what is known of each learned token (B, T, 3), 0 for others; without labels the logits (B, T, V)."""
        if LABELS not in activations:
            return super().above(activations, boundary)
        size = max(16, _CHUNK_ELEMENTS // self.outputs)
        given = _packed(activations) if self.packs else activations
        features = self._features(_without_labels(given), boundary)  # (B, T, D), packed (1, N, D)
        scores = label_scores(features, given["input_ids"], given[LABELS], self.logits_of, size)
        return _unpacked(scores, activations["attention_mask"]) if self.packs else scores

    def pack(self) -> None:
        """Let the texts of a batch go through the network in one row from here on.

        Raises:
            ModelError: its texts would see one another, as in models that read a row from left to right by a state.
        """
        inputs = self.sample_inputs(2)
        inputs[LABELS] = inputs["attention_mask"].clone()
        inputs[LABELS][:, 0] = 0
        told = "another"
        with torch.no_grad():
            wanted = self.above(inputs, 0)
            self.packs = True
            try:
                if all(alike(self.above(self.below(inputs, at), at), wanted) for at in (0, len(self.stages) // 2)):
                    return
            except FAULTS_OF_MODELS as error:
                told = first_line(error)
        self.packs = False
        allowed = "one that keeps packed texts apart, for train.packing"
        raise ModelError(must_be(f"model '{self.name}'", allowed, f"{type(self.model).__name__}: {told}"))

    def _features(self, activations: Activations, boundary: int) -> Tensor:
        """Return what enters the head (B, T, D)."""
        if boundary == len(self.stages):
            return activations["hidden"]
        with self.split.entering_head(ends=True) as features, suppress(Reached):
            super().above(activations, boundary)
        return features[0]

    def logits_of(self, features: Tensor) -> Tensor:
        """Return the logits (n, V) of what enters the head (n, D), with all that the model does to them."""
        if self.split.head_is_direct:
            logits: Tensor = self.head(features.to(self.head.weight.dtype))
            return logits
        ids = torch.zeros(1, len(features), dtype=torch.int64, device=features.device)
        given = {"hidden": features[None], "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return super().above(given, len(self.stages))[0]

    # --- what is saved ---

    @property
    def known_ends(self) -> list[int]:
        """The tokens at which plain transformers ends a text that the model writes."""
        known = self.model.generation_config.eos_token_id
        return list(known) if isinstance(known, list) else [] if known is None else [known]

    def ends_with(self, stops: Sequence[int]) -> None:
        """Let the saved model stop at these tokens, too, where plain transformers writes with it."""
        settings = self.model.generation_config
        settings.eos_token_id = list(dict.fromkeys([*self.known_ends, *stops]))
        if settings.pad_token_id is None:
            settings.pad_token_id = self.processor.pad_token_id

    def save(self, folder: Path) -> None:
        """Write config, safetensors and the tokenizer; keys and values are kept again where the model writes."""
        with self.caching():
            super().save(folder)

    def save_lora(self, folder: Path, base: str) -> None:
        """Write peft's layout, which says that the base model writes."""
        assert self.peft is not None
        self.peft.peft_config["default"].task_type = self.head_port.peft_type
        super().save_lora(folder, base)
        with quiet_transformers():
            self.model.generation_config.save_pretrained(folder)  # which tokens end a text

    @contextmanager
    def caching(self) -> Iterator[None]:
        """Let the model keep keys and values within the block, as its own configuration has it."""
        config = self.model.config
        if not hasattr(config, "use_cache"):  # GPT-1 keeps none
            yield
            return
        before, config.use_cache = config.use_cache, True
        try:
            yield
        finally:
            config.use_cache = before

    def _require_split(self) -> None:
        """Check the split as for any text model, and that no token's logits depend on a later token.

        Raises:
            ModelError: they do: the model reads texts, and can't write them.
        """
        super()._require_split()
        inputs = self.sample_inputs(1)
        other = dict(inputs)
        other["input_ids"] = inputs["input_ids"].clone()
        other["input_ids"][0, -1] = other["input_ids"][0, 0]
        with torch.no_grad():
            one, two = (super(CausalAdapter, self).above(given, 0)[0, :-1] for given in (inputs, other))
        if not alike(one, two):
            got = f"{type(self.model).__name__}, in which a token sees the later ones"
            remedy = "Encoders such as BERT read texts; try bundled/smollm2-135m, GPT-2, Llama or Qwen."
            raise ModelError(must_be(f"model '{self.name}'", "a decoder, for text-generation", got, remedy))


def _without_labels(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name != LABELS}


def _packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tokens of a padded batch (B, T, …) as one row (1, N, …), with positions that begin anew at each text:
    by these, and without an attention mask, transformers 5.23 keeps texts apart where nothing is cached."""
    there = tensors["attention_mask"].bool()  # (B, T)
    row = {name: own[there][None] for name, own in tensors.items() if name != "attention_mask"}
    row["position_ids"] = (there.cumsum(dim=1) - 1)[there][None]  # (1, N)
    return row


def _unpacked(row: Tensor, mask: Tensor) -> Tensor:
    """Return a row (1, N, C) as the padded batch (B, T, C) that it was."""
    return row.new_zeros(*mask.shape, row.shape[-1]).index_put((mask.bool(),), row[0])


def label_scores(
    features: Tensor, ids: Tensor, labels: Tensor, logits_of: Callable[[Tensor], Tensor], size: int
) -> Tensor:
    """Return what is known of each learned token, (B, T, 3), from what enters the head (B, T, D), the tokens (B, T) and
    which of them are learned (B, T); zeros elsewhere.

    Logits are made for `size` tokens at a time, and made again for the gradient: of all at once there are B·T·V.
    """
    wanted = labels.bool()
    before = wanted.roll(-1, dims=1)  # (B, T): the places before them tell of them
    chosen, targets = features[before], ids[wanted]  # (n, D), (n,)
    parts = []
    for start in range(0, len(targets), size):
        part = chosen[start : start + size], targets[start : start + size]
        if torch.is_grad_enabled():
            parts.append(checkpoint(_scores, *part, logits_of, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_scores(*part, logits_of))
    found = features.new_zeros(*ids.shape, 3, dtype=torch.float32)
    # An empty sum, so that a batch without a learned token has a gradient too.
    return found.index_put((wanted,), torch.cat(parts)) if parts else found + 0.0 * features.sum()


def _scores(features: Tensor, targets: Tensor, logits_of: Callable[[Tensor], Tensor]) -> Tensor:
    logits = logits_of(features).float()  # (n, V)
    norm = logits.logsumexp(dim=-1)  # (n,)
    loss = norm - logits.gather(1, targets[:, None])[:, 0]
    hit = (logits.detach().argmax(dim=-1) == targets).float()
    return torch.stack([loss, hit, norm - logits.mean(dim=-1)], dim=-1)  # (n, 3)
