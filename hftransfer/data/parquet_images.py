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


def images_in(path: Path, file: pyarrow.parquet.ParquetFile) -> dict[str, list[DatasetContent | None]]:
    """Return the columns of a large file that hold bytes, as images are kept, or structs with them: an image a row,
    None where there is none. Of a small file return none.

    Raises:
        OutputError: the cache folder can't be written.
        WriteError: there is no room in it.
        ValueError: the file is damaged.
    """
    found, schema = path.stat(), file.schema_arrow
    if found.st_size <= MOST_IN_MEMORY_BYTES:
        return {}
    held = [field for field in schema if _holds_bytes(field.type) and schema.names.count(field.name) == 1]
    if not held:
        return {}
    import datasets
    import pyarrow.compute

    key = hashlib.blake2b(f"{path.resolve()} {found.st_size} {found.st_mtime_ns}".encode(), digest_size=16).hexdigest()
    folder = cache_folder("data") / f"parquet-{key}"
    mark_in_use(folder)
    if not folder.is_dir():
        with new_entry(folder) as draft, pyarrow.ipc.new_stream(str(draft / _FILE), pyarrow.schema(held)) as writer:
            for batch in _batches(file, [field.name for field in held]):
                writer.write_batch(batch.replace_schema_metadata(None))
    read = datasets.Dataset.from_file(str(folder / _FILE))
    contents = {}
    for column in read.column_names:
        images = read.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        there = pyarrow.compute.is_valid(pyarrow.compute.struct_field(images.data.column(column), "bytes"))
        contents[column] = [
            DatasetContent(images, column, row) if valid else None for row, valid in enumerate(there.to_pylist())
        ]
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
