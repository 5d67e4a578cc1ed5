"""What is set up once, before the first run of a comparison is timed: else the first strategy pays for all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hftransfer.comparison.cells import Cell
from hftransfer.jobs.common import Clock
from hftransfer.jobs.early import ROWS_OF
from hftransfer.progress import Progress
from hftransfer.recipe import load_recipe
from hftransfer.run_folder import LOGS

_ROWS = 40
_KEPT_SETTINGS = ("max_tokens", "stride_tokens")


def warm_up(cells: Sequence[Cell], progress: Progress) -> None:
    """Train each strategy of each model for one epoch on a few made-up examples, and keep nothing of it.

    A strategy that can't is passed over: its own runs tell why.
    """
    from hftransfer.jobs.training import train_model

    first = {(cell.model, cell.strategy): cell for cell in reversed(cells)}
    with progress.stage("warming up", len(first)) as advance:
        for cell in reversed(first.values()):
            with suppress(Exception):
                recipe = load_recipe(_document(cell)).recipe
                train_model(
                    recipe, None, _rows(ROWS_OF[recipe.task]), Clock(), Progress(None), "warming-up", Path(LOGS)
                )
            advance(1)


def _document(cell: Cell) -> dict[str, Any]:
    settings = {name: value for name, value in cell.document["data"].items() if name in _KEPT_SETTINGS}
    once = {"epochs": 1, "cache": "off", "trackers": [], "checkpoint_every_minutes": None}
    return {
        **cell.document,
        "data": {**settings, "source": "memory", "test_fraction": 0, "validation_fraction": 0.2},
        "train": {**cell.document["train"], **once},
    }


def _rows(kind: str) -> list[Any]:
    """Examples of two classes: noise, or sentences that differ in a number."""
    if kind == "images":
        return [(_noise(number), str(number % 2)) for number in range(_ROWS)]
    if kind == "texts":
        return [(f"sentence number {number} of as people write them", str(number % 2)) for number in range(_ROWS)]
    return [_question(number) for number in range(_ROWS)]


def _noise(number: int) -> Any:
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (96, 96, 3), dtype=np.uint8))


def _question(number: int) -> dict[str, Any]:
    context = f"In scene {number} the captain was Ann Lee."
    answers = {"text": ["Ann Lee"], "answer_start": [context.index("Ann Lee")]}
    return {"id": str(number), "title": f"{number}", "question": "Who was it?", "context": context, "answers": answers}
