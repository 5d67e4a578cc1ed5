"""A run from recipe to results, top to bottom."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.base.errors import (
    DataError,
    ModelError,
    OutputError,
    RecipeError,
    must_be,
    user_path,
)
from hftransfer.base.html import Fragment, Thumbnail, small_uri
from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import CHECKPOINTS, LOGS, RunFolder, asked_in, is_interrupted
from hftransfer.base.runs import is_of_a_recipe, link_newest, newest_interrupted_in
from hftransfer.data.rows import are_streamed
from hftransfer.data.splits import Splits, few_shots, require_shots
from hftransfer.jobs.early import early_look
from hftransfer.jobs.session import Session, load_folds, load_rows, load_splits
from hftransfer.recipe import (
    LoadedRecipe,
    Recipe,
    load_recipe,
    plain_settings,
    seen_from,
    with_memory,
)
from hftransfer.report.headline import Headline, headline_of, score_table
from hftransfer.report.tables import duration
from hftransfer.strategies import Strategy, method_in_words
from hftransfer.tasks.prompts import words_for
from hftransfer.training.interrupts import Interrupted

if TYPE_CHECKING:
    from torch import nn

    from hftransfer.adapters.checkpoint import Checkpoint
    from hftransfer.adapters.given import Processor
    from hftransfer.data.rows import GivenRows
    from hftransfer.predictors.dual import DualPredictor
    from hftransfer.predictors.predictor import Predictor
    from hftransfer.tasks.items import Transform
    from hftransfer.training.checkpoint import Checkpoints, Saved
    from hftransfer.training.loop import OnEpoch
    from hftransfer.training.own import OnEvaluate, Own, OwnMetric

_TELLING = ("confusion_matrix", "confused_labels", "predicted", "types", "shots", "history")
"""Which picture of a run a notebook shows: the first there is."""


@dataclass(frozen=True, repr=False)
class Result:
    """A finished run: its folder and its metrics (as in `metrics.json`); a path to its folder wherever one is taken."""

    folder: Path
    metrics: JsonObject

    @cached_property
    def model(self) -> Predictor | DualPredictor:
        """The trained model, ready to predict; it is read once.

        Raises:
            ModelError: the run trained none, or its folder is gone.
        """
        from hftransfer.predictors.load import load

        return load(self.folder)

    @property
    def report(self) -> Path:
        """The page of the run: one file that needs nothing beside it."""
        return self.folder / "report.html"

    @property
    def figures(self) -> list[Path]:
        """The pictures of the run, as PNG."""
        return sorted((self.folder / "figures").glob("*.png"))

    @property
    def headline(self) -> Headline | None:
        """The score that a person is told first, with its interval; None where nothing was judged."""
        return headline_of(self.metrics)

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"Result({self.headline or 'no score'}, {str(self.folder)!r})"

    def __getstate__(self) -> dict[str, object]:
        """Pickle without the model, which is read again where it is wanted."""
        return {"folder": self.folder, "metrics": self.metrics}

    def _repr_html_(self) -> str:
        told, parameters = self.metrics, self.metrics["parameters"]
        lines = [
            f"{method_in_words(told)} on {told['model']}, "
            f"{parameters['trainable']:,} of {parameters['total']:,} parameters learned, "
            f"{duration(told['seconds'].get('total', 0.0))}",
            f"{self.folder}: report.html is the whole page; result.model predicts.",
        ]
        picture = self._repr_png_()
        tiles = [Thumbnail(small_uri(picture), wide=True)] if picture is not None else []
        return Fragment(str(self.headline or "no score"), lines, score_table(told), tiles=tiles).html()

    def _repr_png_(self) -> bytes | None:
        """Return the picture that says most; None where there is none."""
        drawn = {file.stem: file for file in self.figures}
        first = next((drawn[name] for name in _TELLING if name in drawn), next(iter(drawn.values()), None))
        return first.read_bytes() if first is not None else None


# More than eight arguments: what a person types, each by its name.
def run(
    recipe: str | Path | Mapping[str, object],
    overrides: Mapping[str, object] | Sequence[str] = (),
    *,
    data: GivenRows | None = None,
    model: str | os.PathLike[str] | nn.Module | None = None,
    processor: Processor | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    on_evaluate: OnEvaluate | None = None,
    metrics: Mapping[str, OwnMetric] | Sequence[OwnMetric] = (),
    transform: Transform | None = None,
    head: nn.Module | None = None,
) -> Result:
    """Return the run of a recipe: a trained, tested and saved model in a folder.

    `data` may hold Python objects instead of `data.source`: rows of (image, label), a pandas frame, a
    `datasets.Dataset`, or a mapping of split names to these; `model` and `processor` an object instead of the recipe's
    model, as in `ht.fit`. With `resume` an interrupted run goes on from its newest whole checkpoint, in the folder
    `out` or the newest one of this recipe, and ends as if it had not been interrupted; instead of the recipe its folder
    may be given, which knows what was asked for.

    `on_epoch` is called after each epoch with its row, a dict with `epoch`, `train_loss` and what validation came to;
    `on_evaluate` with the name of a split and its scores each time one is judged. Where either returns True training
    ends, and the best epoch is kept as ever; a solved head has no epochs. `metrics` are functions of labels
    (N,) and predictions (N,), or metrics of `evaluate`, the higher the better: they are told with the others, and
    `train.metric` may name one to choose by. `transform` changes each training image anew. `head` is a module of torch
    in the place of the model's last layer, from features (B, D) to logits (B, C), of tokens (B, T, D) to (B, T, C).

    Raises:
        HftransferError: the recipe, the data, the model or the output folder is not as it must be, or not as it was
            when the run was interrupted.
    """
    session = Session.begin(progress, data)
    together, progress = session.processes, session.progress
    given, own = together.in_turn(lambda: _given(model, processor)), _own(on_evaluate, metrics, transform, head)
    with_objects = with_memory(overrides, data, _name_of(model, given))
    if resume and (unfinished := together.together(lambda: _unfinished(recipe, out))) is not None:
        out, loaded = unfinished, together.together(lambda: _as_asked(unfinished, with_objects))
    else:
        loaded = together.together(lambda: load_recipe(recipe, with_objects))
    checkpoint = together.in_turn(lambda: early_look(loaded.recipe, data, fetches_config=True, given=given, own=own))
    # What takes time is imported when what is asked for is known to be sound.
    from hftransfer.jobs.engines import ENGINES
    from hftransfer.jobs.writing import write_run
    from hftransfer.training.checkpoint import Checkpoints

    folder = together.first(lambda: _output_folder(loaded, out, overwrite=overwrite, resume=resume))
    checkpoints = Checkpoints(folder.path / CHECKPOINTS, loaded.recipe.train.keep_checkpoints)
    logs = folder.path / LOGS
    session = replace(session, name=loaded.name, logs=logs, checkpoints=checkpoints, on_epoch=on_epoch, own=own)
    with ExitStack() as stack:
        # Only the first process holds the folder; the others fail with it where another run has it.
        together.together(lambda: stack.enter_context(folder.in_use()) if together.is_first else None)
        if together.is_first:
            stack.enter_context(_noted(folder, loaded, progress, resume=resume))
        # A curve goes on where its cells ended; folds begin anew.
        goes_on = resume and not isinstance(loaded.recipe.data.shots, list) and loaded.recipe.data.folds is None
        if resume and loaded.recipe.data.folds is not None:
            progress.line("cross-validation keeps no checkpoints: it starts again, using the cached activations")
        session = replace(session, saved=together.first(lambda: _newest(session, resume=goes_on)))
        learned = ENGINES[loaded.recipe.chosen_task.learns](loaded, checkpoint, session, resume=resume)
        write = partial(write_run, folder, loaded, learned, session)
        measured = together.first(lambda: _written(folder, session, write, learned.save_checkpoint))
        if together.is_first:
            _forget_checkpoints(checkpoints)
            if is_of_a_recipe(folder.path):
                link_newest(folder.path.parent)
            _push(loaded.recipe, folder, progress)
    return Result(folder.path, measured)


def _forget_checkpoints(checkpoints: Checkpoints) -> None:
    """Remove what a run could go on from: its results are in their folder."""
    from hftransfer.jobs.curve import FinishedCells

    FinishedCells.remove_from(checkpoints.folder)
    checkpoints.remove_all()


@contextmanager
def _noted(folder: RunFolder, loaded: LoadedRecipe, progress: Progress, *, resume: bool) -> Iterator[None]:
    """Write the log and what was asked for into a run's folder, and tell at the end how it ended and where it is."""
    progress.write_log(folder.log_so_far(goes_on=resume))
    folder.note_asked(loaded.name, plain_settings(seen_from(loaded.recipe, folder.path)))
    with _end_told(progress), _folder_told(folder.path):
        yield


def _push(recipe: Recipe, folder: RunFolder, progress: Progress) -> None:
    """Put the finished run's model on the Hub, if the recipe says so.

    Raises:
        PushError: it is not; the run is finished all the same.
    """
    hub = recipe.hub
    if hub.push_to is None:
        return
    from hftransfer.hub.publish import PushError, push

    try:
        push(folder.path, hub.push_to, private=hub.private, revision=hub.revision, progress=progress)
    except PushError as error:
        again = f"hftransfer push {folder.path} {hub.push_to}"
        raise PushError(
            *error.faults, f"The run itself is complete in {folder.path}. To push it again: {again}"
        ) from error


def _unfinished(recipe: str | Path | Mapping[str, object], out: str | Path | None) -> Path | None:
    """Return the folder of an unfinished run, where it is given instead of a recipe; of a folder of runs the newest
    that is unfinished."""
    if isinstance(recipe, Mapping) or not isinstance(recipe, str | Path):
        return None
    path = user_path(recipe, "the recipe", RecipeError)
    if not path.is_dir():
        if not path.suffix and len(path.parts) > 1:
            raise OutputError(must_be("the run to resume", "the folder of a run", f"'{recipe}', which does not exist"))
        return None
    path = newest_interrupted_in(path) or path
    if asked_in(path) is None:
        return None
    if out is not None and Path(out).resolve() != path.resolve():
        raise OutputError(must_be("--out", f"left out with --resume, or the run folder itself ({path})", str(out)))
    return path


def _as_asked(folder: Path, overrides: Mapping[str, object] | Sequence[str]) -> LoadedRecipe:
    """Return the recipe of the unfinished run in a folder."""
    found = asked_in(folder)
    assert found is not None
    name, recipe = found
    return replace(load_recipe(recipe, overrides, folder=folder), name=name)


@contextmanager
def _folder_told(folder: Path) -> Iterator[None]:
    """Meanwhile an interruption carries the folder of the run that it stops."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        error.run_folder = folder  # type: ignore[union-attr]
        raise


@contextmanager
def _end_told(progress: Progress) -> Iterator[None]:
    """Meanwhile a log is kept; at its end stands what stopped the run, if something did."""
    try:
        yield
    except BaseException as error:
        progress.note(f"stopped: {error or type(error).__name__}")
        raise
    finally:
        progress.end_log()


def _written(
    folder: RunFolder,
    session: Session,
    write: Callable[[], JsonObject],
    save_checkpoint: Callable[[], None] | None,
) -> JsonObject:
    """Return the metrics of a run whose results are in its folder.

    Raises:
        OutputError: they can't be written; a checkpoint of the finished training is, if there is still room for it.
    """
    try:
        with folder.results():
            metrics = write()
            log = folder.note_log()
        session.progress.move_log(log)
    except OutputError as error:
        if save_checkpoint is not None:
            with suppress(OutputError):
                save_checkpoint()
        if session.checkpoints is None or session.checkpoints.newest() is None:
            remedy = "There is no checkpoint to resume from: free some disk space, and run it again."
        else:
            remedy = f"Free some disk space; then `{resume_command(folder.path)}` continues from the newest checkpoint."
        raise type(error)(*(f"{fault} {remedy}" for fault in error.faults)) from error
    return metrics


def _newest(session: Session, *, resume: bool) -> Saved | None:
    """Return the checkpoint to go on from, its tensors read already where it is for other processes too."""
    checkpoints, progress = session.checkpoints, session.progress
    assert checkpoints is not None
    if not resume:
        checkpoints.remove_all()
        return None
    saved = checkpoints.newest(progress.line)
    if saved is None:
        progress.line("there is no complete checkpoint: the run starts again")
    # Other processes, on other machines perhaps, are sent the tensors: their disk need not have the file.
    return saved.held() if saved is not None and session.processes.count > 1 else saved


def resume_command(folder: Path) -> str:
    """Return what goes on with the unfinished run in a folder, to be copied."""
    count = os.environ.get("WORLD_SIZE", "1") if os.environ.get("HFTRANSFER_LAUNCHED") else "1"
    more = ["--processes", count] if count != "1" else []
    return shlex.join(["hftransfer", "run", "--resume", str(folder), *more])


def how_to_go_on(folder: Path | None) -> str:
    """Return what becomes of an interrupted run, for people."""
    if folder is None or not is_interrupted(folder):
        return "the cache is kept"
    if any((folder / CHECKPOINTS).glob("[!.]*")):
        return f"continue from the newest checkpoint: {resume_command(folder)}"
    return f"there is no checkpoint yet; start again, using the cache: {resume_command(folder)}"


# More than eight arguments: what a person types. An editor shows each by its name, which one of a noun would hide.
def fit(
    task: str,
    *,
    model: str | os.PathLike[str] | nn.Module,
    train: GivenRows,
    validation: GivenRows | None = None,
    test: GivenRows | None = None,
    strategy: Strategy | type[Strategy] | str | Mapping[str, object] | None = None,
    data: Mapping[str, object] | None = None,
    processor: Processor | None = None,
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    on_evaluate: OnEvaluate | None = None,
    metrics: Mapping[str, OwnMetric] | Sequence[OwnMetric] = (),
    transform: Transform | None = None,
    head: nn.Module | None = None,
    **settings: Any,
) -> Predictor:
    """Return the model that a strategy makes of a pretrained one and your rows, ready to predict.

    Rows are lists of tuples or dicts, pandas frames, `datasets.Dataset`s or paths: (image, label) with images as
    paths, bytes, PIL images or arrays; (text, label) or ((text, text), label); for questions, dicts with SQuAD's
    columns. `train` may also be a `DatasetDict`, a dict of rows by split, or the path of a folder that holds splits.
    `model` is a Hub id, a folder, `bundled/<name>`, or an object: a model of transformers with its image processor or
    tokenizer as `processor`, one of timm or open_clip, or another network of torch, whose last linear layer becomes the
    head, with a `processor` that makes pixels (3, H, W) of an RGB image. Without `validation` a part of the training
    rows is held out; `test` rows, if given, are scored. What was measured is in `.metrics`, and epoch by epoch in
    `.history`; `on_epoch`, `on_evaluate`, `metrics`, `transform` and `head` are those of `ht.run`. `data` holds other
    settings of a recipe's `data:` section, further keywords those of its `train:` section.

    >>> rows = [("loved it", "pos"), ("a bore", "neg"), …]
    >>> model = ht.fit("text-classification", model="bundled/minilm-l6", train=rows, strategy=ht.LinearProbe())
    >>> model.predict(["what a film"])
    [Prediction(label='pos', score=0.93, scores={'neg': 0.07, 'pos': 0.93})]
    >>> model.save("reviews")

    Raises:
        HftransferError: settings, rows or the model are not as they must be.
    """
    from hftransfer.jobs.cards import write_own_card
    from hftransfer.jobs.training import train_folds, train_model
    from hftransfer.predictors.predictor import Predictor

    rows = _rows_of(train, validation, test)
    # Rows in hand are wanted for training: none are held out for a test unless some were given for one.
    untested = {} if isinstance(rows, Mapping) and "test" in rows else {"test_fraction": 0}
    of_data = {"source": "memory", **untested, **(data or {})}
    given, own = _given(model, processor), _own(on_evaluate, metrics, transform, head)
    session = replace(Session.begin(progress, rows), on_epoch=on_epoch, own=own)
    name = _name_of(model, given)
    recipe = _recipe_of_one_run(
        {"task": task, "model": name, "data": of_data, "strategy": _plain_strategy(strategy), "train": settings}
    )
    checkpoint = early_look(recipe, rows, fetches_config=True, given=given, own=own)
    train_all = train_model if recipe.data.folds is None else train_folds
    learned = train_all(recipe, session, checkpoint)
    measured = learned.metrics(session.clock.all_seconds())
    assert learned.adapter is not None
    return Predictor(
        learned.adapter,
        facts=learned.model_facts,
        metrics=measured,
        history=learned.history.table,
        write_card=lambda draft: write_own_card(draft, learned, measured),
    )


def _given(model: object, processor: Processor | None) -> Checkpoint | None:
    """Return the checkpoint of a model that is an object; None where it is named.

    Raises:
        ModelError: it is no model, or its processor is missing, or one stands beside a name.
    """
    if model is None or isinstance(model, str | os.PathLike):
        if processor is not None:
            remedy = "A model given by name brings its own."
            raise ModelError(
                must_be("processor", "left out when the model is given by name", type(processor).__name__, remedy)
            )
        return None
    from hftransfer.adapters.given import given_checkpoint

    return given_checkpoint(model, processor)


def _own(
    on_evaluate: OnEvaluate | None,
    metrics: Mapping[str, OwnMetric] | Sequence[OwnMetric],
    transform: Transform | None,
    head: nn.Module | None,
) -> Own | None:
    """Return what a person adds to a training; None where that is nothing."""
    if on_evaluate is None and not metrics and transform is None and head is None:
        return None
    from hftransfer.training.own import Own

    return Own.of(on_evaluate, metrics, transform, head)


def _name_of(model: object, given: Checkpoint | None) -> str | None:
    """Return the name of a model as a recipe has it; None where none was given."""
    if given is not None:
        return given.name
    return os.fspath(model) if isinstance(model, str | os.PathLike) else None


def _recipe_of_one_run(document: Mapping[str, object]) -> Recipe:
    """Return the recipe of settings from Python.

    Raises:
        RecipeError: they are not as they must be, or those of a curve, which is many runs.
    """
    recipe = load_recipe(document).recipe
    if isinstance(recipe.data.shots, list):
        got = str(recipe.data.shots)
        raise RecipeError(
            must_be("data.shots", "one number for ht.fit", got, "For a learning curve use ht.run(recipe).")
        )
    return recipe


def _plain_strategy(strategy: Strategy | type[Strategy] | str | Mapping[str, object] | None) -> object:
    """Return a strategy as a recipe has it; the class of one stands for its usual settings."""
    if isinstance(strategy, type) and issubclass(strategy, BaseModel):
        strategy = strategy()
    return strategy.model_dump() if isinstance(strategy, BaseModel) else strategy or "linear-probe"


def _rows_of(train: object, validation: object, test: object) -> str | JsonObject:
    """Return the path of all data where one alone is given, else the rows of each split."""
    if isinstance(train, str | os.PathLike) and validation is None and test is None:
        return cast(str, os.fspath(train))
    return _rows_by_split(train, validation, test)


def _rows_by_split(train: object, validation: object, test: object) -> JsonObject:
    """Return the rows of each split; `train` may itself be a mapping of split names to rows, such as a `DatasetDict`.

    Raises:
        DataError: a split that was given has no rows.
    """
    given = {"validation": validation, "test": test}
    rows = {**(train if isinstance(train, Mapping) else {"train": train})}
    rows |= {name: part for name, part in given.items() if part is not None}
    empty = [name for name, part in rows.items() if hasattr(part, "__len__") and len(part) == 0]
    if empty:
        raise DataError(*(must_be(f"the {name} rows", "at least one row", "none") for name in empty))
    return rows


def check(
    recipe: str | Path | Mapping[str, object],
    overrides: Mapping[str, object] | Sequence[str] = (),
    *,
    data: GivenRows | None = None,
    progress: Progress | None = None,
) -> Splits:
    """Return the splits a run of the recipe would see, after all that can be checked without training: the recipe, the
    model's files where they are local, and every image, decoded in full.

    Raises:
        HftransferError: something is not as it must be; of unreadable images the first ten are named.
    """
    return check_loaded(load_recipe(recipe, with_memory(overrides, data)), data, progress or Progress())


def check_loaded(loaded: LoadedRecipe, data: object, progress: Progress) -> Splits:
    """Return the same of a recipe that is loaded.

    Raises:
        HftransferError: something is not as it must be.
    """
    checkpoint = early_look(loaded.recipe, data)
    load = load_splits if loaded.recipe.data.folds is None else load_folds
    found = load_rows(loaded.recipe, data, progress)
    is_here = not any(map(are_streamed, found.values()))
    splits = load(loaded.recipe, found, progress, decode=is_here)
    if not is_here:
        progress.line("images that stay on the Hub are not decoded here: a run tells of those that can't be")
    for number in loaded.recipe.data.numbers_of_shots:
        require_shots(splits, number)
    if isinstance(loaded.recipe.data.shots, int):
        splits = few_shots(splits, loaded.recipe.data.shots, loaded.recipe.train.seed)
    if splits.class_names and (loaded.recipe.strategy.from_zero_shot or loaded.recipe.chosen_task.learns == "nothing"):
        words_for(splits.class_names, loaded.recipe.class_names)
    if checkpoint is not None:
        proofs = loaded.recipe.chosen_task.proofs(splits, loaded.recipe.data, checkpoint)
        if proofs is not None:
            for line in proofs.lines:
                progress.line(f"  {line}")
            progress.parts("  one example, with what is learned marked:\n", proofs.example)
    return splits


def require_sound(
    recipe: str | Path | Mapping[str, object],
    overrides: Mapping[str, object] | Sequence[str] = (),
    *,
    resume: bool = False,
) -> None:
    """Return if all is as it must be that shows without reading data or a model; with `resume` the recipe may be the
    folder of an unfinished run.

    Raises:
        HftransferError: with all that is not.
    """
    unfinished = _unfinished(recipe, None) if resume else None
    loaded = load_recipe(recipe, overrides) if unfinished is None else _as_asked(unfinished, overrides)
    early_look(loaded.recipe, None)


def not_looked_at(recipe: Recipe) -> list[str]:
    """Return what `check` can't tell without fetching or loading a model, for people."""
    notes, model = [], recipe.model
    for name in [str(model.image), str(model.text)] if model.is_pair else [model.name]:
        if name.startswith("keras:"):
            continue  # its name was found in Keras' list; its weights come from Keras' own cache
        if not name.startswith("bundled/") and find_checkpoint(name, model.revision, fetch=False) is None:
            notes.append(
                f"whether the model '{name}' exists: it is not a local folder, and would be fetched from the Hub"
            )
    named = [key for key in ("unfreeze", "targets") if getattr(recipe.strategy, key, None) not in (None, "all", "auto")]
    if recipe.strategy.head_init == "solved" and not recipe.strategy.head_alone:
        if recipe.chosen_task.has_maps:
            unfit = "whether the model gets a new decoder, which strategy.head_init: solved can't begin with"
        else:
            unfit = "whether the model's last layer is linear with a bias, as strategy.head_init: solved needs it"
        notes.append(unfit)
    if named:
        notes.append(f"whether the model has what strategy.{named[0]} asks for: that is only known once it is loaded")
    return notes


def _output_folder(loaded: LoadedRecipe, out: str | Path | None, *, overwrite: bool, resume: bool) -> RunFolder:
    if overwrite and resume:
        raise RecipeError(must_be("--resume", "given without --overwrite", "both"))
    if out is not None:
        return RunFolder.create(Path(out), overwrite=overwrite, resume=resume)
    if resume:
        return RunFolder.newest_interrupted(Path(loaded.recipe.output.folder), loaded.name)
    return RunFolder.create_dated(Path(loaded.recipe.output.folder), loaded.name)


def as_json(result: Result) -> str:
    """Return the metrics and the folder of a run as one JSON object."""
    return json.dumps({"folder": str(result.folder), **result.metrics}, indent=2, ensure_ascii=False)
