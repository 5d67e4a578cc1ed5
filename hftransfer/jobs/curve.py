"""A k-shot curve: the same transfer from 1, 4, 16, … examples of each class, each drawn several times.

The draws differ in the training examples, in the few that the best model is chosen by, and in the seed of training; the
test split is the same and whole throughout (the protocol of CoOp; Zhou et al., arXiv 2109.01134, section 4.1).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from hftransfer.base.errors import WriteError, must_be
from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.base.run_folder import require_same_identity
from hftransfer.metrics.intervals import student_interval
from hftransfer.metrics.metric import metric_words
from hftransfer.recipe import Recipe

_FILE = "shots.json"


def cells_of(recipe: Recipe) -> list[tuple[int, int, Recipe]]:
    """Return every number of shots with every draw, and the recipe of each. The last is the first draw of the most
    shots: its model is the one that is kept."""
    numbers = sorted(set(recipe.data.numbers_of_shots))
    cells = [(number, draw) for number in numbers for draw in range(recipe.data.shot_draws)]
    kept = (numbers[-1], 0)
    # Last of all: its model is still in memory when the curve is whole.
    cells.remove(kept)
    return [(*cell, _recipe_of(recipe, *cell)) for cell in [*cells, kept]]


def _recipe_of(recipe: Recipe, shots: int, draw: int) -> Recipe:
    data = recipe.data.model_copy(update={"shots": shots})
    train = recipe.train.model_copy(update={"seed": (recipe.train.seed + draw) % 2**32})
    return recipe.model_copy(update={"data": data, "train": train})


class FinishedCells:
    """The rows of a curve that were measured before an interruption, in the folder of the checkpoints."""

    def __init__(self, folder: Path, identity: Mapping[str, object], *, keeps: bool) -> None:
        self.file, self.identity, self.keeps = folder / _FILE, dict(identity), keeps
        self.rows: list[dict[str, float]] = []

    def read(self) -> None:
        """Read the rows of the same run, if it was interrupted.

        Raises:
            RecipeError: the interrupted run was another.
        """
        try:
            found = json.loads(self.file.read_text(encoding="utf-8"))
            before, rows = found["identity"], list(found["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        require_same_identity(before, json.loads(json.dumps(self.identity)))
        self.rows = rows

    def add(self, row: dict[str, float]) -> None:
        """Add a row, on the disk too.

        Raises:
            WriteError: it can't be written.
        """
        self.rows.append(row)
        if not self.keeps:
            return
        draft = self.file.with_suffix(".tmp")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({"identity": self.identity, "rows": self.rows}), encoding="utf-8")
            draft.replace(self.file)
        except OSError as error:
            raise WriteError(must_be(f"the file {self.file}", "writable", str(error))) from error

    @staticmethod
    def remove_from(folder: Path) -> None:
        """Delete the rows in a folder of checkpoints: the run is finished."""
        for name in (_FILE, Path(_FILE).with_suffix(".tmp").name):
            (folder / name).unlink(missing_ok=True)

    def has(self, shots: int, draw: int) -> bool:
        """Return whether a cell was measured."""
        return any(row["shots"] == shots and row["draw"] == draw for row in self.rows)


Trained = TypeVar("Trained")


def learn_curve(
    recipe: Recipe,
    finished: FinishedCells,
    progress: Progress,
    train: Callable[[Recipe, Progress], Trained],
    measured: Callable[[Trained], Mapping[str, float]],
) -> tuple[Trained, list[dict[str, float]]]:
    """Return what `train` made of the last cell, and a row of every cell: shots, draw, and what was `measured`."""
    cells = cells_of(recipe)
    for index, (shots, draw, own) in enumerate(cells):
        is_last = index == len(cells) - 1
        if finished.has(shots, draw) and not is_last:
            continue
        trained = train(own, progress.in_background())
        row = {"shots": shots, "draw": draw, "seed": own.train.seed, **measured(trained)}
        told = ", ".join(f"{metric_words(name)} {row[name]:.4f}" for name in list(row)[3:4])
        progress.line(f"{shots} {'shot' if shots == 1 else 'shots'}, draw {draw + 1}: {told}")
        if is_last:
            return trained, sorted([*_others(finished.rows, shots, draw), row], key=lambda r: (r["shots"], r["draw"]))
        finished.add(row)
        del trained
    raise AssertionError("a curve has at least one cell")


def _others(rows: Sequence[dict[str, float]], shots: int, draw: int) -> Iterator[dict[str, float]]:
    return (row for row in rows if (row["shots"], row["draw"]) != (shots, draw))


def summarised(rows: Sequence[Mapping[str, float]], metric: str) -> list[JsonObject]:
    """By number of shots: the mean of a metric over the draws, and its 95 % interval (Student's t; None for one)."""
    found = []
    for shots in sorted({int(row["shots"]) for row in rows}):
        values = np.array([row[metric] for row in rows if row["shots"] == shots])
        told = {metric: float(values.mean()), f"{metric}_interval": student_interval(values)}
        found.append({"shots": shots, "draws": len(values), **told})
    return found
