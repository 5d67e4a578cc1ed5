"""Runs that were made: listed, shown, deleted. No weights are read, so that torch is not imported."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Literal

from hftransfer.base.errors import HftransferError, OutputError, must_be, some, user_path
from hftransfer.base.plain import JsonObject
from hftransfer.base.run_folder import RunFolder, asked_in
from hftransfer.base.runs import (
    COMPARISON,
    METRICS,
    at_newest,
    begun,
    is_finished,
    is_of_a_recipe,
    is_run,
    link_newest,
    moment,
    runs_in,
)
from hftransfer.recipe import Recipe, load_recipe
from hftransfer.report.headline import Headline, headline_of, task_of
from hftransfer.report.tables import columns_of, duration, results_table
from hftransfer.strategies import in_short, start_is_kept
from hftransfer.tasks import TASKS

_TITLE = re.compile(r"# (.+), as it was run: ")
State = Literal["finished", "unfinished", "damaged"]


@dataclass(frozen=True)
class RunSummary:
    """A run in a list of runs."""

    folder: Path
    begun: datetime
    state: State
    """Finished; interrupted, or going on now; or with metrics that are no longer readable."""
    size_bytes: int
    recipe: str = ""
    task: str = ""
    model: str = ""
    strategy: str = ""
    """In short, as in `fine-tune:2`."""
    keeps_start: bool = False
    """Whether no epoch was better than the model before training, which was kept."""
    metric: str = ""
    """The name of the score, the headline of its task."""
    score: float | None = None
    interval: tuple[float, float] | None = None
    """95 % over the examples."""
    split: str = ""
    """Which split the score is of: `test`, or `validation` where there was no test."""
    folds: int = 0
    """Of a cross-validation, how many there were: each example was tested once."""
    before: float | None = None
    """The score before training, where it was measured."""

    def plain(self) -> JsonObject:
        """Return it as JSON has it."""
        return {
            **self.__dict__,
            "folder": str(self.folder),
            "begun": self.begun.isoformat(sep=" "),
            "interval": list(self.interval) if self.interval else None,
        }

    @property
    def method(self) -> str:
        """The strategy, and whether it changed anything."""
        return f"{self.strategy}, start kept" if self.keeps_start else self.strategy

    @property
    def headline(self) -> str:
        """The score in words."""
        if self.score is None:
            return "" if self.state == "finished" else self.state
        return str(Headline(self.metric, self.score, self.interval, self.split, self.folds, self.before))


def list_runs(folder: str | Path = "runs") -> list[RunSummary]:
    """Return the runs in a folder, or in folders right in it, the newest first.

    Raises:
        OutputError: there is no such folder.
    """
    path = user_path(folder, "the folder of runs", OutputError)
    if not path.is_dir():
        remedy = "Runs are in the folder that output.folder names; choose another with --in."
        raise OutputError(must_be("the folder of runs", "a folder", f"'{folder}'", remedy))
    return [_summary(run) for run in runs_in(path)]


def runs_table(runs: Sequence[RunSummary]) -> str:
    """Return runs as a table, one a line."""
    lines = [["run", "begun", "recipe", "model", "strategy", "headline", "MB"]]
    for run in runs:
        when = moment(run.begun)
        size = f"{run.size_bytes / 1e6:,.1f}"
        lines.append([str(run.folder), when, run.recipe, run.model, run.method, run.headline, size])
    return columns_of(lines)


def find_run(reference: str | Path) -> Path:
    """Return the folder of a finished run, or the newest in a folder of runs.

    Raises:
        OutputError: there is none.
    """
    path = user_path(at_newest(user_path(reference, "the run", OutputError), with_model=False), "the run", OutputError)
    if not is_finished(path):
        got = "an unfinished run" if path.is_dir() and is_run(path) else f"'{reference}'"
        remedy = "`hftransfer runs` lists them all."
        raise OutputError(must_be("the run", "the folder of a finished run, or a folder of runs", got, remedy))
    return path


def page_of(reference: str | Path) -> Path:
    """Return the page of a comparison, of a finished run, or of the newest in a folder of runs.

    Raises:
        OutputError: there is none.
    """
    comparison = user_path(reference, "the run", OutputError) / COMPARISON
    if comparison.is_file():
        return comparison
    page = find_run(reference) / "report.html"
    if not page.is_file():
        remedy = "It was run with output.report: false."
        raise OutputError(must_be(f"the page of {page.parent}", "there", "none", remedy))
    return page


def metrics_of(run: Path) -> JsonObject:
    """Return the metrics of a finished run.

    Raises:
        OutputError: they can't be read.
    """
    file = run / METRICS
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("test"), dict) and found.get("task") in TASKS:
            return found
        got = "something else"
    except (OSError, ValueError) as error:
        got = str(error)
    raise OutputError(must_be(str(file), "the metrics of a run", got))


def recipe_of(run: Path) -> Recipe:
    """Return the recipe that a finished run was made by.

    Raises:
        RecipeError: it can't be read.
    """
    return load_recipe(run / "recipe.yaml").recipe


def show_run(run: Path) -> str:
    """Return what a finished run is, what it measured and where everything lies.

    Raises:
        OutputError: its metrics can't be read.
    """
    summary, metrics = _summary(run), metrics_of(run)
    facts = [
        ["recipe", summary.recipe],
        ["begun", moment(summary.begun)],
        *([["took", duration(total)]] if (total := metrics["seconds"].get("total")) else []),
        ["task", summary.task],
        ["model", metrics["model"]],
        ["strategy", summary.method],
        ["headline", summary.headline],
        ["size", f"{summary.size_bytes / 1e6:,.1f} MB"],
    ]
    return columns_of(facts) + "\n\n" + results_table(metrics, run)


def delete_run(run: str | Path) -> list[Path]:
    """Delete the files of one run, and its folder if no others are in it. Return what others put there, and stays.

    Raises:
        OutputError: there is no run, or it goes on now.
    """
    folder = require_run(run)
    kept = RunFolder(folder).delete(_forget_checkpoints)
    if is_of_a_recipe(folder):
        link_newest(folder.parent)
    return kept


def require_run(run: str | Path) -> Path:
    """Return the folder of one run, finished or not: a folder of runs is none.

    Raises:
        OutputError: it is something else.
    """
    path = user_path(run, "the run", OutputError)
    if path.is_symlink() and path.is_dir():
        target = path.resolve()
        if target.parent != path.parent.resolve():
            remedy = "Name the run itself."
            raise OutputError(must_be("the folder to delete", "the folder of one run", f"a link to {target}", remedy))
        path = path.parent / target.name
    if path.is_dir() and is_run(path):
        return path
    inside = [str(found) for found in runs_in(path)] if path.is_dir() else []
    got = f"a folder of runs ({some(inside, 3)})" if inside else f"'{run}'"
    remedy = "Name each run itself." if inside else "`hftransfer runs` lists them all."
    raise OutputError(must_be("the folder to delete", "the folder of one run", got, remedy))


def _forget_checkpoints(folder: Path) -> None:
    """Delete the checkpoints in a folder, and nothing else."""
    from hftransfer.jobs.curve import FinishedCells
    from hftransfer.training.checkpoint import Checkpoints

    FinishedCells.remove_from(folder)
    Checkpoints(folder).remove_all()


def size_of(folder: Path) -> int:
    """Return how many bytes the files in a folder have; links are not followed."""
    total = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it went meanwhile
                total += (Path(above) / name).lstat().st_size
    return total


def _summary(run: Path) -> RunSummary:
    """Return what is told of a run in a list; what can't be read stays empty."""
    when, size = _started(run), size_of(run)
    if not is_finished(run):
        asked = asked_in(run)
        return RunSummary(run, when, "unfinished", size, asked[0] if asked else "")
    try:
        metrics = metrics_of(run)
        task = task_of(metrics)
    except OutputError:
        return RunSummary(run, when, "damaged", size)
    strategy, title = str(metrics["strategy"]), ""
    with suppress(HftransferError, OSError):
        strategy = in_short(recipe_of(run).strategy) if task.learns == "head" else strategy
        found = _TITLE.match((run / "recipe.yaml").read_text(encoding="utf-8"))
        title = found[1] if found else ""
    headline = headline_of(metrics)
    return RunSummary(
        folder=run,
        begun=when,
        state="finished",
        size_bytes=size,
        recipe=title,
        task=metrics["task"],
        model=" + ".join(_short_name(name) for name in str(metrics["model"]).split(" + ")),
        strategy=strategy,
        keeps_start=start_is_kept(metrics),
        metric=headline.metric if headline else "",
        score=headline.score if headline else None,
        interval=headline.interval if headline else None,
        split=headline.split if headline else "",
        folds=headline.folds if headline else 0,
        before=headline.before if headline else None,
    )


def _started(run: Path) -> datetime:
    """Return when a run began, as it wrote that down; of one that did not, or not yet, as its folder tells."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads((run / "environment.json").read_text(encoding="utf-8"))["started"]
        when = datetime.fromisoformat(told)
        return when if when.tzinfo is not None else when.astimezone()
    return begun(run)[0].astimezone()


def _short_name(model: str) -> str:
    """Return the name of a model, of one in a folder the last part."""
    return PurePath(model).name if PurePath(model).is_absolute() else model
