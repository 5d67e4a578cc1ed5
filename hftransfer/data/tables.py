"""Tables as records with the line or row number of each: CSV, TSV, JSON, JSONL, Parquet, packed by gzip or not; and
WebDataset's shards."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hftransfer.base.errors import DataError, must_be, printable, some
from hftransfer.base.plain import JsonObject
from hftransfer.data.exports import plain_records
from hftransfer.data.parquet_images import images_in
from hftransfer.data.rows import LFS_POINTER
from hftransfer.data.settings import OR_ENCODING, OR_UTF_16
from hftransfer.data.shards import SHARD, read_shard

if TYPE_CHECKING:
    import pyarrow


TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", SHARD)
_PACKED: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_SAID = re.compile(r'"?sep=(.)"?')
# A fault with the row that it is of, as in `d.csv:3: …` and `row[2]: …`; a number that is no part of a name.
_OF_ROW = re.compile(r"(.+?(?::\d+|\[\d+\])): (.*)", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w'\"])\d[\d,]*(?![\w'\"])")
_FEW_ALIKE = 3


@dataclass(frozen=True)
class Table:
    """Records, the line of each (of Parquet and JSON lists: its number, from 1), and all columns in their order: a name
    that is there twice stands there twice, though records hold the last value alone. `notes` tell what was recognised.
    """

    numbers: list[int]
    records: Sequence[Mapping[str, object]]
    columns: list[str]
    notes: list[str] = field(default_factory=list)


STDIN = "standard input"
"""What people know its lines by."""


def table_suffix(path: Path, more: Sequence[str] = ()) -> str:
    """Return what kind of table a file is by its name (`.csv` of `a.CSV` and `a.csv.gz`), or which of `more` suffixes
    it has; empty where it is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in more:
        return suffixes[-1]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
        if suffixes and suffixes[-1] == SHARD:
            return ""  # what is compressed can't be read from the middle
    return suffixes[-1] if suffixes and suffixes[-1] in TABLE_SUFFIXES else ""


def table_stem(path: Path, more: Sequence[str] = ()) -> str:
    """Return a table's name without its suffixes: `train` of `train.csv.gz`."""
    return path.name[: path.name.lower().rindex(table_suffix(path, more))]


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Return the records of a table with the place of each.

    Values of CSV and TSV are texts as they stand: `NA`, `null` and the like mean nothing special. UTF-8 is read, UTF-16
    that begins with its mark, and what `encoding` names.

    Raises:
        DataError: the file can't be read as such a table; lines at fault are named.
    """
    suffix = table_suffix(path)
    try:
        if suffix == ".parquet":
            return _parquet(path)
        if suffix == SHARD:
            records, columns = read_shard(path)
            return Table(list(range(1, len(records) + 1)), records, columns)
        text, notes = _text(path, encoding)
        if suffix == ".jsonl":
            table = json_lines(io.StringIO(text), path.name)
        else:
            table = _json(text, path) if suffix == ".json" else _csv(text, path, suffix)
    except (OSError, EOFError, ValueError, lzma.LZMAError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise DataError(must_be(str(path), f"a readable {suffix} table", str(error))) from error
    plain = plain_records(table.records, path.name) if suffix in (".json", ".jsonl") else None
    if plain is not None:
        records, places, note = plain
        numbers = [table.numbers[place] for place in places]
        table = Table(numbers, records, _all_columns(records), [*table.notes, note])
    return Table(table.numbers, table.records, table.columns, [*notes, *table.notes])


def decoded_text(content: bytes, name: str, encoding: str | None = None) -> tuple[str, str | None]:
    """Return the text in bytes, and its encoding where that is not UTF-8.

    Raises:
        DataError: the bytes are no text in that encoding.
    """
    marked = next((known for mark, known in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    chosen = encoding or marked or "utf-8-sig"
    try:
        return content.decode(chosen), None if chosen == "utf-8-sig" else chosen
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        got = f"byte {error.start} (line {line}), 0x{content[error.start]:02x}, which is not"
        if b"\0" in content[:1000]:
            remedy = f"It looks like UTF-16: save it as UTF-8{OR_UTF_16}."
        else:
            remedy = f"Save it as UTF-8{OR_ENCODING}."
        allowed = "a UTF-8 text file" if encoding is None else f"a text in {encoding}"
        raise DataError(must_be(name, allowed, got, remedy)) from error


def raise_first(faults: Sequence[str], most: int = 10) -> None:
    """Return if there are no faults.

    Raises:
        DataError: with the first faults, and how many more there are; one that many rows have is told once.
    """
    if faults:
        told = told_once(faults)
        rest = [f"… and {len(told) - most} more like these."] if len(told) > most else []
        raise DataError(*told[:most], *rest)


def told_once(faults: Sequence[str]) -> list[str]:
    """Return the faults; one that more than three rows have, but for the place and the numbers in it, stands there
    once, with the first places and how many there are."""
    alike: dict[str, list[str]] = {}
    for fault in faults:
        found = _OF_ROW.match(fault)
        alike.setdefault(_NUMBER.sub("0", found[2]) if found else fault, []).append(fault)
    told = []
    for same in alike.values():
        places = [found[1] for fault in same[1:] if (found := _OF_ROW.match(fault))]
        is_one = len(same) > _FEW_ALIKE and bool(places)
        told += [f"{same[0]} The same in {len(places)} more rows: {some(places, 3)}."] if is_one else same
    return told


def _text(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """Return the text of a file, unpacked, and a note where its encoding was recognised."""
    packed = _PACKED.get(path.suffix.lower())
    if packed is None:
        content = path.read_bytes()
    else:
        with packed(path) as stream:
            content = stream.read()
    if content.startswith(LFS_POINTER):
        remedy = "Fetch the files: git lfs pull."
        raise DataError(must_be(str(path), "a table", "a Git LFS pointer, not the file", remedy))
    text, told = decoded_text(content, str(path), encoding)
    return text, [f"{path.name} is read as {told}"] if told and encoding is None else []


def _csv(text: str, path: Path, suffix: str) -> Table:
    usual = "\t" if suffix == ".tsv" else ","
    first, _, rest = text.partition("\n")
    said = _SAID.fullmatch(first.strip())  # a line that spreadsheets write for themselves
    before = len(said.groups()) if said else 0
    delimiter = said[1] if said else _delimiter(text, usual)
    text = rest if said else text
    told = _DELIMITERS.get(delimiter, repr(delimiter))
    notes = [] if delimiter == usual else [f"{path.name}: columns are separated by {told}"]
    numbers, records, faults = [], [], []
    with _long_cells():
        # Strict: quotes that don't fit would else swallow the lines behind them.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [name.strip() for name in next(_numbered(reader, path), [])]
        for cells in _numbered(reader, path):
            if not cells:
                continue
            if len(cells) != len(columns):
                faults.append(must_be(f"{path.name}:{reader.line_num}", f"{len(columns)} cells", f"{len(cells)}"))
                continue
            if len(cells) > 1 and not any(cell.strip() for cell in cells):
                continue  # below a table spreadsheets leave rows of nothing
            numbers.append(reader.line_num + before)
            records.append(dict(zip(columns, cells, strict=True)))
    raise_first(faults)
    return Table(numbers, records, columns, notes)


def _delimiter(text: str, usual: str) -> str:
    """Return what separates the columns: the usual sign, unless the first lines have one column by it, and by another
    sign each as many, which are several."""
    head = text[: 1 << 16].splitlines(keepends=True)[:20]
    if len(head) > 1 and len(text) > 1 << 16:
        head = head[:-1]  # the last may be cut

    def widths(sign: str) -> set[int]:
        try:
            with _long_cells():
                return {len(cells) for cells in csv.reader(head, delimiter=sign, strict=True) if cells}
        except csv.Error:
            return {0}

    first = {sign: len(next(csv.reader(head[:1], delimiter=sign), [])) for sign in _DELIMITERS}
    if first[usual] > 1:
        return usual
    others = [sign for sign in _DELIMITERS if sign != usual and first[sign] > 1 and len(widths(sign)) == 1]
    return max(others, key=lambda sign: first[sign], default=usual)


def _numbered(reader: Any, path: Path) -> Iterator[list[str]]:
    """Yield the records; one whose quotes don't fit is named by the line on which it begins."""
    while True:
        begins = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where, remedy = f"{path.name}:{begins}", 'Write a quote within quotes twice: "".'
            raise DataError(must_be(where, "a record with matching quotes", f"{error}", remedy)) from error


@contextmanager
def _long_cells() -> Iterator[None]:
    """Meanwhile cells may be as long as a whole file: the module's limit is for all its readers."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


class _Twice(ValueError):
    """A key that an object of JSON has twice."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return record


def objects_in(lines: Sequence[str]) -> Table | None:
    """Return the objects of JSON that lines of standard input are; None where none is one.

    Raises:
        DataError: some are, and others are none; they are named.
    """
    return json_lines(lines, STDIN) if any(map(_is_object, lines)) else None


def _is_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def json_lines(lines: Iterable[str], source: str) -> Table:
    """Return the line numbers and the objects of JSON in lines.

    Raises:
        DataError: lines hold no object, or one with a key twice; they are named.
    """
    numbers, records, faults = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once)
        except _Twice as error:
            faults.append(must_be(f"{source}:{number}: the key '{error}'", "given once", "twice"))
            continue
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            faults.append(must_be(f"{source}:{number}", "a JSON object", printable(line.strip()[:60])))
            continue
        numbers.append(number)
        records.append(record)
    raise_first(faults)
    return Table(numbers, records, _all_columns(records))


def _all_columns(records: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the columns of records, which need not all be in the first one."""
    return list(dict.fromkeys(column for record in records for column in record))


def _json(text: str, path: Path) -> Table:
    """Return a list of objects, one in the value of a single key (such as `data`), SQuAD's nested form, or JSON in
    lines."""
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except _Twice as error:
        raise DataError(must_be(f"{path.name}: the key '{error}'", "given once in an object", "twice")) from error
    except (ValueError, RecursionError) as error:
        # Many .json files hold an object in each line.
        if text.lstrip().startswith("{") and "\n" in text.strip():
            return json_lines(io.StringIO(text), path.name)
        raise DataError(must_be(str(path), "valid JSON", str(error) or "too many nested levels")) from error
    records = document
    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list) and value]
        records = document["data"] if isinstance(document.get("data"), list) else lists[0] if len(lists) == 1 else None
        if records is None:
            records = [document]
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        got = f"a {type(records).__name__}" if not isinstance(records, list) else "a list of something else"
        raise DataError(must_be(str(path), "a list of objects, or objects in lines", got))
    notes = []
    if records and all(isinstance(record.get("paragraphs"), list) for record in records):
        records = _squad_records(records, path)
        notes.append(f"{path.name}: SQuAD's articles, {len(records):,} questions")
    return Table(list(range(1, len(records) + 1)), records, _all_columns(records), notes)


def _squad_records(articles: Sequence[JsonObject], path: Path) -> list[dict[str, object]]:
    """Return the questions of SQuAD's own files (v1 or v2), articles of paragraphs, in the flat form of the Hub."""
    records = []
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    answers = [] if asked.get("is_impossible") else asked.get("answers") or []
                    placed = {name: [answer[name] for answer in answers] for name in ("text", "answer_start")}
                    record = {"question": asked["question"], "context": paragraph["context"], "answers": placed}
                    records.append({"id": asked.get("id"), "title": article.get("title"), **record})
    except (KeyError, TypeError, AttributeError) as error:
        allowed = "SQuAD's articles: data, paragraphs, context, qas, question, answers"
        raise DataError(must_be(str(path), allowed, f"some without {error}")) from error
    return records


def _parquet(path: Path) -> Table:
    import pyarrow.parquet

    with path.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            remedy = "Fetch the files: git lfs pull."
            raise DataError(must_be(str(path), "a table", "a Git LFS pointer, not the file", remedy))
    # Read ahead, its default, keeps the bytes of all batches until the last is read (pyarrow 26.0.1).
    file = pyarrow.parquet.ParquetFile(path, pre_buffer=False)
    columns = list(file.schema_arrow.names)
    kept = images_in(path, file)
    table = file.read([column for column in columns if column not in kept])
    read = iter(table.columns)  # by place: a name may be there twice
    # Parquet has no lines: rows are counted from 1, as people do.
    numbers = list(range(1, file.metadata.num_rows + 1))
    values = [kept[column] if column in kept else next(read).to_pylist() for column in columns]
    features = _features(file.schema_arrow)
    values = [
        [_json_read(value, features[column]) for value in own] if _holds_json(features.get(column)) else own
        for column, own in zip(columns, values, strict=True)
    ]
    records = [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
    faults = []
    for column, names in _class_names(features, columns).items():
        for number, record in zip(numbers, records, strict=True):
            try:
                value = record[column]
                several = isinstance(value, list)
                record[column] = [class_name(one, names) for one in value] if several else class_name(value, names)
            except ValueError as error:
                faults.append(must_be(f"{path.name}:{number}: column '{column}'", str(error), repr(record[column])))
    raise_first(faults)
    return Table(numbers, records, columns)


def class_name(value: object, names: Sequence[str]) -> object:
    """Return the name of a class id; None where there is none (None or -1), a name that stands there already as it is.

    Raises:
        ValueError: it is no id of these classes; its text is what is allowed.
    """
    if value is None or value == -1:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, str):
        return value
    raise ValueError(f"a class id of 0 to {len(names) - 1} ({some(names, 3)}), or -1 for none")


def _features(schema: pyarrow.Schema) -> dict[str, Any]:
    """Return what columns hold, where `datasets` wrote that into the file's metadata."""
    written = (schema.metadata or {}).get(b"huggingface")
    try:
        found = dict(json.loads(written)["info"]["features"]) if written else {}
        _holds_json(found)  # whether it can be looked through
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found


def _class_names(features: Mapping[str, Any], columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of the classes by column."""
    try:
        known = {column: _class_feature(feature) for column, feature in features.items()}
        return {c: feature["names"] for c, feature in known.items() if feature and c in columns}
    except (KeyError, TypeError, AttributeError):
        return {}


def _holds_json(feature: Any) -> bool:
    """Return whether a column holds objects that are written as JSON, or has them within."""
    if isinstance(feature, dict):
        return feature.get("_type") == "Json" or any(_holds_json(part) for part in feature.values())
    return isinstance(feature, list) and any(map(_holds_json, feature))


def _json_read(value: object, feature: Any) -> object:
    """Return a value with what is written as JSON in it read."""
    if not _holds_json(feature):
        return value
    if isinstance(feature, dict) and feature.get("_type") == "Json":
        try:
            return json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            return value
    if isinstance(value, list):
        inner = feature[0] if isinstance(feature, list) else feature.get("feature")
        return [_json_read(one, inner) for one in value]
    if isinstance(value, dict) and isinstance(feature, dict):
        return {name: _json_read(one, feature.get(name)) for name, one in value.items()}
    return value


def _class_feature(feature: Any) -> JsonObject | None:
    """Return the ClassLabel that a feature is, or has a list of; None where it is something else."""
    if isinstance(feature, list) and len(feature) == 1:  # as datasets wrote lists before its version 4
        feature = feature[0]
    elif isinstance(feature, dict) and feature.get("_type") in ("List", "LargeList", "Sequence"):
        feature = feature.get("feature")
    return feature if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
