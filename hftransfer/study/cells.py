"""What a comparison is made of: one recipe for every strategy, model, number of shots and seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hftransfer.base.errors import HftransferError, RecipeError, must_be
from hftransfer.base.plain import JsonObject
from hftransfer.jobs.early import early_look
from hftransfer.recipe import CompareSettings, LoadedRecipe, load_recipe, plain_settings
from hftransfer.strategies import strategy_of
from hftransfer.tasks import TASKS

# What a strategy has in common with the recipe's own where its other settings hold for it too.
_SAME_METHOD = {"kind": "linear-probe", "objective": "cross-entropy"}
_OF_ANY_KIND = ("head_init", "pooling")
_OF_THE_WHOLE = ("compare", "resolved", "hub", "output")


@dataclass(frozen=True)
class Cell:
    """One run of a comparison."""

    model: str
    strategy: str
    """In short, as in `fine-tune:2`."""
    shots: int | str
    seed: int
    document: JsonObject
    """Its recipe as plain values."""

    @property
    def name(self) -> str:
        """The name of its folder."""
        shots = "" if self.shots == "all" else f"-{self.shots}-shots"
        parts = (re.sub(r"[^\w.-]+", "-", part).strip("-.") for part in (self.strategy, self.model.rsplit("/", 1)[-1]))
        return f"{'-'.join(parts)}{shots}-seed{self.seed}"

    @property
    def cost(self) -> tuple[int, int]:
        """Cheap ones come first: probes, then few stages, then matrices, which keep nothing computed, then all."""
        kind, _, number = self.strategy.partition(":")
        some_stages = kind == "fine-tune" and number.isdigit()
        order = 1 if some_stages else {"linear-probe": 0, "lora": 2, "fine-tune": 3, "contrastive": 4}[kind]
        return order, int(number) if number.isdigit() else 0


def cells_of(loaded: LoadedRecipe, chosen: CompareSettings) -> list[Cell]:
    """Return every run of a comparison, seed by seed and cheap ones first.

    Raises:
        RecipeError: with all faults of all of them.
    """
    recipe = loaded.recipe
    if recipe.chosen_task.learns != "head":
        *names, last = [name for name, task in TASKS.items() if task.learns == "head"]
        allowed = f"{', '.join(names)} or {last}, to be compared"
        raise RecipeError(must_be("task", allowed, recipe.task))
    base = {key: value for key, value in plain_settings(recipe).items() if key not in _OF_THE_WHOLE}
    cells: list[Cell] = []
    faults: dict[str, None] = {}
    for seed in chosen.seeds:
        of_seed = [
            Cell(model, strategy, shots, seed, _document(base, recipe.model.name, model, strategy, shots, seed))
            for shots in chosen.shots or recipe.data.numbers_of_shots or ("all",)
            for model in chosen.models or (recipe.model.name,)
            for strategy in chosen.strategies
        ]
        cells += sorted(of_seed, key=lambda cell: cell.cost)
    for cell in cells:
        try:
            load_recipe(cell.document)
        except HftransferError as error:
            faults |= dict.fromkeys(error.faults)
    # Cells with one name would write one folder.
    names = [cell.name for cell in cells]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        faults[must_be("the models", "different in the last part of their names", f"'{twice[0]}' twice")] = None
    if faults:
        raise RecipeError(*faults)
    return cells


def require_sound(cells: Sequence[Cell], data: object) -> None:
    """Return if no cell is seen to fail before data or weights are loaded.

    Raises:
        RecipeError: with all faults of all cells.
    """
    faults: dict[str, None] = {}
    # Seeds change nothing that can be seen before data are loaded.
    for cell in {(cell.model, cell.strategy, cell.shots): cell for cell in cells}.values():
        try:
            early_look(load_recipe(cell.document).recipe, data, fetches_config=True)
        except HftransferError as error:
            faults |= dict.fromkeys(error.faults)
    if faults:
        raise RecipeError(*faults)


def finished_cells(cells: Sequence[Cell], folder: Path) -> list[Cell]:
    """Return the cells whose finished runs lie in a folder.

    Raises:
        RecipeError: some are runs of other recipes; all are named.
    """
    done = [cell for cell in cells if (folder / cell.name / "metrics.json").is_file()]
    faults = [
        must_be(
            f"the finished run {folder / cell.name}",
            "one of this recipe",
            f"one with other {differing}",
            "Choose another --out (in Python out=…).",
        )
        for cell in done
        if (differing := _differing(cell, folder / cell.name))
    ]
    if faults:
        raise RecipeError(*faults)
    return done


def _differing(cell: Cell, folder: Path) -> str:
    """Return the sections of a cell's recipe that are not those of the run in a folder."""
    found = plain_settings(load_recipe(folder / "recipe.yaml").recipe)
    own = plain_settings(load_recipe(cell.document).recipe)
    return ", ".join(sorted(key for key in own if key not in _OF_THE_WHOLE and own[key] != found.get(key)))


def _document(base: JsonObject, own_model: str, model: str, strategy: str, shots: int | str, seed: int) -> JsonObject:
    chosen = strategy_of(strategy)
    own = base["strategy"]
    # Learning rates and the like are kept for the recipe's own method alone: they suit no other.
    alike = all(own.get(key, usual) == chosen.get(key, usual) for key, usual in _SAME_METHOD.items())
    kept = own if alike else {name: own[name] for name in _OF_ANY_KIND if name in own}
    data = {name: value for name, value in base["data"].items() if name not in ("shots", "shot_draws")}
    return {
        **base,
        "model": base["model"] if model == own_model else {"name": model},
        "strategy": {**kept, **chosen},
        "train": {**base["train"], "seed": seed},
        "data": data if shots == "all" else {**data, "shots": shots},
    }
