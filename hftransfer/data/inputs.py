"""What a person names to have it predicted: files, folders, patterns, tables, lines of standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hftransfer.data.columns import column_of
from hftransfer.data.rows import FileContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import IMAGE_COLUMNS, IMAGE_SUFFIXES, Kind, files_below, table_content
from hftransfer.data.tables import TABLE_SUFFIXES, json_lines, raise_first, read_table
from hftransfer.data.texts import pair_column_of, text_column_of
from hftransfer.errors import DataError, RecipeError, must_be, some, user_path

_STDIN = "standard input"


@dataclass(frozen=True)
class Columns:
    """The columns of tables that are read, found by their usual names where they aren't given."""

    first: str | None = None
    """With images, texts or questions."""
    second: str | None = None
    """With the second of two texts, or contexts."""


@dataclass(frozen=True)
class Named:
    """An input as the model takes it, and what a person knows it by."""

    name: str
    value: Any


@dataclass(frozen=True)
class Given:
    """What a person gives a model on the command line."""

    inputs: tuple[str, ...] = ()
    column: str | None = None
    pair_column: str | None = None
    question: str | None = None
    context: str | None = None
    pair: str | None = None

    def named(self, kind: Kind, lines: Iterable[str] = (), *, pairs: bool = False) -> list[Named]:
        """Every input: of questions those of tables or the one with its context, of texts the one with its pair too.

        Raises:
            RecipeError: what is given does not go with a model that takes inputs of this kind.
            DataError: inputs can't be read; all of them are told.
        """
        asks, columns = self.question is not None, Columns(self.column, self.pair_column)
        if kind == "questions":
            if self.inputs and not asks and self.context is None:
                return inputs_of(self.inputs, kind, columns, lines)
            if asks and self.context is not None and not self.inputs:
                return [Named(str(self.question), {"question": self.question, "context": self.context})]
            got = "inputs" if self.inputs else "less"
            allowed = "--question and --context, or a table with both"
            raise RecipeError(must_be("the input of this model", allowed, got))
        if not self.inputs or asks or self.context is not None:
            what = "image files" if kind == "images" else "texts"
            raise RecipeError(
                must_be("the input of this model", what, "--question or --context" if self.inputs else "none")
            )
        if self.pair is None:
            return inputs_of(self.inputs, kind, columns, lines, pairs=pairs)
        if kind == "images":
            raise RecipeError(must_be("--pair", "left out for images", f"'{self.pair}'"))
        if len(self.inputs) != 1:
            raise RecipeError(must_be("the inputs with --pair", "one text", f"{len(self.inputs)}"))
        return [Named(f"{self.inputs[0]} | {self.pair}", (self.inputs[0], self.pair))]


def inputs_of(
    given: Sequence[str], kind: Kind, columns: Columns | None = None, lines: Iterable[str] = (), *, pairs: bool = False
) -> list[Named]:
    """Every input that is named: `-` stands for the lines of standard input (of questions:
    JSON objects with both texts); tables (.csv, .tsv, .jsonl, .parquet) give
    one for each row, folders and patterns (`photos/*.jpg`) the files in them. What else is given is a path where
    images are asked for, and a text where texts are; a .txt file is one text.

    Raises:
        DataError: a table can't be read or has no such column, or a folder or pattern has no files; all are told.
    """
    found: list[Named] = []
    faults: list[str] = []
    for name in given:
        try:
            found += _expanded(name, kind, columns or Columns(), lines, pairs=pairs)
        except DataError as error:
            faults += error.faults
    raise_first(faults)
    return found


def _expanded(name: str, kind: Kind, columns: Columns, lines: Iterable[str], *, pairs: bool) -> Iterator[Named]:
    if name == "-":
        if kind == "questions":  # each line a JSON object with a question and a context
            yield from _question_rows(*json_lines(lines, _STDIN), columns, _STDIN)
            return
        kept = [text for line in lines if (text := line.rstrip("\r\n"))]
        yield from (Named(text, text) for text in kept)
        return
    path = _path(name)
    if path is not None and path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        yield from _rows(path, kind, columns, pairs=pairs)
    elif kind == "questions":
        allowed = f"a table ({', '.join(TABLE_SUFFIXES)}) with questions and contexts"
        raise DataError(must_be(f"the input '{name}'", allowed, "something else"))
    elif path is not None and path.is_dir():
        yield from _files(sorted(files_below(path)), kind, f"the folder {name}")
    elif path is not None and not path.exists() and any(sign in name for sign in "*?[") and _is_pattern(name, kind):
        start = Path(path.anchor)
        yield from _files(sorted(start.glob(str(path.relative_to(start)))), kind, f"'{name}'")
    elif kind == "images":
        yield Named(name, path if path is not None else name)
    elif path is not None and path.suffix == ".txt" and path.is_file():
        yield Named(name, _text_of(path))
    else:
        yield Named(name, name)


def _is_pattern(name: str, kind: Kind) -> bool:
    """Whether a name with * or ? is meant for files: of texts only where it ends as files of texts do."""
    return kind == "images" or name.endswith((".txt", *TABLE_SUFFIXES))


def _path(name: str) -> Path | None:
    """The path of a name, where it can be one."""
    try:
        path = user_path(name, "the input", DataError)
        path.exists()
    except (DataError, OSError, ValueError):  # a text too long, or with a null byte
        return None
    return path


def _files(files: Sequence[Path], kind: Kind, where: str) -> Iterator[Named]:
    wanted = IMAGE_SUFFIXES if kind == "images" else frozenset({".txt"})
    chosen = [file for file in files if file.suffix.lower() in wanted and file.is_file()]
    if not chosen:
        allowed = f"files such as *{'.jpg' if kind == 'images' else '.txt'}"
        raise DataError(must_be(where, allowed, some((file.name for file in files), 3) or "none"))
    yield from (Named(str(file), file if kind == "images" else _text_of(file)) for file in chosen)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(must_be(str(file), "a readable UTF-8 file", str(error))) from error


def _rows(path: Path, kind: Kind, columns: Columns, *, pairs: bool) -> Iterator[Named]:
    numbers, records = read_table(path)
    if not records:
        raise DataError(must_be(str(path), "a table with rows", "none"))
    known, wheres = list(records[0]), [f"{path.name}:{number}" for number in numbers]
    if kind == "images":
        yield from _image_rows(path, records, wheres, column_of(columns.first, IMAGE_COLUMNS, known, "--column", path))
        return
    if kind == "questions":
        yield from _question_rows(numbers, records, columns, path)
        return
    first = text_column_of(columns.first, known, "--column", path)
    second = pair_column_of(columns.second, first, known, "--pair-column", path) if pairs else None
    yield from _text_rows(records, wheres, first, second, questions=False)


def _question_rows(
    numbers: Sequence[int], records: Sequence[Mapping[str, Any]], columns: Columns, source: str | Path
) -> Iterator[Named]:
    name = source if isinstance(source, str) else source.name
    if not records:
        raise DataError(must_be(name, "questions with their contexts, as JSON objects in lines", "nothing"))
    known, wheres = list(records[0]), [f"{name}:{number}" for number in numbers]
    first = column_of(columns.first, ("question",), known, "--column", source)
    second = column_of(columns.second, ("context",), known, "--pair-column", source)
    yield from _text_rows(records, wheres, first, second, questions=True)


def _image_rows(
    path: Path, records: Sequence[Mapping[str, Any]], wheres: Sequence[str], column: str
) -> Iterator[Named]:
    settings = DataSettings(source=str(path), allow_outside_paths=True)
    faults: list[str] = []
    for record, where in zip(records, wheres, strict=True):
        try:
            content = table_content(record.get(column), path.parent, where, settings)
        except DataError as error:
            faults += error.faults
            continue
        if isinstance(content, FileContent):
            yield Named(str(record[column]), content.path)
        else:
            yield Named(where, content.read())
    raise_first(faults)


def _text_rows(
    records: Sequence[Mapping[str, Any]], wheres: Sequence[str], first: str, second: str | None, *, questions: bool
) -> Iterator[Named]:
    faults = []
    wanted = [first] if second is None else [first, second]
    for record, where in zip(records, wheres, strict=True):
        values = [record.get(column) for column in wanted]
        absent = [column for column, value in zip(wanted, values, strict=True) if not isinstance(value, str)]
        if absent:
            faults.append(must_be(f"{where}: column '{absent[0]}'", "a text", repr(record.get(absent[0]))[:60]))
        elif questions:
            yield Named(str(values[0]), {"question": values[0], "context": values[1]})
        else:
            yield Named(str(values[0]), values[0] if second is None else (values[0], values[1]))
    raise_first(faults)
