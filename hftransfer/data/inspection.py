"""Images as rows: what Python objects become, and a first look at the bytes or the pixels of all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hftransfer.data.images import decode_image, image_to_rgb, inspect_image
from hftransfer.data.rows import BytesContent, Content, FileContent, Inspection, Row, read_row
from hftransfer.errors import DataError, must_be, user_path

_SMALLEST = 1
"""Where only faults are looked for, JPEG files are scaled down as far as it goes: all of their bytes are read."""


def as_content(value: Any, where: str) -> Content:
    """The content of an image given from Python: a path, bytes, a Pillow image or an array (H, W[, 3]) of uint8.

    Raises:
        DataError: the value is none of these.
    """
    if isinstance(value, str | Path):
        return FileContent(user_path(value, where, DataError))
    if isinstance(value, bytes):
        return BytesContent(value)
    if isinstance(value, np.ndarray):
        value = _array_image(value, where)
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        image_to_rgb(value, where).save(buffer, "PNG", compress_level=1)
        return BytesContent(buffer.getvalue())
    allowed = "a path, bytes, a PIL image or a uint8 array"
    raise DataError(must_be(where, allowed, type(value).__name__))


def _array_image(value: np.ndarray, where: str) -> Image.Image:
    if value.ndim == 3 and value.shape[2] == 1:
        value = value[:, :, 0]
    gray = value.ndim == 2
    colored = value.ndim == 3 and value.shape[2] in (3, 4)
    if value.dtype != np.uint8 or not (gray or colored) or 0 in value.shape:
        got = f"{value.dtype} of shape {value.shape}"
        allowed = "a path, bytes, a PIL image or a uint8 array of shape (H, W), (H, W, 3) or (H, W, 4)"
        raise DataError(must_be(where, allowed, got))
    return Image.fromarray(np.ascontiguousarray(value))


def inspect_rows(
    rows: Sequence[Row],
    advance: Callable[[int], None] = lambda _: None,
    *,
    decode: bool = False,
    see: Callable[[Row, Image.Image], None] | None = None,
) -> Inspection:
    """The digest of every row's bytes, and every row whose header is no sound image; or, where they are decoded, whose
    image is not sound. `see` is given all sound images, in several threads: then they are decoded exactly."""

    def look(row: Row) -> tuple[bytes, str | None]:
        try:
            content = read_row(row)
            if see is not None:
                see(row, decode_image(content, row.id))
            elif decode:
                decode_image(content, row.id, draft=_SMALLEST)
            else:
                inspect_image(content, row.id)
        except DataError as error:
            return b"", str(error)
        return hashlib.blake2b(content, digest_size=16).digest(), None

    digests: list[bytes] = []
    faults: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            for digest, fault in pool.map(look, part):
                if fault is not None:
                    faults[len(digests)] = fault
                digests.append(digest)
            advance(len(part))
    return Inspection(digests, faults)
