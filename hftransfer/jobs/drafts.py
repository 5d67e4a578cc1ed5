"""A first recipe for data that nobody has described yet: looked at, and written with what was seen."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from hftransfer.base.errors import (
    DataError,
    HftransferError,
    OutputError,
    RecipeError,
    WriteError,
    counted,
    must_be,
    nearest,
    printable,
    some,
    user_path,
)
from hftransfer.base.progress import Progress
from hftransfer.data.label_sets import flag_columns
from hftransfer.data.layouts import MASK_FOLDERS, files_below
from hftransfer.data.masks import MASKED_IMAGES
from hftransfer.data.pictures import IMAGE_SUFFIXES, IMAGES
from hftransfer.data.roles import Found
from hftransfer.data.settings import DataSettings, settings_from_words, settings_of
from hftransfer.data.sources import find_rows
from hftransfer.data.splits import MOST_SKIPPED, split_rows
from hftransfer.data.tables import read_table, table_suffix
from hftransfer.data.targets import TargetKind
from hftransfer.data.texts import TEXTS
from hftransfer.jobs.early import early_look
from hftransfer.jobs.session import load_rows, load_splits
from hftransfer.recipe import load_recipe
from hftransfer.tasks import TASKS
from hftransfer.tasks.contract import Task

_FEW, _UNEVEN = 30, 3.0
# Of test and validation: the usual ones, and those that small classes allow.
_SHARES = ((0.2, 0.15), (0.2, 0.3), (0.34, 0.5), (0.0, 0.15), (0.0, 0.5))


@dataclass(frozen=True)
class Seen:
    """The findings on data: the task that fits, how many examples each split has, and of classes how many each; how
    many images are unreadable already by their first bytes; what was recognised; and the shares that can be held out of
    training for test and for validation."""

    task: str
    splits: dict[str, int]
    classes: dict[str, int]
    unreadable: int = 0
    notes: tuple[str, ...] = ()
    fractions: tuple[float, float] = _SHARES[0]
    chosen: Mapping[str, object] = field(default_factory=dict)
    """What a person set of the data."""


def init(
    data: str | Path,
    *,
    task: str | None = None,
    model: str | None = None,
    out: str | Path = "recipe.yaml",
    settings: Mapping[str, object] | Sequence[str] = (),
    progress: Progress | None = None,
) -> Path:
    """Return the file `out` with a first recipe for some data, after a look at them.

    The task is found where it is left out, and a bundled model taken where none is named. `settings` are those of a
    recipe's data section: a mapping, or words such as `label_column=sentiment`. What `check` would refuse without
    decoding every image is refused here, and nothing written.

    Raises:
        RecipeError: there is no such task or setting, or settings don't go together.
        DataError: the data are of no task, or not of the one given, or too few to be split.
        ModelError: the model can't serve the task.
        OutputError: the file is there already, or can't be written.
    """
    path = user_path(out, "the file to write", OutputError)
    _require_new(path)  # before the data, which may be many
    return write_draft(path, draft(os.fspath(data), task, model, progress, path, settings))


def draft(
    data: str,
    task: str | None = None,
    model: str | None = None,
    progress: Progress | None = None,
    out: Path = Path("recipe.yaml"),
    settings: Mapping[str, object] | Sequence[str] = (),
) -> str:
    """Return a commented recipe for some data, as YAML, which loads. It names the data by the way from `out`, the file
    that it will be.

    Raises:
        RecipeError: there is no such task.
        DataError: the data are of no task, or not of the one given, or too few to be split.
    """
    chosen = settings_of(data, settings) if isinstance(settings, Mapping) else settings_from_words(data, settings)
    seen = look(chosen, task, progress or Progress())
    named = model or _model_for(TASKS[seen.task])
    _require_sound(_written(data, seen, named), splits=not seen.unreadable)  # the draft tells what can't be read
    return _written(way_from(out, data), seen, way_from(out, named) if model else named)


def _require_sound(text: str, *, splits: bool) -> None:
    """Return if a draft whose paths count from the current folder has none of the faults that `check` tells, but for
    those of decoding; those of its `splits` where they are asked for.

    Raises:
        HftransferError: with its faults.
    """
    from ruamel.yaml import YAML

    recipe = load_recipe(YAML(typ="safe", pure=True).load(text)).recipe
    early_look(recipe, None)
    if splits:
        silent = Progress(None)
        load_splits(recipe, load_rows(recipe, None, silent), silent)


def way_from(out: Path, data: str) -> str:
    """Return how a file `out` has to name a folder or file; what is none here (a Hub id), is absolute or below home
    stays."""
    path = Path(data)
    if path.is_absolute() or data.startswith("~") or not path.exists() or out.parent.resolve() == Path.cwd():
        return data
    return Path(os.path.relpath(path.resolve(), out.parent.resolve())).as_posix()


def look(settings: DataSettings, task: str | None, progress: Progress) -> Seen:
    """Return what some data hold.

    Raises:
        RecipeError: there is no such task.
        DataError: the data are of no task, or not of the one given.
    """
    names = drafted_tasks()
    if task is not None and task not in names:
        raise RecipeError(must_be("--task", " or ".join(names), f"'{task}'", nearest(task, names)))
    data, faults = settings.source, dict[str, HftransferError]()
    for one in [task] if task is not None else names:
        try:
            return _seen(settings, one, progress)
        except DataError as error:
            faults[one] = error
    path = Path(data).expanduser()
    flags = _flag_columns(path) if settings.label_columns is None else []
    if len(flags) > 1:
        noted = f"yes/no columns are read as labels, several per row: {some(flags)}"
        flagged = settings.model_copy(update={"label_columns": flags})
        for one in [task] if task is not None else names:
            with suppress(DataError):
                seen = _seen(flagged, one, progress)
                return replace(seen, notes=(noted, *seen.notes))
    if task is not None:
        raise faults[task]
    if not path.exists():
        raise next(error for name, error in faults.items() if TASKS[name].reader.describes_files)
    # The error of the task that most files are for tells more than those of all.
    alone = faults.get(_task_of_files(path) or "")
    if alone is not None or len({error.faults[0] for error in faults.values()}) == 1:
        raise alone or next(iter(faults.values()))
    told = [f"{name}: {error.faults[0]}" for name, error in faults.items()]
    allowed = "images or texts with labels, questions, prompts with completions, or images with captions"
    named = f"hftransfer init {data} text_column=… label_column=…"
    remedy = f"Name the columns of a table: {named}" if path.is_file() and table_suffix(path) else ""
    raise DataError(must_be(f"the data {data}", allowed, "none of these", remedy), *told)


def _flag_columns(path: Path) -> list[str]:
    """Return the columns of a table, or of the first one in a folder, that may be labels of which a row has several."""
    tables = sorted(filter(table_suffix, files_below(path))) if path.is_dir() else [path]
    if not tables or not table_suffix(tables[0]) or not tables[0].is_file():
        return []
    try:
        table = read_table(tables[0])
    except DataError:
        return []
    return flag_columns(table.records, table.columns)


def drafted_tasks() -> list[str]:
    """Return the names of the tasks that a draft may be of, in the order in which they are tried."""
    drafted = [(task.drafted, name) for name, task in TASKS.items() if task.drafted is not None]
    return [name for _, name in sorted(drafted)]


def _task_of_files(path: Path) -> str | None:
    """Return what a folder is for, going by most of its files; none where they are neither images nor texts."""
    files = list(files_below(path)) if path.is_dir() else []
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    masks = sum(any(part.lower() in MASK_FOLDERS for part in file.relative_to(path).parts[:-1]) for file in images)
    texts = sum(file.suffix.lower() == TEXTS.suffix for file in files)
    usual = MASKED_IMAGES if 3 * masks > len(images) else IMAGES
    tasks = {usual.usual_task: len(images), TEXTS.usual_task: texts}
    task = max(tasks, key=lambda name: tasks[name])
    return task if 2 * tasks[task] > len(files) else None


def _seen(settings: DataSettings, name: str, progress: Progress) -> Seen:
    data, chosen, task = settings.source, _chosen(settings), TASKS[name]
    found: Found = find_rows(settings, progress, task.reader)
    task = task.for_targets(task.targets_of(found))
    sizes, noticed = task.sizes(found, settings, progress)
    if not task.has_labels:
        of_targets = task.targets_of(found).notes(row for rows in found.values() for row in rows)
        return Seen(name, sizes, {}, notes=(*noticed, *of_targets), chosen=chosen)
    first = next((found[name] for name in ("train", "all") if name in found), None)
    if first is None:
        remedy = "Such data can evaluate a model (hftransfer eval, task: zero-shot-image-classification)."
        raise DataError(must_be(f"the data {data}", "data with a split to train on", some(found), remedy))
    classes = dict(Counter(label for row in first for label in task.targets.labels_of(row.target)))
    if len(classes) < 2:
        raise DataError(must_be(f"the data {data}", "examples of at least two classes", f"{len(classes)}"))
    unreadable = _unreadable(found, task, progress) if task.reader.decodes else 0
    notes = (*noticed, *task.targets.notes(row for rows in found.values() for row in rows))
    shares = _shares(found, settings, task.targets, classes)
    return Seen(name, sizes, classes, unreadable, notes, shares, chosen)


def _chosen(settings: DataSettings) -> dict[str, object]:
    """Return what a person set of the data beside the source."""
    return {
        name: value for name in sorted(settings.model_fields_set - {"source"}) if (value := getattr(settings, name))
    }


def _shares(found: Found, settings: DataSettings, kind: TargetKind, classes: Mapping[str, int]) -> tuple[float, float]:
    """Return the shares to hold out for test and validation, as large as usual where every class has enough examples.

    Raises:
        DataError: a class has one example alone.
    """
    name, fewest = min(classes.items(), key=lambda one: one[1])
    if fewest < 2 and "validation" not in found:
        remedy = "Training needs one and validation another: add examples, or remove the class."
        raise DataError(must_be(f"the number of examples of class '{name}'", "2 or more", f"{fewest}", remedy))
    if settings.model_fields_set & {"test_fraction", "validation_fraction"}:
        split_rows(found, settings, 0, kind)
        return settings.test_fraction, settings.validation_fraction
    # The first shares for which every class has enough examples.
    for test, validation in _SHARES:
        try:
            own = settings.model_copy(update={"test_fraction": test, "validation_fraction": validation})
            split_rows(found, own, 0, kind)
        except DataError as error:
            last = error
        else:
            return test, validation
    raise last


def _unreadable(found: Found, task: Task, progress: Progress) -> int:
    rows = [row for part in found.values() for row in part]
    with progress.stage(task.reader.inspects(decode=False), len(rows)) as advance:
        return len(task.reader.inspect(rows, advance).faults)


def _model_for(task: Task) -> str:
    """Return a bundled model where its weights are installed, one of the Hub elsewhere."""
    return task.drafted_model(is_installed=lambda package: find_spec(package) is not None)


def _written(data: str, seen: Seen, model: str) -> str:
    sizes = ", ".join(f"{count} {name}" for name, count in seen.splits.items())
    lines = [f"# {_plain(data)}: {sizes}{_classes_in_words(seen.classes)}."]
    lines += [f"# {note}" for note in _notes(seen)]
    lines += [f"task: {seen.task}", f"model: {model}", "data:", f"  source: {_quoted(data)}"]
    lines += [f"  {name}: {_quoted(value)}" for name, value in seen.chosen.items()]
    if seen.unreadable and "on_error" not in seen.chosen:
        few = seen.unreadable <= MOST_SKIPPED * sum(seen.splits.values())
        lines.append(f"  {'' if few else '# '}on_error: skip              # leaves out what can't be read, up to 5 %")
    if "validation" not in seen.splits and "validation_fraction" not in seen.chosen:
        told = "held out of training, to choose settings and the best epoch"
        lines.append(f"  {f'validation_fraction: {seen.fractions[1]:g}':<27} # {told}")
    if "test" not in seen.splits and "test_fraction" not in seen.chosen:
        told = "held out completely, to measure how good the model is"
        if not seen.fractions[0]:
            told = "too few examples to hold any out, so the model can't be tested"
        lines.append(f"  {f'test_fraction: {seen.fractions[0]:g}':<27} # {told}")
    lines += [*TASKS[seen.task].drafted_strategy(sum(seen.classes.values())), "train:", "  seed: 0"]
    lines += ["# output: {folder: runs}", "# hub: {push_to: namespace/name, license: apache-2.0}", ""]
    return "\n".join(lines)


def _notes(seen: Seen) -> list[str]:
    """Return what a person should know of their data before training."""
    notes = [_one_line(note) for note in seen.notes]
    if not seen.classes:
        return notes
    if seen.unreadable:
        notes.append(f"{counted(seen.unreadable, 'image')} can't be read, or more: hftransfer audit names them all.")
    least, most = min(seen.classes, key=lambda name: seen.classes[name]), max(seen.classes.values())
    if seen.classes[least] < _FEW:
        notes.append(f"Few examples: class {_plain(least)} has {seen.classes[least]}. A linear probe is safest.")
    if most > _UNEVEN * seen.classes[least]:
        notes.append("Classes are uneven: look at balanced accuracy and macro F1 beside accuracy.")
    return notes


def _classes_in_words(classes: dict[str, int]) -> str:
    if not classes:
        return ""
    shown = ", ".join(f"{_plain(name)} {count}" for name, count in list(classes.items())[:6])
    return f"; {len(classes)} classes: {shown}{', …' if len(classes) > 6 else ''}"


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())[:300]


def _plain(text: str) -> str:
    """Return a name as it can stand in a comment: one line."""
    return " ".join(text.split())[:60]


def _quoted(text: object) -> str:
    """Return a plain value as a YAML scalar."""
    from json import dumps

    return dumps(text, ensure_ascii=False)


def write_draft(path: Path, text: str) -> Path:
    """Return the file with the recipe, which was not there before.

    Raises:
        OutputError: it was, or can't be written.
    """
    _require_new(path)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WriteError(must_be(f"the file {path}", "writable", str(error.strerror))) from error
    return path


def _require_new(path: Path) -> None:
    if path.exists():
        raise OutputError(must_be(f"the file {path}", "new", "an existing file", "Choose another with --out."))
