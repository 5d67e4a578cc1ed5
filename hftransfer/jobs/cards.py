"""The cards of what a run makes, told from what it knows."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from pathlib import Path

from hftransfer.adapters.bundled import BUNDLED_MODELS
from hftransfer.adapters.checkpoint import MODULE, Checkpoint
from hftransfer.base.plain import JsonObject
from hftransfer.base.run_folder import RunFolder
from hftransfer.data.mask_files import Mask
from hftransfer.data.mask_labels import in_words
from hftransfer.data.rows import Row
from hftransfer.data.sources import is_hub_data
from hftransfer.data.splits import Splits
from hftransfer.hub.card import Card, write_card
from hftransfer.jobs.identity import public_name
from hftransfer.jobs.learned import Learned
from hftransfer.recipe import LOCAL_PREFIXES, Recipe, recipe_yaml
from hftransfer.tasks import head_task
from hftransfer.tasks.facts import ModelFacts

EXAMPLES = "examples"
"""The folder in a run with the images that may be shown beside the model."""
_SHOWN = 3
_LONGEST_TEXT, _LARGEST_PX = 600, 384


def write_own_card(
    draft: Path, learned: Learned, metrics: JsonObject, facts: ModelFacts | None = None, name: str = ""
) -> None:
    """Write the card of a trained model into its folder; `facts` where they are not those of the run, `name` is that of
    the recipe."""
    recipe, splits, task = learned.recipe, learned.splits, learned.task
    facts = facts or learned.model_facts or ModelFacts(pixels=splits.pixels)
    rows = splits.test.rows if recipe.hub.share_examples and task.reader.fields else []
    names = [recipe.model.image, recipe.model.text] if recipe.model.is_pair else [recipe.model.name]
    pairs = zip(names, learned.bases, strict=True)
    # Towers that were brought together are no fine-tune of either.
    hub_id = None if task.learns == "towers" else _hub_id_of(recipe.model.name, learned.bases[0])
    card = Card(
        **{**_of_recipe(recipe), "task": task, "recipe": recipe_yaml(_with_names_of_values(recipe, splits))},
        metrics=metrics,
        name=name,
        bases=tuple(_public_model(str(name), base) for name, base in pairs),
        hub_id=hub_id,
        library=_library_of(learned.bases[0]),
        base_licenses=tuple(base.license for base in learned.bases if base.license is not None),
        class_names=splits.class_names,
        facts=facts,
        # Towers that were brought together, and what labels alone describe, have no adapter.
        max_tokens=head_task(task.name).longest_input(learned.adapter, facts.max_tokens) if learned.adapter else None,
        counts=splits.counts() if splits.class_names else {},
        skipped=len(splits.skipped),
        environment=learned.environment,
        pads=learned.adapter is None or learned.adapter.split.pads,
        pads_always=learned.pads_always,
        examples=[{name: text[:_LONGEST_TEXT] for name, text in row.content.widget.items()} for row in _shown(rows)],
    )
    write_card(draft, card)


def _library_of(base: Checkpoint) -> str:
    """Return the library that reads what was made of a model, by its name on the Hub."""
    if base.keras is not None:
        return "keras"
    return "pytorch" if base.family == MODULE else "transformers"


def provisional_card(recipe: Recipe) -> Card:
    """Return the card of a run before it has run, for the Hub to judge its metadata: nothing is measured yet."""
    nothing: JsonObject = {"task": recipe.task, "strategy": recipe.strategy.kind, "test": {}, "validation": {}}
    name = BUNDLED_MODELS[recipe.model.name].hub_id if recipe.model.name in BUNDLED_MODELS else None
    return Card(**_of_recipe(recipe), metrics=nothing, bases=(_last_part(recipe.model.name or "towers"),), hub_id=name)


def write_examples(folder: RunFolder, rows: list[Row]) -> None:
    """Write some test images, made small, that may be shown beside the model."""
    from hftransfer.data.images import enough_for
    from hftransfer.data.inspection import decode_row

    for number, row in enumerate(_shown(rows)):
        image = decode_row(row, enough_for(_LARGEST_PX))
        image.thumbnail((_LARGEST_PX, _LARGEST_PX))
        image.save(folder.file(f"{EXAMPLES}/{number}.jpg"), quality=90)


def _of_recipe(recipe: Recipe) -> JsonObject:
    """Return what a card takes from the recipe alone."""
    is_on_hub = is_hub_data(recipe.data.source)
    return {
        "task": recipe.chosen_task,
        "data_source": public_name(recipe.data.source),
        "dataset_id": recipe.data.source if is_on_hub else None,
        "dataset_config": recipe.data.config if is_on_hub else None,
        "version": version("hftransfer"),
        "settings": recipe.hub,
        "recipe": recipe_yaml(recipe),
        "seed": recipe.train.seed,
    }


def _with_names_of_values(recipe: Recipe, splits: Splits) -> Recipe:
    """Return a recipe that says which values of masks are which classes, where only a file of the data said so: who
    reads a card has no such file."""
    space = next((mask.space for mask in splits.train.targets if isinstance(mask, Mask)), None)
    if space is None or recipe.data.classes is not None:
        return recipe
    values = ([in_words(one) if space.colors else one for one in own] for own in space.values)
    names = {name: own[0] if len(own) == 1 else own for name, own in zip(space.names, values, strict=True)}
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"classes": names})})


def _shown(rows: list[Row]) -> list[Row]:
    """Return a few rows, of different labels as far as there are."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(str(row.target), row)
    return list(islice((*first.values(), *(row for row in rows if row is not first.get(str(row.target)))), _SHOWN))


def _public_model(name: str, checkpoint: Checkpoint) -> str:
    """Return a model's name without its place on this disk."""
    if _hub_id_of(name, checkpoint) is not None or name.startswith("bundled/"):
        return name
    return _last_part(name)


def _last_part(name: str) -> str:
    if name.startswith("keras:") and not name.startswith(LOCAL_PREFIXES):
        network, _, weights = name.partition("/")  # no path
        return f"{network} (random weights)" if weights == "none" else network
    return Path(name[len(next((p for p in LOCAL_PREFIXES if name.startswith(p)), "")) :]).resolve().name


def _hub_id_of(model: str, checkpoint: Checkpoint) -> str | None:
    """Return the Hub id of the base model, where it lies on the Hub."""
    if model in BUNDLED_MODELS:
        return BUNDLED_MODELS[model].hub_id
    return model if checkpoint.revision is not None and not model.startswith("open_clip:") else None
