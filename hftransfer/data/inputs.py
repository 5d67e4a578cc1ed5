"""What a person names to have it predicted: files, folders, patterns, tables, lines of standard input."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hftransfer.base.errors import DataError, RecipeError, must_be, some, user_path
from hftransfer.base.runs import COMPARISON, holds_model, is_run, newest_in
from hftransfer.data.layouts import files_below, files_once, name_below
from hftransfer.data.pictures import IMAGE_SUFFIXES
from hftransfer.data.reading import InputColumns, NamedInput, Reader
from hftransfer.data.settings import of_no_recipe
from hftransfer.data.tables import raise_first, table_suffix


@dataclass(frozen=True)
class InputRequest:
    """The inputs that a person gives a model on the command line."""

    inputs: tuple[str, ...] = ()
    column: str | None = None
    pair_column: str | None = None
    question: str | None = None
    context: str | None = None
    pair: str | None = None

    def named(self, reader: Reader, columns: InputColumns, lines: Iterable[str] = ()) -> list[NamedInput]:
        """Return every input: of questions those of tables or the one with its context, of texts the one with its pair.
        `columns` are those that the model knows of; what is asked for comes before.

        Raises:
            RecipeError: what is given does not go with a model that takes inputs of this kind.
            DataError: inputs can't be read; all of them are told.
        """
        columns = replace(columns, first=self.column, second=self.pair_column)
        if len(reader.fields) > 1:
            return self._of_fields(reader, columns, lines)
        if not self.inputs or self.question is not None or self.context is not None:
            got = "--question or --context" if self.inputs else "none"
            what = "texts" if reader.fields else "image files"
            raise RecipeError(must_be("the input of this model", what, got))
        if self.pair is None:
            return inputs_of(self.inputs, reader, columns, lines)
        if not reader.fields:
            raise RecipeError(must_be("--pair", f"left out for {reader.inputs}", f"'{self.pair}'"))
        if len(self.inputs) != 1:
            raise RecipeError(must_be("the inputs with --pair", "one text", f"{len(self.inputs)}"))
        return [NamedInput(f"{self.inputs[0]} | {self.pair}", (self.inputs[0], self.pair))]

    def _of_fields(self, reader: Reader, columns: InputColumns, lines: Iterable[str]) -> list[NamedInput]:
        """Return the inputs of a model that takes several texts by name: those of tables, or one."""
        values = {name: getattr(self, name) for name in reader.fields}
        if self.inputs and all(value is None for value in values.values()):
            return inputs_of(self.inputs, reader, columns, lines)
        if not self.inputs and all(value is not None for value in values.values()):
            return [NamedInput(str(values[reader.fields[0]]), reader.from_fields(values))]
        allowed = f"{' and '.join(f'--{name}' for name in reader.fields)}, or a table with both"
        raise RecipeError(must_be("the input of this model", allowed, "inputs" if self.inputs else "less"))


def inputs_of(
    given: Sequence[str],
    reader: Reader,
    columns: InputColumns | None = None,
    lines: Iterable[str] = (),
) -> list[NamedInput]:
    """Return every input that is named: `-` stands for the lines of standard input (of questions: JSON objects with
    both texts); tables (.csv, .tsv, .jsonl, .parquet, .tar) give one for each row, and so do folders with tables alone;
    other folders, and patterns (`photos/*.jpg`), give the files in them. What else is given is a path where images are
    asked for, and a text where texts are; a .txt file is one text.

    Raises:
        DataError: a table can't be read or has no such column, or a folder or pattern has no files; all are told.
    """
    found: list[NamedInput] = []
    faults: list[str] = []
    for name in given:
        try:
            found += _expanded(name, reader, columns or InputColumns(), lines)
        except DataError as error:
            faults += of_no_recipe(error).faults
    raise_first(faults)
    return [replace(one, value=of_no_recipe(one.value)) if isinstance(one.value, DataError) else one for one in found]


def inputs_at(place: str, reader: Reader, columns: InputColumns) -> list[NamedInput]:
    """Return every input at a place: a folder, a table, a pattern or a file.

    Raises:
        DataError: as `inputs_of`; or nothing lies there, and a name that is misspelt is no text.
    """
    path = _path(place)
    if reader.fields and not (path is not None and path.exists()) and not _is_pattern(place, reader):
        raise DataError(must_be("the place to look in", "a folder, a table or a pattern", f"'{place}'"))
    return inputs_of([place], reader, columns)


def _is_pattern(name: str, reader: Reader) -> bool:
    return any(sign in name for sign in "*?[") and reader.is_pattern(name)


def _expanded(name: str, reader: Reader, columns: InputColumns, lines: Iterable[str]) -> Iterator[NamedInput]:
    path = _path(name)
    if name == "-":
        yield from reader.lines(lines, columns)
    elif path is not None and path.is_file() and _is_table(path, reader):
        yield from _rows(path, path.name, reader, columns)
    elif path is None or not reader.suffix:
        yield reader.alone(name, path)
    elif path.is_dir():
        if names_run(path, reader):
            raise DataError(must_be(f"the input '{name}'", f"{reader.inputs}, or a folder of them", "a run"))
        found = sorted(_outside_runs(files_once(path), path))
        if tables := _tables_alone(found, reader):
            for table in tables:
                yield from _rows(table, name_below(table, path), reader, columns)
            return
        yield from _files(found, reader, f"the folder {name}", f"a folder with files such as *{reader.suffix}")
    elif not path.exists() and _is_pattern(name, reader):
        start = Path(path.anchor)
        found = sorted(start.glob(str(path.relative_to(start))))
        yield from _files(found, reader, f"'{name}'", f"a pattern that matches files such as *{reader.suffix}")
    else:
        yield reader.alone(name, path)


def _rows(path: Path, name: str, reader: Reader, columns: InputColumns) -> list[NamedInput]:
    """Return an input for each row of a table, which people know by a name."""
    table = reader.table(path, None)
    if not table.records:
        raise DataError(must_be(str(path), "a table with rows", "none"))
    return reader.of_table(path, table, columns, name=name)


def names_model(name: str, reader: Reader) -> bool:
    """Return whether an input names a model that was trained: a run, a folder of runs or the folder of a model."""
    path = _path(name)
    return path is not None and path.is_dir() and (holds_model(path) or names_run(path, reader))


def names_run(path: Path, reader: Reader) -> bool:
    """Return whether a folder is a run, or holds runs and no input beside them."""
    if is_run(path):
        return True
    if newest_in(path) is None:
        return False
    usual = IMAGE_SUFFIXES if reader.suffix in IMAGE_SUFFIXES else {reader.suffix}
    return not any(file.suffix.lower() in usual for file in _outside_runs(files_below(path), path))


def _outside_runs(files: Iterable[Path], folder: Path) -> list[Path]:
    """Return the files that lie in no run, and no comparison of runs: figures of a run are no photos."""

    @functools.cache
    def in_run(place: Path) -> bool:
        return place != folder and (is_run(place) or (place / COMPARISON).is_file() or in_run(place.parent))

    return [file for file in files if not in_run(file.parent)]


def _is_table(path: Path, reader: Reader) -> bool:
    """Return whether a file has a row an input; one with the reader's own suffix, as of texts .txt, is one input."""
    suffix = path.suffix.lower()
    return bool(table_suffix(path)) or (suffix in reader.own_tables and suffix != reader.suffix)


def _path(name: str) -> Path | None:
    """Return the path of a name, where it can be one: an empty text is none, and not the folder of work."""
    if not name.strip():
        return None
    try:
        path = user_path(name, "the input", DataError)
        path.exists()
    except (DataError, OSError, ValueError):  # a text too long, or with a null byte
        return None
    return path


def _files(files: Sequence[Path], reader: Reader, where: str, allowed: str) -> Iterator[NamedInput]:
    """Yield every file but those of notes: what is no image, or no text, is told when it is read."""
    kept = [file for file in files if not file.is_dir() and not _is_beside(file, reader)]
    if not kept:
        raise DataError(must_be(where, allowed, some((file.name for file in files), 3) or "no file"))
    yield from map(reader.of_file, kept)


def passed_over(given: Sequence[str], reader: Reader) -> list[str]:
    """Return the names of files in folders that are given which are no inputs by their names, and not read."""
    folders = [path for name in given if (path := _path(name)) is not None and path.is_dir()]
    names = []
    for path in folders:
        files = _outside_runs(files_below(path), path)
        read = set(_tables_alone(files, reader))
        names += [str(file) for file in files if _is_beside(file, reader) and file not in read]
    return sorted(names)


def _tables_alone(files: Sequence[Path], reader: Reader) -> list[Path]:
    """Return the tables among files, as shards and the tables of a Hub data set lie; none beside other inputs."""
    if not all(_is_beside(file, reader) for file in files):
        return []
    return [file for file in files if _is_table(file, reader)]


def _is_beside(file: Path, reader: Reader) -> bool:
    return reader.is_beside(file, is_table=bool(table_suffix(file)))
