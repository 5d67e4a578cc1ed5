"""Entity scores against seqeval's strict IOB2 mode, and hand-counted confusions."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

from hftransfer.metrics.entities import NOTHING, TaggedSpan, entities_of, score_tags, text_f1

TAGS = ("O", "O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-per-son", "I-per-son")


def _texts(seed: int, count: int) -> tuple[list[list[str]], list[list[str]]]:
    """Random true tags, and predictions that mostly agree; broken sequences are among both."""
    draw = random.Random(seed)
    gold = [[draw.choice(TAGS) for _ in range(draw.randrange(0, 12))] for _ in range(count)]
    said = [[tag if draw.random() < 0.7 else draw.choice(TAGS) for tag in own] for own in gold]
    return gold, said


def _by_seqeval(gold: Any, said: Any) -> dict[str, Any]:
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, Any] = classification_report(gold, said, mode="strict", scheme=IOB2, output_dict=True)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_those_of_seqeval(seed: int) -> None:
    gold, said = _texts(seed, 40)
    ours, theirs = score_tags(gold, said), _by_seqeval(gold, said)
    for name, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
        assert ours[name] == pytest.approx(theirs["micro avg"][key])
        for kind, own in ours["per_class"].items():
            assert own[name] == pytest.approx(theirs[kind][key])
            assert own["support"] == theirs[kind]["support"]


def test_the_interval_holds_the_score_and_shrinks_with_texts() -> None:
    few, many = score_tags(*_texts(1, 30)), score_tags(*_texts(1, 600))
    for scores in (few, many):
        low, high = scores["f1_interval"]
        assert 0 <= low < scores["f1"] < high <= 1
    width = [scores["f1_interval"][1] - scores["f1_interval"][0] for scores in (few, many)]
    assert width[1] < width[0] / 2


def test_what_is_inside_of_nothing_is_no_entity() -> None:
    tags = ["I-PER", "B-PER", "I-PER", "I-LOC", "B-LOC", "B-LOC"]
    assert entities_of(tags) == [TaggedSpan(1, 3, "PER"), TaggedSpan(4, 5, "LOC"), TaggedSpan(5, 6, "LOC")]


def test_types_and_spans_that_are_half_right_are_counted() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC", "O", "B-LOC"]]
    said = [["B-LOC", "I-LOC", "O", "B-LOC", "I-LOC", "O"]]
    scores = score_tags(gold, said)
    assert (scores["right_span_wrong_type"], scores["right_type_wrong_span"]) == (1, 1)
    assert scores["type_confusion"] == {
        "names": ["LOC", "PER", NOTHING],
        "counts": [[0, 0, 2], [1, 0, 0], [1, 0, 0]],
    }
    assert scores["token_accuracy"] == pytest.approx(2 / 6)


def test_plain_tags_are_judged_word_by_word() -> None:
    scores = score_tags([["NOUN", "VERB", "NOUN"]], [["NOUN", "NOUN", "NOUN"]], plain=True)
    assert scores["f1"] == scores["precision"] == scores["recall"] == scores["token_accuracy"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx((0.8 + 0.0) / 2)
    with_outside = score_tags([["PER", "O", "PER"]], [["PER", "PER", "O"]], plain=True)
    assert with_outside["f1"] == pytest.approx(0.5)


def test_a_text_without_entities_is_right_where_none_is_predicted() -> None:
    assert text_f1(["O", "O"], ["O", "O"]) == 1.0
    assert text_f1(["O", "O"], ["B-PER", "O"]) == 0.0
    assert text_f1(["B-PER", "O", "B-PER"], ["B-PER", "O", "O"]) == pytest.approx(2 / 3)
    assert score_tags([], [])["f1"] == 0.0
