"""From the logits of windows to the answers of questions, and from gold answers to the targets of windows.

After Devlin et al. 2018 (arXiv 1810.04805), sections 4.2 and 4.3: a span's score is the sum of the logits of its first
and its last token, that of no answer the sum of both logits of the window's first token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from hftransfer.tasks.windows import Window

# The n-best list of the official SQuAD baselines: probabilities are over these spans and no answer.
_N_BEST = 20


@dataclass(frozen=True)
class Span:
    """The characters [start, end) of a context, and the probability that they are the answer."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class QuestionPrediction:
    """The answer of a question, empty where it is nothing, at the characters [start, end) of its context.

    `score` is the probability of the answer given, in [0, 1]. `null_difference` is the score of no answer minus that of
    the best span, in logits: infinite without any span. `alternatives` are the next best spans, best first; where the
    answer is nothing, the first of them is what it would have been.
    """

    answer: str
    score: float
    start: int
    end: int
    no_answer_probability: float
    null_difference: float
    alternatives: tuple[Span, ...]


class WindowSpans(NamedTuple):
    """The yield of the logits of one window: its best spans by their characters, and the score of no answer."""

    spans: dict[tuple[int, int], float]
    null: float


def spans_of(
    window: Window, logits: np.ndarray, context: str, longest_answer_tokens: int = 30, count: int = _N_BEST
) -> WindowSpans:
    """Return the best spans of one window from its logits (T, 2), T not padded, start before end."""
    scores = _finite(logits)  # (T, 2)
    found: dict[tuple[int, int], float] = {}
    for span, score in _best_spans(window, scores, context, longest_answer_tokens, count):
        found.setdefault(span, score)  # best first: tokens of whitespace give the same characters again
    return WindowSpans(found, float(scores[0].sum()))


def merged(
    windows: Sequence[Window],
    outcomes: Sequence[WindowSpans],
    contexts: Sequence[str],
    *,
    best: int = 5,
    null_threshold: float | None = None,
) -> list[QuestionPrediction]:
    """Return one prediction per context from the best spans of its windows.

    `best` spans are kept in all. The answer is nothing where the null difference is above `null_threshold` (SQuAD
    v2.0), and never where that is None (v1.1) unless there is no span at all.
    """
    found: list[dict[tuple[int, int], float]] = [{} for _ in contexts]
    nulls = [float("inf")] * len(contexts)
    for window, outcome in zip(windows, outcomes, strict=True):
        question = window.question
        # A question has no answer if no window has one: the least of all, as in the official baselines.
        nulls[question] = min(nulls[question], outcome.null)
        for span, score in outcome.spans.items():
            # Windows overlap: the same span counts once, by its better score.
            found[question][span] = max(score, found[question].get(span, -np.inf))
    predictions = []
    for context, spans, null in zip(contexts, found, nulls, strict=True):
        ranked = sorted(spans.items(), key=lambda item: (-item[1], item[0]))[: max(best, _N_BEST)]
        predictions.append(_prediction(context, ranked, null, best, null_threshold))
    return predictions


def decode(
    windows: Sequence[Window],
    logits: Sequence[np.ndarray],
    contexts: Sequence[str],
    *,
    best: int = 5,
    longest_answer_tokens: int = 30,
    null_threshold: float | None = None,
) -> list[QuestionPrediction]:
    """Return one prediction per context from the logits (T, 2) of each of its windows, as `merged` makes them."""
    count = max(best, _N_BEST)
    outcomes = [
        spans_of(window, scores, contexts[window.question], longest_answer_tokens, count)
        for window, scores in zip(windows, logits, strict=True)
    ]
    return merged(windows, outcomes, contexts, best=best, null_threshold=null_threshold)


def best_null_threshold(
    null_differences: np.ndarray, answers_f1_if_answered: np.ndarray, answerable: np.ndarray
) -> float:
    """Return the null threshold, in logits, with the highest mean F1 on these questions; all arguments have shape (N,).

    `answers_f1_if_answered` is the F1 score of each question's best span, for one without a gold answer too. As
    `find_best_thresh` of the official SQuAD v2.0 script does, except that equal differences stay together. Of equally
    good thresholds it is the lowest; below all differences where it is best to answer nothing.
    """
    finite = np.isfinite(null_differences)
    if not finite.any():
        return 0.0
    thresholds, group = np.unique(null_differences[finite], return_inverse=True)
    # Answering gains the F1 of an answer, and costs the 1 of a question that has none.
    gains = (np.asarray(answers_f1_if_answered, dtype=np.float64) - ~np.asarray(answerable, dtype=bool))[finite]
    totals = np.cumsum(np.bincount(group, weights=gains, minlength=len(thresholds)))
    chosen = int(totals.argmax())
    return float(thresholds[chosen]) if totals[chosen] > 0 else float(thresholds[0] - 1)


def span_targets(windows: Sequence[Window], answers: Sequence[Sequence[tuple[int, int]]]) -> np.ndarray:
    """Return the positions (W, A, 2) of the first and last token of each window's gold answers, int64.

    `answers` holds the characters [start, end) of the gold answers of each question. A window has each span once, up to
    A of them; the rest is -1. Its only span is (0, 0) where it holds no whole answer, or the question has none.
    """
    from hftransfer.tasks.windows import answer_tokens

    reach = _reach(windows, len(answers))
    found: list[list[tuple[int, int]]] = []
    for window in windows:
        # An answer at the edge of its context may begin or end with characters that belong to no token.
        first, last = reach[window.question]
        distinct = dict.fromkeys(answers[window.question])
        own = (answer_tokens(window, max(start, first), min(end, last)) for start, end in distinct)
        found.append(list(dict.fromkeys(span for span in own if span != (0, 0))) or [(0, 0)])
    targets = np.full((len(windows), max(map(len, found), default=1), 2), -1, dtype=np.int64)  # (W, A, 2)
    for row, spans in enumerate(found):
        targets[row, : len(spans)] = spans
    return targets


def _reach(windows: Iterable[Window], questions: int) -> list[tuple[int, int]]:
    """Return the characters [start, end) of each context from its first token to its last one."""
    starts, ends = [2**62] * questions, [0] * questions
    for window in windows:
        pairs = [pair for pair in window.offsets if pair is not None]
        if pairs:
            starts[window.question] = min(starts[window.question], pairs[0][0])
            ends[window.question] = max(ends[window.question], pairs[-1][1])
    return list(zip(starts, ends, strict=True))


def _finite(logits: np.ndarray) -> np.ndarray:
    """Logits as float64; what is no number, or infinite, is very bad or very good, but finite."""
    return np.nan_to_num(np.asarray(logits, dtype=np.float64), nan=-1e30, posinf=1e30, neginf=-1e30)


def _best_spans(
    window: Window, logits: np.ndarray, context: str, longest_tokens: int, count: int
) -> list[tuple[tuple[int, int], float]]:
    """Return the characters and scores of the best spans of one window, without whitespace around them, best first.

    All pairs of a start and an end within the length limit are compared, in one table (T, longest_tokens).
    """
    edges = [pair or (0, 0) for pair in window.offsets]
    usable = np.array([bool(context[start:end].strip()) for start, end in edges])  # (T,)
    rows = np.flatnonzero(usable)
    # Rows of the table are views of one array, each begun at its own start; behind the last token nothing ends.
    ends = np.concatenate([np.where(usable, logits[:, 1], -np.inf), np.full(longest_tokens - 1, -np.inf)])
    table = logits[rows, :1] + np.lib.stride_tricks.sliding_window_view(ends, longest_tokens)[rows]
    spans = []
    for place in _largest(table.ravel(), count):
        row, more = divmod(int(place), longest_tokens)
        first = rows[row]
        characters = _trimmed(context, edges[first][0], edges[first + more][1])
        spans.append((characters, float(table[row, more])))
    return spans


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the largest finite values, in falling order; equal ones in the order in which they come."""
    lowest = np.partition(values, -count)[-count] if len(values) > count else -np.inf
    chosen = np.flatnonzero((values >= lowest) & np.isfinite(values))
    return chosen[np.argsort(-values[chosen], kind="stable")][:count]


def _trimmed(context: str, start: int, end: int) -> tuple[int, int]:
    """Return the characters [start, end) without whitespace at both ends, which some tokenizers count to the tokens."""
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


def _prediction(
    context: str, ranked: Sequence[tuple[tuple[int, int], float]], null: float, best: int, null_threshold: float | None
) -> QuestionPrediction:
    """Return the prediction from the ranked spans of one context and the score of no answer."""
    if not ranked:
        return QuestionPrediction("", 0.0, 0, 0, 1.0, np.inf, ())
    *chances, nothing = _softmax([*(score for _, score in ranked), null])
    difference = null - ranked[0][1]
    spans = tuple(
        Span(context[start:end], start, end, chance)
        for ((start, end), _), chance in zip(ranked[:best], chances, strict=False)
    )
    if null_threshold is not None and difference > null_threshold:
        return QuestionPrediction("", nothing, 0, 0, nothing, difference, spans)
    top = spans[0]
    return QuestionPrediction(top.text, top.score, top.start, top.end, nothing, difference, spans[1:])


def _softmax(scores: Sequence[float]) -> list[float]:
    values = np.asarray(scores)
    # Less the largest, so that no power overflows.
    weights = np.exp(values - values.max())
    chances: list[float] = (weights / weights.sum()).tolist()
    return chances
