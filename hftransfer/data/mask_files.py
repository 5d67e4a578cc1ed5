"""The mask of an image: its file in whatever mode it is, as values and as class ids."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hftransfer.base.errors import DataError, must_be, user_path
from hftransfer.data.mask_labels import LabelSpace, NamedValues, color_value
from hftransfer.data.rows import BytesContent, Content, FileContent, is_open_file, of_open_file, read_content, stored_in

if TYPE_CHECKING:
    from PIL import Image

_ARRAY = b"\x93NUMPY"


@dataclass(frozen=True, eq=False)
class Mask:
    """The mask of an image: where it lies, what its values mean, and how many pixels of each class it has."""

    content: Content
    name: str
    said: NamedValues = field(default_factory=NamedValues)
    space: LabelSpace | None = None
    """None before the masks of all rows were looked at."""
    pixels: tuple[int, ...] = ()
    """Of each class."""
    digest: bytes = b""

    def values(self) -> np.ndarray:
        """Return the values (H, W) of int64 as the file has them: indices, also of palettes, or those of colours.

        Raises:
            DataError: it can't be read.
        """
        return read_mask(self.content, self.name).values

    def ids(self) -> np.ndarray:
        """Return the class ids (H, W) of int16, -1 for pixels that are ignored.

        Raises:
            DataError: it can't be read.
        """
        assert self.space is not None
        try:
            return self.space.ids(self.values())
        except ValueError as error:
            raise DataError(must_be(self.name, "a mask with the same values as before", str(error))) from error


@dataclass(frozen=True)
class ReadMask:
    """The values (H, W) of a mask, whether its file smears them, and its bytes' digest."""

    values: np.ndarray
    is_jpeg: bool
    digest: bytes


@cache
def damage() -> tuple[type[Exception], ...]:
    """Return what Pillow's and NumPy's readers raise on damaged files."""
    from PIL import Image

    return (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, Image.DecompressionBombError)


def read_mask(content: Content, name: str) -> ReadMask:
    """Return the values of a mask in whatever mode it is: greyscale, palette (its indices), 1 bit, 16 or 32 bits,
    colours, or a NumPy array.

    Raises:
        DataError: it can't be read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        data = read_content(content, name)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if data.startswith(_ARRAY):
            return ReadMask(_of_array(np.load(io.BytesIO(data), allow_pickle=False), name), False, digest)
        with Image.open(io.BytesIO(data)) as image:
            is_jpeg = image.format == "JPEG"
            return ReadMask(_of_image(ImageOps.exif_transpose(image)), is_jpeg, digest)
    except damage() as error:
        got = getattr(error, "strerror", None) or str(error) or type(error).__name__
        got = "something else" if isinstance(error, UnidentifiedImageError) else got
        remedy = "Fix it, or leave its image out: data.on_error=skip."
        raise DataError(must_be(name, "a mask that Pillow reads", f"one that can't be read ({got})", remedy)) from error


def _of_image(image: Image.Image) -> np.ndarray:
    if image.mode in ("L", "P", "1") or image.mode.startswith("I"):
        return np.asarray(image).astype(np.int64)
    if image.mode == "LA":
        return np.asarray(image.getchannel("L")).astype(np.int64)
    if image.mode == "F":
        return _of_array(np.asarray(image), "the mask")
    return _of_colors(np.asarray(image.convert("RGB")))


def _of_colors(pixels: np.ndarray) -> np.ndarray:
    """Return the values (H, W) of colours (H, W, 3); those of an image that is grey all over are its indices."""
    wide = pixels.astype(np.int64)
    red, green, blue = wide[..., 0], wide[..., 1], wide[..., 2]
    if (red == green).all() and (green == blue).all():
        return np.asarray(red)
    return np.asarray(color_value(0, 0, 0) + (red << 16) + (green << 8) + blue)


def _of_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[-1] in (3, 4) and array.dtype == np.uint8:
        return _of_colors(array[..., :3])
    whole = array.dtype.kind in "biu" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))
    if array.ndim != 2 or not whole or 0 in array.shape:
        got = f"{array.dtype} of shape {array.shape}"
        raise DataError(must_be(name, "an array (H, W) of whole numbers, or (H, W, 3) of colours", got))
    return np.asarray(array.astype(np.int64))


def as_mask_content(value: Any, where: str) -> Content:
    """Return the content of a mask given from Python: a path, bytes, an open file, a Pillow image (palettes stay), or
    an array.

    Raises:
        DataError: it is none of these.
    """
    value = stored_in(value)
    if isinstance(value, str | Path):
        return FileContent(user_path(value, where, DataError))
    if isinstance(value, bytes):
        return BytesContent(value)
    from PIL import Image

    if is_open_file(value):
        return of_open_file(value, where)
    buffer = io.BytesIO()
    if isinstance(value, Image.Image):
        value.save(buffer, "TIFF" if value.mode.startswith("I") or value.mode == "F" else "PNG")
        return BytesContent(buffer.getvalue())
    if hasattr(value, "detach"):  # a tensor of torch, (H, W)
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        np.save(buffer, value, allow_pickle=False)
        return BytesContent(buffer.getvalue())
    raise DataError(
        must_be(where, "a mask: a path, bytes, an open file, a PIL image or an array", type(value).__name__)
    )
