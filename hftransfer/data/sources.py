"""Rows from wherever they lie: folders, tables, the Hub, Python objects, what is bundled."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hftransfer.cache import cache_folder, mark_in_use, new_entry
from hftransfer.data.columns import LABEL_COLUMNS, column_of, label_names, numbered_columns, spread
from hftransfer.data.questions import QuestionReader, question_reader
from hftransfer.data.rows import BytesContent, Content, DatasetContent, FileContent, Row, TextContent, read_row
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import TABLE_SUFFIXES, raise_first, read_table
from hftransfer.data.texts import TEXT_COLUMNS, TextReader, text_reader, text_record
from hftransfer.errors import DataError, first_line, must_be, nearest, some, user_path
from hftransfer.progress import Progress

Found = dict[str, list[Row]]  # split name -> rows; the name "all" stands for data not split yet

SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
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
    {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif", ".avif"}
)
DRAWINGS = "bundled/drawn-pets"
BUNDLED = (DRAWINGS, "bundled/short-reviews")
Kind = Literal["images", "texts", "questions"]
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_IGNORED = {"thumbs.db", "desktop.ini"}


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
    return _path_rows(path, settings, kind) if path.exists() else _hub_rows(settings, kind)


def _path_rows(path: Path, settings: DataSettings, kind: Kind) -> Found:
    """The rows of a folder or file."""
    if path.is_file():
        return {"all": _table_rows(path, settings, kind)}
    if (path / "dataset_dict.json").exists() or (path / "dataset_info.json").exists():
        return _saved_dataset_rows(path, settings, kind)
    if _tables_in(path):
        return _table_folder_rows(path, settings, kind)
    if kind == "images":
        return _folder_rows(path, settings, kind)
    return _text_folder_rows(path, settings, kind)


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
    texts = {name: [_text_of_file(row, remedy, faults) for row in rows] for name, rows in found.items()}
    raise_first(faults)
    return texts


def _text_of_file(row: Row, remedy: str, faults: list[str]) -> Row:
    """The row with its file's text; why it has none is put to the faults."""
    text = ""
    try:
        if not row.id.lower().endswith(".txt"):
            raise DataError(must_be(row.id, "a .txt file, as others in the folder are", "another file", remedy))
        text = read_row(row).decode("utf-8-sig")
    except DataError as error:
        faults += error.faults
    except UnicodeDecodeError as error:
        faults.append(must_be(row.id, "a UTF-8 text file", f"byte {error.start} that is not"))
    return Row(row.id, TextContent(text), row.label)


def is_hub_data(source: str) -> bool:
    """Whether a source is the id of a data set on the Hub: it has the form of one, and is nothing on this disk."""
    return source != "memory" and _looks_like_id(source) and not Path(source).expanduser().exists()


def _looks_like_id(source: str) -> bool:
    is_path = source.startswith((".", "/", "~")) or Path(source).suffix in TABLE_SUFFIXES or source.count("/") > 1
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
        return _dataset_splits(data, settings, kind)
    if isinstance(data, Mapping):
        roles = {str(name): _split_role(str(name), settings) for name in data}
        stray = [name for name, role in roles.items() if role is None]
        if stray:
            known = ", ".join(SPLIT_NAMES)
            raise DataError(
                must_be("the splits of data", f"some of {known}", some(stray), nearest(stray[0], SPLIT_NAMES))
            )
        _require_one_each(roles, "data")
        return {roles[str(name)] or "": _python_rows(part, settings, str(name), kind) for name, part in data.items()}
    return {"all": _python_rows(data, settings, "row", kind)}


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
    folders = sorted(entry for entry in _visible(root) if entry.is_dir())
    if not folders and not list(_visible(root)):
        allowed = f"a folder with a folder of {kind} per class"
        raise DataError(must_be(f"data.source {root}", allowed, "an empty folder"))
    roles = {folder: _split_role(folder.name, settings) for folder in folders}
    _require_named_splits(settings, {folder.name for folder in folders}, str(root))
    if "train" in roles.values():
        stray = [folder.name for folder, role in roles.items() if role is None]
        if stray:
            remedy = "Name splits train, validation and test, or set data.validation_split / data.test_split."
            raise DataError(must_be(f"folders in {root}", "splits only", some(stray), remedy))
        _require_one_each({folder.name: role for folder, role in roles.items()}, str(root))
        return {role: _class_rows(folder, root, settings, kind) for folder, role in roles.items() if role}
    if folders and all(roles.values()):
        got = some(folder.name for folder in folders)
        raise DataError(must_be(f"data.source {root}", "a folder with a train split", got, "Set data.train_split."))
    return {"all": _class_rows(root, root, settings, kind)}


def _class_rows(folder: Path, root: Path, settings: DataSettings, kind: Kind) -> list[Row]:
    entries = sorted(_visible(folder))
    loose = [entry.name for entry in entries if not entry.is_dir()]
    classes = [entry for entry in entries if entry.is_dir()]
    if loose:
        remedy = "Move it into the folder of its class, or away."
        if not classes:
            remedy = f"Put the {kind} of each class in a folder named after the class."
        raise DataError(must_be(f"{folder}", "a folder of class folders", f"the file {some(loose, 3)}", remedy))
    if not classes:
        raise DataError(must_be(f"{folder}", f"a folder with a folder of {kind} per class", "an empty folder"))
    rows = []
    faults = []
    for label in classes:
        files = sorted(files_below(label))
        if not files:
            faults.append(must_be(f"the class folder {label}", f"a folder of {kind}", "an empty folder"))
        for file in files:
            name = file.relative_to(root).as_posix()
            fault = _path_fault(file, root, name, settings)
            if fault:
                faults.append(fault)
            rows.append(Row(name, FileContent(file), label.name))
    raise_first(faults)
    return rows


def files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The files in a folder and all folders in it; a link back to a folder above is not followed."""
    real = folder.resolve()
    if real in above:
        return
    for entry in _visible(folder):
        if entry.is_dir():
            yield from files_below(entry, above | {real})
        else:
            yield entry


def _visible(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith((".", "__MACOSX")) and entry.name.lower() not in _IGNORED:
                yield Path(entry.path)


def _path_fault(file: Path, root: Path, name: str, settings: DataSettings) -> str | None:
    """Why a file may not be read: it is a link out of the data's folder."""
    if settings.allow_outside_paths:
        return None
    resolved = file.resolve()
    if resolved.is_relative_to(root.resolve()):
        return None
    remedy = "Set data.allow_outside_paths: true if that is meant."
    return must_be(name, f"inside {root}", f"{resolved}", remedy)


# --- tables --------------------------------------------------------------------------


def _tables_in(folder: Path) -> list[Path]:
    return sorted(entry for entry in _visible(folder) if entry.is_file() and entry.suffix in TABLE_SUFFIXES)


def _table_folder_rows(root: Path, settings: DataSettings, kind: Kind) -> Found:
    tables = _tables_in(root)
    roles = {table: _split_role(table.stem, settings) for table in tables}
    _require_named_splits(settings, {table.stem for table in tables}, str(root))
    if len(tables) == 1 and roles[tables[0]] is None:
        return {"all": _table_rows(tables[0], settings, kind)}
    unknown = [table.name for table, role in roles.items() if role is None]
    if unknown:
        remedy = "Name them train, validation and test, or give one file as data.source."
        raise DataError(must_be(f"tables in {root}", "one per split", some(unknown), remedy))
    _require_one_each({path.name: role for path, role in roles.items()}, str(root))
    return {role: _table_rows(table, settings, kind) for table, role in roles.items() if role}


def _table_rows(path: Path, settings: DataSettings, kind: Kind) -> list[Row]:
    if path.suffix not in TABLE_SUFFIXES:
        allowed = "a folder or a .csv, .tsv, .jsonl or .parquet file"
        raise DataError(must_be("data.source", allowed, f"'{path}'"))
    numbers, records = read_table(path)
    if not records:
        raise DataError(must_be(str(path), "a table with rows", "none"))
    wheres = [f"{path.name}:{number}" for number in numbers]
    if kind != "images":
        return _reader(_all_columns(records), settings, path, kind).rows(records, wheres)
    image_column, label_columns = _columns(settings, list(records[0]), path)
    cells = [[record.get(column) for record in records] for column in label_columns]
    labels, places = _labels(cells, wheres, label_columns[0], settings)
    rows, faults = [], []
    for place, label in zip(places, labels, strict=True):
        record, where = records[place], wheres[place]
        try:
            content = table_content(record.get(image_column), path.parent, where, settings)
        except DataError as error:
            faults.append(str(error))
            continue
        named = f"{record[image_column]} ({where})" if isinstance(content, FileContent) else where
        rows.append(Row(named, content, label))
    raise_first(faults)
    return rows


def table_content(value: Any, folder: Path, where: str, settings: DataSettings) -> Content:
    """The image in a cell of a table: a path from the folder of the table, or bytes.

    Raises:
        DataError: it is neither, or there is no such file.
    """
    given = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(given, bytes):
        return BytesContent(given)
    if not isinstance(value, str) or not value:
        raise DataError(must_be(where, "a row with an image path", repr(value)))
    if "://" in value:
        raise DataError(must_be(where, "a row with a local image path", f"'{value}'", "Download the images first."))
    file = folder / user_path(value, where, DataError)
    shown = f"the image path '{value[:200]}' ({where})"
    try:
        fault = _path_fault(file, folder, shown, settings)
        there = file.is_file()
    except OSError:  # a name too long
        fault, there = None, False
    if fault:
        raise DataError(fault)
    if not there:
        remedy = "Paths count from the folder of the table."
        raise DataError(must_be(shown, f"a file below {folder.resolve()}", "none there", remedy))
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


def _all_columns(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of records, which need not all be in the first one."""
    return list(dict.fromkeys(column for record in records for column in record))


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


def _columns(
    settings: DataSettings,
    columns: Sequence[str],
    source: object,
    images: Sequence[str] = IMAGE_COLUMNS,
    labels: Sequence[str] = LABEL_COLUMNS,
) -> tuple[str, list[str]]:
    """The column with the images and the one with the labels, as named or by their usual names (of captions several,
    caption_0, caption_1, …, may stand for one); all faults at once."""
    numbered: list[str] = []
    if settings.caption_column is not None and settings.caption_column not in columns:
        numbered = numbered_columns(settings.caption_column, columns)
        settings = settings.model_copy(update={"label_column": numbered[0]}) if numbered else settings
    found: list[str] = []
    faults: list[str] = []
    for named, usual, where in (
        (settings.image_column, images, "data.image_column"),
        (settings.label_column, labels, "data.caption_column" if settings.caption_column else "data.label_column"),
    ):
        try:
            found.append(column_of(named, usual, columns, where, source))
        except DataError as error:
            faults += error.faults
    raise_first(faults and [*faults, *_other_kind(columns, source, "images")])
    return found[0], numbered or [found[1]]


def _labels(
    cells: Sequence[Sequence[Any]], wheres: Sequence[str], column: str, settings: DataSettings
) -> tuple[list[str], list[int]]:
    """The labels in some columns, and the row that each is of: one of each row, of captions several."""
    if settings.caption_column is None:
        return label_names(cells[0], wheres, column), list(range(len(wheres)))
    together = [list(own) for own in zip(*cells, strict=True)] if len(cells) > 1 else list(cells[0])
    values, places = spread(together)
    return label_names(values, [wheres[place] for place in places], column, "a caption"), places


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
    found: Found = {}
    for name, part in parts.items():
        role = _split_role(name, settings)
        if role:
            found[role] = _dataset_rows(part, settings, name, kind)
    if found:
        return found
    if len(parts) == 1:
        ((name, part),) = parts.items()
        return {"all": _dataset_rows(part, settings, name, kind)}
    remedy = "Set data.train_split."
    raise DataError(must_be(f"data.source '{settings.source}'", "a data set with a train split", some(parts), remedy))


def _dataset_rows(dataset: Any, settings: DataSettings, name: str, kind: Kind) -> list[Row]:
    import datasets

    features = dataset.features
    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    classes = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    columns = list(features)
    where = settings.source
    named_classes = classes if len(classes) == 1 else []
    usual_labels = [*named_classes, *LABEL_COLUMNS]
    ids = [f"{name}[{index}]" for index in range(len(dataset))]
    if kind != "images":
        reader = _reader(columns, settings, "the data" if where == "memory" else where, kind, usual_labels)
        return reader.rows(_named_records(dataset.select_columns(reader.columns)), ids)
    usual_images = [column for column in (*images, *IMAGE_COLUMNS) if column in columns]
    image_column, label_columns = _columns(settings, columns, where, usual_images or IMAGE_COLUMNS, usual_labels)
    cells = [list(dataset[column]) for column in label_columns]
    feature = features[label_columns[0]]
    if isinstance(feature, datasets.ClassLabel):
        cells = [[None if value is None or value < 0 else feature.int2str(value) for value in cells[0]]]
    labels, places = _labels(cells, ids, label_columns[0], settings)
    if image_column not in images:
        dataset = dataset.cast_column(image_column, datasets.Image())
    raw = dataset.cast_column(image_column, datasets.Image(decode=False)).select_columns([image_column])
    return [
        Row(ids[place], DatasetContent(raw, image_column, place), label)
        for place, label in zip(places, labels, strict=True)
    ]


def _named_records(dataset: Any) -> list[dict[str, Any]]:
    """The records of a `datasets.Dataset`, class ids replaced by names."""
    import datasets

    classes = {c: feature for c, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)}
    records: list[dict[str, Any]] = dataset.to_list()
    for record in records:
        for column, feature in classes.items():
            value = record[column]
            record[column] = None if value is None or value < 0 else feature.int2str(value)
    return records


# --- Python objects ------------------------------------------------------------------


def _python_rows(data: Any, settings: DataSettings, name: str, kind: Kind) -> list[Row]:
    if isinstance(data, str | Path):
        return _rows_of_path(data, settings, name, kind)
    if hasattr(data, "features") and hasattr(data, "cast_column"):
        return _dataset_rows(data, settings, name, kind)
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        data = data.to_dict("records")
    if isinstance(data, str | bytes) or not isinstance(data, Iterable):
        shown = {"images": "(image, label)", "texts": "(text, label)", "questions": "question, context and answers"}
        allowed = f"rows of {shown[kind]}, a pandas frame or a datasets.Dataset"
        raise DataError(must_be("data", allowed, type(data).__name__))
    records = list(data)
    wheres = [f"{name}[{index}]" for index in range(len(records))]
    if kind != "images":
        return _record_rows(records, wheres, settings, kind)
    from hftransfer.data.inspection import as_content

    pairs = [_image_and_label(record, settings, where) for record, where in zip(records, wheres, strict=True)]
    labels, places = _labels([[label for _, label in pairs]], wheres, "label", settings)
    return [
        Row(wheres[place], as_content(pairs[place][0], wheres[place]), label)
        for place, label in zip(places, labels, strict=True)
    ]


def _rows_of_path(path: str | Path, settings: DataSettings, name: str, kind: Kind) -> list[Row]:
    """The rows of a path that stands for one split, in which no splits of its own are looked for."""
    own = {"source": str(path), **dict.fromkeys(f"{role}_split" for role in SPLIT_NAMES)}
    found = find_rows(settings.model_copy(update=own), Progress(None), kind)
    if len(found) > 1:
        remedy = "Give the path of one of its splits there, or the whole path alone."
        raise DataError(must_be(f"the {name} split of data", "one split", f"'{path}' with {some(found)}", remedy))
    return next(iter(found.values()))


def _record_rows(records: Sequence[Any], wheres: Sequence[str], settings: DataSettings, kind: Kind) -> list[Row]:
    """The rows of dicts, or of tuples of texts and a label (the named columns are not theirs)."""
    if not records:
        return []
    if not any(isinstance(record, Mapping) for record in records):
        settings = settings.model_copy(update=dict.fromkeys(("text_column", "text_pair_column", "label_column")))
    faults: list[str] = []
    dicts = []
    for record, where in zip(records, wheres, strict=True):
        try:
            given = text_record(record, where) if kind == "texts" else _question_record(record, where)
        except DataError as error:
            faults += error.faults
            continue
        dicts.append({str(column): value for column, value in given.items()})
    raise_first(faults)
    return _reader(_all_columns(dicts), settings, "the data", kind).rows(dicts, wheres)


def _question_record(record: Any, where: str) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return record
    raise DataError(must_be(where, "a dict with question, context and answers", type(record).__name__))


def _image_and_label(record: Any, settings: DataSettings, where: str) -> tuple[Any, Any]:
    if isinstance(record, Mapping):
        columns = [str(column) for column in record]
        image, labels = _columns(settings, columns, where)
        return record[image], record[labels[0]] if len(labels) == 1 else [record[label] for label in labels]
    if isinstance(record, tuple | list) and len(record) == 2:
        return record[0], record[1]
    raise DataError(must_be(where, "an (image, label) pair or a dict", type(record).__name__))


# --- splits --------------------------------------------------------------------------


def _split_role(name: str, settings: DataSettings) -> str | None:
    """Which split a folder, table or part of that name is: train, validation, test, or none of these."""
    for role in SPLIT_NAMES:
        if getattr(settings, f"{role}_split") == name:
            return role
    for role, usual in SPLIT_NAMES.items():
        if getattr(settings, f"{role}_split") is None and name.lower() in usual:
            return role
    return None


def _require_named_splits(settings: DataSettings, present: set[str], source: str) -> None:
    faults = []
    for role in SPLIT_NAMES:
        named = getattr(settings, f"{role}_split")
        if named is not None and named not in present:
            faults.append(must_be(f"data.{role}_split", f"a split of {source}", f"'{named}'", nearest(named, present)))
    if faults:
        raise DataError(*faults)


def _require_one_each(roles: Mapping[str, str | None], where: str) -> None:
    """Nothing, if no two folders, tables or objects are the same split."""
    for role in SPLIT_NAMES:
        same = [name for name, own in roles.items() if own == role]
        if len(same) > 1:
            remedy = f"Keep one, or name it with data.{role}_split."
            raise DataError(must_be(f"the {role} split in {where}", "given once", some(same), remedy))
