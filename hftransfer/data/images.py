"""Bytes to pixels: the one way in which every image, whatever its mode, becomes RGB.

The conversion equals that of `transformers.image_utils.load_image` (turn by EXIF, then Pillow's `convert("RGB")`),
so that a saved model sees the same pixels in plain transformers; only 16-bit, 32-bit and float images, which Pillow
would clip to white, are scaled to 8 bits first.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps

from hftransfer.errors import DataError, must_be

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif", ".avif"}
)
MAX_PIXELS = 178_956_970  # where Pillow itself refuses to go on: 512 MiB of RGB


def inspect_image(content: bytes, name: str) -> None:
    """Nothing, if the header of an image is sound; its pixels are not decoded.

    Raises:
        DataError: the bytes are empty, are no known image format, or claim too many pixels.
    """
    with _opened(content, name):
        pass


def decode_image(content: bytes, name: str) -> Image.Image:
    """An RGB image, turned upright by its EXIF tag.

    Raises:
        DataError: as `inspect_image`, or the image is truncated or corrupt.
    """
    with _opened(content, name) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and palettes; the pixels are fine
                return to_rgb(image)
        except (
            OSError,
            SyntaxError,
            ValueError,
            EOFError,
            MemoryError,
            Image.DecompressionBombError,
        ) as error:
            remedy = "Mend or remove the file, or set data.on_error: skip."
            reason = f"one that can't be decoded ({error})"
            raise DataError(must_be(name, "a whole image", reason, remedy)) from error


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


@contextmanager
def _opened(content: bytes, name: str) -> Iterator[Image.Image]:
    remedy = "Mend or remove the file, or set data.on_error: skip."
    if not content:
        raise DataError(must_be(name, "an image", "an empty file", remedy))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError as error:
        raise _bomb(name) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(must_be(name, "an image that Pillow reads", "something else", remedy)) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _bomb(name)
        yield image


def _bomb(name: str) -> DataError:
    remedy = "Scale it down first, or set data.on_error: skip."
    return DataError(must_be(name, f"an image of at most {MAX_PIXELS:,} pixels", "more (not decoded)", remedy))
