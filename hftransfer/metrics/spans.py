"""Metrics of extractive question answering: the predicted text of each question against its gold answers.

Both follow the official script of SQuAD v2.0 (Rajpurkar et al. 2018, arXiv 1806.03822), which gives the scores of the
v1.1 script (arXiv 1606.05250, section 6.1) wherever a gold answer holds more than articles and punctuation.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import datasets
import evaluate

from hftransfer.metrics.intervals import mean_interval
from hftransfer.metrics.metric import Scores

if TYPE_CHECKING:
    from datasets.features.features import FeatureType

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class _SpanMetric(evaluate.Metric):
    """A metric of one text and the gold answers of its question, whose code is this class; data kept in memory."""

    takes: ClassVar[Mapping[str, FeatureType]] = {
        "predictions": datasets.Value("string"),
        "references": datasets.Sequence(datasets.Value("string")),
    }

    def __init__(self, **options: object) -> None:
        super().__init__(keep_in_memory=True, **options)

    def _info(self) -> evaluate.MetricInfo:
        text = (type(self).__doc__ or "").strip()
        return evaluate.MetricInfo(
            description=text, citation="", inputs_description="", features=datasets.Features(self.takes)
        )

    def _download_and_prepare(self, dl_manager: datasets.DownloadManager) -> None:
        """Fetch nothing: the code is here."""


class ExactMatch(_SpanMetric):
    """The share of questions whose normalised prediction equals one of the normalised gold answers.

    No gold answer at all means that the empty prediction is the right one.
    """

    def _compute(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        return {"exact_match": _mean([exact_match(*pair) for pair in zip(predictions, references, strict=True)])}


class SpanF1(_SpanMetric):
    """The mean over questions of the best F1 score of the predicted words against those of a gold answer.

    No gold answer at all means 1 for the empty prediction and 0 for any other.
    """

    def _compute(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        return {"f1": _mean([span_f1(*pair) for pair in zip(predictions, references, strict=True)])}


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
    texts = [_storable(prediction) for prediction in predictions]
    gold = [[_storable(answer) for answer in own] for own in answers]
    scores = _both(texts, gold)
    scores["f1_interval"] = mean_interval([span_f1(text, own) for text, own in zip(texts, gold, strict=True)])
    answerable = [number for number, own in enumerate(gold) if own]
    unanswerable = [number for number, own in enumerate(gold) if not own]
    if unanswerable and answerable:
        part = _both([texts[number] for number in answerable], [gold[number] for number in answerable])
        scores |= {f"has_answer_{name}": score for name, score in part.items()}
    if unanswerable:
        rest = [texts[number] for number in unanswerable]
        scores["no_answer_accuracy"] = _mean([exact_match(text, ()) for text in rest])
    return scores


def _both(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> Scores:
    scores: Scores = {}
    for metric in (ExactMatch(), SpanF1()):
        scores |= metric.compute(predictions=predictions, references=answers)
    return scores


def _gold(answers: Sequence[str]) -> list[str]:
    """Return the normalised gold answers of which something is left; the empty text alone where there are none."""
    return [answer for answer in map(normalize_answer, answers) if answer] or [""]


def _bag_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    # Where one side has no words only two empty texts agree, as in SQuAD's own script.
    if not predicted or not gold:
        return float(predicted == gold)
    shared = (Counter(predicted) & Counter(gold)).total()
    return 2 * shared / (len(predicted) + len(gold))


def _storable(text: str) -> str:
    """Return the text without lone surrogates, which Arrow can't hold."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _mean(scores: Sequence[float]) -> float:
    return sum(scores) / len(scores)
