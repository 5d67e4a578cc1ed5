"""What a person adds to a training from Python: metrics, a transform of training images, and who is told of scores."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from torch import nn

from hftransfer.base.errors import RecipeError, first_line, must_be
from hftransfer.tasks.contract import Judged, Task
from hftransfer.tasks.items import Transform

OnEvaluate: TypeAlias = Callable[[str, Mapping[str, object]], object]
"""A function that is called with the name of a split and its scores each time it is judged; where it returns True
training ends."""


@runtime_checkable
class EvaluateMetric(Protocol):
    """A metric of the library `evaluate`."""

    name: str
    features: Any

    def compute(self, *, predictions: Sequence[object], references: Sequence[object]) -> Mapping[str, Any] | None:
        """Return its values by name."""


OwnMetric: TypeAlias = "Callable[[np.ndarray, np.ndarray], float] | EvaluateMetric"
"""A function of the true labels (N,) and the predictions (N,), as names of classes or as numbers; the higher its value
the better. Or a metric of `evaluate`, which is given class ids where it takes whole numbers."""


@dataclass(frozen=True)
class Own:
    """The additions to one training."""

    on_evaluate: OnEvaluate | None = None
    metrics: Mapping[str, OwnMetric] = field(default_factory=dict)
    """By the name that each is shown under."""
    transform: Transform | None = None
    head: nn.Module | None = None
    """In the place of the last layer, from what enters that to the logits."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """What tells activations of images so changed from all others: two functions can't be compared."""

    @classmethod
    def of(
        cls,
        on_evaluate: OnEvaluate | None,
        metrics: Mapping[str, OwnMetric] | Sequence[OwnMetric],
        transform: Transform | None,
        head: object,
    ) -> Own:
        """Return what was given, each metric under its name.

        Raises:
            RecipeError: it can't be called, or two metrics have a name.
        """
        named = dict(metrics) if isinstance(metrics, Mapping) else {_name_of(one): one for one in metrics}
        faults = [
            must_be(f"metrics['{name}']", "a function of labels and predictions, or a metric of evaluate", repr(one))
            for name, one in named.items()
            if not callable(one) and not isinstance(one, EvaluateMetric)
        ]
        if len(named) < len(metrics):
            remedy = "Give a dict with a name for each."
            faults.append(
                must_be("the names of metrics", "different", f"{', '.join(named)} for {len(metrics)}", remedy)
            )
        module = head if isinstance(head, nn.Module) else None
        if module is not head:
            faults.append(must_be("head", "a module of torch", type(head).__name__))
        given: dict[str, object] = {"on_evaluate": on_evaluate, "transform": transform}
        for name, one in given.items():
            if one is not None and not callable(one):
                faults.append(must_be(name, "a function", type(one).__name__))
        if faults:
            raise RecipeError(*faults)
        return cls(on_evaluate, named, transform, module)

    def faults(self, task: Task) -> list[str]:
        """Return what of it does not go with a task."""
        if task.learns != "head":
            return [must_be("on_evaluate, metrics, transform and head", f"left out for task {task.name}", "given")]
        faults = []
        if self.metrics and not (task.has_classes or task.estimates):
            allowed = f"left out for task {task.name}, which has neither one label a row nor one number"
            faults.append(must_be("metrics", allowed, ", ".join(self.metrics)))
        taken = {metric.name for metric in task.metrics} & self.metrics.keys()
        faults += [must_be("a name in metrics", "different from the task's own", f"'{name}'") for name in sorted(taken)]
        if self.transform is not None and (task.reader.modality != "image" or task.reader.takes_masks):
            what = "whose masks would not be transformed too" if task.reader.takes_masks else "which reads texts"
            faults.append(must_be("transform", f"left out for task {task.name}, {what}", "given"))
        if self.head is not None and not task.takes_own_head:
            faults.append(must_be("head", f"left out for task {task.name}", type(self.head).__name__))
        return faults

    def judged(self, judged: Judged, class_names: Sequence[str]) -> Judged:
        """Return the same with the values of the metrics.

        Raises:
            RecipeError: a metric fails, or gives no number.
        """
        if not self.metrics:
            return judged
        columns = judged.columns
        wanted, given = np.asarray(columns.get("label", columns.get("value"))), np.asarray(columns["prediction"])
        found = {name: _value(name, one, wanted, given, class_names) for name, one in self.metrics.items()}
        return replace(judged, metrics={**judged.metrics, **found})


def _name_of(metric: OwnMetric) -> str:
    name = getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__)
    return str(name).replace(" ", "_")


def _value(name: str, metric: OwnMetric, wanted: np.ndarray, given: np.ndarray, class_names: Sequence[str]) -> float:
    """Return what a metric is of labels (N,) and predictions (N,)."""
    try:
        if isinstance(metric, EvaluateMetric):
            value: Any = _of_evaluate(name, metric, wanted, given, class_names)
        else:
            value = metric(wanted, given)
        number = float(value)
        if math.isnan(number):
            raise RecipeError(must_be(f"metrics['{name}']", "a number for these labels and predictions", "nan"))
        return number
    except RecipeError:
        raise
    except Exception as error:  # whatever a person's function comes upon
        got = f"one that fails ({type(error).__name__}: {first_line(error)})"
        allowed = "a function that gives a number of labels and predictions"
        raise RecipeError(must_be(f"metrics['{name}']", allowed, got)) from error


def _of_evaluate(
    name: str, metric: EvaluateMetric, wanted: np.ndarray, given: np.ndarray, class_names: Sequence[str]
) -> object:
    """Return the value of a metric of `evaluate`: the one with its own name, or the only one."""
    features = metric.features[0] if isinstance(metric.features, list) else metric.features
    if str(getattr(features["references"], "dtype", "")).startswith(("int", "uint")) and class_names:
        places = {label: place for place, label in enumerate(class_names)}
        wanted, given = (np.array([places[str(one)] for one in column]) for column in (wanted, given))
    found = metric.compute(predictions=given.tolist(), references=wanted.tolist()) or {}
    if metric.name in found or len(found) == 1:
        return found.get(metric.name, next(iter(found.values())))
    raise RecipeError(must_be(f"metrics['{name}']", "a metric with one value", ", ".join(found) or "none"))
