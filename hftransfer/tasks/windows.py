"""Questions with their contexts as overlapping windows of tokens, and where in them an answer is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from hftransfer.adapters.texts import Tokens, clean_text
from hftransfer.base.errors import DataError, ModelError, counted, must_be
from hftransfer.data.settings import OR_LESS_STRIDE, OR_MORE_TOKENS

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import BatchEncoding, PreTrainedTokenizerFast


_TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_CHUNK_QUESTIONS = 1000
_TOLD_FAULTS = 10

Offsets = tuple[tuple[int, int] | None, ...]
"""For each token the characters [start, end) of the original context, None where it is not the context's."""


@dataclass(frozen=True)
class Window:
    """A question, by its index, with as much of its context as fits; not padded."""

    question: int
    tokens: Tokens
    offsets: Offsets


def make_windows(
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    contexts: Sequence[str],
    max_tokens: int,
    stride_tokens: int,
    ids: Sequence[str] | None = None,
) -> list[Window]:
    """Return the windows of all questions in order, each at most `max_tokens` long, the question before its context.

    Neighbouring windows of a context share `stride_tokens` of its tokens. A context without any token gives one window
    of the question alone. Faults name a question by its entry in `ids`, or else by its index.

    Raises:
        DataError: questions have no token, leave no room for a context, or leave no more room than the stride.
        ModelError: the tokenizer can't say which characters its tokens stand for.
    """
    # Only fast tokenizers tell which characters a token stands for.
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(must_be("the tokenizer of question answering", "a fast one", type(tokenizer).__name__))
    cleaned = [clean_text(question) for question in questions]
    windows: list[Window] = []
    with _truncation_kept(tokenizer):
        _check_room(tokenizer, cleaned, max_tokens, stride_tokens, ids)
        # In parts: the tokenizer's own encodings of all questions would take far more memory than the windows.
        for first in range(0, len(cleaned), _CHUNK_QUESTIONS):
            chunk = slice(first, first + _CHUNK_QUESTIONS)
            encoded = tokenizer(
                cleaned[chunk],
                [clean_text(context) for context in contexts[chunk]],
                truncation="only_second",
                padding=False,
                max_length=max_tokens,
                stride=stride_tokens,
                return_overflowing_tokens=True,
            )
            windows += _windows_of(encoded, contexts, first)
    return windows


def answer_tokens(window: Window, start_char: int, end_char: int) -> tuple[int, int]:
    """Return the positions of the first and the last token (inclusive) of the context's characters [start, end).

    They are (0, 0), the place of no answer, where the window does not hold the whole answer.
    """
    context = [(token, *pair) for token, pair in enumerate(window.offsets) if pair is not None]
    if not context or not context[0][1] <= start_char < end_char <= context[-1][2]:
        return 0, 0
    first = next(token for token, _, end in context if end > start_char)
    last = next(token for token, start, _ in reversed(context) if start < end_char)
    return (first, last) if first <= last else (0, 0)


def _windows_of(encoded: BatchEncoding, contexts: Sequence[str], first: int) -> Iterator[Window]:
    """Yield the windows in one result of the tokenizer; `first` is the index of its first question."""
    # The same pairs of numbers come again and again: one object each saves memory.
    kept: dict[tuple[int, int], tuple[int, int]] = {}
    names = [name for name in _TOKEN_INPUTS if name in encoded]
    rows = enumerate(encoded["overflow_to_sample_mapping"])
    for number, group in groupby(rows, key=lambda pair: pair[1]):
        question, own = first + number, [row for row, _ in group]
        offsets = [_context_offsets(encoded.encodings[row]) for row in own]
        if not contexts[question].isascii():
            offsets = _with_marks(offsets, contexts[question])
        for row, pairs in zip(own, offsets, strict=True):
            tokens = {name: list(encoded[name][row]) for name in names}
            yield Window(question, tokens, tuple(pair and kept.setdefault(pair, pair) for pair in pairs))


def _context_offsets(encoding: Encoding) -> list[tuple[int, int] | None]:
    pairs = zip(encoding.offsets, encoding.sequence_ids, strict=True)
    return [pair if sequence == 1 else None for pair, sequence in pairs]


def _with_marks(
    windows: Sequence[Sequence[tuple[int, int] | None]], context: str
) -> list[list[tuple[int, int] | None]]:
    """Return the offsets of all windows of a context, each token taking in the combining marks behind it that none
    holds.

    A tokenizer that strips accents leaves them out, and with them vowel signs of Indic scripts.
    """
    starts = {pair[0] for pairs in windows for pair in pairs if pair}

    def end_of(end: int) -> int:
        while end < len(context) and end not in starts and unicodedata.category(context[end]).startswith("M"):
            end += 1
        return end

    return [[pair and (pair[0], end_of(pair[1])) for pair in pairs] for pairs in windows]


@contextmanager
def _truncation_kept(tokenizer: PreTrainedTokenizerFast) -> Iterator[None]:
    """Put the tokenizer's own truncation, which a saved tokenizer carries along, back afterwards."""
    backend = tokenizer.backend_tokenizer
    before = backend.truncation
    try:
        yield
    finally:
        if before is None:
            backend.no_truncation()
        else:
            backend.enable_truncation(**before)


def _check_room(
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    max_tokens: int,
    stride_tokens: int,
    ids: Sequence[str] | None,
) -> None:
    """Tell all faults at once: the tokenizer itself would panic, which no `except Exception` catches."""
    free = max_tokens - tokenizer.num_special_tokens_to_add(pair=True)
    faults = []
    for number, count in enumerate(_token_counts(tokenizer, questions)):
        name = f"question {ids[number]}" if ids is not None else f"question {number} (counted from 0)"
        faults += _room_faults(name, count, free, stride_tokens)
    if faults:
        rest = len(faults) - _TOLD_FAULTS
        raise DataError(*faults[:_TOLD_FAULTS], *([f"The same goes for {rest} more questions."] if rest > 0 else []))


def _room_faults(name: str, count: int, free: int, stride_tokens: int) -> list[str]:
    """Return what is wrong with a question of `count` tokens in a window that has `free` tokens beside the special
    ones."""
    if count == 0:
        return [must_be(name, "a text with at least one token", "none")]
    # Neighbouring windows share `stride_tokens` of the context, and each has one more of its own.
    most = max(0, free - 1 - stride_tokens)
    if stride_tokens < 0 or 0 < stride_tokens > free - 2:
        allowed = f"at least 0 and less than {max(0, free - 1)}, which leaves a token of a window to the question"
        return [must_be("data.stride_tokens", allowed, stride_tokens, f"Or{OR_MORE_TOKENS[4:]}.")]
    if count > most:
        left = counted(stride_tokens + 1, "token")
        allowed = f"at most {most} tokens long, which leaves {left} of a window to its context"
        return [must_be(name, allowed, f"{count} tokens", f"Shorten it{OR_MORE_TOKENS}{OR_LESS_STRIDE}.")]
    return []


def _token_counts(tokenizer: PreTrainedTokenizerFast, questions: Sequence[str]) -> Iterator[int]:
    """Yield how many tokens each question has, without special ones."""
    for first in range(0, len(questions), _CHUNK_QUESTIONS):
        chunk = list(questions[first : first + _CHUNK_QUESTIONS])
        encoded = tokenizer(chunk, add_special_tokens=False, truncation=False, padding=False, verbose=False)
        yield from map(len, encoded["input_ids"])
