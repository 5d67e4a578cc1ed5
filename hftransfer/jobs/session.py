"""What every job has at hand: a clock, progress, the processes that share the work, and where checkpoints go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hftransfer.adapters.checkpoint import Checkpoint, find_checkpoint
from hftransfer.base.collection import as_usual
from hftransfer.base.errors import RecipeError, must_be, nearest, some
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import LOGS
from hftransfer.data.folds import in_folds, splits_of_fold, together, undivided
from hftransfer.data.roles import Found
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.splits import Splits
from hftransfer.demo.drawings import DRAWINGS
from hftransfer.recipe import Recipe

if TYPE_CHECKING:
    from hftransfer.training.checkpoint import Checkpoints, Saved
    from hftransfer.training.loop import OnEpoch
    from hftransfer.training.own import Own
    from hftransfer.training.processes import Processes


@dataclass
class Clock:
    """Seconds by stage."""

    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    began: datetime = field(default_factory=lambda: datetime.now().astimezone())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time to this stage meanwhile."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def at_least(self, name: str, seconds: float) -> None:
        """Let a stage, and the total with it, have taken so long at least."""
        more = max(0.0, seconds - self.seconds.get(name, 0.0))
        self.seconds[name] = self.seconds.get(name, 0.0) + more
        self.started -= more

    def all_seconds(self) -> dict[str, float]:
        """Return the stages in their order, and the total since the start."""
        total = time.perf_counter() - self.started
        return {name: round(value, 3) for name, value in (self.seconds | {"total": total}).items()}


@dataclass(frozen=True)
class Session:
    """One job from its start to its end."""

    processes: Processes
    progress: Progress
    clock: Clock = field(default_factory=Clock)
    name: str = "hftransfer"
    """What experiment trackers call it."""
    data: object = None
    """The rows as objects of Python, where the recipe names no source."""
    logs: Path = Path(LOGS)
    checkpoints: Checkpoints | None = None
    saved: Saved | None = None
    """The checkpoint to go on from."""
    on_epoch: OnEpoch | None = None
    own: Own | None = None
    """What a person adds to the training."""
    scratch: Path | None = None
    """The folder for activations that are not kept after the run, where several trainings share them."""

    @classmethod
    def begin(cls, progress: Progress | None = None, data: object = None, name: str = "hftransfer") -> Session:
        """Return a session of this process, and of others where several share the work: the first shows progress."""
        from hftransfer.training.processes import processes

        together = processes()
        return cls(together, (progress or Progress()) if together.is_first else Progress(None), data=data, name=name)

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Count the time to this stage meanwhile."""
        return self.clock.stage(name)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Count the time of importing and loading a model meanwhile; what is there then stays to the end."""
        with self.stage("load"):
            yield
        as_usual()

    def quiet(self, progress: Progress) -> Session:
        """Return the same session with other progress, without checkpoints of its own."""
        return replace(self, progress=progress, checkpoints=None, saved=None)

    # --- what each process looks up ----------------------------------------------------------------------------------

    def checkpoint(self, name: str, revision: str | None = None, known: Checkpoint | None = None) -> Checkpoint:
        """Return the checkpoint of a model, fetched by one process at a time where it is not here."""
        return known or self.processes.in_turn(lambda: found_checkpoint(name, revision))

    def rows(self, recipe: Recipe) -> Found:
        """Return the rows of a recipe's data, or of the session's, as they are found."""
        return load_rows(recipe, self.data, self.progress)

    def splits(self, recipe: Recipe, found: Found | None = None, *, decode: bool = False) -> Splits:
        """Return the splits that a run of the recipe makes of its rows; every image is decoded if `decode`."""

        return self.processes.in_turn(
            lambda: load_splits(recipe, self.rows(recipe) if found is None else found, self.progress, decode=decode)
        )

    def folded(self, recipe: Recipe) -> Splits:
        """Return all examples of the recipe's data with the fold of each."""
        return self.processes.in_turn(lambda: load_folds(recipe, self.rows(recipe), self.progress))

    def importing_ahead(self, recipe: Recipe) -> AbstractContextManager[None]:
        """Import what loading a model needs in a thread meanwhile, while pictures are drawn in other processes."""
        return _importing_ahead() if self.data is None and recipe.data.source == DRAWINGS else nullcontext()


def load_rows(recipe: Recipe, data: object, progress: Progress) -> Found:
    """Return the rows of a recipe's data, or of objects of Python, as they are found."""
    task = recipe.chosen_task
    if data is not None:
        return rows_from_python(data, recipe.data, task.reader)
    return find_rows(recipe.data, progress, task.reader, to_test=task.learns == "nothing")


def load_splits(recipe: Recipe, found: Found, progress: Progress, *, decode: bool = False) -> Splits:
    """Return the splits that a run of the recipe makes of rows; every image is decoded if `decode`.

    Raises:
        RecipeError: the settings do not go with what the targets turn out to be.
    """
    task = recipe.chosen_task.for_targets(recipe.chosen_task.targets_of(found))
    if task is not recipe.chosen_task and (faults := task.faults(recipe)):
        raise RecipeError(*faults)
    splits = recipe.chosen_task.split(found, recipe.data, recipe.train.seed, progress, decode=decode)
    _require_classes(recipe, splits)
    return splits


def _require_classes(recipe: Recipe, splits: Splits) -> None:
    """Return if the classes that are weighed are those of the data.

    Raises:
        RecipeError: some are not.
    """
    weights = recipe.train.class_weights
    unknown = [name for name in weights if name not in splits.class_names] if isinstance(weights, dict) else []
    allowed = f"weights of the classes {some(splits.class_names, 10)}"
    faults = [must_be("train.class_weights", allowed, f"'{n}'", nearest(n, splits.class_names)) for n in unknown]
    if faults:
        raise RecipeError(*faults)


def load_folds(recipe: Recipe, found: Found, progress: Progress, *, decode: bool = False) -> Splits:
    """Return all examples with the fold of each, after the splits of every fold were made once.

    Raises:
        HftransferError: folds can't be made, or the settings do not go with what the targets turn out to be.
    """
    kind, seed = recipe.chosen_task.targets_of(found), recipe.train.seed
    undivided_recipe = recipe.model_copy(update={"data": undivided(recipe.data)})
    whole = load_splits(undivided_recipe, together(found, recipe.data, kind), progress, decode=decode)
    whole = in_folds(whole, recipe.data, seed)
    for fold in range(recipe.data.folds or 0):
        splits_of_fold(whole, fold, recipe.data, seed)
    return whole


def found_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Return the checkpoint of a model, fetched if it is not here."""
    checkpoint = find_checkpoint(name, revision)
    assert checkpoint is not None
    return checkpoint


@contextmanager
def _importing_ahead() -> Iterator[None]:
    def work() -> None:
        import timm
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        import hftransfer.training.activations

        del timm, AutoImageProcessor, AutoModelForImageClassification, hftransfer

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join()
