"""Data sets that stay on the Hub: what a row says is fetched at once, and its image when a network needs it.

A Parquet file says at its end where each column of each group of rows lies. So labels are fetched without images, and
images a group at a time, as passes over the data ask for them. A shard of WebDataset is gone through once for what lies
beside its images, and again for these. Nothing is kept on the disk.
"""

from __future__ import annotations

import bisect
import errno
import hashlib
import itertools
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from hftransfer.base.errors import DataError, first_line, must_be, nearest, some
from hftransfer.base.plain import JsonObject
from hftransfer.data.rows import Content, DatasetContent, StreamedContent, StreamedMember
from hftransfer.data.shards import CLASS_NAMES, SHARD, names_in, shard_records

if TYPE_CHECKING:
    import datasets
    import pyarrow
    import pyarrow.parquet

_MOST_GROUP_BYTES = 1 << 30
"""A larger group of rows, uncompressed, is not held in memory."""
_LEAST_HELD, _MOST_HELD_BYTES = 2, 1 << 29
"""What lies in memory of what was fetched: threads that read ahead ask for neighbours."""
_FILES_AT_ONCE = 8
PARQUET = ".parquet"
_BLOCK_BYTES = 1 << 23
"""Of a shard so much is fetched at once."""
_ADVICE = "Leave data.streaming out: the data set is then downloaded as a whole."


def streamed_tables(
    source: str, config: str | None, revision: str | None, named: Mapping[str, str | None]
) -> dict[str, StreamedDataset]:
    """Return the splits of a data set on the Hub in Parquet files, those that are `named` by their roles where training
    is; of its rows nothing is fetched.

    Raises:
        DataError: it is in other files, has no such split, or can't be read in parts.
        ConnectionError, FileNotFoundError, ValueError: as `datasets.load_dataset_builder`.
    """
    import datasets

    builder = datasets.load_dataset_builder(source, config, revision=revision)
    files: Mapping[str, list[str]] = {str(name): list(part) for name, part in (builder.config.data_files or {}).items()}
    urls = [url for part in files.values() for url in part]
    where = f"data.source '{source}' with data.streaming"
    if not urls or not all(url.endswith(PARQUET) for url in urls):
        got = some((PurePosixPath(url).name for url in urls), 2) or "no files, or no connection"
        remedy = "The Hub converts many data sets: try data.revision=refs/convert/parquet."
        remedy = remedy if urls and revision is None else _ADVICE
        raise DataError(must_be(where, "a data set in Parquet files or WebDataset shards", got, remedy))
    wanted = {role: name for role, name in named.items() if name}
    if unknown := [name for name in wanted.values() if name not in files]:
        near = nearest(unknown[0], files)
        remedy = "data.limit takes the first rows of each split." if "[" in unknown[0] else near
        raise DataError(must_be(f"a split of {where}", f"one of {some(files)}", some(unknown), remedy))
    chosen = {role: files[name] for role, name in wanted.items()} if "train" in wanted else files
    features = builder.as_streaming_dataset(next(iter(files))).features
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        return {name: StreamedDataset(tuple(pool.map(_Remote, part)), features) for name, part in chosen.items()}


class _Remote:
    """A Parquet file at an address, `hf://datasets/org/name@commit/path`.

    Raises:
        DataError: a group of its rows is too large to be held in memory.
        ConnectionError: it can't be fetched, or is damaged.
    """

    def __init__(self, url: str) -> None:
        import pyarrow.parquet

        self.url = url
        with _told(url):
            # Without a cache of its own: what is asked for are whole chunks of columns.
            opened, self.content_id = _opened(url, cache_type="none")
            self._file = pyarrow.parquet.ParquetFile(opened, pre_buffer=True)
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


def _opened(url: str, **settings: object) -> tuple[BinaryIO, str]:
    """Return a file at an address, and what tells its content from others: the Hub's hash of it."""
    from fsspec.core import url_to_fs

    files, path = url_to_fs(url)
    return files.open(path, "rb", **settings), str(files.info(path).get("blob_id") or url)


class _Held:
    """The groups of rows and the blocks that were asked for last, of all files."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str, int], fetched: Callable[[], Any]) -> Any:
        """Return what is held under a key, fetched if nothing is; what was asked for longest ago makes room."""
        with self._lock:
            found = self._held.pop(key, None)
        found = fetched() if found is None else found  # other files are read meanwhile
        with self._lock:
            self._held[key] = found
            while len(self._held) > _LEAST_HELD and sum(own.nbytes for own in self._held.values()) > _MOST_HELD_BYTES:
                self._held.popitem(last=False)
        return found


_HELD = _Held()


class _told:
    """Faults of the network and of files as errors of the connection, which name the file."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, DataError | FileNotFoundError):
            name = PurePosixPath(self._url).name
            raise ConnectionError(f"{name} could not be fetched ({first_line(error)})") from error


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
            FileNotFoundError: there is none.
            ConnectionError: it can't be fetched.
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


def images_of(dataset: datasets.Dataset | StreamedDataset, column: str) -> Callable[[int], Content]:
    """Return what gives the image of a row, by its place, in a column that holds images or the bytes of such."""
    if isinstance(dataset, StreamedDataset):
        return partial(StreamedContent, dataset, column)
    import datasets

    raw = dataset.select_columns([column])
    if not isinstance(raw.features[column], datasets.Image):
        raw = raw.cast_column(column, datasets.Image())
    raw = raw.cast_column(column, datasets.Image(decode=False))
    return partial(DatasetContent, raw, column)


@dataclass(frozen=True)
class HubShards:
    """The shards of WebDataset in a repository of the Hub, at one commit."""

    source: str
    revision: str | None
    commit: str
    files: tuple[str, ...]

    @classmethod
    def of(cls, source: str, revision: str | None) -> HubShards | None:
        """Return those of a data set, or of what was fetched of it before; None where it has none, or Parquet files
        too, or is not there."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            told = HfApi().dataset_info(source, revision=revision)
            commit, names = str(told.sha), [entry.rfilename for entry in told.siblings or ()]
        except HfHubHTTPError:
            return None
        except Exception:  # what the client raises without a connection has no common class
            try:
                kept = _snapshot(source, revision, [f"*{SHARD}"], local_files_only=True)
            except (LocalEntryNotFoundError, ValueError):  # of an id that can't be one, too
                return None
            commit, names = kept.name, [file.relative_to(kept).as_posix() for file in kept.rglob("*")]
        shards = tuple(sorted(name for name in names if name.endswith(SHARD)))
        return cls(source, revision, commit, shards) if shards and not any(n.endswith(PARQUET) for n in names) else None

    def fetched(self) -> Path:
        """Return the folder with the shards and the names of their classes, fetched unless they are there."""
        return _snapshot(self.source, self.revision, self.files)

    def streamed(self, split_of: Callable[[str], str]) -> dict[str, StreamedShards]:
        """Return the shards by the split that `split_of` says of the path of each; nothing of them is fetched."""
        parts: dict[str, list[str]] = {}
        for name in self.files:
            parts.setdefault(split_of(name), []).append(f"hf://datasets/{self.source}@{self.commit}/{name}")
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            return {name: StreamedShards(tuple(pool.map(RemoteShard, part))) for name, part in parts.items()}


class RemoteShard:
    """A shard of WebDataset at an address.

    Raises:
        ConnectionError: it can't be fetched.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        with _told(url):
            # Without a cache of its own: that would be kept as long as the rows are.
            self._file, self.content_id = _opened(url, cache_type="none")
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The name of the file, and the folder that it is in."""
        return "/".join(PurePosixPath(self.url).parts[-2:])

    def records(self) -> tuple[list[dict[str, object]], list[str]]:
        """Return the examples as records, and all columns; images are left where they are.

        Raises:
            DataError: it is no shard, or its members are not of the usual form.
            ConnectionError: it can't be fetched.
        """

        def image_of(member: tarfile.TarInfo) -> StreamedMember:
            return StreamedMember(self, member.name, member.offset_data, member.size)

        with _told(self.url):
            file, _ = _opened(self.url, cache_type="readahead", block_size=_BLOCK_BYTES)
            with file:
                return shard_records(file, PurePosixPath(self.url), image_of, self._class_names())

    def read(self, offset: int, size: int) -> bytes:
        """Return some bytes of the file.

        Raises:
            ConnectionError: they can't be fetched.
        """

        def fetched(block: int) -> memoryview:
            with _told(self.url):
                self._file.seek(block * _BLOCK_BYTES)
                return memoryview(self._file.read(_BLOCK_BYTES))

        first, last = offset // _BLOCK_BYTES, (offset + size - 1) // _BLOCK_BYTES
        with self._lock:
            blocks = [_HELD.get((self.url, "", block), partial(fetched, block)) for block in range(first, last + 1)]
        start = offset - first * _BLOCK_BYTES
        return b"".join(blocks)[start : start + size]

    def _class_names(self) -> list[str]:
        folder = self.url.rpartition("/")[0]
        return _names_beside(folder) or _names_beside(folder.rpartition("/")[0])


@lru_cache(maxsize=64)
def _names_beside(folder: str) -> list[str]:
    """Return the names of classes in a folder's file of them; none where it has none."""
    try:
        names, _ = _opened(f"{folder}/{CLASS_NAMES}")
    except FileNotFoundError:
        return []
    with names:
        return names_in(names.read().decode())


@dataclass(frozen=True)
class StreamedShards:
    """The shards of a split."""

    files: tuple[RemoteShard, ...]

    def tables(self) -> Iterator[tuple[str, list[dict[str, object]], list[str]]]:
        """Yield the name, the records and the columns of each."""
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            for file, (records, columns) in zip(self.files, pool.map(RemoteShard.records, self.files), strict=True):
                yield file.name, records, columns


def _snapshot(source: str, revision: str | None, files: Sequence[str], *, local_files_only: bool = False) -> Path:
    """Return the folder of some files of a data set and the names of its classes, fetched unless they are there."""
    from huggingface_hub import snapshot_download

    patterns = [*files, CLASS_NAMES, f"*/{CLASS_NAMES}"]
    found = snapshot_download(
        source,
        repo_type="dataset",
        revision=revision,
        allow_patterns=patterns,
        local_files_only=local_files_only,
    )
    return Path(found)
