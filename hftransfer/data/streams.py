"""Data sets that stay on the Hub: what a row says is fetched at once, and its image when a network needs it.

A Parquet file says at its end where each column of each group of rows lies. So labels are fetched without images, and
images a group at a time, as passes over the data ask for them. Nothing is kept on the disk.
"""

from __future__ import annotations

import bisect
import errno
import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hftransfer.base.errors import DataError, first_line, must_be, some
from hftransfer.base.plain import JsonObject

if TYPE_CHECKING:
    import datasets
    import pyarrow
    import pyarrow.parquet

_MOST_GROUP_BYTES = 1 << 30
"""A larger group of rows, uncompressed, is not held in memory."""
_LEAST_HELD, _MOST_HELD_BYTES = 2, 1 << 29
"""Groups of rows that lie in memory: threads that read ahead ask for neighbours."""
_FILES_AT_ONCE = 8
_ADVICE = "Leave data.streaming out: the data set is then downloaded as a whole."


def streamed_splits(
    source: str, config: str | None, revision: str | None, named: Mapping[str, str | None]
) -> dict[str, StreamedDataset]:
    """Return the splits of a data set on the Hub, those that are `named` by their roles where training is; of its rows
    nothing is fetched.

    Raises:
        DataError: it is not in Parquet files, has no such split, or can't be read in parts.
        ConnectionError, FileNotFoundError, ValueError: as `datasets.load_dataset_builder`.
    """
    import datasets

    builder = datasets.load_dataset_builder(source, config, revision=revision)
    files: Mapping[str, list[str]] = {str(name): list(part) for name, part in (builder.config.data_files or {}).items()}
    where = f"data.source '{source}' with data.streaming"
    other = [url for part in files.values() for url in part if not url.endswith(".parquet")]
    if other or not files:
        got = f"{some((url.rpartition('/')[2] for url in other), 2)}" if other else "no files"
        remedy = "The Hub converts many data sets: try data.revision=refs/convert/parquet."
        raise DataError(must_be(where, "a data set in Parquet files", got, remedy))
    wanted = {role: name for role, name in named.items() if name}
    if unknown := [name for name in wanted.values() if name not in files]:
        remedy = "data.limit takes the first rows of each split."
        raise DataError(must_be(f"a split of {where}", f"one of {some(files)}", some(unknown), remedy))
    chosen = {role: files[name] for role, name in wanted.items()} if "train" in wanted else files
    features = builder.as_streaming_dataset(next(iter(files))).features
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        opened = {name: tuple(pool.map(_Remote, part)) for name, part in chosen.items()}
    return {name: StreamedDataset(part, features) for name, part in opened.items()}


class _Remote:
    """A Parquet file at an address, `hf://datasets/org/name@commit/path`.

    Raises:
        DataError: a group of its rows is too large to be held in memory.
        OSError: it can't be fetched, or is damaged.
    """

    def __init__(self, url: str) -> None:
        import pyarrow.parquet
        from fsspec.core import url_to_fs

        self.url = url
        with _told(url):
            files, path = url_to_fs(url)
            told = files.info(path)
            # Without a cache of its own: what is asked for are whole chunks of columns.
            self._file = pyarrow.parquet.ParquetFile(files.open(path, "rb", cache_type="none"), pre_buffer=True)
        self.content_id = str((told.get("lfs") or {}).get("sha256") or told.get("blob_id") or url)
        groups = [self._file.metadata.row_group(place) for place in range(self._file.metadata.num_row_groups)]
        self.starts = [0, *itertools.accumulate(group.num_rows for group in groups)]
        self._lock = threading.Lock()
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > _MOST_GROUP_BYTES:
            allowed = f"in groups of rows of at most {_MOST_GROUP_BYTES >> 20} MiB, with data.streaming"
            raise DataError(must_be(url, allowed, f"{largest >> 20} MiB", _ADVICE))

    def records(self, columns: Sequence[str]) -> list[JsonObject]:
        """Return these columns of all rows."""
        with self._lock, _told(self.url):
            found: list[JsonObject] = self._file.read(columns=list(columns)).to_pylist()
            return found

    def value(self, column: str, row: int) -> Any:
        """Return what a row has in a column; its neighbours are fetched along."""
        group = bisect.bisect_right(self.starts, row) - 1

        def fetched() -> pyarrow.ChunkedArray:
            with _told(self.url):
                return self._file.read_row_group(group, columns=[column]).column(column)

        with self._lock:
            return _HELD.get((self.url, column, group), fetched)[row - self.starts[group]].as_py()


class _Groups:
    """The groups of rows that were asked for last, of all files."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, int], pyarrow.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str, int], fetched: Callable[[], pyarrow.ChunkedArray]) -> pyarrow.ChunkedArray:
        """Return what is held under a key, fetched if nothing is; what was asked for longest ago makes room."""
        with self._lock:
            found = self._held.pop(key, None)
        found = fetched() if found is None else found  # other files are read meanwhile
        with self._lock:
            self._held[key] = found
            while len(self._held) > _LEAST_HELD and sum(own.nbytes for own in self._held.values()) > _MOST_HELD_BYTES:
                self._held.popitem(last=False)
        return found


_HELD = _Groups()


class _told:
    """Faults of the network and of files as errors of reading, which name the file."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, DataError):
            raise OSError(errno.EIO, f"one that could not be fetched ({first_line(error)})", self._url) from error


@dataclass(frozen=True)
class StreamedDataset:
    """The rows of remote files, with what finding rows asks of a `datasets.Dataset`."""

    files: tuple[_Remote, ...]
    features: datasets.Features

    def __len__(self) -> int:
        return self._starts[-1]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *itertools.accumulate(file.starts[-1] for file in self.files)]

    def select_columns(self, names: Sequence[str]) -> StreamedDataset:
        """Return the same rows with these columns alone."""
        import datasets

        return replace(self, features=datasets.Features({name: self.features[name] for name in names}))

    def to_list(self) -> list[JsonObject]:
        """Return all rows as records."""
        columns = list(self.features)
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            return [record for part in pool.map(lambda file: file.records(columns), self.files) for record in part]

    def image(self, index: int, column: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            OSError: there is none, or it can't be fetched.
        """
        file, row = self._place(index)
        value = file.value(column, row)
        found = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(found, bytes):
            raise FileNotFoundError(errno.ENOENT, "no image in this row")
        return found

    def identity(self, index: int, column: str) -> bytes:
        """Return what tells an image from others without fetching it."""
        file, row = self._place(index)
        return hashlib.blake2b(f"{file.content_id} {row} {column}".encode(), digest_size=16).digest()

    def place(self, index: int) -> tuple[str, int]:
        """Return the address of the file with a row, and its number there."""
        file, row = self._place(index)
        return file.url, row

    def _place(self, index: int) -> tuple[_Remote, int]:
        place = bisect.bisect_right(self._starts, index) - 1
        return self.files[place], index - self._starts[place]
