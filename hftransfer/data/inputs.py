"""What a person names to have it predicted: files, folders, patterns, tables, lines of standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hftransfer.data.columns import column_of
from hftransfer.data.layouts import files_below
from hftransfer.data.roles import Kind
from hftransfer.data.rows import FileContent
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import IMAGE_COLUMNS, IMAGE_SUFFIXES, table_content
from hftransfer.data.tables import (
    TABLE_SUFFIXES,
    Table,
    decoded_text,
    json_lines,
    raise_first,
    read_table,
    table_suffix,
)
from hftransfer.data.texts import pair_column_of, text_column_of
from hftransfer.errors import DataError, RecipeError, must_be, some, user_path

_STDIN = "standard input"
_NOTES = frozenset({".md", ".rst", ".xml", ".html", ".htm", ".yaml", ".yml", ".ini", ".log", ".pdf", ".xmp", ".aae"})
"""Suffixes of what lies beside images and texts, and is neither."""


@dataclass(frozen=True)
class Columns:
    """The columns of tables that are read, found by their usual names where they aren't given."""

    first: str | None = None
    """With images, texts or questions."""
    second: str | None = None
    """With the second of two texts, or contexts."""


@dataclass(frozen=True)
class Named:
    """An input as the model takes it, or the error that says why it can't be read; and what a person knows it by."""

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
            yield from _question_rows(json_lines(lines, _STDIN), columns, _STDIN)
            return
        kept = [text for line in lines if (text := line.rstrip("\r\n"))]
        yield from (Named(text, text) for text in kept)
        return
    path = _path(name)
    if path is not None and table_suffix(path) and path.is_file():
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
    elif path is not None and path.suffix and path.is_file():
        yield Named(name, _text_of(path))
    elif len(name.split()) == 1 and Path(name).suffix.lower() in IMAGE_SUFFIXES:
        got = f"'{name[:200]}', which looks like the path of an image and is none here"
        raise DataError(must_be("the input", "a text, a .txt file or a table", got, "This model takes texts."))
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
    """Every file but those of notes: what is no image, or no text, is told when it is read."""
    kept = [file for file in files if not file.is_dir() and not _is_beside(file, kind)]
    if not kept:
        allowed = f"files such as *{'.jpg' if kind == 'images' else '.txt'}"
        raise DataError(must_be(where, allowed, some((file.name for file in files), 3) or "none"))
    yield from (Named(str(file), file if kind == "images" else _text_of(file)) for file in kept)


def passed_over(given: Sequence[str], kind: Kind) -> list[str]:
    """The names of files in folders that are given which are no images, or no texts, by their names, and not read."""
    folders = [path for name in given if (path := _path(name)) is not None and path.is_dir()]
    return sorted(str(file) for path in folders for file in files_below(path) if _is_beside(file, kind))


def _is_beside(file: Path, kind: Kind) -> bool:
    """Whether a file is, by its name, what people and cameras keep beside images or texts."""
    suffix = file.suffix.lower()
    return suffix in _NOTES or bool(table_suffix(file)) or (suffix == ".txt" and kind == "images")


def _text_of(file: Path) -> str | DataError:
    """The text in a .txt file, or why there is none."""
    if file.suffix.lower() != ".txt":
        held = "images" if file.suffix.lower() in IMAGE_SUFFIXES else "something else, going by its name"
        remedy = "This model takes texts." if held == "images" else "Pass its lines on standard input: - < FILE."
        return DataError(must_be(f"the input '{file}'", "a text, a .txt file or a table", f"a file of {held}", remedy))
    try:
        return decoded_text(FileContent(file).read(), str(file))[0]
    except OSError as error:
        return DataError(must_be(str(file), "a readable file", error.strerror or str(error)))
    except DataError as error:
        return error


def _rows(path: Path, kind: Kind, columns: Columns, *, pairs: bool) -> Iterator[Named]:
    table = read_table(path)
    if not table.records:
        raise DataError(must_be(str(path), "a table with rows", "none"))
    known, wheres = table.columns, [f"{path.name}:{number}" for number in table.numbers]
    if kind == "images":
        column = column_of(columns.first, IMAGE_COLUMNS, known, "--column", path)
        yield from _some_sound(_image_rows(path, table.records, wheres, column))
        return
    if kind == "questions":
        yield from _question_rows(table, columns, path)
        return
    first = text_column_of(columns.first, known, "--column", path)
    second = pair_column_of(columns.second, first, known, "--pair-column", path) if pairs else None
    yield from _some_sound(_text_rows(table.records, wheres, first, second, questions=False))


def _question_rows(table: Table, columns: Columns, source: str | Path) -> Iterator[Named]:
    name = source if isinstance(source, str) else source.name
    if not table.records:
        raise DataError(must_be(name, "questions with their contexts, as JSON objects in lines", "nothing"))
    wheres = [f"{name}:{number}" for number in table.numbers]
    first = column_of(columns.first, ("question",), table.columns, "--column", source)
    second = column_of(columns.second, ("context",), table.columns, "--pair-column", source)
    yield from _some_sound(_text_rows(table.records, wheres, first, second, questions=True))


def _some_sound(rows: Iterable[Named]) -> list[Named]:
    """The rows of a table, those at fault among them, if some are sound.

    Raises:
        DataError: none is.
    """
    read = list(rows)
    faults = [fault for row in read if isinstance(row.value, DataError) for fault in row.value.faults]
    if not any(not isinstance(row.value, DataError) for row in read):
        raise_first(faults)
    return read


def _image_rows(
    path: Path, records: Sequence[Mapping[str, Any]], wheres: Sequence[str], column: str
) -> Iterator[Named]:
    settings = DataSettings(source=str(path), allow_outside_paths=True)
    for record, where in zip(records, wheres, strict=True):
        value = record.get(column)
        named = str(value) if isinstance(value, str) and value else where
        try:
            content = table_content(value, path.parent, where, settings)
        except DataError as error:
            yield Named(named, error)
            continue
        if isinstance(content, FileContent):
            yield Named(named, content.path)
        else:
            yield Named(where, content.read())


def _text_rows(
    records: Sequence[Mapping[str, Any]], wheres: Sequence[str], first: str, second: str | None, *, questions: bool
) -> Iterator[Named]:
    wanted = [first] if second is None else [first, second]
    for record, where in zip(records, wheres, strict=True):
        values = [record.get(column) for column in wanted]
        absent = [column for column, value in zip(wanted, values, strict=True) if not isinstance(value, str)]
        if absent:
            got = repr(record.get(absent[0]))[:60]
            yield Named(where, DataError(must_be(f"{where}: column '{absent[0]}'", "a text", got)))
        elif questions:
            yield Named(str(values[0]), {"question": values[0], "context": values[1]})
        else:
            yield Named(str(values[0]), values[0] if second is None else (values[0], values[1]))
