"""Rows from wherever they lie: folders, tables, the Hub, Python objects, what is bundled."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hftransfer.cache import cache_folder, mark_in_use, new_entry
from hftransfer.data.columns import (
    LABEL_COLUMNS,
    column_of,
    is_unlabelled,
    label_names,
    numbered_columns,
    once,
    passed_over,
    spread,
)
from hftransfer.data.drawings import DRAWINGS as DRAWINGS
from hftransfer.data.exports import from_one_hot
from hftransfer.data.layouts import ONE_HOT, FolderReader, files_below, is_layout_of_splits, path_fault, visible
from hftransfer.data.questions import QuestionReader, question_reader
from hftransfer.data.roles import (
    SPLIT_NAMES,
    Found,
    Kind,
    LeftOut,
    affixed_roles,
    require_named_splits,
    require_one_each,
    split_role,
    without_shard,
)
from hftransfer.data.rows import (
    AbsentContent,
    BytesContent,
    Content,
    DatasetContent,
    FileContent,
    Row,
    TextContent,
    read_row,
)
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import (
    Table,
    class_name,
    decoded_text,
    raise_first,
    read_table,
    table_stem,
    table_suffix,
)
from hftransfer.data.texts import TEXT_COLUMNS, TextReader, text_reader, text_record
from hftransfer.errors import DataError, first_line, must_be, nearest, some, user_path
from hftransfer.progress import Progress

IMAGE_COLUMNS = (
    "image",
    "img",
    "image_path",
    "path",
    "file",
    "file_name",
    "filename",
    "filepath",
    "file_path",
)
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif", ".avif"}
    | {".heic", ".heif"}
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "data_split", "dataset_split")
BUNDLED = (DRAWINGS, "bundled/short-reviews")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SHEETS = (".xlsx", ".xls", ".ods", ".numbers")
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".rar", ".7z")


def find_rows(settings: DataSettings, progress: Progress, kind: Kind = "images") -> Found:
    """The rows of a source by split, labels as names; nothing is decoded yet.

    Raises:
        DataError: there is no such source, or it does not hold rows of this kind.
    """
    look_at_source(settings, kind)
    source = settings.source
    if source == DRAWINGS:
        return _folder_rows(_drawn_pets_folder(progress), settings, kind)
    bundled = Path(__file__).parent / "short_reviews"
    path = bundled if source in BUNDLED else user_path(source, "data.source", DataError)
    return _without_hidden(_path_rows(path, settings, kind) if path.exists() else _hub_rows(settings, kind), settings)


def _path_rows(path: Path, settings: DataSettings, kind: Kind) -> Found:
    """The rows of a folder or file."""
    if path.is_file():
        return _file_rows(path, settings, kind)
    if not path.is_dir():
        got = "a pipe, a device or another special file"
        raise DataError(must_be(f"data.source {path}", "a folder or a table", got))
    if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
        return _saved_dataset_rows(path, settings, kind)
    tables = _tables_in(path)
    if kind != "questions" and tables and is_layout_of_splits(path, settings):
        roles = [role for table, role in _roles_of_tables(tables, settings).items() if role]
        if not roles:
            found = _folder_rows(path, settings, kind)
            found.note(f"{some((table.name for table in tables), 3)} beside the splits' folders: passed over")
            return found
    if tables:
        return _table_folder_rows(path, settings, kind)
    inner = _folder_of_tables(path, settings)
    if inner is not None:
        found = _path_rows(inner, settings.model_copy(update={"config": None}), kind)
        found.note(f"the tables are found in {inner.relative_to(path).as_posix()}/")
        return found
    if kind == "images":
        return _folder_rows(path, settings, kind)
    return _text_folder_rows(path, settings, kind)


def _file_rows(path: Path, settings: DataSettings, kind: Kind) -> Found:
    """The rows of one table, by split where a column says it.

    Raises:
        DataError: it is no table.
    """
    if not table_suffix(path):
        allowed = "a folder or a .csv, .tsv, .jsonl, .json or .parquet file (or one of these packed, as in .csv.gz)"
        remedy = "Unpack it first." if path.name.lower().endswith(_ARCHIVES) else ""
        remedy = "Save the sheet as CSV." if path.suffix.lower() in _SHEETS else remedy
        raise DataError(must_be("data.source", allowed, f"'{path}'", remedy))
    found = Found()
    _add_table(path, settings, kind, found)
    return found


def _folder_of_tables(path: Path, settings: DataSettings) -> Path | None:
    """The folder in which the tables lie as the Hub leaves them: `data`, or that of a configuration; None if none.

    Raises:
        DataError: there are several configurations, and none of them is asked for.
    """
    folders = [entry for entry in sorted(visible(path)) if entry.is_dir() and split_role(entry.name, settings) is None]
    with_tables = [entry for entry in folders if _tables_in(entry) or _split_folders_of_tables(entry, settings)]
    if settings.config is not None:
        with_tables = [entry for entry in with_tables if entry.name == settings.config] or with_tables
    if len(with_tables) > 1 and any(entry.name == "data" for entry in with_tables):
        return path / "data"
    if len(with_tables) > 1:
        names = [entry.name for entry in with_tables]
        remedy = f"Name one: data.config={names[0]}, or data.source={with_tables[0]}"
        raise DataError(must_be(f"data.source {path}", "a folder with one set of tables", some(names), remedy))
    return with_tables[0] if with_tables else None


def _text_folder_rows(path: Path, settings: DataSettings, kind: Kind) -> Found:
    """The texts of a folder with a folder of .txt files per class (as IMDB's).

    Raises:
        DataError: it holds none, or other files too.
    """
    suffixes = {file.suffix.lower() for file in files_below(path)}
    remedy = "Images are for task image-classification." if suffixes & IMAGE_SUFFIXES else ""
    if kind == "questions" or ".txt" not in suffixes:
        allowed = f"a CSV, TSV, JSONL or Parquet file of {kind}, or a folder of such"
        got = "a folder without tables" if suffixes else "an empty folder"
        raise DataError(must_be(f"data.source {path}", allowed, got, remedy))
    found = _folder_rows(path, settings, kind)
    faults: list[str] = []
    for name, rows in found.items():
        found[name] = [_text_of_file(row, remedy, settings.encoding, faults) for row in rows]
    raise_first(faults)
    return found


def _text_of_file(row: Row, remedy: str, encoding: str | None, faults: list[str]) -> Row:
    """The row with its file's text; why it has none is put to the faults."""
    text = ""
    try:
        if not row.id.lower().endswith(".txt"):
            raise DataError(must_be(row.id, "a .txt file, as others in the folder are", "another file", remedy))
        text, _ = decoded_text(read_row(row), row.id, encoding)
    except DataError as error:
        faults += error.faults
    return Row(row.id, TextContent(text), row.label)


def is_hub_data(source: str) -> bool:
    """Whether a source is the id of a data set on the Hub: it has the form of one, and is nothing on this disk."""
    return source != "memory" and _looks_like_id(source) and not Path(source).expanduser().exists()


def _looks_like_id(source: str) -> bool:
    is_file = bool(table_suffix(Path(source))) or source.lower().endswith(_ARCHIVES)
    is_path = source.startswith((".", "/", "~")) or is_file or source.count("/") > 1
    return not is_path and not source.startswith("bundled/") and _HUB_ID.fullmatch(source) is not None


def look_at_source(settings: DataSettings, kind: Kind = "images") -> None:
    """Nothing, if a source can be what it is said to be; nothing is read or fetched.

    Raises:
        DataError: it is neither there nor a Hub id by its form.
    """
    source = settings.source
    if source.startswith("bundled/"):
        if source not in BUNDLED:
            raise DataError(must_be("data.source", "a bundled data set", f"'{source}'", nearest(source, BUNDLED)))
        held = "images" if source == DRAWINGS else "texts"
        if held != kind:
            raise DataError(must_be("data.source", f"a source of {kind}", f"'{source}', which holds {held}"))
        return
    path = user_path(source, "data.source", DataError)
    if path.exists():
        return
    if source == "memory":
        remedy = "This recipe was run on Python objects: give them again, ht.run(recipe, data=…), or name a source."
        raise DataError(must_be("data.source", "a source that can be read", "'memory'", remedy))
    if not _looks_like_id(source):
        remedy = f"The current folder is {Path.cwd()}."
        allowed = "an existing folder or CSV / JSONL / Parquet file, a Hub id or bundled/<name>"
        raise DataError(must_be("data.source", allowed, f"'{source}'", remedy))


def rows_from_python(data: Any, settings: DataSettings, kind: Kind = "images") -> Found:
    """The rows of Python objects: a `datasets.Dataset` or `DatasetDict`, a pandas frame, or a sequence of
    (image, label) or (text, label) tuples or of dicts; a path; or a mapping of split names to any of these.

    Raises:
        DataError: the objects hold no such rows.
    """
    if isinstance(data, str | Path):
        return find_rows(settings.model_copy(update={"source": str(data)}), Progress(None), kind)
    if hasattr(data, "cast_column") and isinstance(data, Mapping):
        return _without_hidden(_dataset_splits(data, settings, kind), settings)
    found = Found()
    if isinstance(data, Mapping):
        roles = {str(name): split_role(str(name), settings) for name in data}
        stray = [name for name, role in roles.items() if role is None]
        if stray:
            known = ", ".join(SPLIT_NAMES)
            raise DataError(
                must_be("the splits of data", f"some of {known}", some(stray), nearest(stray[0], SPLIT_NAMES))
            )
        require_one_each(roles, "data")
        for name, part in data.items():
            # Rows to train on alone may say by a column which are for what.
            role = "all" if list(roles.values()) == ["train"] else roles[str(name)]
            _add_python(part, settings, str(name), kind, found, role or "")
    else:
        _add_python(data, settings, "row", kind, found, "all")
    return _without_hidden(found, settings)


# --- folders -------------------------------------------------------------------------


def _drawn_pets_folder(progress: Progress) -> Path:
    from hftransfer.data.drawn_pets import DEFAULT_SIZES, DRAWING_VERSION, write_drawn_pets

    folder = cache_folder("data") / f"drawn-pets-{DRAWING_VERSION}"
    mark_in_use(folder)
    if not folder.is_dir():
        total = sum(DEFAULT_SIZES.values())
        with new_entry(folder) as draft, progress.stage("drawing cats and dogs", total) as advance:
            write_drawn_pets(draft, on_progress=advance)
    return folder


def _folder_rows(root: Path, settings: DataSettings, kind: Kind) -> Found:
    found = Found()

    def table_rows(path: Path, role: str) -> list[Row]:
        own = Found()
        _add_table(path, settings, kind, own, role)
        found.notes += own.notes
        found.left_out += own.left_out
        return [row for rows in own.values() for row in rows]

    return FolderReader(root, settings, kind, found, table_rows).read(root)


# --- tables --------------------------------------------------------------------------


def _tables_in(folder: Path) -> list[Path]:
    return sorted(
        entry for entry in visible(folder) if entry.is_file() and table_suffix(entry) and not _is_notes(entry)
    )


def _is_notes(path: Path) -> bool:
    """Whether a file in a folder of tables is none of them: what the Hub and Kaggle put beside data."""
    stem = table_stem(path).lower()
    return stem in ("dataset_infos", "dataset-metadata", "dataset_info", "croissant") or "submission" in stem


def _roles_of_tables(tables: Sequence[Path], settings: DataSettings) -> dict[Path, str | None]:
    """The split that each table is (a part) of, by its name."""
    stems = {table: without_shard(table_stem(table)) for table in tables}
    roles = {table: split_role(stem, settings) for table, stem in stems.items()}
    if any(roles.values()) or len(tables) == 1:
        return roles
    affixed = affixed_roles(set(stems.values()))
    return {table: affixed.get(stem) for table, stem in stems.items()}


def _split_folders_of_tables(root: Path, settings: DataSettings) -> dict[str, list[Path]]:
    """The tables of folders that are named like splits, as the Hub converts data sets: `train/0000.parquet`."""
    folders = {entry: split_role(entry.name, settings) for entry in sorted(visible(root)) if entry.is_dir()}
    return {role: tables for entry, role in folders.items() if role and (tables := _tables_in(entry))}


def _table_folder_rows(root: Path, settings: DataSettings, kind: Kind) -> Found:
    tables = _tables_in(root)
    roles = _roles_of_tables(tables, settings)
    stems = {table: without_shard(table_stem(table)) for table in tables}
    require_named_splits(settings, set(stems.values()), str(root))
    found = Found()
    if len(set(stems.values())) == 1 and roles[tables[0]] is None:
        for table in tables:
            _add_table(table, settings, kind, found)
        return found
    unknown = [table.name for table, role in roles.items() if role is None]
    if unknown:
        remedy = "Name them train, validation and test, or give one file as data.source."
        raise DataError(must_be(f"tables in {root}", "one per split", some(unknown), remedy))
    whole = {f"{stems[table]}{table_suffix(table)}": role for table, role in roles.items()}  # shards are one table
    require_one_each(whole, str(root))
    for table, role in roles.items():
        _add_table(table, settings, kind, found, role or "")
    if any(split_role(stem, settings) is None for stem in stems.values()):
        told = ", ".join(f"{table.name} is {role}" for table, role in roles.items())
        found.note(f"splits by the tables' names: {told}")
    return found


def _add_table(path: Path, settings: DataSettings, kind: Kind, found: Found, role: str = "all") -> None:
    """Add the rows of a table to a split; where it is of no split yet, by a column that says the split of each row."""
    table = read_table(path, settings.encoding)
    if not table.records:
        raise DataError(must_be(str(path), "a table with rows", "none"))
    if table_stem(path) == ONE_HOT and kind == "images":
        records = from_one_hot(table.records, table.columns, path.name)
        note = f"{path.name}: a column for each class, as Roboflow writes it"
        table = Table(table.numbers, records, ["image", "label"], [*table.notes, note])
    found.notes += [note for note in table.notes if note not in found.notes]
    wheres = [f"{path.name}:{number}" for number in table.numbers]
    _add_records(_Records(table.records, wheres, table.columns, path, path.parent), settings, kind, found, role)


@dataclass(frozen=True)
class _Records:
    """Records with the place of each, all columns of them, and what they are of."""

    records: Sequence[Mapping[str, Any]]
    wheres: Sequence[str]
    columns: Sequence[str]
    source: object
    folder: Path | None = None
    """Of tables: the one that paths count from."""
    content: Callable[[Mapping[str, Any], str, str], Content] | None = None
    """Of objects in memory: the image of a record in a column, by its place."""
    usual_images: Sequence[str] = IMAGE_COLUMNS
    usual_labels: Sequence[str] = LABEL_COLUMNS

    def only(self, places: Sequence[int]) -> _Records:
        """The records at these places."""
        records, wheres = [self.records[place] for place in places], [self.wheres[place] for place in places]
        return replace(self, records=records, wheres=wheres)

    def values(self, column: str) -> list[Any]:
        """The values in a column."""
        return [record.get(column) for record in self.records]


def _add_records(given: _Records, settings: DataSettings, kind: Kind, found: Found, role: str) -> None:
    """Add the rows of records to a split, or to several, where a column says which."""
    column = _split_column(given, settings, found) if role == "all" else None
    if column is None:
        _add_rows(given, settings, kind, found, role)
        return
    places: dict[str, list[int]] = {}
    for place, value in enumerate(given.values(column)):
        places.setdefault(split_role(str(value).strip(), settings) or "", []).append(place)
    for own in SPLIT_NAMES:
        if own in places:
            _add_rows(given.only(places[own]), settings, kind, found, own)
    told = ", ".join(f"{len(places[own]):,} {own}" for own in SPLIT_NAMES if own in places)
    found.note(f"splits follow the column '{column}': {told}")


def _split_column(given: _Records, settings: DataSettings, found: Found) -> str | None:
    """The column that says which split each row is of: the one that is named, or one of the usual names whose values
    are names of splits; a column `split` with other values is noted.

    Raises:
        DataError: the one that is named is not there, or has values that are no splits.
    """
    named = settings.split_column
    if named == "none" and "none" not in given.columns:
        return None
    lowered = {column.lower(): column for column in reversed(given.columns)}
    usual = [lowered[name] for name in SPLIT_COLUMNS if name in lowered and lowered[name] != settings.label_column]
    if named is not None:
        column = column_of(named, (), given.columns, "data.split_column", given.source)
    elif usual:
        column = usual[0]
    else:
        return None
    values = Counter(str(value).strip() for value in given.values(column))
    strange = [value for value in values if split_role(value, settings) is None]
    roles = {split_role(value, settings) for value in values}
    if not strange and "train" in roles and (named is not None or len(roles) > 1):
        return once(column, given.columns, given.source)
    if named is not None:
        remedy = "Name them with data.train_split, data.validation_split and data.test_split."
        allowed = "of train, validation and test, with some rows to train on"
        raise DataError(must_be(f"the column '{column}' of {given.source}", allowed, some(strange or values), remedy))
    if "train" in roles and len(roles - {None}) > 1:
        allowed = "train, validation or test in every row"
        got = some(f"'{value}' ({values[value]:,} rows)" for value in strange)
        remedy = "Fill them in, leave those rows out, or pass the column over: data.split_column=none"
        raise DataError(must_be(f"the column '{column}' of {given.source}", allowed, got, remedy))
    if column.lower() in ("split", "data_split", "dataset_split"):
        found.note(f"the column '{column}' is passed over: its values are {some(map(repr, values), 4)}")
    return None


def _add_rows(given: _Records, settings: DataSettings, kind: Kind, found: Found, role: str) -> None:
    if kind != "questions" and role in ("validation", "test") and _is_unlabelled(given, settings):
        found.note(_left_out(role, "its rows have no labels"))
        return
    left: list[tuple[str, str]] | None = [] if settings.on_error == "skip" else None
    if kind == "images":
        rows = _image_rows(given, settings, found, left)
    else:
        reader = _reader(given.columns, settings, given.source, kind, given.usual_labels)
        if isinstance(reader, TextReader):
            for note in reader.notes(given.columns, settings, given.usual_labels):
                found.note(note)
        rows = reader.rows(given.records, given.wheres, left)
    found.setdefault(role, []).extend(rows)
    found.left_out += [LeftOut("train" if role == "all" else role, id, reason) for id, reason in left or ()]


def _left_out(role: str, why: str) -> str:
    return f"the {role} split is left out: {why} (as where a competition hides them)"


def _is_unlabelled(given: _Records, settings: DataSettings) -> bool:
    """Whether rows have no labels at all: no such column, or nothing in it; not where a column is named that is not
    there, or captions are labels."""
    if settings.caption_column is not None:
        return False
    try:
        usual = given.usual_labels
        column = column_of(settings.label_column, usual, given.columns, "data.label_column", given.source)
    except DataError:
        lowered = {name.lower() for name in given.columns}
        return settings.label_column is None and lowered.isdisjoint(given.usual_labels)
    return all(is_unlabelled(value) for value in given.values(column))


def _without_hidden(found: Found, settings: DataSettings) -> Found:
    """The same rows less a split whose labels are all -1, where no other split has this label.

    Raises:
        DataError: the settings name a split that was left out.
    """
    learned = {row.label for role in ("train", "all") for row in found.get(role, [])}
    for role in ("validation", "test"):
        if role in found and "-1" not in learned and {row.label for row in found[role]} == {"-1"}:
            del found[role]
            found.note(_left_out(role, "all of its labels are -1"))
        named = getattr(settings, f"{role}_split")
        if named is not None and role not in found and any(f"the {role} split is left out" in n for n in found.notes):
            raise DataError(must_be(f"data.{role}_split", "a split with labels", f"'{named}', which has none"))
    return found


def _image_rows(given: _Records, settings: DataSettings, found: Found, left: list[tuple[str, str]] | None) -> list[Row]:
    """The rows of records of images; with `left`, an image that is not there becomes one that can't be read."""
    image_column, label_columns = _columns(settings, given)
    cells = [given.values(column) for column in label_columns]
    labels, places = _labels(cells, given, label_columns[0], settings, left)
    if settings.caption_column is None:
        for note in passed_over(label_columns[0], settings.label_column, LABEL_COLUMNS, given.columns, "labels"):
            found.note(note)
    folder = given.folder or Path()
    within = _ImageFolder.of(folder, given.values(image_column), found) if given.content is None else _ImageFolder()
    rows, faults = [], []
    for place, label in zip(places, labels, strict=True):
        record, where = given.records[place], given.wheres[place]
        value = record.get(image_column)
        try:
            if given.content is not None:
                content = given.content(record, image_column, where)
            else:
                content = table_content(within.path(value), folder, where, settings)
        except _NotThere as error:
            if left is None:
                faults.append(str(error))
                continue
            content = AbsentContent(str(error))
        except DataError as error:
            faults.append(str(error))
            continue
        of_file = given.content is None and isinstance(content, FileContent | AbsentContent) and value
        rows.append(Row(f"{value} ({where})" if of_file else where, content, label))
    raise_first(faults)
    return rows


class _NotThere(DataError):
    """The image of a row is not there: such rows may be left out."""


class _ImageFolder:
    """How the cells of a table lead to images: from a folder beside the table, with a suffix that they lack."""

    def __init__(self, before: str = "", suffix: str = "") -> None:
        self.before, self.suffix = before, suffix

    @classmethod
    def of(cls, folder: Path, values: Sequence[Any], found: Found) -> _ImageFolder:
        """Look for the first images: as they are written, else in the folders beside the table and with usual
        suffixes. What is found so is noted."""
        first = [value for value in values if isinstance(value, str) and value.strip()][:3]
        if not first or any("://" in value or "\0" in value or len(value) > 255 for value in first):
            return cls()
        if any(_is_file(folder / written) for value in first for written in (value, value.replace("\\", "/"))):
            return cls()
        beside = ["", *(f"{entry.name}/" for entry in sorted(visible(folder)) if entry.is_dir())]
        for before, suffix in itertools.product(beside[:100], ("", ".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")):
            if (before or suffix) and all(_is_file(folder / f"{before}{value}{suffix}") for value in first):
                told = f"from {before}" if before else "from the folder of the table"
                found.note(f"image paths count {told}" + (f", and end in {suffix}" if suffix else ""))
                return cls(before, suffix)
        return cls()

    def path(self, value: Any) -> Any:
        """The path in a cell as it leads to the image."""
        return f"{self.before}{value}{self.suffix}" if isinstance(value, str) and value else value


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def table_content(value: Any, folder: Path, where: str, settings: DataSettings) -> Content:
    """The image in a cell of a table: a path from the folder of the table, or bytes.

    Raises:
        DataError: it is neither, or there is no such file.
    """
    given = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(given, bytes):
        return BytesContent(given)
    if not isinstance(value, str) or not value:
        raise _NotThere(must_be(where, "a row with an image path", repr(value)))
    if "://" in value:
        raise DataError(must_be(where, "a row with a local image path", f"'{value}'", "Download the images first."))
    file = folder / user_path(value, where, DataError)
    if "\\" in value and not _is_file(file):  # as written on Windows
        file = folder / user_path(value.replace("\\", "/"), where, DataError)
    shown = f"the image path '{value[:200]}' ({where})"
    try:
        fault = path_fault(file, folder, shown, settings)
        there = file.exists()
    except OSError:  # a name too long
        fault, there = None, False
    if fault:
        raise DataError(fault)
    if not there:
        remedy = "Paths count from the folder of the table."
        raise _NotThere(must_be(shown, f"a file below {folder.resolve()}", "none there", remedy))
    return FileContent(file)


def _reader(
    columns: Sequence[str],
    settings: DataSettings,
    source: object,
    kind: Kind,
    label_columns: Sequence[str] = LABEL_COLUMNS,
) -> TextReader | QuestionReader:
    """What makes rows of texts or questions from records with these columns."""
    try:
        if kind == "texts":
            return text_reader(columns, settings, source, label_columns)
        return question_reader(columns, settings, source)
    except DataError as error:
        raise DataError(*error.faults, *_other_kind(columns, source, kind)) from error


def _other_kind(columns: Sequence[str], source: object, kind: Kind) -> list[str]:
    """One more fault where the columns look like those of another task's rows."""
    usual: dict[Kind, Sequence[str]] = {"images": IMAGE_COLUMNS, "texts": TEXT_COLUMNS, "questions": ("context",)}
    tasks = {"images": "image-classification", "texts": "text-classification", "questions": "question-answering"}
    present = {column.lower() for column in columns}
    held = [other for other in usual if not present.isdisjoint(usual[other])]
    if present >= {"question", "context"}:
        held = ["questions"]
    if not held or kind in held:
        return []
    return [
        must_be(str(source), f"a table of {kind}", f"what looks like {held[0]}", f"Those are for {tasks[held[0]]}.")
    ]


def _columns(settings: DataSettings, given: _Records) -> tuple[str, list[str]]:
    """The column with the images and the one with the labels, as named or by their usual names (of captions several,
    caption_0, caption_1, …, may stand for one); all faults at once."""
    columns, source = given.columns, given.source
    numbered: list[str] = []
    if settings.caption_column is not None and settings.caption_column not in columns:
        numbered = numbered_columns(settings.caption_column, columns)
        settings = settings.model_copy(update={"label_column": numbered[0]}) if numbered else settings
    found: list[str] = []
    faults: list[str] = []
    for named, usual, where in (
        (settings.image_column, given.usual_images, "data.image_column"),
        (
            settings.label_column,
            given.usual_labels,
            "data.caption_column" if settings.caption_column else "data.label_column",
        ),
    ):
        try:
            found.append(column_of(named, usual, columns, where, source))
        except DataError as error:
            faults += error.faults
    raise_first(faults and [*faults, *_other_kind(columns, source, "images")])
    return found[0], numbered or [found[1]]


def _labels(
    cells: Sequence[Sequence[Any]],
    given: _Records,
    column: str,
    settings: DataSettings,
    left: list[tuple[str, str]] | None,
) -> tuple[list[str], list[int]]:
    """The labels in some columns, and the row that each is of: one of each row, of captions several. With `left`, rows
    without a label are put there."""
    if settings.caption_column is None:
        places = list(range(len(given.wheres)))
        if left is not None:
            none = {place for place in places if is_unlabelled(cells[0][place])}
            for where in (given.wheres[place] for place in sorted(none)):
                left.append((where, must_be(f"{where}: column '{column}'", "a label", "nothing")))
            places = [place for place in places if place not in none]
        return label_names([cells[0][p] for p in places], [given.wheres[p] for p in places], column), places
    together = [list(own) for own in zip(*cells, strict=True)] if len(cells) > 1 else list(cells[0])
    values, places = spread(together)
    return label_names(values, [given.wheres[place] for place in places], column, "a caption"), places


# --- datasets ------------------------------------------------------------------------


def _hub_rows(settings: DataSettings, kind: Kind) -> Found:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    source = settings.source
    wanted = {role: getattr(settings, f"{role}_split") for role in SPLIT_NAMES}
    try:
        if wanted["train"]:
            parts: Mapping[str, Any] = {
                role: datasets.load_dataset(source, settings.config, split=name, revision=settings.revision)
                for role, name in wanted.items()
                if name
            }
        else:
            parts = datasets.load_dataset(source, settings.config, revision=settings.revision)
    except (ConnectionError, OfflineModeIsEnabled, HfHubHTTPError, FileNotFoundError) as error:
        remedy = "Check the spelling, your connection and HF_HUB_OFFLINE; or give a local folder."
        allowed = "a data set that can be fetched from the Hub, or an existing path"
        raise DataError(must_be("data.source", allowed, f"'{source}' ({first_line(error)})", remedy)) from error
    except ValueError as error:  # an unknown configuration or split, told by datasets with the known ones
        raise DataError(must_be(f"data.source '{source}'", "loadable", first_line(error))) from error
    return _dataset_splits(parts, settings, kind)


def _saved_dataset_rows(path: Path, settings: DataSettings, kind: Kind) -> Found:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        allowed = "a data set that save_to_disk wrote"
        raise DataError(must_be(f"data.source {path}", allowed, f"something else ({first_line(error)})")) from error
    return _dataset_splits(loaded if isinstance(loaded, Mapping) else {"all": loaded}, settings, kind)


def _dataset_splits(parts: Mapping[str, Any], settings: DataSettings, kind: Kind) -> Found:
    found = Found()
    roles = {name: split_role(name, settings) for name in parts}
    if not any(roles.values()) and len(parts) == 1:
        roles = dict.fromkeys(parts, "all")
    for name, part in parts.items():
        role = roles[name]
        if role:
            _add_dataset(part, settings, name, kind, found, role)
    if found or found.notes:
        return found
    remedy = "Set data.train_split."
    raise DataError(must_be(f"data.source '{settings.source}'", "a data set with a train split", some(parts), remedy))


def _add_dataset(dataset: Any, settings: DataSettings, name: str, kind: Kind, found: Found, role: str) -> None:
    """Add the rows of a `datasets.Dataset`, class ids as names; its images stay where they are."""
    import datasets

    features = dataset.features
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    classes = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    where = "the data" if settings.source == "memory" and kind != "images" else settings.source
    usual_labels = [*(classes if len(classes) == 1 else []), *LABEL_COLUMNS]
    ids = [f"{name}[{index}]" for index in range(len(dataset))]
    given = _Records([], ids, list(features), where, usual_labels=usual_labels)
    if kind == "images":
        usual_images = [column for column in (*images, *IMAGE_COLUMNS) if column in features]
        given = replace(given, usual_images=usual_images or IMAGE_COLUMNS)
    wanted = set(_columns_read(given, settings, kind)) - set(images)
    read = dataset.select_columns([column for column in features if column in wanted])
    records = _named_records(read, ids) if wanted else [{} for _ in ids]
    if kind == "images":
        records, content = _with_images(dataset, records, given, settings, images)
        given = replace(given, content=content)
    _add_records(replace(given, records=records), settings, kind, found, role)


def _columns_read(given: _Records, settings: DataSettings, kind: Kind) -> list[str]:
    """The columns of a data set that are read, and what could say the split of each row; all where some are not there:
    what is wrong is told later."""
    lowered = {column.lower(): column for column in given.columns}
    of_split = [lowered[name] for name in SPLIT_COLUMNS if name in lowered]
    if settings.split_column is not None and settings.split_column in given.columns:
        of_split.append(settings.split_column)
    try:
        if kind == "images":
            image, labels = _columns(settings, given)
            return [image, *labels, *of_split]
        return [*_reader(given.columns, settings, given.source, kind, given.usual_labels).columns, *of_split]
    except DataError:
        return list(given.columns)


def _with_images(
    dataset: Any, records: list[dict[str, Any]], given: _Records, settings: DataSettings, images: Sequence[str]
) -> tuple[list[dict[str, Any]], Callable[[Mapping[str, Any], str, str], Content] | None]:
    """The records with the place of each in its data set, and what gives the image of one."""
    import datasets

    try:
        column, _ = _columns(settings, given)
    except DataError:
        return records, None  # told when the rows are made
    if column not in images:
        dataset = dataset.cast_column(column, datasets.Image())
    raw = dataset.cast_column(column, datasets.Image(decode=False)).select_columns([column])
    placed = [{**record, _PLACE: place} for place, record in enumerate(records)]
    return placed, lambda record, column, _: DatasetContent(raw, column, record[_PLACE])


_PLACE = "\0place"  # no column has this name


def _named_records(dataset: Any, wheres: Sequence[str]) -> list[dict[str, Any]]:
    """The records of a `datasets.Dataset`, class ids replaced by names.

    Raises:
        DataError: some are no ids of the classes; they are named.
    """
    import datasets

    classes = {c: feature for c, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)}
    records: list[dict[str, Any]] = dataset.to_list()
    faults = []
    several = {c: f.feature for c, f in dataset.features.items() if _is_list_of(f, datasets.ClassLabel)}
    for record, where in zip(records, wheres, strict=True):
        for column, feature in (classes | several).items():
            try:
                value = record[column]
                if column in several:
                    record[column] = [class_name(one, feature.names) for one in value or []]
                else:
                    record[column] = class_name(value, feature.names)
            except ValueError as error:
                faults.append(must_be(f"{where}: column '{column}'", str(error), repr(record[column])))
    raise_first(faults)
    return records


def _is_list_of(feature: Any, kind: type) -> bool:
    return isinstance(getattr(feature, "feature", None), kind)


# --- Python objects ------------------------------------------------------------------


def _add_python(data: Any, settings: DataSettings, name: str, kind: Kind, found: Found, role: str) -> None:
    """Add the rows of objects in memory, or of a path that stands for one split."""
    if isinstance(data, str | Path):
        own = _rows_of_path(data, settings, name, kind)
        found[role] = next(iter(own.values()))
        found.notes += own.notes
        return
    if hasattr(data, "features") and hasattr(data, "cast_column"):
        _add_dataset(data, settings, name, kind, found, role)
        return
    columns: list[str] | None = None
    if hasattr(data, "to_dicts"):  # polars
        data = data.to_dicts()
    elif hasattr(data, "iloc") and hasattr(data, "columns"):
        columns, data = _frame_records(data)
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        shown = {"images": "(image, label)", "texts": "(text, label)", "questions": "question, context and answers"}
        allowed = f"rows of {shown[kind]}, a pandas frame or a datasets.Dataset"
        raise DataError(must_be("data", allowed, type(data).__name__))
    records = list(data)
    wheres = [f"{name}[{index}]" for index in range(len(records))]
    if not records:
        found[role] = []
        return
    if not any(isinstance(record, Mapping) for record in records):  # the named columns are not those of tuples
        named = ("image_column", "text_column", "text_pair_column", "label_column", "split_column")
        settings = settings.model_copy(update=dict.fromkeys(named))
    dicts = _dicts(records, wheres, kind)
    columns = columns or list(dict.fromkeys(column for record in dicts for column in record))
    content = None
    if kind == "images":
        from hftransfer.data.inspection import as_content

        def content(record: Mapping[str, Any], column: str, where: str) -> Content:
            return as_content(record.get(column), where)

    source = wheres[0] if kind == "images" else "the data"
    _add_records(_Records(dicts, wheres, columns, source, content=content), settings, kind, found, role)


def _frame_records(frame: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """All columns of a pandas frame, and its records: where two columns have a name, of the last of them."""
    columns = [str(column) for column in frame.columns]
    values = [frame.iloc[:, place].tolist() for place in range(len(columns))]
    return columns, [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _dicts(records: Sequence[Any], wheres: Sequence[str], kind: Kind) -> list[dict[str, Any]]:
    """Records given from Python, tuples and dicts, as dicts.

    Raises:
        DataError: some are neither; they are named.
    """
    faults: list[str] = []
    dicts = []
    as_record = {"images": _image_record, "texts": text_record, "questions": _question_record}[kind]
    for record, where in zip(records, wheres, strict=True):
        try:
            given = as_record(record, where)
        except DataError as error:
            faults += error.faults
            continue
        dicts.append({str(column): value for column, value in given.items()})
    raise_first(faults)
    return dicts


def _rows_of_path(path: str | Path, settings: DataSettings, name: str, kind: Kind) -> Found:
    """The rows of a path that stands for one split, in which no splits of its own are looked for."""
    own = {"source": str(path), **dict.fromkeys(f"{role}_split" for role in SPLIT_NAMES)}
    found = find_rows(settings.model_copy(update=own), Progress(None), kind)
    if len(found) > 1:
        remedy = "Give the path of one of its splits there, or the whole path alone."
        raise DataError(must_be(f"the {name} split of data", "one split", f"'{path}' with {some(found)}", remedy))
    return found


def _image_record(record: Any, where: str) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return record
    if isinstance(record, tuple | list) and len(record) == 2:
        return {"image": record[0], "label": record[1]}
    raise DataError(must_be(where, "an (image, label) pair or a dict", type(record).__name__))


def _question_record(record: Any, where: str) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return record
    raise DataError(must_be(where, "a dict with question, context and answers", type(record).__name__))
