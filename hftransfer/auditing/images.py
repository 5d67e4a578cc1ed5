"""What is odd about a single image."""

from __future__ import annotations

import numpy as np
from PIL import Image

_LEAST_PX, _MOST_STRETCHED, _LEAST_DEVIATION = 32, 4.0, 3.0


def odd_about_image(image: Image.Image) -> list[str]:
    """Return a sentence for everything that is odd about an RGB image."""
    told = []
    if min(image.size) < _LEAST_PX:
        told.append(f"only {image.width} × {image.height} pixels")
    stretched = max(image.size) / min(image.size)
    if stretched > _MOST_STRETCHED:
        told.append(f"a strip: one side is {stretched:.1f} times the other")
    small = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR, reducing_gap=2.0), dtype=np.float32)
    if small.std(axis=(0, 1)).max() < _LEAST_DEVIATION:
        told.append("one colour all over")
    return told
