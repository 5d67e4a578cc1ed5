"""What tasks with one class of several an example share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from typing_extensions import override

from hftransfer.data.label_sets import LABEL_SETS, kind_of
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings
from hftransfer.data.targets import TargetKind
from hftransfer.metrics.metric import Metric
from hftransfer.tasks.contract import Columns, Examples, Judged, Loss, Task
from hftransfer.tasks.head_task import ClassWeights, HeadTask

if TYPE_CHECKING:
    from torch import Tensor, device

_FROM_MANY = 1000
"""Examples from which on a draft says that there is enough to fine-tune with."""


class ClassOutcome(NamedTuple):
    """The yield of the logits (C,) of one example."""

    predicted: int
    confidence: float
    own: float
    """The probability of the true class."""
    rivals: int
    probabilities: np.ndarray | None
    """(C,), where the whole outcome is kept."""


_FEW = 1 << 20
"""Probabilities of a split, 8 MB, up to which all are kept."""


class LabelledTask(HeadTask[ClassOutcome]):
    """One class of several an example: cross-entropy, and metrics of probabilities."""

    cross_validates = True
    keeps_familiarity = True
    calibrates = True
    tuned = ("conformity",)
    metrics = (
        Metric("accuracy", is_share=True, in_progress=True),
        *(Metric("balanced_accuracy"), Metric("macro_f1"), Metric("roc_auc"), Metric("average_precision")),
        Metric("log_loss", higher_is_better=False, in_progress=True),
        Metric("expected_calibration_error", higher_is_better=False),
    )

    @property
    def several(self) -> HeadTask[Any]:
        """The same task for rows with any number of labels."""
        raise NotImplementedError

    @property
    def of_numbers(self) -> HeadTask[Any]:
        """The same task for rows with a number each."""
        raise NotImplementedError

    @override
    def for_targets(self, kind: TargetKind) -> Task:
        return self.several if kind is LABEL_SETS else self

    @override
    def read_settings(self, settings: DataSettings) -> DataSettings:
        known = "labels" in settings.model_fields_set or settings.label_columns
        return settings if known else settings.model_copy(update={"labels": "one"})

    @override
    def targets_of(self, found: Found) -> TargetKind:
        return kind_of(found)

    @override
    def for_settings(self, settings: DataSettings) -> Task:
        return self.several if settings.labels == "multi" or settings.label_columns else self

    @override
    def for_problem(self, problem_type: str | None) -> HeadTask[Any]:
        if problem_type == "regression":
            return self.of_numbers
        return self.several if problem_type == "multi_label_classification" else self

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return cross-entropy; with `class_weights` each class counts as they say."""
        import torch
        from torch.nn.functional import cross_entropy

        ids = examples.split.class_ids
        labels = torch.from_numpy(ids).to(device)  # (N,)
        # The same weights divide the sum of the losses afterwards: the mean is over what counts.
        by_class = weights_by_class(class_weights, ids, classes)
        weights = torch.from_numpy(by_class).float().to(device)  # (C,)

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            wanted = labels[torch.as_tensor(chosen, device=device)]  # (B,)
            return cross_entropy(logits, wanted, weight=weights, label_smoothing=label_smoothing, reduction="sum")

        return Loss(total, by_class[ids])

    @override
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[ClassOutcome]:
        from hftransfer.metrics.classification import Guesses

        # In float64: probabilities near 1 keep what tells them apart.
        probabilities = softmax(np.asarray(logits, dtype=np.float64).reshape(len(places), -1))  # (B, C)
        found = Guesses.of(probabilities, examples.split.class_ids[list(places)])
        # What few classes and rows give is ranked where outcomes stream, too.
        keeps = whole or len(examples.split.class_ids) * probabilities.shape[1] <= _FEW
        fields = (found.predicted.tolist(), found.confidence.tolist(), found.own.tolist(), found.rivals.tolist())
        return [
            ClassOutcome(*row, probabilities[place] if keeps else None)
            for place, row in enumerate(zip(*fields, strict=True))
        ]

    @override
    def judge(
        self, outcomes: Sequence[ClassOutcome], examples: Examples, class_names: Sequence[str], **extras: object
    ) -> Judged:
        """Return accuracy and its kin; the best model has the highest accuracy, of equals the lowest log loss."""
        from hftransfer.metrics.calibration import conformity_of, set_scores
        from hftransfer.metrics.classification import Guesses, positive_scores, ranking_scores, score_guesses

        labels, names = examples.split.class_ids, list(class_names)
        # The first four fields of an outcome are those of `Guesses`; its probabilities may not be kept.
        kept = [np.array([outcome[field] for outcome in outcomes]) for field in range(4)]
        metrics = score_guesses(Guesses(*kept), labels, len(names))
        columns: Columns = {
            "id": [row.id for row in examples.split.rows],
            "label": [names[label] for label in labels],
            "prediction": [names[outcome.predicted] for outcome in outcomes],
        }
        probabilities = None
        if all(outcome.probabilities is not None for outcome in outcomes):
            probabilities = np.array([outcome.probabilities for outcome in outcomes]).reshape(-1, len(names))  # (N, C)
            columns |= {f"probability_{name}": probabilities[:, index] for index, name in enumerate(names)}
            metrics |= ranking_scores(probabilities, labels)
        if len(names) == 2:
            metrics |= {**positive_scores(kept[0], labels), "positive_class": names[1]}
        given = cast("tuple[float, ...] | None", extras.get("conformity"))
        if given and probabilities is not None and len(labels):  # sets of other examples than those that chose them
            metrics |= set_scores(probabilities, labels, given)
        known = given or conformity_of(kept[2], kept[0] == labels)
        score = (metrics["accuracy"], -metrics["log_loss"])
        return Judged(metrics, score, columns, probabilities, extras={"conformity": known})

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        lines = ["strategy:", "  kind: linear-probe          # seconds; the first thing to try"]
        lines += ["  # kind: fine-tune           # the last stages too", "  # unfreeze: 2"]
        if examples >= _FROM_MANY:
            lines.append("  # There is enough to fine-tune with: compare both (hftransfer compare).")
        return [*lines, "  # kind: lora                # few parameters beside frozen layers", "  # rank: 8"]


def weights_by_class(wish: ClassWeights, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how much each class (C,) counts, as is wished."""
    if isinstance(wish, np.ndarray):
        return wish
    return balanced_weights(labels, classes) if wish else np.ones(classes)


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return one weight (C,) per class, N / (C · count), as scikit-learn's `balanced`."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return class probabilities (N, C) from logits (N, C)."""
    # Less the largest, so that no power overflows; `initial` for batches without a row.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
