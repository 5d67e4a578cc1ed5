"""Tables as records with the line or row number of each: CSV, TSV, JSONL, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hftransfer.errors import DataError, must_be

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")

Table = tuple[list[int], list[dict[str, Any]]]


def read_table(path: Path) -> Table:
    """The line number (of Parquet: the row number, from 1) and the values by column of every record.

    Values of CSV and TSV are texts as they stand: `NA`, `null` and the like mean nothing special.

    Raises:
        DataError: the file can't be read as such a table; lines at fault are named.
    """
    try:
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8-sig") as lines:
                return json_lines(lines, path.name)
        return _parquet(path) if path.suffix == ".parquet" else _csv(path)
    except UnicodeDecodeError as error:
        raise DataError(must_be(str(path), "a UTF-8 table", f"byte {error.start} that is not")) from error
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise DataError(must_be(str(path), f"a readable {path.suffix} table", str(error))) from error


def raise_first(faults: Sequence[str], most: int = 10) -> None:
    """Nothing, if there are no faults.

    Raises:
        DataError: with the first faults, and how many more there are.
    """
    if faults:
        rest = [f"… and {len(faults) - most} more like these."] if len(faults) > most else []
        raise DataError(*faults[:most], *rest)


def _csv(path: Path) -> Table:
    numbers, records, faults = [], [], []
    with _long_cells(), path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        columns: list[str] = next(reader, [])
        for cells in _numbered(reader, path):
            if not cells:
                continue
            if len(cells) != len(columns):
                faults.append(must_be(f"{path.name}:{reader.line_num}", f"{len(columns)} cells", f"{len(cells)}"))
                continue
            numbers.append(reader.line_num)
            records.append(dict(zip(columns, cells, strict=True)))
    raise_first(faults)
    return numbers, records


def _numbered(reader: Any, path: Path) -> Iterator[list[str]]:
    """The records; one whose quotes don't fit is named by the line on which it begins."""
    while True:
        begins = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where, remedy = f"{path.name}:{begins}", 'A quote within quotes is written twice: "".'
            raise DataError(must_be(where, "a record whose quotes fit", f"{error}", remedy)) from error


@contextmanager
def _long_cells() -> Iterator[None]:
    """Meanwhile cells may be as long as a whole file: the module's limit is for all its readers."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def json_lines(lines: Iterable[str], source: str) -> Table:
    """The line numbers and the objects of JSON in lines.

    Raises:
        DataError: lines hold no object; they are named.
    """
    numbers, records, faults = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            faults.append(must_be(f"{source}:{number}", "a JSON object", line.strip()[:60]))
            continue
        numbers.append(number)
        records.append(record)
    raise_first(faults)
    return numbers, records


def _parquet(path: Path) -> Table:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    records = table.to_pylist()
    for column, names in _class_names(table.schema).items():
        for record in records:
            label = record[column]
            record[column] = names[label] if label is not None and 0 <= label < len(names) else None
    return list(range(1, len(records) + 1)), records


def _class_names(schema: Any) -> dict[str, list[str]]:
    """The names of the classes by column, where `datasets` wrote them into the file's metadata."""
    written = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(written)["info"]["features"] if written else {}
        return {
            column: feature["names"]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and column in schema.names
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
