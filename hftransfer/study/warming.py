"""What is set up once, before the first run of a comparison is timed: else the first strategy pays for all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from hftransfer.base.plain import JsonObject
from hftransfer.base.progress import Progress
from hftransfer.jobs.session import Session
from hftransfer.recipe import load_recipe
from hftransfer.study.cells import Cell
from hftransfer.tasks import head_task

_ROWS = 40
_KEPT_SETTINGS = ("max_tokens", "stride_tokens")


def warm_up(cells: Sequence[Cell], progress: Progress) -> None:
    """Train each strategy of each model for one epoch on a few made-up examples, and keep nothing of it.

    A strategy that can't is passed over: its own runs tell why.
    """
    from hftransfer.jobs.training import train_model

    # Of equal keys the last one stays: reversed, that is the first.
    first = {(cell.model, cell.strategy): cell for cell in reversed(cells)}
    with progress.stage("warming up", len(first)) as advance:
        for cell in reversed(first.values()):
            with suppress(Exception):
                recipe = load_recipe(_document(cell)).recipe
                rows = head_task(recipe.task).made_up(_ROWS)
                train_model(recipe, Session.begin(Progress(None), rows, "warming-up"), None)
            advance(1)


def _document(cell: Cell) -> JsonObject:
    settings = {name: value for name, value in cell.document["data"].items() if name in _KEPT_SETTINGS}
    # What is computed of made-up examples is worth no place in the cache.
    once = {"epochs": 1, "cache": "off", "trackers": [], "checkpoint_every_minutes": None}
    return {
        **cell.document,
        "data": {**settings, "source": "memory", "test_fraction": 0, "validation_fraction": 0.2},
        "train": {**cell.document["train"], **once},
    }
