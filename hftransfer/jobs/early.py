"""What a recipe's faults are, as far as they show before data are read or weights are fetched."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

from hftransfer.adapters.bundled import BUNDLED_MODELS
from hftransfer.adapters.checkpoint import Checkpoint, fetch_config, find_checkpoint
from hftransfer.adapters.families import FAMILIES, PAIRED, Modality, require_modality, require_paired
from hftransfer.adapters.terms import license_of, note_on_license
from hftransfer.adapters.vocabulary import require_tokenizer_files
from hftransfer.data.sources import look_at_source
from hftransfer.errors import (
    HftransferError,
    ModelError,
    RecipeError,
    must_be,
    nearest,
)
from hftransfer.recipe import (
    IMAGE_TEXT,
    ZERO_SHOT,
    Recipe,
)
from hftransfer.strategies import LinearProbe
from hftransfer.tasks.base import RowKind
from hftransfer.tasks.prompts import templates_of

if TYPE_CHECKING:
    from hftransfer.tasks.base import Task


ROWS_OF: dict[str, RowKind] = {
    "image-classification": "images",
    "text-classification": "texts",
    "question-answering": "questions",
    ZERO_SHOT: "images",
    IMAGE_TEXT: "images",
}


MODALITY_OF: dict[str, Modality] = {
    "image-classification": "image",
    "text-classification": "text",
    "question-answering": "text",
    ZERO_SHOT: "image",
    IMAGE_TEXT: "image",
}


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe."""
    from hftransfer.tasks.registry import TASKS

    return TASKS[recipe.task]


def early_look(recipe: Recipe, data: Any, *, peek: bool = False) -> Checkpoint | None:
    """The model's checkpoint where its files are on this disk. Faults of model and data that show without reading or
    fetching either are told together, before any work; with `peek` the configuration of a Hub model is fetched."""
    checkpoint = None
    faults: list[HftransferError] = []
    for look in (
        lambda: recipe.strategy.pooling_for(recipe.task),
        lambda: _require_sense(recipe),
        lambda: _require_splits_apart(recipe),
    ):
        try:
            look()
        except HftransferError as error:
            faults.append(error)
    try:
        if recipe.model.is_pair:
            _look_at_pair(recipe)
        else:
            checkpoint = find_checkpoint(recipe.model.name, recipe.model.revision, fetch=False)
        seen = checkpoint
        if seen is None and peek and not recipe.model.is_pair and not recipe.model.name.startswith("bundled/"):
            seen = fetch_config(recipe.model.name, recipe.model.revision)
        bundle = BUNDLED_MODELS.get(recipe.model.name)
        family = seen.family if seen is not None else bundle.family if bundle is not None else ""
        if recipe.task in (ZERO_SHOT, IMAGE_TEXT) or recipe.strategy.from_zero_shot:
            require_paired(recipe.model.name, family)
        else:
            require_modality(recipe.model.name, family, recipe.task, MODALITY_OF[recipe.task])
            _require_head(recipe, family)
        if checkpoint is not None and (recipe.task in (ZERO_SHOT, IMAGE_TEXT) or MODALITY_OF[recipe.task] == "text"):
            require_tokenizer_files(checkpoint)
    except HftransferError as error:
        faults.append(error)
    if recipe.hub.push_to is not None:
        try:
            _look_at_hub(recipe)
        except HftransferError as error:
            faults.append(error)
    if data is None:
        try:
            look_at_source(recipe.data, ROWS_OF[recipe.task])
        except HftransferError as error:
            faults.append(error)
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise RecipeError(*(fault for error in faults for fault in error.faults))
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
    """Nothing, if the model of a run can go where it should on the Hub: the token is there and may write.

    Raises:
        HftransferError: it can't.
    """
    from hftransfer.hub.card import metadata
    from hftransfer.jobs.cards import provisional_card
    from hftransfer.publish import require_pushable, require_valid_card

    if recipe.task == ZERO_SHOT:
        raise RecipeError(must_be("hub.push_to", f"left out for task {ZERO_SHOT}, which trains nothing", "given"))
    require_pushable(str(recipe.hub.push_to))
    require_valid_card(metadata(provisional_card(recipe)))


def _require_head(recipe: Recipe, family: str) -> None:
    """Nothing, if transformers may have a classifier of this family.

    Raises:
        ModelError: it is a dual encoder of which it has none.
    """
    if family not in PAIRED or family in FAMILIES:
        return
    where = f"strategy.head_init for the dual encoder '{recipe.model.name}'"
    raise ModelError(must_be(where, "zero-shot", "random", "Its head then sits on its image embedding."))


def _look_at_pair(recipe: Recipe) -> None:
    """Nothing, if a pair of towers is what it says, as far as files on this disk tell.

    Raises:
        HftransferError: the task takes no pair, or a tower is of the other kind.
    """
    if recipe.task != IMAGE_TEXT:
        raise RecipeError(must_be("model", f"one model for task {recipe.task}", "a pair of towers"))
    for modality, name in (("image", recipe.model.image), ("text", recipe.model.text)):
        seen = find_checkpoint(str(name), fetch=False)
        bundle = BUNDLED_MODELS.get(str(name))
        family = seen.family if seen is not None else bundle.family if bundle is not None else ""
        require_modality(str(name), family, f"{IMAGE_TEXT} (model.{modality})", cast(Modality, modality))
        if seen is not None and modality == "text":
            require_tokenizer_files(seen)


def _require_sense_of_captions(recipe: Recipe) -> None:
    from hftransfer.metrics.retrieval import RETRIEVAL_METRICS

    faults, train = [], recipe.train
    if recipe.data.shots is not None:
        faults.append(must_be("data.shots", f"left out for task {IMAGE_TEXT}, which has no classes", recipe.data.shots))
    if isinstance(getattr(recipe.strategy, "unfreeze", None), list):
        allowed = f"all or a number of stages of each tower for task {IMAGE_TEXT}"
        faults.append(must_be("strategy.unfreeze", allowed, "names"))
    if recipe.strategy.contrasts:
        allowed = f"left out for task {IMAGE_TEXT}, which has a loss of its own"
        faults.append(must_be("strategy.objective", allowed, "contrastive"))
    for name in ("interpolate", "merge"):
        if value := getattr(recipe.strategy, name, None):
            faults.append(must_be(f"strategy.{name}", f"left out for task {IMAGE_TEXT}", value))
    if train.metric is not None and train.metric not in RETRIEVAL_METRICS:
        faults.append(must_be("train.metric", f"one of {', '.join(RETRIEVAL_METRICS)}", f"'{train.metric}'"))
    for name, usual in (("augment", "none"), ("mixup", None), ("cutmix", None), ("micro_batch_size", None)):
        if (value := getattr(train, name)) != usual:
            faults.append(must_be(f"train.{name}", f"left out for task {IMAGE_TEXT}", value))
    if recipe.prompts is not None:
        faults += _faults_of(lambda: templates_of(recipe.prompts or ""))
    if recipe.compare_prompts:
        faults.append(must_be("compare_prompts", f"left out for task {IMAGE_TEXT}", "true"))
    if faults:
        raise RecipeError(*faults)


def _require_splits_apart(recipe: Recipe) -> None:
    """Nothing, if no split of the data is to be used as two.

    Raises:
        RecipeError: it is; both keys are named.
    """
    keys = ("train_split", "validation_split", "test_split")
    named = {key: name for key in keys if (name := getattr(recipe.data, key)) is not None}
    faults = [
        must_be(f"data.{second}", f"another split than data.{first}", f"'{named[second]}'")
        for first, second in combinations(named, 2)
        if named[first] == named[second]
    ]
    if faults:
        raise RecipeError(*faults)


def _require_sense(recipe: Recipe) -> None:
    """Nothing, if the settings go together, as far as that can be told without the model.

    Raises:
        RecipeError: all that do not.
    """
    if recipe.task == ZERO_SHOT:
        _require_sense_of_zero_shot(recipe)
        return
    if recipe.task == IMAGE_TEXT:
        _require_sense_of_captions(recipe)
        return
    task, train, faults = task_of(recipe), recipe.train, []
    by_names = ("prompts", "class_names") if recipe.strategy.from_zero_shot else ()
    for name in ("prompts", "class_names", "compare_prompts", "zero_shot_data"):
        if (value := getattr(recipe, name)) and name not in by_names:
            remedy = "It goes with strategy.head_init: zero-shot." if name in ("prompts", "class_names") else ""
            faults.append(must_be(name, f"left out for task {task.name}", value, remedy))
    if recipe.strategy.from_zero_shot and recipe.prompts is not None:
        faults += _faults_of(lambda: templates_of(recipe.prompts or ""))
    if recipe.strategy.interpolate is not None and not recipe.strategy.from_zero_shot:
        remedy = "A head that began at random has nothing to be mixed with."
        faults.append(must_be("strategy.interpolate", "given with strategy.head_init: zero-shot", "none", remedy))
    if getattr(recipe.strategy, "dora", False) and recipe.strategy.interpolate is not None:
        faults.append(must_be("strategy.interpolate", "left out with strategy.dora", recipe.strategy.interpolate))
    if recipe.data.shots is not None and task.rows == "questions":
        faults.append(must_be("data.shots", f"left out for task {task.name}, which has no classes", recipe.data.shots))
    if train.metric is not None and train.metric not in task.metrics:
        allowed = f"a metric of task {task.name} ({', '.join(task.metrics)})"
        faults.append(must_be("train.metric", allowed, f"'{train.metric}'", nearest(train.metric, task.metrics)))
    if train.loss != "infonce":
        faults.append(must_be("train.loss", f"left out for task {task.name}", train.loss))
    if train.augment != "none" and task.rows != "images":
        faults.append(must_be("train.augment", f"none for task {task.name}", train.augment))
    for tracker in train.trackers:
        if find_spec(tracker) is None:
            remedy = f"Install it: pip install {tracker.replace('_', '-')}."
            faults.append(must_be("train.trackers", "packages that are installed", f"'{tracker}'", remedy))
    for name, value in (("mixup", train.mixup), ("cutmix", train.cutmix)):
        if value is not None and task.rows != "images":
            faults.append(must_be(f"train.{name}", f"left out for task {task.name}", value))
    if recipe.strategy.contrasts:
        faults += _faults_of_contrast(recipe)
    if train.views and train.augment == "none":
        faults.append(must_be("train.views", "left out where train.augment is none", train.views))
    if train.cache == "on" and train.augment != "none" and not train.views:
        remedy = "New views in every epoch can't be kept; train.views: 4 keeps four."
        faults.append(must_be("train.cache", "auto or off with train.augment and no train.views", "on", remedy))
    if train.class_weights != "none" and task.rows == "questions":
        faults.append(must_be("train.class_weights", f"none for task {task.name}", train.class_weights))
    if faults:
        raise RecipeError(*faults)


def _faults_of_contrast(recipe: Recipe) -> list[str]:
    """What does not go with features that learn by pairs of examples."""
    faults, beside, train = [], "left out with strategy.objective: contrastive", recipe.train
    if recipe.task == "question-answering":
        faults.append(must_be("strategy.objective", f"cross-entropy for task {recipe.task}", "contrastive"))
    if recipe.strategy.from_zero_shot:
        faults.append(must_be("strategy.head_init", beside, "zero-shot"))
    if getattr(recipe.strategy, "gradual", False):
        faults.append(must_be("strategy.gradual", beside, "true", "The head is the last to learn there."))
    if train.batch_size < 2:
        faults.append(
            must_be("train.batch_size", "2 or more with strategy.objective: contrastive", 1, "One has no pair.")
        )
    if 1 in recipe.data.numbers_of_shots:
        remedy = "Two examples of a class make a pair."
        faults.append(must_be("data.shots", "2 or more with strategy.objective: contrastive", 1, remedy))
    usual = type(train)()
    for name in ("micro_batch_size", "metric", "label_smoothing", "class_weights", "mixup", "cutmix"):
        if (value := getattr(train, name)) != getattr(usual, name):
            faults.append(must_be(f"train.{name}", beside, value))
    return faults


def _faults_of(look: Callable[[], object]) -> list[str]:
    """What is told when something is looked at."""
    try:
        look()
    except HftransferError as error:
        return list(error.faults)
    return []


def _require_sense_of_zero_shot(recipe: Recipe) -> None:
    faults = []
    if recipe.data.shots is not None:
        faults.append(must_be("data.shots", f"left out for task {ZERO_SHOT}, which trains nothing", recipe.data.shots))
    if recipe.strategy != LinearProbe():
        faults.append(must_be("strategy", f"left out for task {ZERO_SHOT}, which trains nothing", recipe.strategy.kind))
    if recipe.prompts is not None:
        faults += _faults_of(lambda: templates_of(recipe.prompts or ""))
    if recipe.compare_prompts and not faults and len(templates_of(recipe.prompts or "simple")) < 2:
        faults.append(must_be("compare_prompts", "left out where there is one template", "true", "Try openai-7."))
    if faults:
        raise RecipeError(*faults)
