"""Recipes and overrides as people write them, slips of the keyboard included: told in words, and short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.base.errors import DataError, HftransferError, RecipeError
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.jobs.early import early_look
from hftransfer.recipe import load_recipe
from tests.builders import TinyModels, faults_of, missing_words, picture, recipe_for, write_classes

MINIMAL: dict[str, Any] = {"task": "image-classification", "model": "m", "data": "d"}


def _told(*overrides: str, **changed: Any) -> str:
    with pytest.raises(HftransferError) as error:
        load_recipe({**MINIMAL, **changed}, list(overrides))
    return faults_of(error)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("1=2", "override 1 must be a key of a recipe; got the unknown key '1'"),
        ("data.1=2", "override data.1 must be a key of data; got the unknown key '1'"),
        ("str=2", "override str must be a key of a recipe; got the unknown key 'str'"),
        ("list[=2", "the unknown key 'list['"),
        ("data={0}", "got the unknown key '0'"),
        ("\ud800=1", "a key of Unicode text"),
        ("data.limit=" + "[" * 500, "data.limit must be a"),
        ("x" * 5000 + "=1", "the unknown key 'xxx"),
        ("no equals " + "x" * 5000, "an override must be key=value or ~key"),
        ("~" + "y" * 5000, "must be a key of the recipe; got none"),
        ("train.seed.deep=1", "override train.seed.deep must be inside a section, but seed is a single value"),
        ("train.batch_size=1000000000", "train.batch_size must be a number of at most 65536"),
        ("train.epochs=1000000000", "train.epochs must be a number of at most 10000"),
        ("strategy=finetune:2", "Did you mean 'fine-tune:2'?"),
        ("strategy={kind: lora, rank: 1000000000}", "strategy.rank must be a number of at most 4096"),
        ("train.seed=1000000000000", "train.seed must be a number below 4294967296"),
    ],
)
def test_an_override_that_can_not_be_taken_is_told_in_a_line(override: str, words: str) -> None:
    told = _told(override, train={"seed": 0})
    assert words in told
    assert len(told) < 1000


def test_dropping_a_key_of_a_section_whose_keys_are_no_texts_is_told() -> None:
    assert "~data.on_error must be a key of the recipe" in _told("data={0}", "~data.on_error")


def test_what_is_no_recipe_and_no_override_is_told() -> None:
    for wrong in (None, 5, ["task"]):
        with pytest.raises(RecipeError, match="the recipe must be a path, the name of a shipped recipe or a mapping"):
            load_recipe(wrong)  # type: ignore[arg-type]
    for odd in ("train.seed=1", None, 5):
        with pytest.raises(RecipeError, match="the overrides must be a mapping, or a list of key=value"):
            load_recipe(MINIMAL, odd)  # type: ignore[arg-type]
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RecipeError, match="too many nested levels"):
        load_recipe({**MINIMAL, "data": deep})
    with pytest.raises(RecipeError, match="too many nested levels"):
        load_recipe(MINIMAL, {"data.limit": deep})


@pytest.mark.parametrize("command", ["run", "check", "show", "audit", "compare"])
def test_a_name_that_no_file_can_have_is_told(command: str, tmp_path: Path) -> None:
    wrong = CliRunner().invoke(app, [command, "x" * 300])
    assert wrong.exit_code == 2, wrong.output
    assert missing_words(wrong.stderr, ("the recipe must be a path; got 'xxx", "File name too long")) == []
    assert len(wrong.stderr) < 500


@pytest.mark.parametrize("key", ["model", "data"])
def test_a_setting_that_no_file_can_be_called_is_told(key: str) -> None:
    loaded = load_recipe({**MINIMAL, key: f"/{'x' * 300}"})
    with pytest.raises(HftransferError) as error:
        early_look(loaded.recipe, None)
    assert "File name too long" in faults_of(error)


@pytest.mark.parametrize("task", ["depth-estimation", "object-detection", "summarization"])
def test_a_task_of_the_hub_that_is_not_ours_is_called_that(task: str) -> None:
    told = _told(task=task)
    assert f"got '{task}', which hftransfer does not support yet" in told
    assert "text-classification" in told
    assert "Did you mean" not in told


@pytest.mark.parametrize("task", ["ner", "named-entity-recognition", "pos"])
def test_another_name_of_a_task_is_known(task: str) -> None:
    assert "Did you mean 'token-classification'?" in _told(task=task)


def test_a_task_that_is_misspelt_is_guessed() -> None:
    assert "Did you mean 'image-classification'?" in _told(task="image-clasification")


def test_no_split_is_used_as_two(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "photos", {"red": 2, "blue": 2})
    document = {**MINIMAL, "model": "bundled/efficientnet-lite0"}
    twice = {"source": str(data), "train_split": "a", "validation_split": "b", "test_split": "b"}
    with pytest.raises(
        RecipeError, match=r"data.test_split must be a different split from data.validation_split; got 'b'"
    ):
        early_look(load_recipe({**document, "data": twice}).recipe, None)
    twice |= {"validation_split": "c", "test_split": "a"}
    with pytest.raises(RecipeError, match=r"data.test_split must be a different split from data.train_split; got 'a'"):
        early_look(load_recipe({**document, "data": twice}).recipe, None)


def test_fit_takes_a_folder_of_classes_or_of_splits_and_advises_what_it_takes(tiny: TinyModels, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"task": "image-classification", "model": str(tiny("resnet")), "progress": Progress(None)}
    for split, count in (("train", 10), ("test", 4)):
        write_classes(tmp_path / "photos" / split, {"red": count, "blue": count})
    fitted = ht.fit(train=tmp_path / "photos", **asked)
    assert fitted.metrics["examples"] == {"train": 16, "validation": 4, "test": 8}
    fitted = ht.fit(train=str(tmp_path / "photos" / "train"), **asked)
    assert fitted.metrics["examples"]["test"] == 0
    with pytest.raises(DataError) as error:
        ht.fit(train=tmp_path / "photos", test=[(picture("red"), "red")], **asked)
    assert "Give the path of one of its splits there, or the whole path on its own." in faults_of(error)


def test_a_batch_larger_than_the_data_is_one_step(
    tiny: TinyModels, folder_data: Path, without_figures: None, tmp_path: Path
) -> None:
    recipe = recipe_for(tiny("vit"), folder_data, epochs=1)
    recipe["train"]["batch_size"] = 65_536
    recipe["strategy"] = {"kind": "fine-tune", "unfreeze": 1}
    assert ht.run(recipe, out=tmp_path / "run", progress=Progress(None)).metrics["epochs"] == 1


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("train.lr=1", "Did you mean strategy.learning_rate?"),
        ("train.learning_rat=1", "Did you mean strategy.learning_rate?"),
        ("model.epochs=1", "Did you mean train.epochs?"),
        ("bs=8", "Did you mean train.batch_size?"),
        ("train.rank=8", "Did you mean strategy.rank?"),
        ("strategy.rank=8", "It is a key of strategy lora."),
        ("data.push_to=me/x", "Did you mean hub.push_to?"),
        ("train.task=x", "Did you mean task?"),
        # A slip of the pen is nearer than another section.
        ("train.batchsize=8", "Did you mean 'batch_size'?"),
        ("train.zzz=8", "Known: "),
    ],
)
def test_a_key_is_looked_for_in_all_sections(override, remedy):
    with pytest.raises(RecipeError, match=re.escape(remedy)):
        load_recipe("cats_dogs_linear_probe", [override])
