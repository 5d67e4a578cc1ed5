"""One example as it was found: its name in the user's words, its content (read when needed) and its label."""

from __future__ import annotations

import errno
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from hftransfer.data.images import decode_image, image_to_rgb, inspect_image
from hftransfer.errors import DataError, must_be, user_path


class Content(Protocol):
    """Something that can be read as the bytes of one file."""

    def read(self) -> bytes:
        """The whole content."""


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bytes of a file."""

    path: Path

    def read(self) -> bytes:
        """The whole content."""
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class BytesContent:
    """Bytes held in memory."""

    data: bytes

    def read(self) -> bytes:
        """The whole content."""
        return self.data


@dataclass(frozen=True, slots=True)
class DatasetContent:
    """The image in one row of a `datasets.Dataset` whose image column was cast to `Image(decode=False)`."""

    dataset: Any
    column: str
    index: int

    def read(self) -> bytes:
        """The whole content."""
        value = self.dataset[self.index][self.column]
        if value is None:
            raise FileNotFoundError(errno.ENOENT, "no image in this row")
        if value["bytes"] is not None:
            return bytes(value["bytes"])
        return Path(value["path"]).read_bytes()


@dataclass(frozen=True, slots=True)
class TextContent:
    """A text, or a pair of texts."""

    text: str
    pair: str | None = None

    @property
    def shown(self) -> str:
        """The text, or both, as people read them."""
        return self.text if self.pair is None else f"{self.text} | {self.pair}"

    def read(self) -> bytes:
        """The texts as JSON."""
        return _json_bytes([self.text, self.pair])


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and the character of the context where it starts."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class QuestionContent:
    """A question, the text with its answer, and the answers that people gave (none: it has no answer there).

    `group` names what must not be in two splits at once: the article, or the context itself.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]
    group: str

    def read(self) -> bytes:
        """Question, context and answers as JSON."""
        answers = [[answer.text, answer.start] for answer in self.answers]
        return _json_bytes([self.question, self.context, answers])


def _json_bytes(value: list[Any]) -> bytes:
    """A value as JSON, lone surrogates kept apart from all other characters."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Row:
    """One example: `id` is how an error names it (a relative path, or file and line)."""

    id: str
    content: Content
    label: str


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


def read_row(row: Row) -> bytes:
    """The bytes of a row's content.

    Raises:
        DataError: they can't be read.
    """
    try:
        return row.content.read()
    except OSError as error:
        raise DataError(must_be(row.id, "a readable file", error.strerror or str(error))) from error


def decoding_faults(
    rows: Sequence[Row],
    advance: Callable[[int], None] = lambda _: None,
    see: Callable[[Row, Image.Image], None] = lambda _, __: None,
) -> dict[int, str]:
    """The rows whose images can't be decoded, and why; `see` is given all others, in several threads."""

    def look(row: Row) -> str | None:
        try:
            see(row, decode_image(read_row(row), row.id))
        except DataError as error:
            return str(error)
        return None

    faults: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            faults |= {start + place: fault for place, fault in enumerate(pool.map(look, part)) if fault is not None}
            advance(len(part))
    return faults


@dataclass(frozen=True)
class Inspection:
    """What a first look at the bytes of all rows found.

    `digests[i]` identifies the content of row i (empty where it could not be read), `faults` are the unreadable rows.
    """

    digests: list[bytes]
    faults: dict[int, str]


def digest_rows(rows: Sequence[Row]) -> list[bytes]:
    """The digest of every row's content: of texts and questions, which are always readable."""
    return [hashlib.blake2b(row.content.read(), digest_size=16).digest() for row in rows]


def inspect_rows(
    rows: Sequence[Row], advance: Callable[[int], None] = lambda _: None, *, decode: bool = False
) -> Inspection:
    """The digest of every row's bytes, and every row whose header is no sound image; or, where they are decoded, whose
    image is not sound."""
    see = decode_image if decode else inspect_image

    def look(row: Row) -> tuple[bytes, str | None]:
        try:
            content = read_row(row)
            see(content, row.id)
        except DataError as error:
            return b"", str(error)
        return hashlib.blake2b(content, digest_size=16).digest(), None

    digests: list[bytes] = []
    faults: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(rows), 256):
            for digest, fault in pool.map(look, rows[start : start + 256]):
                if fault is not None:
                    faults[len(digests)] = fault
                digests.append(digest)
            advance(len(rows[start : start + 256]))
    return Inspection(digests, faults)
