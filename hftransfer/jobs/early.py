"""What a recipe's faults are, as far as they show before data are read or weights are fetched."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, cast

from hftransfer.adapters.checkpoint import Checkpoint, family_by_name, fetch_config, find_checkpoint
from hftransfer.adapters.families import FAMILIES, PAIRED, Modality, require_lora, require_modality, require_paired
from hftransfer.adapters.terms import license_of, note_on_license
from hftransfer.adapters.vocabulary import require_tokenizer_files
from hftransfer.base.errors import HftransferError, ModelError, RecipeError, must_be, some
from hftransfer.base.plain import changed
from hftransfer.data.sources import look_at_source
from hftransfer.recipe import Recipe
from hftransfer.tasks import TASKS

if TYPE_CHECKING:
    from hftransfer.training.own import Own


def early_look(
    recipe: Recipe,
    data: object,
    *,
    fetches_config: bool = False,
    given: Checkpoint | None = None,
    own: Own | None = None,
) -> Checkpoint | None:
    """Return the model's checkpoint where its files are on this disk, or the one of a model `given` as an object.

    Faults of model and data that show without reading or fetching either are told together, before any work; with
    `fetches_config` the configuration of a Hub model is fetched.

    Raises:
        HftransferError: with all faults.
    """
    faults: list[HftransferError] = []
    checkpoint: list[Checkpoint | None] = [None]

    def look_at_model() -> None:
        checkpoint[0] = _look_at_model(recipe, fetches_config=fetches_config, given=given)

    looks: list[Callable[[], object]] = [
        lambda: _require_pooling(recipe),
        lambda: _require_sense(recipe, own),
        lambda: _require_splits_apart(recipe),
        look_at_model,
    ]
    if recipe.hub.push_to is not None:
        looks.append(lambda: _look_at_hub(recipe))
    if data is None:
        looks.append(lambda: look_at_source(recipe.data, recipe.chosen_task.reader))
    for look in looks:
        try:
            look()
        except HftransferError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise RecipeError(*(fault for error in faults for fault in error.faults))
    return checkpoint[0]


def _look_at_model(recipe: Recipe, *, fetches_config: bool, given: Checkpoint | None) -> Checkpoint | None:
    """Return the model's checkpoint where its files are on this disk.

    Raises:
        HftransferError: it can't serve the task, as far as its configuration tells.
    """
    task, model = recipe.chosen_task, recipe.model
    if model.is_pair:
        _look_at_pair(recipe)
        return None
    checkpoint = seen = given or find_checkpoint(model.name, model.revision, fetch=False)
    family = seen.family if seen is not None else family_by_name(model.name)
    if seen is None and fetches_config and not family:
        family = fetch_config(model.name, model.revision).family
    require_lora(model.name, family, recipe.strategy.kind)
    reads_texts = bool(task.reader.fields) or task.learns != "head"
    if recipe.strategy.from_zero_shot:
        require_paired(model.name, family)
    else:
        task.require_model(model.name, family)
        if task.learns == "head":
            _require_head(recipe, family)
    if checkpoint is not None and reads_texts:
        require_tokenizer_files(checkpoint)
    return checkpoint


def notes_on_licenses(recipe: Recipe) -> list[str]:
    """Return what a person should know of the licences of a recipe's models, as far as their names, or files on this
    disk, tell."""
    model = recipe.model
    names = [str(model.image), str(model.text)] if model.is_pair else [model.name]
    notes = []
    for name in names:
        seen = find_checkpoint(name, model.revision, fetch=False)
        notes.append(note_on_license(name, seen.license if seen is not None else license_of(name)))
    return [note for note in notes if note is not None]


def _look_at_hub(recipe: Recipe) -> None:
    """Return if the model of a run can go where it should on the Hub: the token is there and may write.

    Raises:
        HftransferError: it can't.
    """
    from hftransfer.hub.card import metadata
    from hftransfer.hub.publish import require_pushable, require_valid_card
    from hftransfer.jobs.cards import provisional_card

    if recipe.chosen_task.learns == "nothing":
        raise RecipeError(must_be("hub.push_to", f"left out for task {recipe.task}, which trains nothing", "given"))
    require_pushable(str(recipe.hub.push_to))
    require_valid_card(metadata(provisional_card(recipe)))


def _require_head(recipe: Recipe, family: str) -> None:
    """Return if transformers may have a classifier of this family.

    Raises:
        ModelError: it is a dual encoder of which it has none.
    """
    if family not in PAIRED or family in FAMILIES:
        return
    if recipe.strategy.contrasts:
        allowed = "linear-probe, fine-tune or lora, with head_init: zero-shot"
        raise ModelError(must_be(f"strategy for the dual encoder '{recipe.model.name}'", allowed, "contrastive"))
    where = f"strategy.head_init for the dual encoder '{recipe.model.name}'"
    remedy = "Its head then sits on its image embedding."
    raise ModelError(must_be(where, "zero-shot", recipe.strategy.head_init, remedy))


def _look_at_pair(recipe: Recipe) -> None:
    """Return if a pair of towers is what it says, as far as files on this disk tell.

    Raises:
        HftransferError: the task takes no pair, or a tower is of the other kind.
    """
    if "model.image" not in recipe.chosen_task.keys:
        raise RecipeError(must_be("model", f"one model for task {recipe.task}", "a pair of towers"))
    for modality, name, reads_texts in (("image", recipe.model.image, False), ("text", recipe.model.text, True)):
        seen = find_checkpoint(str(name), fetch=False)
        family = seen.family if seen is not None else family_by_name(str(name))
        require_modality(str(name), family, f"{recipe.task} (model.{modality})", cast(Modality, modality))
        if seen is not None and reads_texts:
            require_tokenizer_files(seen)


def _require_pooling(recipe: Recipe) -> None:
    """Return if the task's head can lie where the strategy wants it.

    Raises:
        RecipeError: it can't.
    """
    recipe.strategy.pooling_for(recipe.chosen_task)


def _require_sense(recipe: Recipe, own: Own | None) -> None:
    """Return if the settings go together, and what a person adds with them, as far as that can be told without the
    model.

    Raises:
        RecipeError: all that do not.
    """
    task, data = recipe.chosen_task, recipe.data
    faults = [*task.faults(recipe if own is None else _with_own(recipe, own)), *_settings_of_others(recipe)]
    if own is not None:
        faults += own.faults(task)
        if own.head is not None and recipe.strategy.from_zero_shot:
            faults.append(must_be("strategy.head_init", "left out with head", recipe.strategy.head_init))
    if data.folds is not None and not task.cross_validates:
        faults.append(must_be("data.folds", f"left out for task {task.name}", data.folds))
    if data.folds is not None and data.shots is not None:
        remedy = "Shots are drawn from a training split: set only one of the two."
        faults.append(must_be("data.shots", "left out with data.folds", data.shots, remedy))
    if recipe.train.refit is True and not task.cross_validates:
        faults.append(must_be("train.refit", f"false for task {task.name}", "true"))
    if recipe.train.refit is True and data.folds is not None:
        remedy = "With data.folds the final model is trained on all examples anyway."
        faults.append(must_be("train.refit", "false with data.folds", "true", remedy))
    if recipe.train.compile and shutil.which(compiler := _compiler()) is None:
        remedy = "Install a C++ compiler, or name one in the environment variable CXX."
        faults.append(must_be("train.compile", f"false where there is no {compiler}", "true", remedy))
    if faults:
        raise RecipeError(*faults)


def _compiler() -> str:
    """Return the C++ compiler that torch calls."""
    named = os.environ.get("CXX", "").split()
    return named[0] if named else {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")


def _settings_of_others(recipe: Recipe) -> list[str]:
    """Return what the recipe says of data that other tasks read."""
    takers = {name: one.reader.own_settings for name, one in TASKS.items()}
    others = sorted(set().union(*takers.values()) - recipe.chosen_task.reader.own_settings)
    faults = []
    for key, value in changed(recipe.data, others).items():
        remedy = f"It is of {some(name for name, own in takers.items() if key in own)}."
        faults.append(must_be(f"data.{key}", f"left out for task {recipe.task}", value, remedy))
    return faults


def _with_own(recipe: Recipe, own: Own) -> Recipe:
    """Return a recipe as if what a person adds were there: its metrics choose, its transform changes images."""
    train = recipe.train
    changes: dict[str, str | None] = {"metric": None} if train.metric in own.metrics else {}
    changes |= {"augment": "light"} if own.transform is not None and train.augment == "none" else {}
    return recipe.model_copy(update={"train": train.model_copy(update=changes)})


def _require_splits_apart(recipe: Recipe) -> None:
    """Return if no split of the data is to be used as two.

    Raises:
        RecipeError: it is; both keys are named.
    """
    keys = ("train_split", "validation_split", "test_split")
    named = {key: name for key in keys if (name := getattr(recipe.data, key)) is not None}
    faults = [
        must_be(f"data.{second}", f"a different split from data.{first}", f"'{named[second]}'")
        for first, second in combinations(named, 2)
        if named[first] == named[second]
    ]
    if faults:
        raise RecipeError(*faults)
