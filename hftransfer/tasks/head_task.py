"""Tasks whose runs train a head on one network: what the engine of heads asks of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from typing_extensions import override

from hftransfer.adapters.heads import Head
from hftransfer.data.settings import DataSettings
from hftransfer.data.splits import Split
from hftransfer.tasks.contract import Examples, Judged, Loss, Task, Wishes
from hftransfer.tasks.sense import faults_of_head

if TYPE_CHECKING:
    from torch import device

    from hftransfer.adapters.anatomy import Inputs
    from hftransfer.adapters.base import Adapter
    from hftransfer.data.rows import Row

Outcome = TypeVar("Outcome")
"""What a task keeps of the logits of one item."""


class HeadTask(Task, Generic[Outcome]):
    """A task whose runs train a head on one network, and stages below it."""

    head: ClassVar[Head]
    """The one that it needs."""
    from_windows: ClassVar[bool] = False
    """Whether an input may become several items."""
    trial_strategy: ClassVar[Mapping[str, Any]] = {"kind": "linear-probe"}
    """The strategy of a small run that tries an installation."""
    solves: ClassVar[bool] = True
    """Whether a linear head on features can be solved by class ids."""

    @override
    def faults(self, wishes: Wishes) -> list[str]:
        return faults_of_head(self, wishes)

    # --- learning ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def examples(self, adapter: Adapter, split: Split, settings: DataSettings) -> Examples:
        """Return the rows of a split as items of the network."""

    def inputs(self, adapter: Adapter, rows: Sequence[Row], max_tokens: int | None) -> Inputs:
        """Return rows as one batch of the network's inputs, texts cut to its length."""
        raise NotImplementedError

    @abstractmethod
    def loss(
        self, examples: Examples, classes: int, device: device, *, label_smoothing: float, class_weights: bool
    ) -> Loss:
        """Return the loss of the items of a split."""

    # --- outcomes ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def decode(
        self, logits: Sequence[np.ndarray], places: Sequence[int], examples: Examples, *, whole: bool = True
    ) -> list[Outcome]:
        """Return what is kept of the logits of the items at these places; without `whole` what the metrics need."""

    @abstractmethod
    def judge(
        self, outcomes: Sequence[Outcome], examples: Examples, class_names: Sequence[str], **extras: Any
    ) -> Judged:
        """Return what the outcomes of all items, in order, are worth."""
