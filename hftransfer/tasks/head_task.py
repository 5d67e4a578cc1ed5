"""Tasks whose runs train a head on one network: what the engine of heads asks of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, cast

import numpy as np
from typing_extensions import override

from hftransfer.adapters.heads import Head
from hftransfer.base.errors import must_be
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Split, Splits
from hftransfer.tasks.contract import Examples, Judged, Loss, Task, Wishes
from hftransfer.tasks.outcomes import Manner, Prediction, prediction_of
from hftransfer.tasks.sense import faults_of_head

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor, device

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.texts import TextAdapter
    from hftransfer.data.rows import Row
    from hftransfer.data.targets import Targets
    from hftransfer.tasks.items import Augment, Encoder, Items
    from hftransfer.tasks.pixels import MapTargets

Outcome = TypeVar("Outcome")
"""What a task keeps of the logits of one item."""
ClassWeights: TypeAlias = bool | np.ndarray
"""How classes are weighed: by the inverse of their frequency, or each by its own weight (C,); False for not at all."""
SolverName = Literal["softmax", "sigmoid", "ridge"]
"""Multinomial or per-label logistic regression, or least squares; each with an L2 penalty."""


class HeadTask(Task, Generic[Outcome]):
    """A task whose runs train a head on one network, and stages below it."""

    head: ClassVar[Head]
    """The one that it needs."""
    from_windows: ClassVar[bool] = False
    """Whether an input may become several items."""
    answered_at_once: ClassVar[int] = 256
    """Inputs that may become several items are predicted so many at a time."""
    trial: ClassVar[Mapping[str, Mapping[str, object]]] = {"strategy": {"kind": "linear-probe"}}
    """The settings of a small run that tries an installation."""
    solver: ClassVar[SolverName | None] = "softmax"
    """By which method a linear head on features is solved; None where it is stepped."""
    problem_type: ClassVar[str | None] = None
    """What transformers calls it in a model's configuration, where that is more than a head's size."""
    keeps_familiarity: ClassVar[bool] = False
    """Whether a model keeps what the features of its training examples look like, to say how unlike them an input
    is."""
    calibrates: ClassVar[bool] = False
    """Whether its logits are divided by a temperature, chosen on validation, where that makes better probabilities."""
    judged_before: ClassVar[bool] = False
    """Whether the model is judged before training too: its head says something then."""
    tuned: ClassVar[tuple[str, ...]] = ()
    """The fields of `ModelFacts` that judging finds on the validation split, and that later judgements are given."""

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        faults = faults_of_head(self, wishes)
        if self.solver is None and wishes.strategy.head_init == "solved":
            faults.append(
                must_be("strategy.head_init", f"auto or random for task {self.name}", "solved", "Leave it out.")
            )
        return faults

    def for_problem(self, problem_type: str | None) -> HeadTask[Any]:
        """Return the task as it is for a model whose configuration says what its head is for."""
        del problem_type
        return self

    # --- learning ----------------------------------------------------------------------------------------------------

    def output_names(self, splits: Splits) -> tuple[str, ...]:
        """Return the names of a new head's outputs; none where its kind gives their number."""
        return splits.class_names

    def token_rows(self, examples: Examples) -> list[list[int]] | None:
        """Return the tokens of each item that a solver learns from, in the order of its targets; None where each item
        is one row of pooled features."""
        del examples
        return None

    def token_names(self, examples: Examples) -> list[tuple[int, str]]:
        """Return the row of each of the `token_rows`, one after the other, and what a person knows it by."""
        raise NotImplementedError

    def map_targets(self, examples: Examples, classes: int) -> MapTargets:
        """Return what a solver learns of maps of features, where the task has such."""
        raise NotImplementedError

    def augmented(
        self, adapter: Adapter, examples: Examples, augment: Augment, decode: Literal["exact", "draft"]
    ) -> Items:
        """Return the training images as an epoch sees them, changed at random."""
        from hftransfer.tasks.items import ImageItems

        split = examples.split
        return ImageItems(split.rows, split.digests, cast("Encoder", adapter), augment, decode)

    def solver_targets(self, examples: Examples) -> np.ndarray:
        """Return what a solver learns, one entry for each row of features: class ids (N,), labels (N, C), numbers."""
        return np.asarray(examples.split.targets)

    @abstractmethod
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the rows of a split as items of the network."""

    def longest_input(self, adapter: Adapter, max_tokens: int | None) -> int | None:
        """Return the length in tokens to which texts are cut, or of a window of them; None for images."""
        return cast("TextAdapter", adapter).longest(max_tokens) if self.reader.fields else None

    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        """Return rows as one batch of the network's inputs, texts cut to its length."""
        raise NotImplementedError

    def in_training(self, adapter: Adapter, examples: Examples, loss: str | None) -> HeadTask[Outcome]:
        """Return the task as the training loop has it, with the loss that is named (None: the usual one); its logits
        may be in other units than the finished model's."""
        del adapter, examples, loss
        return self

    def begin_solved(self, adapter: Adapter, weight: Tensor, bias: Tensor) -> None:
        """Let the head begin as a solved one, of weight (C, D) and bias (C,), in the units of the loop."""
        adapter.set_head(weight, bias)

    def finish(self, adapter: Adapter) -> None:
        """Bring a trained head from the units of the loop to those of the finished model."""

    @abstractmethod
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: ClassWeights
    ) -> Loss:
        """Return the loss of the items of a split, classes weighed as is wished."""

    # --- outcomes ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[Outcome]:
        """Return what is kept of the logits of the items at these places; without `whole` what the metrics need."""

    @abstractmethod
    def judge(
        self, outcomes: Sequence[Outcome], examples: Examples, class_names: Sequence[str], **extras: object
    ) -> Judged:
        """Return what the outcomes of all items, in order, are worth."""

    def judge_folds(
        self,
        outcomes: Sequence[Outcome],
        examples: Examples,
        class_names: Sequence[str],
        folds: Sequence[tuple[int, Mapping[str, Any]]],
        **settings: object,
    ) -> Judged:
        """Return what the outcomes of all items of a cross-validation are worth: `folds` are how many rows each fold
        has, in the order of the items, and what its validation tuned. What is tuned on all of them, for a model that
        learned from all, is in `extras`."""
        del folds
        return self.judge(outcomes, examples, class_names, **settings)

    def looked(
        self,
        adapter: Adapter,
        examples: Examples,
        settings: DataSettings,
        autocast: Callable[[], AbstractContextManager[object]],
        advance: Callable[[int], None],
    ) -> dict[str, object]:
        """Return what judging is told that takes the model itself, such as texts that it writes."""
        del adapter, examples, settings, autocast, advance
        return {}

    def look_count(self, examples: Examples, settings: DataSettings) -> int:
        """Return how many examples are looked at so."""
        del examples, settings
        return 0

    def to_be_judged(self, rows: list[Row], names: Sequence[str], **tuned: Any) -> list[Row]:
        """Return rows as a trained model with these outputs is judged by them.

        Raises:
            DataError: their targets have no meaning for it.
        """
        del names, tuned
        return rows

    def notes_on_judging(self, rows: Sequence[Row], names: Sequence[str], **tuned: Any) -> list[str]:
        """Return what people should know of how these rows' targets are matched with a model's outputs."""
        del rows, names, tuned
        return []

    def judging_settings(self, settings: DataSettings, learned: Targets) -> dict[str, object]:
        """Return what judging is told beside what it finds itself; `learned` are the targets of the training split."""
        del settings, learned
        return {}

    # --- predictions -------------------------------------------------------------------------------------------------

    def present(self, scores: np.ndarray, names: Sequence[str], **tuned: object) -> Prediction:
        """Return what is said of one input with these scores (C,)."""
        del tuned
        return prediction_of(names, scores)

    def row_of(self, value: object, place: int) -> Row:
        """Return an input to predict as a row, where an input may become several items.

        Raises:
            DataError: it is no such input.
        """
        raise NotImplementedError

    def write(
        self,
        adapter: Adapter,
        rows: Sequence[Row],
        settings: DataSettings,
        manner: Manner,
        autocast: Callable[[], AbstractContextManager[object]],
        places: Sequence[int],
    ) -> Sequence[Any]:
        """Return what a model whose head writes makes of each row, which has a place among all that are asked.

        Raises:
            DataError: a row is not one that it can go on with.
        """
        raise NotImplementedError

    def said(
        self, outcomes: Sequence[Outcome], examples: Examples, names: Sequence[str], **tuned: object
    ) -> Sequence[Any]:
        """Return what is said of each row, where an input may become several items."""
        raise NotImplementedError
