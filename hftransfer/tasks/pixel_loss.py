"""Losses of pixels: cross-entropy, Dice, both, and focal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from hftransfer.data.mask_labels import IGNORED
from hftransfer.tasks.contract import Examples, Loss
from hftransfer.tasks.pixels import PixelItems, at_size, shares

if TYPE_CHECKING:
    from hftransfer.data.mask_files import Mask
    from hftransfer.tasks.items import Items

_GAMMA = 2.0
_SMOOTH = 1.0


@dataclass(frozen=True)
class PixelLoss:
    """The loss of the places of logits (B, C, h, w).

    Where the logits are coarser than the images, what each place should say is the share of each class in its cell,
    so that no border is lost. An image's loss is the mean over its places, what is ignored counting nothing; Dice
    is the mean over the classes that an image has (Milletari et al., arXiv 1606.04797), focal that of Lin et al.
    (arXiv 1708.02002) with γ = 2.
    """

    items: PixelItems
    weights: Tensor
    """Of each class, (C,)."""
    kind: str

    @classmethod
    def of(cls, examples: Examples, classes: int, device: torch.device, *, class_weights: bool, kind: str) -> PixelLoss:
        """Return the loss of a split; with `class_weights` rare classes count more, by the root of how rare they are:
        the full inverse would paint them everywhere."""
        by_class = np.ones(classes)
        if class_weights:
            pixels = sum(np.array(cast("Mask", mask).pixels, dtype=np.float64) for mask in examples.split.targets)
            by_class = np.sqrt(pixels.mean() / np.maximum(pixels, 1.0))  # type: ignore[union-attr]
            by_class = np.minimum(by_class, 10.0)
        return cls(cast(PixelItems, examples.items), torch.from_numpy(by_class).float().to(device), kind)

    def as_loss(self) -> Loss:
        """Return it as the loop takes it."""

        def total(logits: Tensor, chosen: Sequence[int]) -> Tensor:
            return self.total(logits, chosen, self.items)

        return Loss(total, np.ones(len(self.items.tiles)), of_view=self._of_view)

    def _of_view(self, logits: Tensor, chosen: Sequence[int], items: Items) -> Tensor:
        return self.total(logits, chosen, cast(PixelItems, items))

    def total(self, logits: Tensor, chosen: Sequence[int], items: PixelItems) -> Tensor:
        """Return the sum of the losses of images, from their logits (B, C, h, w)."""
        wanted = self._wanted(logits, chosen, items)  # (B, C, h, w), 0 where a place is ignored
        logs = log_softmax(logits, dim=1)
        found = torch.zeros(len(chosen), device=logits.device)
        weighted = wanted * self.weights[:, None, None]
        if self.kind in ("ce", "ce+dice"):
            found = found - (weighted * logs).sum(dim=(1, 2, 3)) / self._places(weighted)
        if self.kind == "focal":
            faded = (1.0 - logs.exp()) ** _GAMMA
            found = found - (weighted * faded * logs).sum(dim=(1, 2, 3)) / self._places(weighted)
        if self.kind in ("dice", "ce+dice"):
            found = found + _dice(logs.exp(), wanted)
        return found.sum()

    @staticmethod
    def _places(weighted: Tensor) -> Tensor:
        """Return how much all places of an image count, (B,)."""
        return weighted.sum(dim=(1, 2, 3)).clamp(min=1e-6)

    def _wanted(self, logits: Tensor, chosen: Sequence[int], items: PixelItems) -> Tensor:
        classes, rows, columns = logits.shape[1:]
        found = []
        for item in chosen:
            ids = items.ids(item)
            if rows * 2 <= ids.shape[0] and columns * 2 <= ids.shape[1]:
                found.append(shares(ids, rows, columns, classes).T.reshape(classes, rows, columns))
            else:
                own = at_size(ids, rows, columns)
                found.append((own == np.arange(classes)[:, None, None]) & (own != IGNORED))
        return torch.from_numpy(np.stack(found).astype(np.float32)).to(logits.device)


def _dice(probabilities: Tensor, wanted: Tensor) -> Tensor:
    """Return 1 less the mean Dice of the classes that each image has, (B,)."""
    counted = wanted.sum(dim=1, keepdim=True)  # (B, 1, h, w): 0 where a place is ignored
    own = probabilities * counted
    both = (own * wanted).sum(dim=(2, 3))  # (B, C)
    sums = own.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3))
    dice = (2 * both + _SMOOTH) / (sums + _SMOOTH)
    there = (wanted.sum(dim=(2, 3)) > 0).float()
    return 1.0 - (dice * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
