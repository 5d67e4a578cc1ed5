"""How deep the values of greyscale images go: the range of a data set, and what one image has."""

from __future__ import annotations

import math
from typing import NamedTuple


class PixelRange(NamedTuple):
    """The values of deep greyscale images that are black and white: those of a data set, as powers of two bound them.

    Scanners and DICOM exports keep 10 to 14 bits in files of 16.
    """

    low: float
    high: float

    @classmethod
    def around(cls, least: float, most: float, *, whole: bool = True) -> PixelRange:
        """Return the range of values between `least` and `most`: of fractions 0 to 1, -1 to 1 or 0 to 255 where they
        fit, else 0 (below zero: a power of two) to the next power of two less one."""
        if not whole:
            for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
                if low <= least and most <= high:
                    return cls(low, high)
        # Powers of two: the ranges that scanners and exports have, whatever values a sample holds.
        low = -float(2 ** math.ceil(math.log2(-least))) if least < 0 else 0.0
        return cls(low, float(2 ** max(1, math.floor(most).bit_length()) - 1) if most > 0 else 1.0)

    @property
    def in_words(self) -> str:
        """Both ends, for people."""
        return f"{self.low:,.0f} to {self.high:,.0f}"


SIXTEEN_BITS = PixelRange(0.0, 65535.0)


class Depth(NamedTuple):
    """The least and the greatest value of a deep image, whether its values are whole numbers, and whether it is a
    coloured one, of which Pillow hands on the upper 8 of 16 bits."""

    least: float
    most: float
    whole: bool = True
    coloured: bool = False
