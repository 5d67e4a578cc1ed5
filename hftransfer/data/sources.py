"""Rows from wherever they lie: folders, tables, the Hub, Python objects, what is bundled."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hftransfer.base.cache import cache_folder, mark_in_use, new_entry
from hftransfer.base.errors import DataError, counted, first_line, must_be, nearest, some, user_path
from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.data.columns import LABEL_COLUMNS, as_label, column_of, in_lower_case, is_missing, once
from hftransfer.data.dialogues import DIALOGUES
from hftransfer.data.exports import from_one_hot
from hftransfer.data.label_sets import joined_columns, settled
from hftransfer.data.layouts import (
    ARCHIVES,
    ONE_HOT,
    FolderReader,
    files_below,
    is_layout_of_splits,
    is_notes,
    name_below,
    visible,
)
from hftransfer.data.objects import Objects, objects_in
from hftransfer.data.pictures import IMAGE_COLUMNS, IMAGE_SUFFIXES, IMAGES
from hftransfer.data.questions import QUESTIONS
from hftransfer.data.reading import Reader, Records
from hftransfer.data.roles import (
    SPLIT_NAMES,
    Found,
    LeftOut,
    affixed_roles,
    require_named_splits,
    require_one_each,
    split_role,
    without_shard,
)
from hftransfer.data.rows import Row, are_streamed
from hftransfer.data.settings import COLUMNS_OF_ROWS, DataSettings
from hftransfer.data.shards import SHARD
from hftransfer.data.streams import HubShards, StreamedDataset, StreamedShards, streamed_tables
from hftransfer.data.tables import (
    Table,
    class_name,
    raise_first,
    table_stem,
    table_suffix,
)
from hftransfer.data.texts import TEXTS
from hftransfer.data.tokens import TAGGED_TEXTS
from hftransfer.demo.drawings import DRAWINGS as DRAWINGS

if TYPE_CHECKING:
    import datasets


SPLIT_COLUMNS = ("split", "set", "subset", "partition", "data_split", "dataset_split")
BUNDLED = {
    DRAWINGS: "images",
    **dict.fromkeys(("bundled/short-reviews", "bundled/short-adverts", "bundled/film-topics"), "texts"),
    "bundled/short-notes": "sentences",
    "bundled/restaurant-sentences": "prompts",
}
"""Data sets that come with the package, and what they hold."""
_READERS: tuple[Reader, ...] = (IMAGES, TEXTS, QUESTIONS, TAGGED_TEXTS, DIALOGUES)
_OWN_TABLES = tuple(suffix for reader in _READERS for suffix in reader.own_tables)
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SHEETS = (".xlsx", ".xls", ".ods", ".numbers")


def find_rows(settings: DataSettings, progress: Progress, reader: Reader = IMAGES, *, to_test: bool = False) -> Found:
    """Return the rows of a source by split, labels as names; nothing is decoded yet.

    Where all that is wanted is `to_test` a model, no shards but those of the test split are fetched from the Hub.

    Raises:
        DataError: there is no such source, or it does not hold rows of this kind.
    """
    look_at_source(settings, reader)
    source = settings.source
    if source == DRAWINGS and reader.takes_masks:
        return _path_rows(_drawn_pets_folder(progress, masks=True), settings, reader)
    if source == DRAWINGS:
        return _folder_rows(_drawn_pets_folder(progress), settings, reader)
    bundled = Path(__file__).parents[1] / "demo" / source.removeprefix("bundled/").replace("-", "_")
    path = bundled if source in BUNDLED else user_path(source, "data.source", DataError)
    exists = path.exists()

    def read(own: DataSettings) -> Found:
        return _path_rows(path, own, reader) if exists else _hub_rows(own, reader, progress, to_test=to_test)

    found = settled(read, settings)
    if settings.streaming and exists:
        found.note("data.streaming has no effect: the data are on this disk, and are read where they lie")
    return _with_groups(_without_hidden(found, settings), settings)


def _path_rows(path: Path, settings: DataSettings, reader: Reader) -> Found:
    """Return the rows of a folder or file."""
    if path.is_file():
        return _file_rows(path, settings, reader)
    if not path.is_dir():
        got = "a pipe, a device or another special file"
        raise DataError(must_be(f"data.source {path}", "a folder or a table", got))
    own = Found()
    # First the layouts that no other kind of rows has: their parts would look like classes or tables, too.
    if reader.of_folder(path, settings, own):
        return own
    if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
        return _saved_dataset_rows(path, settings, reader)
    tables = _tables_in(path, reader)
    if reader.from_folders and tables and is_layout_of_splits(path, settings):
        roles = [role for table, role in _roles_of_tables(tables, settings, reader).items() if role]
        if not roles:
            found = _folder_rows(path, settings, reader)
            found.note(f"{some((table.name for table in tables), 3)} beside the splits' folders: skipped")
            return found
    if tables:
        found = _table_folder_rows(path, settings, reader)
        beside = [entry.name for entry in sorted(visible(path)) if entry.is_dir()]
        if reader.from_folders and len(beside) > 1:
            read = some((table.name for table in tables), 3)
            found.note(
                f"the rows are those of {read}: the folders {some(beside, 3)} beside it are not taken for classes"
            )
        return found
    if parts := _split_folders_of_tables(path, settings, reader):
        require_named_splits(settings, {entry.name for entry in visible(path) if entry.is_dir()}, str(path))
        return _rows_of_parts(parts, settings, reader)
    inner = _folder_of_tables(path, settings, reader)
    if inner is not None:
        found = _path_rows(inner, settings.model_copy(update={"config": None}), reader)
        found.note(f"the tables are found in {inner.relative_to(path).as_posix()}/")
        return found
    return _files_as_rows(path, settings, reader)


def _file_rows(path: Path, settings: DataSettings, reader: Reader) -> Found:
    """Return the rows of one table, by split where a column says it.

    Raises:
        DataError: it is no table.
    """
    if not table_suffix(path, reader.own_tables):
        allowed = (
            "a folder or a .csv, .tsv, .jsonl, .json, .parquet or .tar file (or a compressed one, such as .csv.gz)"
        )
        remedy = "Unpack it first." if path.name.lower().endswith(ARCHIVES) else ""
        remedy = "Save the sheet as CSV." if path.suffix.lower() in _SHEETS else remedy
        raise DataError(must_be("data.source", allowed, f"'{path}'", remedy))
    found = Found()
    _add_table(path, settings, reader, found)
    if "all" in found:
        require_named_splits(settings, (), str(path))
    return found


def _folder_of_tables(path: Path, settings: DataSettings, reader: Reader) -> Path | None:
    """Return the folder in which the tables lie as the Hub leaves them: `data`, or that of a configuration; None if
    none.

    Raises:
        DataError: there are several configurations, and none of them is asked for.
    """
    folders = [entry for entry in sorted(visible(path)) if entry.is_dir() and split_role(entry.name, settings) is None]
    with_tables = [
        entry for entry in folders if _tables_in(entry, reader) or _split_folders_of_tables(entry, settings, reader)
    ]
    if settings.config is not None:
        with_tables = [entry for entry in with_tables if entry.name == settings.config] or with_tables
    if len(with_tables) > 1 and any(entry.name == "data" for entry in with_tables):
        return path / "data"
    if len(with_tables) > 1:
        names = [entry.name for entry in with_tables]
        remedy = f"Name one: data.config={names[0]}, or data.source={with_tables[0]}"
        raise DataError(must_be(f"data.source {path}", "a folder with one set of tables", some(names), remedy))
    return with_tables[0] if with_tables else None


def _files_as_rows(path: Path, settings: DataSettings, reader: Reader) -> Found:
    """Return the rows of a folder with a folder of files for each class (texts: as IMDB's).

    Raises:
        DataError: it holds none, or other files too.
    """
    suffixes = {file.suffix.lower() for file in files_below(path)}
    if not reader.is_of_folder(suffixes):
        remedy = "Images are for task image-classification." if suffixes & IMAGE_SUFFIXES else ""
        allowed = f"a CSV, TSV, JSONL or Parquet file of {reader.inputs}, or a folder of them"
        allowed = "a folder with images/ beside masks/, or a table of both" if reader.takes_masks else allowed
        remedy = "Texts are for task text-classification." if ".txt" in suffixes and reader.from_folders else remedy
        got = "a folder without tables" if suffixes else "an empty folder"
        raise DataError(must_be(f"data.source {path}", allowed, got, remedy))
    found = _folder_rows(path, settings, reader)
    read = iter(reader.of_files([row for rows in found.values() for row in rows], settings))
    for name, rows in found.items():
        found[name] = list(itertools.islice(read, len(rows)))
    return found


def is_hub_data(source: str) -> bool:
    """Return whether a source is the id of a data set on the Hub: it has the form of one, and is nothing on this
    disk."""
    return source != "memory" and _looks_like_id(source) and not Path(source).expanduser().exists()


def _looks_like_id(source: str) -> bool:
    is_file = bool(table_suffix(Path(source), _OWN_TABLES)) or source.lower().endswith(ARCHIVES)
    # An id has one slash at most: with two it is a path, and is told to be missing on this disk.
    is_path = source.startswith((".", "/", "~")) or is_file or source.count("/") > 1
    return not is_path and not source.startswith("bundled/") and _HUB_ID.fullmatch(source) is not None


def look_at_source(settings: DataSettings, reader: Reader = IMAGES) -> None:
    """Return if a source can be what it is said to be; nothing is read or fetched.

    Raises:
        DataError: it is neither there nor a Hub id by its form.
    """
    source = settings.source
    if source.startswith("bundled/"):
        if source not in BUNDLED:
            raise DataError(must_be("data.source", "a bundled data set", f"'{source}'", nearest(source, BUNDLED)))
        held = BUNDLED[source]
        if held != reader.inputs:
            raise DataError(must_be("data.source", f"a source of {reader.inputs}", f"'{source}', which holds {held}"))
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


def rows_from_python(data: object, settings: DataSettings, reader: Reader = IMAGES) -> Found:
    """Return the rows of Python objects: a `datasets.Dataset` or `DatasetDict`, a pandas frame, or a sequence of
    (image, label) or (text, label) tuples or of dicts; a path; or a mapping of split names to any of these.

    Raises:
        DataError: the objects hold no such rows.
    """
    if isinstance(data, str | Path):
        return find_rows(settings.model_copy(update={"source": str(data)}), Progress(None), reader)
    held = _held(data, reader)  # once: a generator gives its rows once
    found = settled(lambda own: _python_rows(held, own, reader), settings)
    return _with_groups(_without_hidden(found, settings), settings)


def _held(data: object, reader: Reader) -> object:
    """Return objects of Python with their rows in hand; paths and data sets of the Hub, which lie on the disk, as they
    are."""
    if isinstance(data, Mapping) and not (hasattr(data, "columns") or hasattr(data, "features")):
        is_of_hub = hasattr(data, "cast_column")  # a DatasetDict
        return data if is_of_hub else {name: _held(part, reader) for name, part in data.items()}
    is_on_disk = hasattr(data, "features") and hasattr(data, "cast_column") and hasattr(data, "__len__")
    if isinstance(data, str | Path) or is_on_disk:
        return data
    return objects_in(data, f"rows of {reader.python_rows}, a pandas frame or a datasets.Dataset")


def _python_rows(data: object, settings: DataSettings, reader: Reader) -> Found:
    if hasattr(data, "cast_column") and isinstance(data, Mapping):
        return _dataset_splits(data, settings, reader)
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
            _add_python(part, settings, str(name), reader, found, role or "")
    else:
        _add_python(data, settings, "row", reader, found, "all")
    return found


# --- folders -------------------------------------------------------------------------


def _drawn_pets_folder(progress: Progress, *, masks: bool = False) -> Path:
    from hftransfer.demo.pets import DEFAULT_SIZES, DRAWING_VERSION, write_drawn_pets

    # The version is part of the name: pictures of an earlier one are not taken for these.
    folder = cache_folder("data") / f"drawn-pets-{'masks-' if masks else ''}{DRAWING_VERSION}"
    mark_in_use(folder)
    if not folder.is_dir():
        total = sum(DEFAULT_SIZES.values())
        with new_entry(folder) as draft, progress.stage("drawing cats and dogs", total) as advance:
            write_drawn_pets(draft, on_progress=advance, masks=masks)
    return folder


def _folder_rows(root: Path, settings: DataSettings, reader: Reader) -> Found:
    found = Found()

    def table_rows(path: Path, role: str) -> list[Row]:
        own = Found()
        _add_table(path, settings, reader, own, role)
        found.notes += own.notes
        found.left_out += own.left_out
        return [row for rows in own.values() for row in rows]

    return FolderReader(root, settings, reader, found, table_rows).read(root)


# --- tables --------------------------------------------------------------------------


def _tables_in(folder: Path, reader: Reader) -> list[Path]:
    own = reader.own_tables
    files = (entry for entry in visible(folder) if entry.is_file() and table_suffix(entry, own))
    return sorted(entry for entry in files if not is_notes(table_stem(entry, own).lower()))


def _tables_alone(folder: Path, reader: Reader) -> list[Path]:
    """Return the tables in a folder; none where it holds folders or inputs, which the tables then describe."""
    own = reader.own_tables
    beside = (
        entry.is_file() and reader.is_beside(entry, is_table=bool(table_suffix(entry, own)))
        for entry in visible(folder)
    )
    return _tables_in(folder, reader) if all(beside) else []


def _stem(table: Path, reader: Reader) -> str:
    """Return the name of a table without its suffixes and the number of its part."""
    return without_shard(table_stem(table, reader.own_tables), numbered=table.suffix.lower() == SHARD)


def _roles_of_tables(tables: Sequence[Path], settings: DataSettings, reader: Reader) -> dict[Path, str | None]:
    """Return the split that each table is (a part) of, by its name."""
    stems = {table: _stem(table, reader) for table in tables}
    roles = {table: split_role(stem, settings) for table, stem in stems.items()}
    if any(roles.values()) or len(tables) == 1:
        return roles
    affixed = affixed_roles(set(stems.values()))
    return {table: affixed.get(stem) for table, stem in stems.items()}


def _split_folders_of_tables(root: Path, settings: DataSettings, reader: Reader) -> dict[str, list[Path]]:
    """Return the tables of folders that are named like splits and hold nothing else, as the Hub converts data sets and
    CLIP_benchmark lays out its shards: `train/0000.parquet`, `test/0.tar`; none where there is neither a training split
    nor a test split alone."""
    folders = {entry: split_role(entry.name, settings) for entry in sorted(visible(root)) if entry.is_dir()}
    found = {role: tables for entry, role in folders.items() if role and (tables := _tables_alone(entry, reader))}
    return found if "train" in found or set(found) == {"test"} else {}


def _rows_of_parts(parts: Mapping[str, Sequence[Path]], settings: DataSettings, reader: Reader) -> Found:
    """Return the rows of tables in a folder for each split."""
    found = Found()
    for role, tables in parts.items():
        for table in tables:
            _add_table(table, settings, reader, found, role)
    return found


def _table_folder_rows(root: Path, settings: DataSettings, reader: Reader) -> Found:
    tables, own = _tables_in(root, reader), reader.own_tables
    roles = _roles_of_tables(tables, settings, reader)
    stems = {table: _stem(table, reader) for table in tables}
    require_named_splits(settings, set(stems.values()), str(root))
    found = Found()
    if len({(stems[table], table_suffix(table, own)) for table in tables}) == 1 and roles[tables[0]] is None:
        for table in tables:
            _add_table(table, settings, reader, found)
        return found
    unknown = [table.name for table, role in roles.items() if role is None]
    if unknown:
        remedy = "Name them train, validation and test, or give one file as data.source."
        raise DataError(must_be(f"tables in {root}", "one per split", some(unknown), remedy))
    whole = {f"{stems[table]}{table_suffix(table, own)}": role for table, role in roles.items()}  # shards are one table
    require_one_each(whole, str(root))
    for table, role in roles.items():
        _add_table(table, settings, reader, found, role or "")
    if any(split_role(stem, settings) is None for stem in stems.values()):
        told = ", ".join(f"{table.name} is {role}" for table, role in roles.items())
        found.note(f"splits by the tables' names: {told}")
    return found


def _add_table(path: Path, settings: DataSettings, reader: Reader, found: Found, role: str = "all") -> None:
    """Add the rows of a table to a split; where it is of no split yet, by a column that says the split of each row."""
    table = reader.table(path, settings.encoding)
    if not table.records:
        raise DataError(must_be(str(path), "a table with rows", "none"))
    if reader.describes_files and table_stem(path) == ONE_HOT:
        records = from_one_hot(table.records, table.columns, path.name)
        note = f"{path.name}: a column for each class, as Roboflow writes it"
        table = Table(table.numbers, records, ["image", "label"], [*table.notes, note])
    found.notes += [note for note in table.notes if note not in found.notes]
    # Tables of several splits may have one name.
    name = name_below(path, user_path(settings.source, "data.source", DataError))
    wheres = [f"{name}:{number}" for number in table.numbers]
    _add_records(Records(table.records, wheres, table.columns, path, path.parent), settings, reader, found, role)


def _add_records(given: Records, settings: DataSettings, reader: Reader, found: Found, role: str) -> None:
    """Add the rows of records to a split, or to several, where a column says which."""
    settings = _by_learned(given, settings, found)
    column = _split_column(given, settings, reader, found) if role == "all" else None
    if column is None:
        _add_rows(given, settings, reader, found, role)
        return
    places: dict[str, list[int]] = {}
    for place, value in enumerate(given.values(column)):
        places.setdefault(split_role(str(value).strip(), settings) or "", []).append(place)
    for own in SPLIT_NAMES:
        if own in places:
            _add_rows(given.only(places[own]), settings, reader, found, own)
    told = ", ".join(f"{len(places[own]):,} {own}" for own in SPLIT_NAMES if own in places)
    found.note(f"splits follow the column '{column}': {told}")


def _by_learned(given: Records, settings: DataSettings, found: Found) -> DataSettings:
    """Return the settings by which records are read that are given to a model, and note in `found` which columns of
    its training are not there."""
    settings, notes = settings.of_columns(given.columns, given.source)
    for note in notes:
        found.note(note)
    return settings


def _split_column(given: Records, settings: DataSettings, reader: Reader, found: Found) -> str | None:
    """Return the column that says which split each row is of: the one that is named, or one of the usual names whose
    values are names of splits; a column `split` with other values is noted.

    Raises:
        DataError: the one that is named is not there, or has values that are no splits.
    """
    named = settings.split_column
    if named == "none" and "none" not in given.columns:
        return None
    lowered = in_lower_case(given.columns)
    target, _ = reader.target_column(settings)
    usual = [lowered[name] for name in SPLIT_COLUMNS if name in lowered and lowered[name] != target]
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
        got = some(f"'{value}' ({counted(values[value], 'row')})" for value in strange)
        remedy = "Fill them in, leave those rows out, or ignore the column: data.split_column=none"
        raise DataError(must_be(f"the column '{column}' of {given.source}", allowed, got, remedy))
    if column.lower() in ("split", "data_split", "dataset_split"):
        found.note(f"the column '{column}' is ignored: its values are {some(map(repr, values), 4)}")
    return None


def _add_rows(given: Records, settings: DataSettings, reader: Reader, found: Found, role: str) -> None:
    left: list[tuple[str, str]] | None = [] if settings.on_error == "skip" else None
    if settings.label_columns:
        found.tell_labels(map(as_label, settings.label_columns))
    given, settings = joined_columns(given, settings, left)
    if role in ("validation", "test") and reader.is_unlabelled(given, settings):
        found.note(_left_out(role, "its rows have no labels"))
        return
    try:
        reader.columns(given, settings)
    except DataError as error:
        raise DataError(*error.faults, *_other_kind(given.columns, given.source, reader)) from error
    groups = _groups_in(given, settings, left)
    if groups is not None and len(groups) < len(given.wheres):
        given = given.only([place for place, where in enumerate(given.wheres) if where in groups])
    rows = reader.rows(given, settings, found, left)
    if groups is not None:
        rows = [_in_group(row, groups) for row in rows]
    found.setdefault(role, []).extend(rows)
    found.left_out += [LeftOut("train" if role == "all" else role, id, reason) for id, reason in left or ()]


def _groups_in(given: Records, settings: DataSettings, left: list[tuple[str, str]] | None) -> dict[str, str] | None:
    """Return the group of every record by its place; None where no column says it. With `left`, what has none is put
    there.

    Raises:
        DataError: there is no such column, or a row has no group; lines are named.
    """
    if settings.group_column is None:
        return None
    column = column_of(settings.group_column, (), given.columns, "data.group_column", given.source)
    groups, faults = dict[str, str](), list[str]()
    for where, value in zip(given.wheres, given.values(column), strict=True):
        if is_missing(value) or not str(value).strip():
            remedy = "Fill it in, or remove the row: a row of an unknown group may end up in two splits."
            fault = must_be(f"{where}: column '{column}'", "the group of the row", "nothing", remedy)
            if left is None:
                faults.append(fault)
            else:
                left.append((where, fault))
            continue
        # Where cells are missing pandas makes fractions of whole numbers: 7.0 is 7.
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        groups[where] = as_label(str(whole))
    raise_first(faults)
    return groups


def _in_group(row: Row, groups: Mapping[str, str]) -> Row:
    """Return a row with its group: its name is the place of its record, or ends with that in brackets."""
    where = row.id if row.id in groups else row.id.rpartition(" (")[2].removesuffix(")")
    return replace(row, group=groups[where])


def _with_groups(found: Found, settings: DataSettings) -> Found:
    """Return the same rows, each of which has a group where a column is said to tell it.

    Raises:
        DataError: the rows come from no table.
    """
    if settings.group_column is not None and any(row.group is None for rows in found.values() for row in rows):
        remedy = "Put a metadata.csv with that column beside the files, or give a table that names them."
        allowed = "left out where examples are files in folders, which have no columns"
        raise DataError(must_be("data.group_column", allowed, f"'{settings.group_column}'", remedy))
    return found


def _left_out(role: str, why: str) -> str:
    return f"the {role} split is left out: {why} (competitions often hide them)"


def _without_hidden(found: Found, settings: DataSettings) -> Found:
    """Return the same rows less a split whose labels are all -1, where no other split has this label.

    Raises:
        DataError: the settings name a split that was left out.
    """
    # Competitions give hidden labels as -1; where training has -1 too it is a class.
    learned = {row.target for role in ("train", "all") for row in found.get(role, [])}
    for role in ("validation", "test"):
        if role in found and "-1" not in learned and {row.target for row in found[role]} == {"-1"}:
            del found[role]
            found.note(_left_out(role, "all of its labels are -1"))
        named = getattr(settings, f"{role}_split")
        if named is not None and role not in found and any(f"the {role} split is left out" in n for n in found.notes):
            raise DataError(must_be(f"data.{role}_split", "a split with labels", f"'{named}', which has none"))
    return found


def _other_kind(columns: Sequence[str], source: object, reader: Reader) -> list[str]:
    """Return one more fault where the columns look like those of another task's rows."""
    present = {column.lower() for column in columns}
    held = [other for other in _READERS if not present.isdisjoint(other.usual_columns)]
    if present >= set(QUESTIONS.fields):
        held = [QUESTIONS]
    if not held or any(other.inputs == reader.inputs for other in held):
        return []
    remedy = f"Those are for {held[0].usual_task}."
    return [must_be(str(source), f"a table of {reader.inputs}", f"what looks like {held[0].inputs}", remedy)]


# --- datasets ------------------------------------------------------------------------


def _hub_rows(settings: DataSettings, reader: Reader, progress: Progress, *, to_test: bool) -> Found:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    source = settings.source
    wanted = {role: getattr(settings, f"{role}_split") for role in SPLIT_NAMES}
    try:
        # As `datasets` reads shards, classes have no names; and of one shard a split it may read the notes beside it.
        shards, notes = None, list[str]()
        if settings.streaming or reader.decodes:
            shards = HubShards.of(source, settings.revision)
        if shards is not None and to_test:
            tested = [name for name in shards.files if split_role(_split_of(name, settings), settings) == "test"]
            if tested and len(tested) < len(shards.files):
                shards = replace(shards, files=tuple(tested))
                notes = ["of its shards those of the test split alone are fetched: the classes are those of its rows"]
        if settings.streaming:
            found = _streamed_rows(shards, settings, wanted, reader, progress)
            found.notes += notes
            return found
        if shards is not None:
            found = _path_rows(shards.fetched(), settings.model_copy(update={"config": None}), reader)
            found.notes += notes
            return found
        if wanted["train"]:
            parts: Mapping[str, datasets.Dataset] = {
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
    return _dataset_splits(parts, settings, reader, by_role=wanted["train"] is not None)


def _split_of(shard: str, settings: DataSettings) -> str:
    """Return the name of the split that a shard on the Hub is of: that of its folder, or its own."""
    path = PurePosixPath(shard)
    folder = path.parent.name
    return folder if split_role(folder, settings) else without_shard(path.stem, numbered=True)


def _streamed_rows(
    shards: HubShards | None,
    settings: DataSettings,
    wanted: Mapping[str, str | None],
    reader: Reader,
    progress: Progress,
) -> Found:
    """Return the rows of a data set of which no image is fetched yet."""
    with progress.stage("fetching what lies beside the images", 1) as advance:
        parts: Mapping[str, StreamedDataset | StreamedShards]
        if shards is not None:
            parts = shards.streamed(lambda name: _split_of(name, settings))
        else:
            parts = streamed_tables(settings.source, settings.config, settings.revision, wanted)
        by_role = shards is None and wanted["train"] is not None
        found = _dataset_splits(parts, settings, reader, by_role=by_role)
        advance(1)
    if any(map(are_streamed, found.values())):
        found.note("images are fetched when they are needed: copies of one in two splits are not looked for")
    return found


def _saved_dataset_rows(path: Path, settings: DataSettings, reader: Reader) -> Found:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        allowed = "a data set that save_to_disk wrote"
        raise DataError(must_be(f"data.source {path}", allowed, f"something else ({first_line(error)})")) from error
    return _dataset_splits(loaded if isinstance(loaded, Mapping) else {"all": loaded}, settings, reader)


def _dataset_splits(
    parts: Mapping[str, datasets.Dataset | StreamedDataset | StreamedShards],
    settings: DataSettings,
    reader: Reader,
    *,
    by_role: bool = False,
) -> Found:
    """Return the rows of parts by their names; `by_role` if those are roles, of parts that the settings named."""
    found = Found()
    if not by_role:
        require_named_splits(settings, set(parts), f"'{settings.source}'")
    roles = {name: split_role(name, settings) for name in parts}
    if not any(roles.values()) and len(parts) == 1:
        roles = dict.fromkeys(parts, "all")
    for name, part in parts.items():
        if not (role := roles[name]):
            continue
        if isinstance(part, StreamedShards):
            for shard, records, columns in part.tables():
                wheres = [f"{shard}:{number}" for number in range(1, len(records) + 1)]
                _add_records(
                    Records(records, wheres, columns, f"{settings.source}, {shard}"), settings, reader, found, role
                )
        else:
            _add_dataset(part, settings, name, reader, found, role)
    if found or found.notes:
        return found
    remedy = "Set data.train_split."
    raise DataError(must_be(f"data.source '{settings.source}'", "a data set with a train split", some(parts), remedy))


def _add_dataset(
    dataset: datasets.Dataset, settings: DataSettings, name: str, reader: Reader, found: Found, role: str
) -> None:
    """Add the rows of a `datasets.Dataset`, class ids as names; its images stay where they are."""
    import datasets

    features = dataset.features
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    classes = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    where = "the data" if settings.source == "memory" and not reader.describes_files else settings.source
    usual_labels = [*(classes if len(classes) == 1 else []), *LABEL_COLUMNS]
    ids = [f"{name}[{index}]" for index in range(len(dataset))]
    usual_images = [column for column in (*images, *IMAGE_COLUMNS) if column in features]
    given = Records([], ids, list(features), where, usual_images=usual_images, usual_labels=usual_labels)
    settings = _by_learned(given, settings, found)
    # Images as bytes, too, are read one by one.
    large = {column for column, feature in features.items() if reader.decodes and _holds_bytes(feature)}
    wanted = set(_columns_read(given, settings, reader)) - set(images) - large
    # Columns that nobody asked for may hold large things: they are not read.
    read = dataset.select_columns([column for column in features if column in wanted])
    records = _named_records(read, ids) if wanted else [{} for _ in ids]
    given = reader.of_dataset(dataset, records, given, settings, images)
    _add_records(given, settings, reader, found, role)


def _holds_bytes(feature: object) -> bool:
    """Return whether a column holds bytes, or structs with a field of them."""
    if isinstance(feature, Mapping):
        return _holds_bytes(feature.get("bytes"))
    return getattr(feature, "dtype", None) in ("binary", "large_binary")


def _columns_read(given: Records, settings: DataSettings, reader: Reader) -> list[str]:
    """Return the columns of a data set that are read, and what could say the split of each row; all where some are not
    there: what is wrong is told later."""
    lowered = {column.lower(): column for column in given.columns}
    of_split = [lowered[name] for name in SPLIT_COLUMNS if name in lowered]
    of_split += [name for name in (settings.split_column, settings.group_column) if name and name in given.columns]
    try:
        joined, own = joined_columns(replace(given, wheres=[]), settings)
        return [*(settings.label_columns or ()), *reader.columns(joined, own), *of_split]
    except DataError:
        return list(given.columns)


def _named_records(dataset: datasets.Dataset, wheres: Sequence[str]) -> list[JsonObject]:
    """Return the records of a `datasets.Dataset`, class ids replaced by names.

    Raises:
        DataError: some are no ids of the classes; they are named.
    """
    import datasets

    classes = {c: feature for c, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)}
    records: list[JsonObject] = dataset.to_list()
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


def _is_list_of(feature: object, kind: type) -> bool:
    return isinstance(getattr(feature, "feature", None), kind)


# --- Python objects ------------------------------------------------------------------


def _add_python(data: object, settings: DataSettings, name: str, reader: Reader, found: Found, role: str) -> None:
    """Add the rows of objects in memory, or of a path that stands for one split."""
    if isinstance(data, str | Path):
        own = _rows_of_path(data, settings, name, reader)
        found[role] = next(iter(own.values()))
        found.notes += own.notes
        return
    if hasattr(data, "features") and hasattr(data, "cast_column"):
        _add_dataset(data, settings, name, reader, found, role)
        return
    assert isinstance(data, Objects)
    records, columns = data.records, data.columns
    for note in data.notes:
        found.note(note)
    wheres = [f"{name}[{index}]" for index in range(len(records))]
    if not records:
        found[role] = []
        return
    if not any(isinstance(record, Mapping) for record in records):  # the named columns are not those of tuples
        settings = settings.model_copy(update=dict.fromkeys((*COLUMNS_OF_ROWS, "split_column"))).after({})
    dicts = _dicts(records, wheres, reader)
    columns = columns or list(dict.fromkeys(column for record in dicts for column in record))
    given = reader.in_memory(Records(dicts, wheres, columns, "the data"))
    _add_records(given, settings, reader, found, role)


def _dicts(records: Sequence[object], wheres: Sequence[str], reader: Reader) -> list[dict[str, object]]:
    """Records given from Python, tuples and dicts, as dicts.

    Raises:
        DataError: some are neither; they are named.
    """
    faults: list[str] = []
    dicts = []
    for record, where in zip(records, wheres, strict=True):
        try:
            given = reader.record(record, where)
        except DataError as error:
            faults += error.faults
            continue
        dicts.append({str(column): value for column, value in given.items()})
    raise_first(faults)
    return dicts


def _rows_of_path(path: str | Path, settings: DataSettings, name: str, reader: Reader) -> Found:
    """Return the rows of a path that stands for one split, in which no splits of its own are looked for."""
    own = {"source": str(path), **dict.fromkeys(f"{role}_split" for role in SPLIT_NAMES)}
    # Names of splits are those of the whole data, and mean nothing inside one of them.
    found = find_rows(settings.model_copy(update=own), Progress(None), reader)
    if len(found) > 1:
        remedy = "Give the path of one of its splits there, or the whole path on its own."
        raise DataError(must_be(f"the {name} split of data", "one split", f"'{path}' with {some(found)}", remedy))
    return found
