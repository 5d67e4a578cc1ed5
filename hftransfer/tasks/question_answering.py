"""The span of a context that answers a question, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from hftransfer.adapters.heads import SPANS, Head
from hftransfer.tasks.base import Examples, Judged, Loss

if TYPE_CHECKING:
    from torch import Tensor

    from hftransfer.adapters.base import Adapter
    from hftransfer.data.rows import QuestionContent
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split

LONGEST_WINDOW_TOKENS = 384


class QuestionAnswering:
    """The span of a context that answers a question, or nothing."""

    name: ClassVar[Literal["question-answering"]] = "question-answering"
    modality: ClassVar[Literal["text"]] = "text"
    rows: ClassVar[Literal["questions"]] = "questions"
    head: ClassVar[Head] = SPANS
    metrics: ClassVar[tuple[str, ...]] = ("f1", "exact_match")

    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """The questions of a split as overlapping windows of their contexts.

        Raises:
            DataError: a question is longer than the window, or the stride is.
        """
        from hftransfer.adapters.texts import TextAdapter
        from hftransfer.tasks.items import TokenItems
        from hftransfer.tasks.windows import make_windows

        text_adapter = cast(TextAdapter, adapter)
        contents = _contents(split)
        window = window_tokens(text_adapter, settings.max_tokens)
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

    def loss(
        self, examples: Examples, classes: int, device: Any, *, label_smoothing: float, class_weights: bool
    ) -> Loss:
        """The mean of the cross-entropies of the answer's first and last token, over the tokens of the window
        (Devlin et al., arXiv 1810.04805, section 4.2); a window without the answer points at its first token."""
        import torch

        from hftransfer.tasks.spans import span_targets

        del classes, class_weights
        gold = [[(a.start, a.start + len(a.text)) for a in content.answers] for content in _contents(examples.split)]
        targets = torch.from_numpy(span_targets(examples.windows, gold)).to(device)
        lengths = torch.from_numpy(np.asarray(examples.items.lengths)).to(device)

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            picked = torch.as_tensor(chosen, device=device)
            padding = torch.arange(logits.shape[1], device=device) >= lengths[picked, None]
            logs = logits.masked_fill(padding.unsqueeze(-1), torch.finfo(logits.dtype).min).log_softmax(dim=1)
            own = logs.gather(1, targets[picked].unsqueeze(1)).squeeze(1)
            # Smoothing spreads over the window's tokens; padding has none of it.
            spread = logs.masked_fill(padding.unsqueeze(-1), 0.0).sum(dim=1) / lengths[picked, None]
            return -((1 - label_smoothing) * own + label_smoothing * spread).mean(dim=1).sum()

        return Loss(total, np.ones(len(examples.windows)))

    def judge(
        self, logits: Sequence[np.ndarray], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Exact match and F1; the best model has the highest F1.

        Where there are questions without an answer, the threshold of the null score is the given one, or else the one
        that fits these questions best: it is in `extras`.
        """
        from hftransfer.adapters.texts import clean_text
        from hftransfer.metrics.spans import score_spans
        from hftransfer.tasks.spans import decode

        del class_names
        contents = _contents(examples.split)
        contexts = [content.context for content in contents]
        gold = [[answer.text for answer in content.answers] for content in contents]
        threshold: float | None = extras.get("null_threshold")
        predictions = decode(examples.windows, logits, contexts, null_threshold=threshold)
        if "null_threshold" not in extras and any(not answers for answers in gold):
            threshold = _tuned_threshold(predictions, gold)
            predictions = decode(examples.windows, logits, contexts, null_threshold=threshold)
        metrics = score_spans([prediction.answer for prediction in predictions], gold)
        columns = {
            "id": [row.id for row in examples.split.rows],
            "question": [clean_text(content.question) for content in contents],
            "answers": [[clean_text(text) for text in answers] for answers in gold],
            "prediction": [clean_text(prediction.answer) for prediction in predictions],
            "score": [prediction.score for prediction in predictions],
            "start": [prediction.start for prediction in predictions],
            "end": [prediction.end for prediction in predictions],
        }
        extra = {} if threshold is None else {"null_threshold": threshold}
        return Judged(metrics, (metrics["f1"], metrics["exact_match"]), columns, extras=extra)


def window_tokens(adapter: Any, max_tokens: int | None) -> int:
    """How many tokens a window has: as asked, within the model's own limit."""
    return min(max_tokens or LONGEST_WINDOW_TOKENS, int(adapter.max_tokens))


def _contents(split: Split) -> list[QuestionContent]:
    return [cast("QuestionContent", row.content) for row in split.rows]


def _tuned_threshold(predictions: Sequence[Any], gold: Sequence[Sequence[str]]) -> float:
    """The threshold of the null score with the best F1 on these questions."""
    from hftransfer.metrics.spans import span_f1
    from hftransfer.tasks.spans import best_null_threshold

    answered = [span_f1(p.answer, list(answers)) for p, answers in zip(predictions, gold, strict=True)]
    differences = np.array([prediction.null_difference for prediction in predictions])
    return best_null_threshold(differences, np.array(answered), np.array([bool(answers) for answers in gold]))
