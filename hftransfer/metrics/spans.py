"""Metrics of extractive question answering: the predicted text of each question against its gold answers.

Both follow the official script of SQuAD v2.0 (Rajpurkar et al. 2018, arXiv 1806.03822), which gives the scores of the
v1.1 script (arXiv 1606.05250, section 6.1) wherever a gold answer holds more than articles and punctuation.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from hftransfer.metrics.intervals import mean_interval
from hftransfer.metrics.metric import Scores

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Return the text in lower case without ASCII punctuation, English articles and superfluous whitespace."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 where the prediction equals one of the gold answers after normalisation, else 0."""
    return float(normalize_answer(prediction) in _gold(answers))


def span_f1(prediction: str, answers: Sequence[str]) -> float:
    """Return the F1 score in [0, 1] of the predicted words as a bag, against the gold answer that it fits best."""
    words = normalize_answer(prediction).split()
    return max(_bag_f1(words, answer.split()) for answer in _gold(answers))


def score_spans(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> Scores:
    """`exact_match` and `f1` in [0, 1] of the predicted texts, one per question, for the gold answers of each.

    Where some questions have no gold answer, also `no_answer_accuracy` of those, and `has_answer_exact_match` and
    `has_answer_f1` of the others, if there are any.
    """
    scores = _both(predictions, answers)
    scores["f1_interval"] = mean_interval([span_f1(*pair) for pair in zip(predictions, answers, strict=True)])
    answerable = [number for number, own in enumerate(answers) if own]
    unanswerable = [number for number, own in enumerate(answers) if not own]
    if unanswerable and answerable:
        part = _both([predictions[number] for number in answerable], [answers[number] for number in answerable])
        scores |= {f"has_answer_{name}": score for name, score in part.items()}
    if unanswerable:
        scores["no_answer_accuracy"] = _mean([exact_match(predictions[number], ()) for number in unanswerable])
    return scores


def _both(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> Scores:
    pairs = list(zip(predictions, answers, strict=True))
    return {
        "exact_match": _mean([exact_match(*pair) for pair in pairs]),
        "f1": _mean([span_f1(*pair) for pair in pairs]),
    }


def _gold(answers: Sequence[str]) -> list[str]:
    """Return the normalised gold answers of which something is left; the empty text alone where there are none."""
    return [answer for answer in map(normalize_answer, answers) if answer] or [""]


def _bag_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    # Where one side has no words only two empty texts agree, as in SQuAD's own script.
    if not predicted or not gold:
        return float(predicted == gold)
    shared = (Counter(predicted) & Counter(gold)).total()
    return 2 * shared / (len(predicted) + len(gold))


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
