"""Bytes to pixels: the one way in which every image, whatever its mode, becomes RGB.

The conversion equals that of `transformers.image_utils.load_image` (turn by EXIF, then Pillow's `convert("RGB")`),
so that a saved model sees the same pixels in plain transformers; only 16-bit, 32-bit and float images, which Pillow
would clip to white, are scaled to 8 bits first.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from hftransfer.errors import DataError, must_be

_REMEDY = "Mend or remove the file, or set data.on_error: skip."
# What Pillow's readers raise on damaged files.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, MemoryError, RuntimeError, TypeError, LookupError, ArithmeticError),
    *(struct.error, Image.DecompressionBombError),
)
MAX_PIXELS = 178_956_970  # where Pillow itself refuses to go on: 512 MiB of RGB


def inspect_image(content: bytes, name: str) -> None:
    """Nothing, if the header of an image is sound; its pixels are not decoded.

    Raises:
        DataError: the bytes are empty, are no known image format, or claim too many pixels.
    """
    with _opened(content, name):
        pass


def decode_image(content: bytes, name: str, draft: int | None = None) -> Image.Image:
    """An RGB image, turned upright by its EXIF tag. A JPEG file may come as a `draft`: halved up to three times while
    it is decoded, its edges no shorter than so many pixels (the scaled inverse DCT of libjpeg).

    Raises:
        DataError: as `inspect_image`, or the image is truncated or corrupt.
    """
    with _opened(content, name) as image:
        if draft is not None:
            image.draft("RGB", (draft, draft))
        return image_to_rgb(image, name)


def enough_for(edge: int) -> int:
    """How long a draft's edges must be that is then scaled to this edge: twice as long, as in Pillow's thumbnails, so
    that the scaling hides the difference."""
    return 2 * edge


def image_to_rgb(image: Image.Image, name: str) -> Image.Image:
    """The RGB form of an opened image, its pixels decoded.

    Raises:
        DataError: they can't be.
    """
    try:
        with _quiet_pillow:
            return to_rgb(image)
    except _DAMAGE as error:
        reason = f"one that can't be decoded ({error})"
        raise DataError(must_be(name, "a whole image", reason, _REMEDY)) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """The RGB form of any Pillow image; 16-bit values are divided by 257, floats in [0, 1] multiplied by 255."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "RGB":
        upright.load()
        return upright
    if upright.mode.startswith("I") or upright.mode == "F":
        upright = Image.fromarray(_eight_bits(np.asarray(upright), upright.mode))
    return upright.convert("RGB")


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    numbers = np.nan_to_num(values.astype(np.float64))
    if mode != "F":
        numbers = numbers / 257.0
    elif numbers.max(initial=0.0) <= 1.0:
        numbers = numbers * 255.0
    return np.clip(np.rint(numbers), 0, 255).astype(np.uint8)


class _QuietPillow:
    """Pillow without its warnings of odd EXIF tags, palettes and sizes: the pixels are fine or an error is raised.

    Filters of warnings belong to the whole process, so that threads share one change of them: the first to enter makes
    it, the last to leave takes it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module="PIL")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_quiet_pillow = _QuietPillow()


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    if not content:
        raise DataError(must_be(name, "an image", "an empty file", _REMEDY))
    try:
        with _quiet_pillow:
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise _bomb(name) from error
    except _DAMAGE as error:
        raise DataError(must_be(name, "an image that Pillow reads", "something else", _REMEDY)) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _bomb(name)
        yield image


def _bomb(name: str) -> DataError:
    remedy = "Scale it down first, or set data.on_error: skip."
    return DataError(must_be(name, f"an image of at most {MAX_PIXELS:,} pixels", "more (not decoded)", remedy))
