"""One example as it was found: its name in the user's words, its content (read when needed) and its label."""

from __future__ import annotations

import errno
import hashlib
import json
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hftransfer.errors import DataError, must_be

if TYPE_CHECKING:
    from hftransfer.data.images import Depth, PixelRange


LFS_POINTER = b"version https://git-lfs.github.com/spec"
"""How the file begins that a clone without Git LFS leaves in place of a large one."""


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
        mode = self.path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "a folder")
        if not stat.S_ISREG(mode):  # a named pipe would be waited for without end
            raise OSError(errno.EINVAL, "a pipe, a device or another special file")
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class AbsentContent:
    """What can't be read, and why: a row whose image is not there, where such rows are left out."""

    reason: str

    def read(self) -> bytes:
        """Raise the reason."""
        raise DataError(self.reason)


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
    """One example: `id` is how an error names it (a relative path, or file and line).

    `pixels` is the range of values that deep greyscale images of its data set have.
    """

    id: str
    content: Content
    label: str
    pixels: PixelRange | None = None


def read_row(row: Row) -> bytes:
    """The bytes of a row's content.

    Raises:
        DataError: they can't be read.
    """
    try:
        return row.content.read()
    except OSError as error:
        raise DataError(must_be(row.id, "a readable file", error.strerror or str(error))) from error


@dataclass(frozen=True)
class Inspection:
    """What a first look at the bytes of all rows found.

    `digests[i]` identifies the content of row i (empty where it could not be read), `faults` are the unreadable rows,
    `depths` tell of the images of more than 8 bits.
    """

    digests: list[bytes]
    faults: dict[int, str]
    depths: dict[int, Depth] = field(default_factory=dict)


def digest_rows(rows: Sequence[Row]) -> list[bytes]:
    """The digest of every row's content: of texts and questions, which are always readable."""
    return [hashlib.blake2b(row.content.read(), digest_size=16).digest() for row in rows]
