"""Settings of model folders changed at random, from a seed: whatever is wrong with them is told in words."""

from __future__ import annotations

import json
import math
import random
import shutil
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import hftransfer as ht
from hftransfer.base.errors import HftransferError
from tests.builders import Finished, TinyModels, picture

pytestmark = pytest.mark.slow

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 4096, 10**5, 10**7, 1e9, -0.5, math.nan, math.inf),
    *("", "x", "../../x", "[PAD]", [], [0], [1, 1, 1], [[[]]], {}, {"a": 1}),
)
_NOT_CHANGED = ("tokenizer.json", "classes.csv")
_ROUNDS = 60


def _ways(said: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in JSON."""
    entries = said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ()
    for key, value in entries:
        yield (*way, key)
        yield from _ways(value, (*way, key))


def _changed(said: Any, dice: random.Random) -> Any:
    """The same JSON with one value gone, or another."""
    said = json.loads(json.dumps(said))
    *way, last = dice.choice(list(_ways(said)))
    place = said
    for key in way:
        place = place[key]
    if dice.random() < 0.15:
        del place[last]
    else:
        place[last] = dice.choice(_VALUES)
    return said


def _require_told(folder: Path, run: Path, seed: int) -> None:
    """Each change of a file in a model folder, or in the run around it, gives numbers or an error in words."""
    dice = random.Random(seed)
    files = [file for file in sorted(run.rglob("*.json")) if file.name not in _NOT_CHANGED]
    for number in range(_ROUNDS):
        file = dice.choice(files)
        before = file.read_text()
        file.write_text(json.dumps(_changed(json.loads(before), dice)))
        with warnings.catch_warnings(), suppress(HftransferError):
            warnings.simplefilter("ignore")
            model = ht.load(folder)
            scores = model.predict("a good film" if model.takes == "texts" else picture()).scores
            assert all(math.isfinite(score) for score in scores.values()), (number, file.name)
        file.write_text(before)


@pytest.mark.parametrize("family", ["vit", "timm"])
def test_a_run_of_images_with_changed_settings(finished: Finished, tmp_path: Path, family: str) -> None:
    run = shutil.copytree(finished(family).folder, tmp_path / "run")
    _require_told(run, run, seed=1)


def test_a_model_of_texts_with_changed_settings(tiny: TinyModels, tmp_path: Path) -> None:
    rows = [("a good film", "pos"), ("a bad film", "neg")] * 4
    folder = ht.fit("text-classification", model=str(tiny("bert")), train=rows).save(tmp_path / "model")
    _require_told(folder, folder, seed=2)


def test_matrices_with_changed_settings(tiny: TinyModels, tmp_path: Path) -> None:
    shutil.copytree(tiny("bert"), tmp_path / "bert")
    rows = [("a good film", "pos"), ("a bad film", "neg")] * 4
    model = ht.fit("text-classification", model=str(tmp_path / "bert"), train=rows, strategy=ht.LoRA(rank=2), epochs=1)
    folder = model.save(tmp_path / "all" / "lora")
    _require_told(folder, tmp_path / "all", seed=3)
