"""Texts as overlapping windows of tokens, and which token speaks for each word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from hftransfer.adapters.texts import clean_text
from hftransfer.base.errors import DataError, ModelError, must_be
from hftransfer.tasks.windows import Window

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import BatchEncoding, PreTrainedTokenizerFast

    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.data.tokens import Words, WordsContent

_CHUNK = 1000


@dataclass(frozen=True)
class WordWindow(Window):
    """A part of a text, `question` being its index, and the words that are judged by it."""

    words: tuple[int, ...]
    """Their indices in the text."""
    pieces: tuple[int, ...]
    """The token of each that speaks for it: its first."""


@dataclass(frozen=True)
class WindowedTexts:
    """The windows of texts, in order, and the words of each text."""

    windows: list[WordWindow]
    words: list[Words]


def word_windows(
    adapter: TextAdapter, contents: Sequence[WordsContent], max_tokens: int, stride_tokens: int
) -> WindowedTexts:
    """Return texts as windows of at most `max_tokens`, neighbours of which share `stride_tokens`.

    Each word is judged by the window in which its first token has most others on both sides. Where a content does not
    say which its words are, they are those of transformers' pipeline (`pipeline_words`).

    Raises:
        DataError: the stride leaves no room.
        ModelError: the tokenizer can't say which characters its tokens stand for.
    """
    tokenizer = adapter.processor
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(must_be("the tokenizer of token classification", "a fast one", type(tokenizer).__name__))
    room = max_tokens - tokenizer.num_special_tokens_to_add(pair=False)
    if not 0 <= stride_tokens < room:
        allowed = f"at least 0 and smaller than the {room} tokens of a text in a window"
        raise DataError(must_be("data.stride_tokens", allowed, stride_tokens, "Or set a larger data.max_tokens."))
    windows: list[WordWindow] = []
    words: list[Words] = []
    for first in range(0, len(contents), _CHUNK):
        part = contents[first : first + _CHUNK]
        texts = [clean_text(content.text) for content in part]
        encoded = tokenizer(texts, truncation=False, padding=False, verbose=False)
        for row, content in enumerate(part):
            text = _Encoded.of(encoded, row)
            own = (
                content.words
                if content.words is not None
                else pipeline_words(tokenizer, encoded.encodings[row], texts[row])
            )
            words.append(own)
            if not text.tokens["input_ids"]:
                windows.append(WordWindow(first + row, adapter.tokenize(""), (), (), ()))
                continue
            windows += text.windows(first + row, _first_pieces(own, text.offsets), room, stride_tokens)
    return WindowedTexts(windows, words)


def pipeline_words(tokenizer: PreTrainedTokenizerFast, encoding: Encoding, text: str) -> Words:
    """Return the characters of the words that transformers' `TokenClassificationPipeline` makes with
    `aggregation_strategy="first"`: its own rule of which token goes on with a word, so that entities are the same."""
    marks_pieces = bool(getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None))
    found = list[tuple[int, int]]()
    for token, name, (start, end), special in zip(
        encoding.ids, encoding.tokens, encoding.offsets, encoding.special_tokens_mask, strict=True
    ):
        if special:
            continue
        # In the order in which the pipeline asks: an unknown token begins a word, whatever it looks like.
        if token == tokenizer.unk_token_id:
            goes_on = False
        elif marks_pieces:
            goes_on = len(name) != end - start
        else:
            goes_on = start > 0 and " " not in text[start - 1 : start + 1]
        if goes_on and found:
            found[-1] = found[-1][0], end
        else:
            found.append((start, end))
    return tuple(found)


def _first_pieces(words: Words, offsets: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Return the word that each token speaks for: the first token that has characters of the word, and speaks for no
    other one before."""
    found: dict[int, int] = {}
    token = 0
    for word, (start, end) in enumerate(words):
        # Tokens before the word, and empty ones, speak for none.
        while token < len(offsets) and (offsets[token][1] <= start or offsets[token][0] == offsets[token][1]):
            token += 1
        if token < len(offsets) and offsets[token][0] < end:
            found[token] = word
            token += 1
    return found


@dataclass(frozen=True)
class _Encoded:
    """One text as the tokenizer gives it: the tokens of its own, and how many special ones stand around them."""

    tokens: dict[str, list[int]]
    offsets: list[tuple[int, int]]
    before: int
    after: int

    @classmethod
    def of(cls, encoded: BatchEncoding, row: int) -> _Encoded:
        encoding = encoded.encodings[row]
        own = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
        names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoded]
        tokens = {name: list(encoded[name][row]) for name in names}
        total = len(encoding.ids)
        first, last = (own[0], own[-1] + 1) if own else (total, total)
        return cls(tokens, [tuple(encoding.offsets[place]) for place in range(first, last)], first, total - last)

    def windows(self, text: int, spoken: dict[int, int], room: int, stride: int) -> Iterator[WordWindow]:
        """Yield the windows of a text; those by which no word is judged are left out, but for a text without any."""
        count = len(self.offsets)
        starts = [0] if count <= room else [*range(0, count - room, room - stride), count - room]
        edges = [(start, min(start + room, count)) for start in starts]
        # Between two windows a word goes to the one whose middle is nearer: from the middle of what they share.
        borders = [0, *((after[0] + before[1] + 1) // 2 for before, after in pairwise(edges)), count]
        for (start, end), (low, high) in zip(edges, pairwise(borders), strict=True):
            own = [token for token in range(low, high) if token in spoken]
            if own or len(edges) == 1:
                pieces = tuple(self.before + token - start for token in own)
                offsets = (*[None] * self.before, *self.offsets[start:end], *[None] * self.after)
                yield WordWindow(text, self._cut(start, end), offsets, tuple(spoken[token] for token in own), pieces)

    def _cut(self, start: int, end: int) -> dict[str, list[int]]:
        if end - start == len(self.offsets):
            return self.tokens
        first, last, total = self.before + start, self.before + end, self.before + len(self.offsets) + self.after
        return {
            name: [*values[: self.before], *values[first:last], *values[total - self.after : total]]
            for name, values in self.tokens.items()
        }
