"""Batches of images mixed with each other: mixup and CutMix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Mixing:
    """The mixing of a batch: image i with image `order[i]`, of which `share` in [0, 1] remains its own."""

    order: list[int]
    share: float
    middle: tuple[float, float] | None
    """Of the rectangle that comes from the other image, as a part of height and width; None mixes all pixels."""

    def __call__(self, own: Tensor, others: Tensor) -> tuple[Tensor, float]:
        """Return the mixed images, and the share that is their own; both are (B, 3, H, W).

        CutMix: a rectangle of 1 - share of the area comes from the other image; where it reaches over the edge, the
        share is that of what is left.
        """
        if self.middle is None:
            return self.share * own + (1 - self.share) * others, self.share
        height, width = own.shape[-2:]
        # Sides shrink by the root of the share, so that the area does by the share.
        half_height, half_width = (int(size * np.sqrt(1 - self.share)) // 2 for size in (height, width))
        middle_y, middle_x = int(self.middle[0] * height), int(self.middle[1] * width)
        top, bottom = max(0, middle_y - half_height), min(height, middle_y + half_height)
        left, right = max(0, middle_x - half_width), min(width, middle_x + half_width)
        mixed = own.clone()  # (B, 3, H, W)
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def draw_mixing(count: int, mixup: float | None, cutmix: float | None, random: np.random.Generator) -> Mixing:
    """Return one random order and share, Beta(α, α) distributed, for a batch of `count` images.

    `mixup` and `cutmix` are the α of each; where both are given, one of them is chosen by chance.

    Sources: mixup, Zhang et al., arXiv 1710.09412, equation 2; CutMix, Yun et al., arXiv 1905.04899, section 3.1.
    """
    order = random.permutation(count).tolist()
    cuts = cutmix is not None and (mixup is None or random.random() < 0.5)
    alpha = cutmix if cuts else mixup
    assert alpha is not None
    share = float(random.beta(alpha, alpha))
    return Mixing(order, share, (random.random(), random.random()) if cuts else None)
