"""Contrastive fine-tuning of features, for a few examples of each class.

Not the head learns first but what enters it: in each batch the cosine of every pair's features is drawn to 1 where
both are of one class, and to 0 where not (the first phase of SetFit; Tunstall et al., arXiv 2209.11055). A few examples
make many pairs. The head is solved on the features afterwards, as a linear probe's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hftransfer.adapters.base import Activations, Adapter
from hftransfer.tasks.contract import Loss


class FeatureAdapter:
    """An adapter whose output are the features (B, D) that enter its head, as that which the loop trains."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.model, self.stages = adapter.model, adapter.stages

    def above(self, activations: Activations, boundary: int) -> Tensor:
        """Return the features (B, D) from activations at the boundary."""
        return self.adapter.logits_and_features(activations, boundary)[1]

    def learn_mode(self, boundary: int, *, on: bool) -> None:
        """Switch what is above the boundary to train mode and back."""
        self.adapter.learn_mode(boundary, on=on)

    def learning_buffers(self) -> dict[str, Tensor]:
        """Return those of the adapter."""
        return self.adapter.learning_buffers()

    def depth_of(self) -> dict[nn.Parameter, int]:
        """Return the depths of the adapter's parameters."""
        return self.adapter.depth_of()


def similarity_loss(labels: np.ndarray, device: torch.device | str) -> Loss:
    """Return the squared error of the cosines of a batch's features (B, D), wanted to be 1 of a class and 0 of two.

    Pairs of one class and pairs of two count half each, as where they are drawn in equal numbers.
    """
    of_items = torch.from_numpy(labels).to(device)

    def total(features: Tensor, chosen: Sequence[int]) -> Tensor:
        directions = normalize(features.float(), dim=-1)  # (B, D)
        own = of_items[torch.as_tensor(chosen, device=features.device)]
        same = own[:, None] == own[None, :]  # (B, B)
        errors = (directions @ directions.T - same.float()).square()  # (B, B)
        # An example is always like itself: that pair teaches nothing.
        pairs = same & ~torch.eye(len(own), dtype=torch.bool, device=features.device)
        kinds = [errors[of_kind] for of_kind in (pairs, ~same)]
        means = [found.mean() for found in kinds if len(found)]
        return len(own) * (torch.stack(means).mean() if means else 0.0 * features.sum())

    return Loss(total, np.ones(len(labels)), whole_batches=True, classes=labels)
