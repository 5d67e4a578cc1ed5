"""Images as rows: what Python objects become, and a first look at the bytes or the pixels of all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from hftransfer.base.errors import DataError, FetchError, must_be, user_path
from hftransfer.base.html import Thumbnail, jpeg_uri
from hftransfer.data.depth import Depth, PixelRange
from hftransfer.data.images import MAX_PIXELS, decode_image, image_to_rgb, inspect_image, is_deep
from hftransfer.data.rows import (
    BytesContent,
    Content,
    FileContent,
    Inspection,
    Row,
    StoredImage,
    is_open_file,
    of_open_file,
    read_row,
    stored_in,
)

_TILE_PX = 128
_CHANNELS = (1, 3, 4)


def as_content(value: object, where: str) -> Content:
    """Return the content of an image given from Python: a path, bytes, an open file, a Pillow image, or an array or a
    tensor (H, W[, 3]) or (3, H, W) of uint8, of truth values or of fractions from 0 to 1, or (H, W) of uint16. Deep
    greyscale images keep their depth.

    Raises:
        DataError: the value is none of these.
    """
    value = stored_in(value)
    if isinstance(value, str | Path):
        return FileContent(user_path(value, where, DataError))
    if isinstance(value, StoredImage):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return BytesContent(bytes(value))
    if is_open_file(value):
        return of_open_file(value, where)
    if hasattr(value, "detach") and hasattr(value, "permute"):
        value = _tensor_as_array(value)
    if isinstance(value, np.ndarray):
        value = _array_image(value, where)
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        if is_deep(value):
            ImageOps.exif_transpose(value).save(buffer, "TIFF")
        else:
            image_to_rgb(value, where).save(buffer, "PNG", compress_level=1)
        return BytesContent(buffer.getvalue())
    allowed = "a path, bytes, an open file, a PIL image or a uint8 array"
    raise DataError(must_be(where, allowed, type(value).__name__))


def image_of(value: object, where: str) -> Image.Image:
    """Return the RGB image in what `as_content` takes.

    Raises:
        DataError: there is none.
    """
    if isinstance(value, Image.Image) and not is_deep(value):
        return image_to_rgb(value, where)
    return decode_image(as_content(value, where).read(), where)


def _tensor_as_array(value: Any) -> np.ndarray:
    own = value.detach().cpu()
    array: np.ndarray = (own.float() if own.is_floating_point() else own).numpy()  # NumPy has no bfloat16
    # Of a tensor the channels are first where both ends could be channels; of an array last.
    return array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] in _CHANNELS else array


def _of_fractions(value: np.ndarray, where: str) -> np.ndarray:
    """Return pixels of 0 to 255 from fractions of 0 to 1.

    Raises:
        DataError: they are others.
    """
    least, most = (float(value.min()), float(value.max())) if value.size else (0.0, 0.0)
    if not (least >= 0 and most <= 1):  # NaN is neither
        remedy = "Give images without Normalize: the model's own processor does that. Pixels of 0 to 255: as uint8."
        raise DataError(must_be(where, "fractions from 0 to 1", f"numbers from {least:.3g} to {most:.3g}", remedy))
    return np.rint(value * 255.0).astype(np.uint8)


def _array_image(value: np.ndarray, where: str) -> Image.Image:
    if value.ndim in (2, 3) and np.issubdtype(value.dtype, np.floating) and 0 not in value.shape:
        value = _of_fractions(value, where)
    if value.dtype == np.bool_:
        value = np.where(value, 255, 0).astype(np.uint8)
    if value.ndim == 3 and value.shape[2] not in _CHANNELS and value.shape[0] in _CHANNELS:
        value = value.transpose(1, 2, 0)
    if value.ndim == 3 and value.shape[2] == 1:
        value = value[:, :, 0]
    gray = value.ndim == 2
    colored = value.ndim == 3 and value.shape[2] in (3, 4)
    deep = gray and value.dtype == np.uint16
    if not (value.dtype == np.uint8 or deep) or not (gray or colored) or 0 in value.shape:
        got = f"{value.dtype} of shape {value.shape}"
        shapes = "(H, W), (H, W, 3), (H, W, 4) or (3, H, W)"
        allowed = f"a path, bytes, an open file, a PIL image or a uint8 array of shape {shapes}"
        raise DataError(must_be(where, allowed, got))
    return Image.fromarray(np.ascontiguousarray(value))


def decode_row(row: Row, draft: int | None = None) -> Image.Image:
    """Return the RGB image of a row, as `decode_image` makes it, by the range of its data set.

    Raises:
        DataError: it can't be read or decoded; or it is a deep one, and nobody has looked at the range of its data set.
    """
    return _decoded(row, read_row(row), draft)


def _decoded(row: Row, content: bytes, draft: int | None = None) -> Image.Image:
    """Return the RGB image of a row in these bytes."""
    if row.content.identity is not None and row.pixels is None and inspect_image(content, row.id) is not None:
        remedy = "Their range is that of the whole data set: leave data.streaming out."
        raise DataError(must_be(row.id, "an image of 8 bits with data.streaming", "one of up to 16 bits", remedy))
    return decode_image(content, row.id, draft, row.pixels)


def tile_of(row: Row) -> Thumbnail | None:
    """Return a small picture of a row's image with its target under it; None where it is no image, or can't be read."""
    if row.content.texts:
        return None
    try:
        image = decode_row(row, _TILE_PX)
    except (DataError, FetchError):
        return None
    image.thumbnail((_TILE_PX, _TILE_PX))
    return Thumbnail(jpeg_uri(image), str(row.target) if isinstance(row.target, str) else "")


def with_range(rows: Iterable[Row], pixels: PixelRange | None) -> list[Row]:
    """Return the rows, deep greyscale images of which have this range of values."""
    return list(rows) if pixels is None else [replace(row, pixels=pixels) for row in rows]


def inspect_rows(
    rows: Sequence[Row],
    advance: Callable[[int], None] = lambda _: None,
    *,
    decode: bool = False,
    see: Callable[[Row, Image.Image], None] | None = None,
    max_pixels: int | None = None,
) -> Inspection:
    """Return the digest of every row's bytes, and every row whose header is no sound image; or, where they are decoded,
    whose image is not sound. `see` is given all sound images, in several threads: then they are decoded exactly."""

    def look(row: Row) -> tuple[bytes, str | None, Depth | None]:
        depth, identity = None, row.content.identity
        if identity is not None and see is None and not decode:
            return identity, None, None  # nothing is fetched for a first look
        try:
            content = read_row(row)
            if see is not None:
                see(row, _decoded(row, content))
            else:
                depth = inspect_image(content, row.id, decode=decode, max_pixels=max_pixels or MAX_PIXELS)
        except DataError as error:
            return b"", str(error), None
        return identity or hashlib.blake2b(content, digest_size=16).digest(), None, depth

    digests: list[bytes] = []
    faults: dict[int, str] = {}
    depths: dict[int, Depth] = {}
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            for digest, fault, depth in pool.map(look, part):
                if fault is not None:
                    faults[len(digests)] = fault
                if depth is not None:
                    depths[len(digests)] = depth
                digests.append(digest)
            advance(len(part))
    return Inspection(digests, faults, depths)
