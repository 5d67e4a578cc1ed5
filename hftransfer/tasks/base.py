"""What a task is: which rows it takes, what the model learns from them, and how its logits are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from hftransfer.adapters.base import Adapter
    from hftransfer.adapters.families import Modality
    from hftransfer.adapters.heads import Head
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Split
    from hftransfer.tasks.items import Items

RowKind = Literal["images", "texts", "questions"]
LOWER_IS_BETTER = ("log_loss", "expected_calibration_error")


@dataclass
class Examples:
    """The rows of one split as the network takes them; `notes` tell a person what was noticed on the way."""

    split: Split
    items: Items
    notes: list[str] = field(default_factory=list)
    windows: Any = None
    """Of questions: the windows, one per item."""
    cut: Sequence[int] = ()
    """Of texts: those that are longer than what the network takes."""

    def name_of(self, item: int) -> str:
        """What a person knows an item by."""
        row = self.windows[item].question if self.windows is not None else item
        return str(self.split.rows[row].id)


@dataclass(frozen=True)
class Judged:
    """Metrics of a split's logits, what chooses the best model (the higher the better), and a table of predictions."""

    metrics: dict[str, Any]
    score: tuple[float, ...]
    columns: dict[str, Any]
    probabilities: np.ndarray | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    """What a loaded model must know to judge in the same way."""


@dataclass(frozen=True)
class Loss:
    """The loss of the training items. Its mean over a batch is `total` of all of them over the sum of their weights:
    so a batch that is computed in parts, or by several processes, has the mean that it would have as a whole."""

    total: Callable[[Tensor, Sequence[int]], Tensor]
    """The weighted sum of the losses, from logits (B, …) and the positions (B,) of their items."""
    weights: np.ndarray
    """The weight (N,) of each item."""
    whole_batches: bool = False
    """Whether the items of a batch are compared with each other, so that it can't be computed in parts."""
    classes: np.ndarray | None = None
    """The class (N,) of each item, where a batch should hold several items of a class."""

    def weight(self, chosen: Sequence[int]) -> float:
        """The sum of the weights of these items."""
        return float(self.weights[list(chosen)].sum())


class Task(Protocol):
    """One task, under its pipeline tag of the Hub."""

    @property
    def name(self) -> str:
        """The pipeline tag."""

    @property
    def modality(self) -> Modality:
        """What its models take."""

    @property
    def head(self) -> Head:
        """The head that its models have."""

    @property
    def rows(self) -> RowKind:
        """What its data are made of."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that may choose the best epoch."""

    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """The rows of a split as items of the network."""

    def loss(
        self, examples: Examples, classes: int, device: Any, *, label_smoothing: float, class_weights: bool
    ) -> Loss:
        """The loss of the items of a split."""

    def judge(
        self, logits: Sequence[np.ndarray], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """What the logits of all items are worth."""
