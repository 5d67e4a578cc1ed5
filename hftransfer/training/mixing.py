"""Batches of images mixed with each other: mixup and CutMix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixed:
    """Images (B, 3, H, W), of which `share` in [0, 1] is the item's own and the rest that of item `order[i]`."""

    pixels: Tensor
    order: list[int]
    share: float


def mix(pixels: Tensor, mixup: float | None, cutmix: float | None, random: np.random.Generator) -> Mixed:
    """The images of a batch (B, 3, H, W) mixed in one random order by one random share, Beta(α, α) distributed.

    `mixup` and `cutmix` are the α of each; where both are given, one of them is chosen by chance.

    Sources: mixup, Zhang et al., arXiv 1710.09412, equation 2; CutMix, Yun et al., arXiv 1905.04899, section 3.1.
    """
    order = random.permutation(len(pixels)).tolist()
    cuts = cutmix is not None and (mixup is None or random.random() < 0.5)
    alpha = cutmix if cuts else mixup
    assert alpha is not None
    share = float(random.beta(alpha, alpha))
    if cuts:
        return _cut(pixels, order, share, random)
    return Mixed(share * pixels + (1 - share) * pixels[order], order, share)


def _cut(pixels: Tensor, order: list[int], share: float, random: np.random.Generator) -> Mixed:
    """A rectangle of 1 - share of the area, around a random point, comes from the other image; where it reaches over
    the edge, the share is that of what is left."""
    height, width = pixels.shape[-2:]
    half_height, half_width = (int(size * np.sqrt(1 - share)) // 2 for size in (height, width))
    middle_y, middle_x = int(random.integers(height)), int(random.integers(width))
    top, bottom = max(0, middle_y - half_height), min(height, middle_y + half_height)
    left, right = max(0, middle_x - half_width), min(width, middle_x + half_width)
    mixed = pixels.clone()
    mixed[..., top:bottom, left:right] = pixels[torch.as_tensor(order)][..., top:bottom, left:right]
    return Mixed(mixed, order, 1 - (bottom - top) * (right - left) / (height * width))
