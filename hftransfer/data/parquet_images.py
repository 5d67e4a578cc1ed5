"""The images in a large Parquet file, which stay on the disk.

Parquet is compressed, so that an image can't be read without its neighbours. Its images are written once into the
cache as Arrow, which is mapped into memory: any image is read alone, and memory grows with their number and not with
their size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.base.cache import cache_folder, mark_in_use, new_entry
from hftransfer.data.rows import DatasetContent

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

MOST_IN_MEMORY_BYTES = 1 << 24
"""A smaller file is read whole: its images take no more memory than that."""
_FILE = "images.arrow"
_ROWS_AT_ONCE = 100


def columns_of_images(path: Path, schema: pyarrow.Schema) -> list[str]:
    """Return the columns that hold bytes, as images are kept, where the file is large."""
    large = path.stat().st_size > MOST_IN_MEMORY_BYTES
    return [field.name for field in schema if large and _holds_bytes(field.type)]


def images_in(path: Path, columns: Sequence[str]) -> list[list[DatasetContent | None]]:
    """Return the images in columns of bytes, or of structs with them, row by row; None where there is none.

    Raises:
        OutputError: the cache folder can't be written.
        WriteError: there is no room in it.
        ValueError: the file is damaged.
    """
    import datasets
    import pyarrow.compute
    import pyarrow.parquet

    found = path.stat()
    key = hashlib.blake2b(f"{path.resolve()} {found.st_size} {found.st_mtime_ns}".encode(), digest_size=16).hexdigest()
    folder = cache_folder("data") / f"parquet-{key}"
    mark_in_use(folder)
    if not folder.is_dir():
        # Read ahead, its default, keeps the bytes of all batches until the last is read (pyarrow 26.0.1).
        file = pyarrow.parquet.ParquetFile(path, pre_buffer=False)
        schema = pyarrow.schema([file.schema_arrow.field(column) for column in columns])
        with new_entry(folder) as draft, pyarrow.ipc.new_stream(str(draft / _FILE), schema) as writer:
            for batch in _batches(file, columns):
                writer.write_batch(batch.replace_schema_metadata(None))
    read = datasets.Dataset.from_file(str(folder / _FILE))
    contents = []
    for column in columns:
        images = read.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        held = pyarrow.compute.is_valid(pyarrow.compute.struct_field(images.data.column(column), "bytes"))
        contents.append(
            [DatasetContent(images, column, row) if valid else None for row, valid in enumerate(held.to_pylist())]
        )
    return contents


def _batches(file: pyarrow.parquet.ParquetFile, columns: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    try:
        yield from file.iter_batches(_ROWS_AT_ONCE, columns=list(columns))
    except OSError as error:  # not to be taken for a fault of the cache, which is written meanwhile
        raise ValueError(str(error)) from error


def _holds_bytes(kind: pyarrow.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
