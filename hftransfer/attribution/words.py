"""Which words speak for a class: integrated gradients over word pieces, added up to words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hftransfer.adapters.anatomy import logits_of
from hftransfer.adapters.text_pairs import PairedTextAdapter
from hftransfer.adapters.texts import TextAdapter, clean_text
from hftransfer.base.errors import ModelError, must_be
from hftransfer.base.scripts import UNSPACED

if TYPE_CHECKING:
    from hftransfer.adapters.causal import CausalAdapter
    from hftransfer.tasks.templates import Placed

_STEPS = 48
_AT_ONCE = 16
_Pieces = list[tuple[str, list[tuple[int, int, int]]]]
"""Each text with its pieces: the place among the tokens, start and end."""


class Output(NamedTuple):
    """The logit that is explained: that of a label; where each token has logits, of one of them."""

    label: int
    token: int | None = None


@dataclass(frozen=True)
class Word:
    """A part of a text, and how much it speaks for the class (in logits; below 0: against it)."""

    text: str
    weight: float | None
    """None of what the model never read, because the text is longer than what it takes."""
    start: int
    end: int


@dataclass(frozen=True)
class Attributed:
    """The words of a text, or of both of a pair, and what they come to."""

    words: tuple[tuple[Word, ...], ...]
    total: float
    """The sum over all pieces, special tokens too."""
    difference: float
    """The logit (of what was written the log probability) of the text less that of nothing: what the total must come to
    (Sundararajan et al., section 3)."""
    score: float
    """The logit (the log probability) of the text itself."""


def attribute_words(
    adapter: Any, text: str | tuple[str, str], target: int, steps: int = _STEPS, max_tokens: int | None = None
) -> Attributed:
    """Return how much each word of a text raises the logit of a class over the mean of the others it is chosen from:
    integrated gradients (Sundararajan et al., arXiv 1703.01365, section 3) from padding to the text, along the path of
    word embeddings. The text is cut as the model cuts it, to `max_tokens` at most.

    Raises:
        ModelError: the model has no word embeddings of its own, or its tokenizer doesn't tell places in the text.
    """
    inputs, pieces = _pieces_of(adapter, text, max_tokens)
    return _attributed(adapter, inputs, pieces, Output(target), steps)


def attribute_tag(
    adapter: TextAdapter, text: str, target: int, start: int, steps: int = _STEPS, max_tokens: int | None = None
) -> Attributed | None:
    """Return how much each word of a text raises the logit of a tag of the word that begins at a character, as
    `attribute_words` does; None where that word was cut off.

    Raises:
        ModelError: the model has no word embeddings of its own, or its tokenizer doesn't tell places in the text.
    """
    inputs, pieces = _pieces_of(adapter, text, max_tokens)
    token = next((place for place, _, end in pieces[0][1] if end > start), None)
    return None if token is None else _attributed(adapter, inputs, pieces, Output(target, token), steps)


def _pieces_of(adapter: Any, text: str | tuple[str, str], max_tokens: int | None) -> tuple[dict[str, Tensor], _Pieces]:
    """Return the inputs of a text on the model's device, and where its pieces are."""
    device = next(adapter.model.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in adapter.pad([adapter.tokenize(text, max_tokens)]).items()}
    return inputs, _offsets(adapter, text, max_tokens, inputs["input_ids"].shape[-1])


def attribute_answer(
    adapter: CausalAdapter, prompt: Placed, answer: Sequence[int], first: int = 0, steps: int = _STEPS
) -> Attributed:
    """Return how much each word of a prompt raises the log probability (in nats) of what was written after it, of its
    tokens from `first` on: integrated gradients from padding in the place of the prompt's words to the prompt. What
    the template puts around them stays.

    Raises:
        ModelError: the model has no word embeddings of its own.
    """
    embedding, device = _embedding_of(adapter), next(adapter.model.parameters()).device
    ids = torch.tensor([[*prompt.ids, *answer]], device=device)  # (1, T)
    nothing, given = ids.clone(), adapter.processor
    empty = given.pad_token_id if given.pad_token_id is not None else given.eos_token_id
    nothing[0, [place for _, pieces in prompt.texts for place, _, _ in pieces]] = empty
    count = len(answer) - first
    wanted = ids[:, -count:]  # (1, n)
    # Some families know no such argument: they make the logits of the whole text.
    known = inspect.signature(type(adapter.model).forward).parameters
    more = {"logits_to_keep": count + 1} if "logits_to_keep" in known else {}

    def score(embedded: Tensor) -> Tensor:
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        found = _run_embedded(adapter, embedding, inputs, embedded, use_cache=False, **more)
        logs = logits_of(found)[:, -count - 1 : -1].float().log_softmax(dim=-1)  # (B, n, V)
        return logs.gather(2, wanted.expand(len(embedded), -1)[..., None]).sum(dim=(1, 2))  # (B,)

    per_piece, own, difference = integrated_gradients(embedding, ids, nothing, score, steps)
    words = tuple(_words(text, pieces, per_piece) for text, pieces in prompt.texts)
    return Attributed(words, float(per_piece.sum()), difference, own)


def _attributed(
    adapter: TextAdapter, inputs: dict[str, Tensor], pieces: _Pieces, output: Output, steps: int
) -> Attributed:
    embedding, ids = _embedding_of(adapter), inputs["input_ids"]  # (1, T), of pairs that are read apart (1, 2, T)
    # Special tokens stay at both ends of the path: they are no words of the text.
    special = torch.isin(ids, torch.tensor(sorted(set(adapter.processor.all_special_ids)), device=ids.device))
    nothing = torch.where(special, ids, torch.full_like(ids, adapter.processor.pad_token_id))

    def score(embedded: Tensor) -> Tensor:
        return _chosen(adapter, logits_of(_run_embedded(adapter, embedding, inputs, embedded)).float(), output)

    per_piece, own, difference = integrated_gradients(embedding, ids, nothing, score, steps)
    words = tuple(_words(part, places, per_piece) for part, places in pieces)
    return Attributed(words, float(per_piece.sum()), difference, own)


def integrated_gradients(
    embedding: nn.Embedding, ids: Tensor, nothing: Tensor, score: Callable[[Tensor], Tensor], steps: int
) -> tuple[np.ndarray, float, float]:
    """Return the attribution of each token (T,), of two texts one after the other, by the midpoint rule, the score of
    `ids`, and the difference from that of `nothing`, to which attributions add up; `score` gives scores (B,) of
    embeddings (B, …, T, D)."""
    with torch.no_grad():
        whole, empty = embedding(ids), embedding(nothing)  # (1, …, T, D)
    total = torch.zeros_like(whole)
    shares = (torch.arange(steps, device=ids.device) + 0.5) / steps
    for part in torch.split(shares, _AT_ONCE):
        along = part.reshape(-1, *[1] * (whole.ndim - 1))
        path = (empty + along * (whole - empty)).requires_grad_()  # (B, …, T, D)
        total += torch.autograd.grad(score(path).sum(), path)[0].sum(dim=0, keepdim=True) / steps
    with torch.no_grad():
        ends = [score(one).item() for one in (whole, empty)]
    per_piece: np.ndarray = (total * (whole - empty)).sum(dim=-1).flatten().detach().cpu().numpy()  # (T,), (2T,)
    return per_piece, ends[0], ends[0] - ends[1]


def _run_embedded(
    adapter: TextAdapter, embedding: nn.Embedding, inputs: Mapping[str, Tensor], embedded: Tensor, **options: object
) -> Any:
    """Return what the model gives of texts as embeddings (B, T, D), or pairs (B, 2, T, D)."""
    repeated = {name: tensor.expand(len(embedded), *tensor.shape[1:]) for name, tensor in inputs.items()}
    # The model's own code runs, and is given embeddings on the path in place of those of its input.
    handle = embedding.register_forward_hook(lambda *_: embedded.flatten(0, -3))
    try:
        return adapter.model(**repeated, **options)
    finally:
        handle.remove()


def _chosen(adapter: TextAdapter, logits: Tensor, output: Output) -> Tensor:
    """Return the logit that is explained less the mean of the others it is chosen from, (B,); where each label is
    judged by itself, its logit alone."""
    logits = logits if output.token is None else logits[:, output.token]  # (B, C)
    own = logits[:, output.label]
    if adapter.scoring != "softmax":
        return own
    # Softmax chooses by differences: what raises all logits alike speaks for no class.
    others = (logits.sum(dim=1) - own) / max(1, logits.shape[1] - 1)
    return own - others


def _embedding_of(adapter: TextAdapter) -> nn.Embedding:
    """Return the layer that makes vectors of word pieces."""
    known = len(adapter.processor)
    # Positions and token types have embeddings too: that of words has room for the whole vocabulary.
    found = [m for m in adapter.model.modules() if isinstance(m, nn.Embedding)]
    sized = [m for m in found if m.num_embeddings >= known] or sorted(found, key=lambda m: -m.num_embeddings)[:1]
    if not sized:
        raise ModelError(must_be(f"model '{adapter.name}'", "one with word embeddings", "none"))
    return sized[0]


def _offsets(adapter: TextAdapter, text: str | tuple[str, str], max_tokens: int | None, length: int) -> _Pieces:
    """Return each text with its pieces. Pairs that are read apart are padded to this length."""
    texts = [clean_text(one) for one in ([text] if isinstance(text, str) else text)]
    if not adapter.processor.is_fast:
        raise ModelError(
            must_be(f"the tokenizer of '{adapter.name}'", "a fast one, which gives positions in the text", "a slow one")
        )
    limit = adapter.longest(max_tokens)
    found: _Pieces = []
    if isinstance(adapter, PairedTextAdapter):
        for number, one in enumerate(texts):
            alone = adapter.processor(one, truncation=True, max_length=limit, return_offsets_mapping=True)
            spans = enumerate(alone["offset_mapping"], start=number * length)
            found.append((one, [(place, start, end) for place, (start, end) in spans if end > start]))
        return found
    encoded = adapter.processor(*texts, truncation=True, max_length=limit, return_offsets_mapping=True)
    sequence = encoded.sequence_ids(0)
    for number, one in enumerate(texts):
        places = [
            (place, start, end)
            for place, (start, end) in enumerate(encoded["offset_mapping"])
            if sequence[place] == number and end > start
        ]
        found.append((one, places))
    return found


_TWO_UNSPACED = re.compile(f"[{UNSPACED}]{{2}}")


def _words(text: str, pieces: list[tuple[int, int, int]], per_piece: np.ndarray) -> tuple[Word, ...]:
    """Return pieces that no white space divides as one word, with the sum of their weights; of scripts without spaces
    each piece is one. Words before the first piece and behind the last one were cut off."""
    words: list[Word] = []
    for place, start, end in pieces:
        stripped = start + len(text[start:end]) - len(text[start:end].lstrip())
        weight = float(per_piece[place])
        joined = words and stripped == words[-1].end and stripped == start
        if joined and not _TWO_UNSPACED.fullmatch(text[start - 1 : start + 1]):
            # A word of several pieces: WordPiece and BPE cut rare words.
            first = words.pop()
            words.append(Word(text[first.start : end], (first.weight or 0.0) + weight, first.start, end))
        else:
            words.append(Word(text[stripped:end], weight, stripped, end))
    first_read, last_read = (words[0].start, words[-1].end) if words else (0, 0)
    return (*_unread(text, 0, first_read), *words, *_unread(text, last_read, len(text)))


def _unread(text: str, start: int, end: int) -> tuple[Word, ...]:
    """Return the words of a part of a text that the model never read."""
    found = re.finditer(r"\S+", text[start:end])
    return tuple(Word(one[0], None, start + one.start(), start + one.end()) for one in found)
