"""What tasks with a number an example share."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import must_be
from hftransfer.base.plain import shown_value
from hftransfer.data.numbers import Numbers
from hftransfer.metrics.metric import Metric, Scores
from hftransfer.tasks.contract import Columns, Examples, Judged, Loss, Task, Wishes
from hftransfer.tasks.head_task import ClassWeights, HeadTask
from hftransfer.tasks.outcomes import Number, Prediction
from hftransfer.tasks.shown import Chance, Example, ExampleGroup, Plot, both_ends

if TYPE_CHECKING:
    from torch import Tensor, device

    from hftransfer.adapters.base import Adapter
    from hftransfer.data.roles import Found
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split, Splits
    from hftransfer.data.targets import TargetKind, Targets

_SHOWN_EXAMPLES = 12


NUMBERS = {"goal": "estimating a number", "scores": "value = ({})[:, 0]"}
"""Words of the tasks with a number an example."""


class RegressionTask(HeadTask[float]):
    """A number an example, in the units of the data.

    The loop learns numbers of mean 0 and deviation 1, whatever their units: steps of an optimiser are of one size. When
    it is done the units are folded into the head, so that the native model gives the numbers themselves.
    """

    targets: ClassVar[TargetKind] = Numbers()
    metrics = (
        Metric("r2", title="R²", in_progress=True, is_bounded=False),
        *(Metric("pearson", title="Pearson correlation"), Metric("spearman", title="Spearman correlation")),
        Metric("mae", title="mean absolute error", higher_is_better=False),
        Metric("rmse", title="root mean squared error", higher_is_better=False),
    )
    solver = "ridge"
    problem_type = "regression"
    losses = ("mse", "huber")
    tuned = ("half_width", "coverage")
    cross_validates = True
    judges_labels = False
    estimates = True
    pairs_by_features = True
    classes_task: ClassVar[str]
    """The task for which the same values are classes."""

    mean, scale, loss_name = 0.0, 1.0, "mse"
    """The units of the logits, and the loss, as the loop has them."""

    @property
    @override
    def tags(self) -> tuple[str, str]:
        return self.classes_task, "regression"  # the Hub has no tag for regressions of texts and images

    @override
    def chance(self, metric: Metric, judged: Scores, split: Split, class_names: Sequence[str]) -> Chance | None:
        del judged, split, class_names
        return Chance(0.0, "always answering the mean") if metric.name == "r2" else None

    @override
    def targets_of(self, found: Found) -> TargetKind:
        return Numbers(found.target_column, self.classes_task)

    @override
    def for_targets(self, kind: TargetKind) -> Task:
        del kind
        return self

    @override
    def output_names(self, splits: Splits) -> tuple[str, ...]:
        return (splits.kind.name if isinstance(splits.kind, Numbers) else Numbers().name,)

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        faults = super().faults(wishes)
        if smoothing := wishes.train.label_smoothing:
            faults.append(must_be("train.label_smoothing", f"left out for task {self.name}", smoothing))
        return faults

    # --- learning ----------------------------------------------------------------------------------------------------

    @override
    def in_training(self, adapter: Adapter, examples: Examples, loss: str | None) -> HeadTask[float]:
        # The task itself is shared by all runs; units are those of this training split.
        task = copy.copy(self)
        task.loss_name = loss or self.losses[0]
        values = np.asarray(examples.split.targets, dtype=np.float64)
        if adapter.head.bias is None:  # nothing could take the mean
            task.scale = float(np.sqrt(np.square(values).mean())) or 1.0
            return task
        task.mean, task.scale = float(values.mean()), float(values.std()) or 1.0
        return task

    @override
    def begin_solved(self, adapter: Adapter, weight: Tensor, bias: Tensor) -> None:
        # A solved head gives numbers as they are; the loop trains in units of their deviation.
        adapter.set_head(weight / self.scale, (bias - self.mean) / self.scale)

    @override
    def finish(self, adapter: Adapter) -> None:
        import torch

        with torch.no_grad():
            # The saved model gives numbers as they are, and knows of no units.
            adapter.head.weight.mul_(self.scale)
            if adapter.head.bias is not None:
                adapter.head.bias.mul_(self.scale).add_(self.mean)

    @override
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return the mean of squared errors in units of the deviation; or of Huber's loss (1964), which is linear from
        one deviation on."""
        import torch
        from torch.nn import functional

        del classes, label_smoothing, class_weights
        values = (np.asarray(examples.split.targets, dtype=np.float64) - self.mean) / self.scale
        wanted = torch.from_numpy(values.astype(np.float32)).to(device)  # (N,)
        error = functional.mse_loss if self.loss_name == "mse" else functional.huber_loss

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            own = wanted[torch.as_tensor(chosen, device=device)]  # (B,)
            return error(logits.float().reshape(-1), own, reduction="sum")

        return Loss(total, np.ones(len(values)))

    # --- outcomes ----------------------------------------------------------------------------------------------------

    @override
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[float]:
        """Return the number of each example."""
        del examples, whole
        values = np.asarray(logits, dtype=np.float64).reshape(len(places), -1)[:, 0]
        return [float(value) for value in self.mean + self.scale * values]

    @override
    def judging_settings(self, settings: DataSettings, learned: Targets) -> dict[str, object]:
        del learned
        return {"coverage": settings.coverage}

    @override
    def judge(self, outcomes: Sequence[float], examples: Examples, class_names: Sequence[str], **extras: Any) -> Judged:
        """Return R² and its kin, and half the width of the intervals: the given one, whose coverage is judged, or that
        of the errors here."""
        from hftransfer.metrics.regression import half_width, score_numbers

        del class_names
        wanted, given = _wanted_and_given(examples, outcomes)
        metrics: Scores = score_numbers(wanted, given)
        coverage, half = extras.get("coverage"), extras.get("half_width")
        columns: Columns = {"id": [row.id for row in examples.split.rows], "value": wanted, "prediction": given}
        if half is not None:
            # A width that was chosen on other rows is judged on these.
            metrics["interval_half_width"] = half
            metrics["interval_coverage"] = float((np.abs(given - wanted) <= half).mean())
            columns |= {"low": given - half, "high": given + half}
        elif "half_width" not in extras and coverage is not None:
            half = half_width(wanted, given, coverage)
        return Judged(
            metrics,
            (metrics["r2"], -metrics["mae"]),
            columns,
            extras={"half_width": half, "coverage": coverage},
            plots=_plots(wanted, given),
            groups=_groups(wanted, given),
        )

    @override
    def judge_folds(
        self,
        outcomes: Sequence[float],
        examples: Examples,
        class_names: Sequence[str],
        folds: Sequence[tuple[int, Mapping[str, Any]]],
        **settings: Any,
    ) -> Judged:
        judged = self.judge(outcomes, examples, class_names, **settings)
        if any(tuned.get("half_width") is None for _, tuned in folds):
            return judged
        # Each row's interval is as wide as the validation rows of its own fold said.
        half = np.repeat([tuned["half_width"] for _, tuned in folds], [count for count, _ in folds])  # (N,)
        wanted, given = _wanted_and_given(examples, outcomes)
        judged.columns.update(low=given - half, high=given + half)
        coverage = float((np.abs(given - wanted) <= half).mean())
        judged.metrics.update(interval_half_width=float(half.mean()), interval_coverage=coverage)
        return judged

    @override
    def of_each(self, columns: Columns) -> list[float]:
        """Return what each row adds to R²."""
        from hftransfer.metrics.regression import shares_explained

        wanted, given = np.asarray(columns["value"]), np.asarray(columns["prediction"])
        return [float(share) for share in shares_explained(wanted, given)]

    @override
    def present(self, scores: np.ndarray, names: Sequence[str], **tuned: Any) -> Prediction:
        value, half = float(scores[0]), tuned.get("half_width")
        low, high = (None, None) if half is None else (value - half, value + half)
        return Number(names[0], value, {names[0]: value}, low, high)

    @override
    def drafted_strategy(self, examples: int) -> list[str]:
        del examples
        return [
            "strategy:",
            "  kind: linear-probe          # seconds; the first thing to try",
            "  # kind: fine-tune           # the whole network, or unfreeze: 2 for the last stages",
        ]


def _wanted_and_given(examples: Examples, outcomes: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(examples.split.targets, dtype=np.float64), np.asarray(outcomes, dtype=np.float64)


# --- what is shown ---------------------------------------------------------------------------------------------------


def _plots(wanted: np.ndarray, given: np.ndarray) -> list[Plot]:
    """Return the estimates beside the true numbers, and how far off they are."""
    return [
        Plot("predicted", "Predicted and true", "true", "predicted", points=(wanted, given), reference="diagonal"),
        Plot(
            "residuals",
            "How far off",
            "predicted",
            "true less predicted",
            points=(given, wanted - given),
            reference="zero",
        ),
    ]


def _groups(wanted: np.ndarray, given: np.ndarray) -> list[ExampleGroup]:
    """Return the estimates that are farthest from the true numbers, and the nearest."""
    errors = np.abs(given - wanted)
    note = "" if np.ptp(given) else "All predictions are the same number: their correlations are told as 0."
    order = np.argsort(-errors, kind="stable").tolist()

    def told(place: int) -> str:
        off = float(given[place] - wanted[place])
        sign = "" if off < 0 else "+"
        return (
            f"{shown_value(wanted[place])}, estimated as {shown_value(given[place], 4)} ({sign}{shown_value(off, 3)})"
        )

    farthest, nearest = both_ends(order, _SHOWN_EXAMPLES, _SHOWN_EXAMPLES)
    shown: list[tuple[str, Literal["", "right", "wrong"], list[int]]] = [
        (f"Farthest off of {len(wanted)} test examples", "wrong", farthest),
        ("Nearest", "right", nearest),
    ]
    return [
        ExampleGroup(
            title,
            kind,
            note if kind == "wrong" else "",
            explained="a higher number",
            examples=[Example(place, told(place), output=0 if kind == "wrong" else None) for place in places],
        )
        for title, kind, places in shown
        if places
    ]
