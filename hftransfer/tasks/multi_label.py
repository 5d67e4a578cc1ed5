"""What tasks with any number of labels an example share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, must_be, some
from hftransfer.data.label_sets import LABEL_SETS
from hftransfer.data.settings import DataSettings
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.contract import Columns, Examples, Judged, Loss, Wishes
from hftransfer.tasks.head_task import ClassWeights, HeadTask
from hftransfer.tasks.outcomes import LabelsPrediction
from hftransfer.tasks.shown import Chance, Example, ExampleGroup, Line, Plot

if TYPE_CHECKING:
    from torch import Tensor, device

    from hftransfer.adapters.base import Adapter
    from hftransfer.data.roles import Found
    from hftransfer.data.splits import Split
    from hftransfer.data.targets import TargetKind, Targets

_SHOWN_EXAMPLES, _SHOWN_CURVES, _SHOWN_PAIRS = 12, 8, 20
_USUAL_THRESHOLD = 0.5
_LEAST_F1 = 0.1
LABELS = {
    "labels": "labels",
    "limit": "It knows these labels alone, and judges each by itself: of an input unlike its data it may give any.",
    "scores": "probabilities = ({}).sigmoid()",
}
"""Words of the tasks with any number of labels."""


class MultiLabelTask(HeadTask[np.ndarray]):
    """Any number of labels an example: each is a yes or no of its own, with a threshold that validation chooses."""

    targets = LABEL_SETS
    metrics = (
        Metric("macro_f1", title="macro F1", in_progress=True),
        Metric("micro_f1", title="micro F1"),
        Metric("example_f1", title="F1 of each example"),
        Metric("mean_average_precision", in_progress=True),
        Metric("subset_accuracy"),
        Metric("label_ranking_average_precision"),
        Metric("hamming_loss", higher_is_better=False),
        Metric("log_loss", higher_is_better=False, in_progress=True),
    )
    solver = "sigmoid"
    problem_type = "multi_label_classification"
    tuned = ("thresholds", "at_least_one")
    cross_validates = True

    @property
    @override
    def compared(self) -> Metric:
        return next(metric for metric in self.metrics if metric.name == "example_f1")

    @override
    def read_settings(self, settings: DataSettings) -> DataSettings:
        known = "labels" in settings.model_fields_set or settings.label_columns
        return settings if known else settings.model_copy(update={"labels": "multi"})

    @override
    def targets_of(self, found: Found) -> TargetKind:
        del found
        return LABEL_SETS

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        faults, several = super().faults(wishes), "left out for several labels a row"
        if wishes.strategy.contrasts:
            faults.append(must_be("strategy.objective", "cross-entropy for several labels a row", "contrastive"))
        if wishes.strategy.from_zero_shot:
            faults.append(must_be("strategy.head_init", "auto, solved or random for several labels a row", "zero-shot"))
        if wishes.data.shots is not None:
            faults.append(must_be("data.shots", several, wishes.data.shots, "data.limit takes the first of each."))
        return faults

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return the mean over labels of binary cross-entropy; with `class_weights` what has a label counts as much
        in all as what lacks it."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        wanted = np.asarray(examples.split.targets, dtype=np.float32)  # (N, C)
        by_label = None
        if class_weights is not False:
            # Of the labels as they are, before they are smoothed.
            weights = class_weights if isinstance(class_weights, np.ndarray) else positive_weights(wanted)
            by_label = torch.from_numpy(weights.astype(np.float32)).to(device)  # (C,)
        # Half of what is smoothed goes to each answer.
        labels = torch.from_numpy(wanted * (1 - label_smoothing) + label_smoothing / 2).to(device)

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            own = labels[torch.as_tensor(chosen, device=device)]  # (B, C)
            return binary_cross_entropy_with_logits(logits, own, pos_weight=by_label, reduction="sum") / classes

        return Loss(total, np.ones(len(wanted)))

    @override
    def in_training(self, adapter: Adapter, examples: Examples, loss: str | None) -> MultiLabelTask:
        """Let each label begin as likely as it is in training: a head that has to unlearn one half first spends its
        steps on that (Lin et al., arXiv 1708.02002, section 3.3)."""
        import torch

        del loss
        bias = adapter.head.bias
        if bias is not None:
            labels = np.asarray(examples.split.targets)
            shares = (labels.sum(axis=0) + 0.5) / (len(labels) + 1.0)  # (C,), never 0 or 1
            with torch.no_grad():
                bias.copy_(torch.from_numpy(np.log(shares / (1.0 - shares))))
        return self

    @override
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[np.ndarray]:
        """Return the probability (C,) of each label by itself."""
        from scipy.special import expit

        del examples, whole
        return list(expit(np.asarray(logits, dtype=np.float64).reshape(len(places), -1)))

    @override
    def judging_settings(self, settings: DataSettings, learned: Targets) -> dict[str, object]:
        del learned
        return {"at_least_one": settings.at_least_one}

    @override
    def judge(
        self, outcomes: Sequence[np.ndarray], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Return macro F1 and its kin, and the thresholds: the given ones, or those of the best F1 of each label here.

        The best model has the highest mean average precision: thresholds of an epoch fit the rows they are tuned on.
        """
        labels, probabilities = _labels_and_probabilities(outcomes, examples, class_names)
        if "thresholds" in extras:  # a model that brings none was not tuned: those of the judged rows would flatter it
            thresholds = extras["thresholds"] or dict.fromkeys(class_names, _USUAL_THRESHOLD)
        else:
            found = best_thresholds(labels, probabilities).tolist()
            thresholds = dict(zip(class_names, found, strict=True))
        at_least_one = bool(extras.get("at_least_one"))
        given = chosen(probabilities, _in_order(thresholds, class_names), at_least_one=at_least_one)
        if (told := extras.get("told")) is not None and not set(class_names) <= set(told):
            return _judged_of(told, labels, probabilities, given, examples, class_names, thresholds)
        tuned = {"thresholds": thresholds, "at_least_one": at_least_one}
        return _judged(labels, probabilities, given, examples, list(class_names), tuned)

    @override
    def judge_folds(
        self,
        outcomes: Sequence[np.ndarray],
        examples: Examples,
        class_names: Sequence[str],
        folds: Sequence[tuple[int, Mapping[str, Any]]],
        **settings: Any,
    ) -> Judged:
        # Labels are given by the thresholds of each fold's own validation rows: those of the judged rows would flatter.
        labels, probabilities = _labels_and_probabilities(outcomes, examples, class_names)
        parts = [_in_order(tuned["thresholds"], class_names) for _, tuned in folds]
        thresholds = np.repeat(parts, [count for count, _ in folds], axis=0)  # (N, C)
        given = chosen(probabilities, thresholds, at_least_one=bool(settings.get("at_least_one")))
        tuned = self.judge(outcomes, examples, class_names, **settings).extras
        return _judged(labels, probabilities, given, examples, list(class_names), tuned)

    @override
    def chance(self, metric: Metric, judged: Scores, split: Split, class_names: Sequence[str]) -> Chance | None:
        """Return the F1 of giving every label, which is the best constant answer by its mean over labels; by that over
        rows the best is a set of frequent labels."""
        from hftransfer.metrics.multi_label import best_constant, f1_of_rows

        del judged
        labels = np.asarray(split.targets).astype(bool)  # (N, C)
        if metric is self.headline and labels.size:
            counts = labels.sum(axis=0)  # (C,)
            score = float((2 * counts / (len(labels) + counts)).mean())
            return Chance(score, f"always giving all {len(counts)} labels")
        if metric is self.compared and labels.size:
            given = best_constant(labels)  # (C,)
            names = some((repr(class_names[place]) for place in np.flatnonzero(given).tolist()), 3)
            score = float(f1_of_rows(labels, np.broadcast_to(given, labels.shape)).mean())
            return Chance(score, f"always giving {names or 'no label'}")
        return None

    @override
    def of_each(self, columns: Columns) -> list[float]:
        """Return the F1 of each row's labels."""
        pairs = [(set(g), set(p)) for g, p in zip(columns["labels"], columns["prediction"], strict=True)]
        return [2 * len(g & p) / (len(g) + len(p)) if g or p else 1.0 for g, p in pairs]

    @override
    def present(self, scores: np.ndarray, names: Sequence[str], **tuned: Any) -> LabelsPrediction:
        thresholds = _in_order(tuned.get("thresholds") or {}, names)
        given = chosen(np.asarray(scores)[None], thresholds, at_least_one=bool(tuned.get("at_least_one")))[0]
        order = np.argsort(-np.asarray(scores), kind="stable").tolist()
        by_name = {names[i]: float(scores[i]) for i in order}
        best = names[order[0]]
        return LabelsPrediction(best, by_name[best], by_name, tuple(names[i] for i in order if given[i]))

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        del examples
        return [
            "strategy:",
            "  kind: linear-probe          # seconds; the first thing to try",
            "  # kind: fine-tune           # the last stages too",
            "  # unfreeze: 2",
        ]


def _labels_and_probabilities(
    outcomes: Sequence[np.ndarray], examples: Examples, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels rows have, and the probability of each, (N, C) both."""
    labels = np.asarray(examples.split.targets).astype(bool)
    return labels, np.asarray(outcomes, dtype=np.float64).reshape(-1, len(names))


def _judged_of(
    told: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    given: np.ndarray,
    examples: Examples,
    class_names: Sequence[str],
    thresholds: Mapping[str, float],
) -> Judged:
    """Return the scores of the labels that rows tell of: whether they have one of the others is not known.

    Raises:
        DataError: rows tell of none of the model's.
    """
    places = [place for place, name in enumerate(class_names) if name in told]
    if not places:
        raise DataError(must_be("the labels of the data", f"some of the model's ({some(class_names)})", some(told)))
    names = [class_names[place] for place in places]
    tuned = {"thresholds": dict(thresholds)}
    found = _judged(labels[:, places], probabilities[:, places], given[:, places], examples, names, tuned)
    found.metrics["labels_not_judged"] = [name for name in class_names if name not in told]
    return found


def _judged(
    labels: np.ndarray,
    probabilities: np.ndarray,
    given: np.ndarray,
    examples: Examples,
    names: list[str],
    tuned: dict[str, Any],
) -> Judged:
    """Return the scores of given labels (N, C), with what was tuned."""
    from hftransfer.metrics.multi_label import per_label, score_labels

    metrics = score_labels(labels, probabilities, given)
    metrics["per_class"] = {
        name: {**scores, "threshold": tuned["thresholds"][name]}
        for name, scores in per_label(labels, probabilities, given, names).items()
    }
    columns: Columns = {
        "id": [row.id for row in examples.split.rows],
        "labels": _named(labels, names),
        "prediction": _named(given, names),
    } | {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
    return Judged(
        metrics,
        (metrics["mean_average_precision"], -metrics["log_loss"]),
        columns,
        extras=tuned,
        plots=_plots(labels, probabilities, given, names),
        groups=_groups(labels, probabilities, given, names),
    )


def positive_weights(labels: np.ndarray) -> np.ndarray:
    """Return how much a row with each label (N, C) counts beside one without, (C,): both as much in all."""
    positive = labels.sum(axis=0)
    return np.asarray(np.maximum(len(labels) - positive, 1) / np.maximum(positive, 1))


def best_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return for each label (C,) the threshold with the best F1 on these rows (Lipton, Elkan and Naryanaswamy, arXiv
    1402.1892): halfway between the least probable row that is taken and the next.

    It is 0.5 where no row has the label, or the best F1 is below 0.1: such a threshold would be one of chance, and
    mostly takes all rows (Fan and Lin, A study on threshold selection for multi-label classification, 2007, section 3).
    """
    from hftransfer.metrics.multi_label import precision_recall

    found = np.full(labels.shape[1], _USUAL_THRESHOLD)
    for place, (own, scores) in enumerate(zip(labels.T, probabilities.T, strict=True)):
        if not own.any():
            continue
        precision, recall, values = precision_recall(own, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(f1.argmax())
        if f1[best] < _LEAST_F1:
            continue
        below = values[best + 1] if best + 1 < len(values) else 0.0
        found[place] = (values[best] + below) / 2
    return found


def chosen(probabilities: np.ndarray, thresholds: np.ndarray, *, at_least_one: bool = False) -> np.ndarray:
    """Return which labels are given (N, C): those whose probability is their threshold (C,) or more; with
    `at_least_one` the nearest to its own where none is."""
    given = np.asarray(probabilities >= thresholds)
    if at_least_one and given.shape[1]:
        nearest = (probabilities / np.maximum(thresholds, 1e-12)).argmax(axis=1)
        empty = ~given.any(axis=1)
        given[empty, nearest[empty]] = True
    return given


def _in_order(thresholds: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    return np.array([thresholds.get(name, _USUAL_THRESHOLD) for name in names])


def _named(given: np.ndarray, names: Sequence[str]) -> list[list[str]]:
    return [[names[i] for i in np.flatnonzero(row).tolist()] for row in given]


# --- what is shown ---------------------------------------------------------------------------------------------------


def _plots(labels: np.ndarray, probabilities: np.ndarray, given: np.ndarray, names: Sequence[str]) -> list[Plot]:
    """Return the precision-recall curves of the most frequent labels, and what is given in place of what."""
    from hftransfer.metrics.multi_label import precision_recall

    frequent = [i for i in np.argsort(-labels.sum(axis=0), kind="stable").tolist() if labels[:, i].any()]
    lines = []
    for i in frequent[:_SHOWN_CURVES]:
        precision, recall, _ = precision_recall(labels[:, i], probabilities[:, i])
        lines.append(Line(names[i], recall, precision))
    plots = [Plot("precision_recall", "Precision and recall of labels", "recall", "precision", lines)] if lines else []
    confused = _confused(labels, given)
    shown = sorted({i for pair, _ in confused.most_common(_SHOWN_PAIRS) for i in pair})
    if shown:
        counts = np.array([[confused[missed, wrong] for wrong in shown] for missed in shown])
        title, of = "Missed labels, and what was given instead", [names[i] for i in shown]
        plots.append(Plot("confused_labels", title, "wrongly given", "missed", matrix=counts, names=of))
    return plots


def _confused(labels: np.ndarray, given: np.ndarray) -> Counter[tuple[int, int]]:
    """Return how often one label was missed where another was wrongly given."""
    missed, wrong = labels & ~given, given & ~labels
    found: Counter[tuple[int, int]] = Counter()
    for row in np.flatnonzero(missed.any(axis=1) & wrong.any(axis=1)).tolist():
        found.update((i, j) for i in np.flatnonzero(missed[row]).tolist() for j in np.flatnonzero(wrong[row]).tolist())
    return found


def _groups(
    labels: np.ndarray, probabilities: np.ndarray, given: np.ndarray, names: Sequence[str]
) -> list[ExampleGroup]:
    """Return the worst mistakes, by their loss, and the surest right ones."""
    from hftransfer.metrics.multi_label import log_losses

    losses = log_losses(labels, probabilities)
    is_right = (labels == given).all(axis=1)
    wrong = [i for i in np.argsort(-losses, kind="stable").tolist() if not is_right[i]]
    right = [i for i in np.argsort(losses, kind="stable").tolist() if is_right[i] and labels[i].any()]

    def told(row: int) -> str:
        own = ", ".join(names[i] for i in np.flatnonzero(labels[row]).tolist()) or "no label"
        seen = [f"{names[i]} ({probabilities[row, i]:.0%})" for i in np.flatnonzero(given[row]).tolist()]
        return f"{own}, predicted as {', '.join(seen) or 'none'}"

    title = f"Worst mistakes: {len(wrong)} of {len(labels)} test examples with a mistake"
    groups = [("wrong", title, wrong), ("right", "Correct and most confident", right)]
    return [
        ExampleGroup(
            title,
            "wrong" if kind == "wrong" else "right",
            examples=[
                Example(i, told(i), output=int(probabilities[i].argmax()) if kind == "wrong" else None)
                for i in places[:_SHOWN_EXAMPLES]
            ],
            explained="the most probable label",
        )
        for kind, title, places in groups
        if places
    ]
