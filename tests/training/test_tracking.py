"""What is measured is told to trackers, and compiled stages compute the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hftransfer.base.errors import RecipeError
from hftransfer.base.progress import Progress
from hftransfer.jobs.run import run
from hftransfer.recipe import load_recipe
from tests.builders import TinyModels, faults_of, missing_words, recipe_for

SILENT = Progress(None)


@pytest.fixture
def recipe(tiny: TinyModels, folder_data: Path) -> dict[str, Any]:
    recipe = recipe_for(tiny("vit"), folder_data, epochs=2, batch_size=12, optimizer="sgd")
    return {**recipe, "strategy": "fine-tune"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackers_are_told_what_is_measured(recipe: dict[str, Any], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe["train"]["trackers"] = ["tensorboard"]
    for _ in range(2):  # the second run replaces the first, its logs too
        result = run(recipe, out=tmp_path / "run", overwrite=True, progress=SILENT)
    (project,) = (result.folder / "logs").iterdir()
    found = EventAccumulator(str(project)).Reload()
    assert [event.step for event in found.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in found.Scalars("validation/accuracy")] == [3, 6, 6]
    for split in ("validation", "test"):
        told = found.Scalars(f"{split}/accuracy")[-1].value
        assert told == pytest.approx(result.metrics[split]["accuracy"])


def test_one_tracker_needs_no_list_and_a_misspelt_one_is_told(recipe: dict[str, Any]) -> None:
    assert load_recipe(recipe, ["train.trackers=tensorboard"]).recipe.train.trackers == ("tensorboard",)
    with pytest.raises(RecipeError, match="Did you mean 'tensorboard'"):
        load_recipe(recipe, ["train.trackers=[tensorbord]"])


def test_a_tracker_that_is_not_installed_is_told_before_the_work(recipe: dict[str, Any]) -> None:
    recipe["train"]["trackers"] = ["clearml"]
    with pytest.raises(RecipeError) as error:
        run(recipe, progress=SILENT)
    assert not missing_words(faults_of(error), ["train.trackers", "'clearml'", "pip install clearml"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for processors with g++")
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_compiled_stages_compute_the_same(recipe: dict[str, Any], tmp_path: Path) -> None:
    torch.compiler.reset()
    plain = run(recipe, out=tmp_path / "plain", progress=SILENT)
    recipe["train"]["compile"] = True
    compiled = run(recipe, out=tmp_path / "compiled", progress=SILENT)
    mine, theirs = (load_file(r.folder / "model" / "model.safetensors") for r in (plain, compiled))
    for name, value in mine.items():
        assert torch.allclose(value, theirs[name], atol=1e-5), name
