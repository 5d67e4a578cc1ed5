"""One example as it was found: its name in the user's words, its content (read when needed) and its target."""

from __future__ import annotations

import errno
import hashlib
import json
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from hftransfer.base.errors import DataError, FetchError, must_be

if TYPE_CHECKING:
    import os

    import datasets
    import pandas as pd
    from torch.utils.data import Dataset

    from hftransfer.data.depth import Depth, PixelRange


IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif", ".avif"}
    | {".heic", ".heif"}
)
"""How the name of an image file ends."""
LFS_POINTER = b"version https://git-lfs.github.com/spec"
"""How the file begins that a clone without Git LFS leaves in place of a large one."""


class Content(Protocol):
    """An input of a model, read when it is needed."""

    @property
    def path(self) -> Path | None:
        """The file that it is in, where it is a file of its own."""

    @property
    def identity(self) -> bytes | None:
        """What tells it from others where it is far away; None where its bytes do."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that a model reads; none where the input is an image."""

    @property
    def widget(self) -> dict[str, str]:
        """The texts as the Hub's page takes them to try a model; none where the input is an image."""

    def read(self) -> bytes:
        """Return the whole content: the bytes of an image file, texts as JSON."""


class _Image:
    """The part that contents of images share: no text."""

    __slots__ = ()
    texts: ClassVar[tuple[str, ...]] = ()
    widget: ClassVar[dict[str, str]] = {}


class _NoFile:
    __slots__ = ()
    path: ClassVar[None] = None


class _Here:
    """The part that contents on this machine share: their bytes tell them apart."""

    __slots__ = ()
    identity: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class FileContent(_Image, _Here):
    """The bytes of a file."""

    path: Path

    def read(self) -> bytes:
        """Return the whole content."""
        mode = self.path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "a folder")
        if not stat.S_ISREG(mode):  # a named pipe would be waited for without end
            raise OSError(errno.EINVAL, "a pipe, a device or another special file")
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class AbsentContent(_Image, _NoFile, _Here):
    """A content that can't be read, and why: a row whose image is not there, where such rows are left out."""

    reason: str

    def read(self) -> bytes:
        """Raise the reason."""
        raise DataError(self.reason)


@dataclass(frozen=True, slots=True)
class BytesContent(_Image, _NoFile, _Here):
    """Bytes held in memory."""

    data: bytes

    def read(self) -> bytes:
        """Return the whole content."""
        return self.data


@dataclass(frozen=True, slots=True)
class MemberContent(_Image, _NoFile, _Here):
    """The bytes of a member of a tar file, from `offset` on."""

    archive: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return self.name

    def read(self) -> bytes:
        """Return the whole content."""
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def stored_in(value: object) -> object:
    """Return the bytes in a cell that holds an image as `datasets` stores it, `{"bytes": …, "path": …}`, or its path
    where there are none (5.2.0: `to_parquet` and `to_json` leave images where they are); other cells as they are."""
    if not isinstance(value, Mapping) or not {"bytes", "path"} & value.keys():
        return value
    held, path = value.get("bytes"), value.get("path")
    return held if held or path is None else path


@dataclass(frozen=True, slots=True)
class DatasetContent(_Image, _NoFile, _Here):
    """The image in one row of a `datasets.Dataset` whose image column was cast to `Image(decode=False)`."""

    dataset: datasets.Dataset
    column: str
    index: int

    def read(self) -> bytes:
        """Return the whole content."""
        value = self.dataset[self.index][self.column]
        if value is None:
            raise FileNotFoundError(errno.ENOENT, "no image in this row")
        if value["bytes"] is not None:
            return bytes(value["bytes"])
        return Path(value["path"]).read_bytes()


class ImagesElsewhere(Protocol):
    """The rows of a data set that stays on the Hub."""

    def image(self, index: int, column: str) -> bytes:
        """Return the bytes of the image in a row."""

    def identity(self, index: int, column: str) -> bytes:
        """Return what tells an image from others without fetching it."""

    def place(self, index: int) -> tuple[str, int]:
        """Return the address of the file with a row, and its number there."""


class FileElsewhere(Protocol):
    """A file that stays on the Hub."""

    url: str
    content_id: str
    """What tells its content from others."""

    def read(self, offset: int, size: int) -> bytes:
        """Return some bytes of it."""


@dataclass(frozen=True, slots=True)
class StreamedContent(_Image, _NoFile):
    """The image in one row of a data set that stays on the Hub."""

    dataset: ImagesElsewhere
    column: str
    index: int

    @property
    def identity(self) -> bytes:
        """Its place in a file that the Hub has a hash of."""
        return self.dataset.identity(self.index, self.column)

    @property
    def place(self) -> tuple[str, int]:
        """The file and the row in it."""
        return self.dataset.place(self.index)

    def read(self) -> bytes:
        """Return the whole content, fetched with its neighbours' unless they are there."""
        return self.dataset.image(self.index, self.column)


@dataclass(frozen=True, slots=True)
class StreamedMember(_Image, _NoFile):
    """An image in a shard of WebDataset that stays on the Hub, from `offset` on."""

    archive: FileElsewhere
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return self.name

    @property
    def identity(self) -> bytes:
        """Its place in a file that the Hub has a hash of."""
        return hashlib.blake2b(f"{self.archive.content_id} {self.offset}".encode(), digest_size=16).digest()

    @property
    def place(self) -> tuple[str, int]:
        """The file and the place in it."""
        return self.archive.url, self.offset

    def read(self) -> bytes:
        """Return the whole content, fetched with its neighbours unless they are there."""
        return self.archive.read(self.offset, self.size)


def are_streamed(rows: Sequence[Row]) -> bool:
    """Return whether the images of rows are fetched whenever they are read."""
    return any(row.content.identity is not None for row in rows[:1])


StoredImage: TypeAlias = BytesContent | MemberContent | DatasetContent | StreamedContent | StreamedMember
"""An image that is in no file of its own."""


@dataclass(frozen=True, slots=True)
class TextContent(_NoFile, _Here):
    """A text, or a pair of texts."""

    text: str
    pair: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or both."""
        return (self.text,) if self.pair is None else (self.text, self.pair)

    @property
    def widget(self) -> dict[str, str]:
        """The texts as the Hub's page takes them to try a model."""
        return {"text": self.text} | ({"text_pair": self.pair} if self.pair else {})

    @property
    def shown(self) -> str:
        """The text, or both, as people read them."""
        return " | ".join(self.texts)

    def read(self) -> bytes:
        """Return the texts as JSON."""
        return json_bytes([self.text, self.pair])


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """An answer that a person gave, and the character of the context where it starts."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class QuestionContent(_NoFile, _Here):
    """A question, and the text with its answer.

    `group` names what must not be in two splits at once: the article, or the context itself.
    """

    id: str
    question: str
    context: str
    group: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The question and its context."""
        return self.question, self.context

    @property
    def widget(self) -> dict[str, str]:
        """The texts as the Hub's page takes them to try a model."""
        return {"text": self.question, "context": self.context}

    def read(self) -> bytes:
        """Return question and context as JSON."""
        return json_bytes([self.question, self.context])


def json_bytes(value: list[object]) -> bytes:
    """Return a value as JSON, lone surrogates kept apart from all other characters."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


Target: TypeAlias = Any
"""The name of a class, several, a number, tags, spans, captions: what the task says, and it alone looks into it."""


GivenRows: TypeAlias = (
    "str | os.PathLike[str] | pd.DataFrame | datasets.Dataset | Dataset[Any] | Mapping[str, object] | Iterable[object]"
    " | Callable[[], Iterable[object]]"
)
"""Rows as people give them in Python: a path, a frame, a data set of the Hub, torch or torchvision, a list of tuples or
dicts, arrays of inputs and labels, what generates rows, or such by split."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example: `id` is how an error names it (a relative path, or file and line).

    What `target` is the task says: the name of a class, the answers to a question, captions.
    `pixels` is the range of values that deep greyscale images of its data set have. `group` names what it comes from
    (a patient, a site), where a column says it: rows of one group are never in two splits.
    """

    id: str
    content: Content
    target: Target
    pixels: PixelRange | None = None
    group: str | None = None


def read_content(content: Content, name: str) -> bytes:
    """Return the bytes of a content that people know by a name.

    Raises:
        OSError: they can't be read.
        FetchError: they can't be fetched, which is no fault of the content.
    """
    try:
        return content.read()
    except ConnectionError as error:
        remedy = "Check the connection, and run it again: what was computed from other images is kept."
        raise FetchError(must_be(name, "one that can be fetched", str(error), remedy)) from error


def of_open_file(file: Any, where: str) -> BytesContent:
    """Return the content of an open file from where it stands.

    Raises:
        DataError: it is closed or open as text, or stands at its end.
    """
    try:
        content = file.read()
    except (OSError, ValueError) as error:  # closed, or open to write alone
        raise DataError(must_be(where, "an open file that can be read", str(error) or type(error).__name__)) from error
    if isinstance(content, str):
        raise DataError(must_be(where, "a file opened in binary mode", "one opened as text", "Open it with mode 'rb'."))
    if not content:
        raise DataError(must_be(where, "a file with an image", "one at its end", "file.seek(0) goes to its beginning."))
    if not isinstance(content, bytes | bytearray | memoryview):
        raise DataError(must_be(where, "a file that gives bytes", type(content).__name__))
    return BytesContent(bytes(content))


def is_open_file(value: object) -> bool:
    """Return whether a value is read as an open file is, of Python's own kinds or one that wraps it."""
    return hasattr(value, "read") and hasattr(value, "close")


def read_row(row: Row) -> bytes:
    """Return the bytes of a row's content.

    Raises:
        DataError: they can't be read.
        FetchError: they can't be fetched, which is no fault of the row.
    """
    try:
        return read_content(row.content, row.id)
    except OSError as error:
        raise DataError(must_be(row.id, "a readable file", error.strerror or str(error))) from error


@dataclass(frozen=True)
class Inspection:
    """The findings of a first look at the bytes of all rows.

    `digests[i]` identifies the content of row i (empty where it could not be read), `faults` are the unreadable rows,
    `depths` tell of the images of more than 8 bits.
    """

    digests: list[bytes]
    faults: dict[int, str]
    depths: dict[int, Depth] = field(default_factory=dict)


def digest_rows(rows: Sequence[Row]) -> list[bytes]:
    """Return the digest of every row's content, where it is always readable."""
    return [hashlib.blake2b(row.content.read(), digest_size=16).digest() for row in rows]
