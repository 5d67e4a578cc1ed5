"""The cards of what a run makes, told from what it knows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hftransfer.adapters.bundled import BUNDLED_MODELS
from hftransfer.adapters.checkpoint import Checkpoint
from hftransfer.artifact import ModelFacts
from hftransfer.data.rows import QuestionContent, Row, TextContent
from hftransfer.data.sources import is_hub_data
from hftransfer.hub.card import Card, write_card
from hftransfer.jobs.common import public_name
from hftransfer.recipe import Recipe, recipe_yaml
from hftransfer.run_folder import RunFolder

if TYPE_CHECKING:
    from hftransfer.jobs.captions import ImageText
    from hftransfer.jobs.training import Trained

EXAMPLES = "examples"
"""The folder in a run with the images that may be shown beside the model."""
_SHOWN = 3
_LONGEST_TEXT, _LARGEST_PX = 600, 384


def write_own_card(draft: Path, trained: Trained, facts: ModelFacts, metrics: dict[str, Any], recipe: Recipe) -> None:
    """Nothing; writes the card of a trained model into its folder."""
    done = trained.done
    splits, adapter = done.splits, done.adapter
    rows = splits.test.rows if recipe.hub.share_examples and adapter.modality == "text" else []
    card = Card(
        **_of_recipe(recipe),
        metrics=metrics,
        bases=(_public_model(recipe.model.name, trained.checkpoint),),
        hub_id=_hub_id_of(recipe.model.name, trained.checkpoint),
        base_licenses=tuple(filter(None, [trained.checkpoint.license])),
        class_names=splits.class_names,
        facts=facts,
        max_tokens=min(facts.max_tokens or 10**9, getattr(adapter, "max_tokens", 10**9)),
        counts=splits.counts() if splits.class_names else {},
        skipped=len(splits.skipped),
        environment=trained.environment,
        examples=[_example_of(row) for row in _shown(rows)],
    )
    write_card(draft, card)


def write_dual_card(draft: Path, learned: ImageText, metrics: dict[str, Any], recipe: Recipe) -> None:
    """Nothing; writes the card of a dual encoder that learned from captions into its folder."""
    names = [recipe.model.image, recipe.model.text] if recipe.model.is_pair else [recipe.model.name]
    bases = tuple(str(name) if str(name).startswith("bundled/") else _last_part(str(name)) for name in names)
    write_card(
        draft,
        Card(
            **_of_recipe(recipe),
            metrics=metrics,
            bases=bases,
            base_licenses=learned.licenses,
            environment=learned.environment,
            pads_always=learned.done.dual.fixed_length,
        ),
    )


def provisional_card(recipe: Recipe) -> Card:
    """The card of a run before it has run, for the Hub to judge its metadata: nothing is measured yet."""
    nothing: dict[str, Any] = {"task": recipe.task, "strategy": recipe.strategy.kind, "test": {}, "validation": {}}
    name = BUNDLED_MODELS[recipe.model.name].hub_id if recipe.model.name in BUNDLED_MODELS else None
    return Card(**_of_recipe(recipe), metrics=nothing, bases=(_last_part(recipe.model.name or "towers"),), hub_id=name)


def write_examples(folder: RunFolder, rows: list[Row]) -> None:
    """Nothing; writes some test images, made small, that may be shown beside the model."""
    from hftransfer.data.images import enough_for
    from hftransfer.data.inspection import decode_row

    for number, row in enumerate(_shown(rows)):
        image = decode_row(row, enough_for(_LARGEST_PX))
        image.thumbnail((_LARGEST_PX, _LARGEST_PX))
        image.save(folder.file(f"{EXAMPLES}/{number}.jpg"), quality=90)


def _of_recipe(recipe: Recipe) -> dict[str, Any]:
    """What a card takes from the recipe alone."""
    is_on_hub = is_hub_data(recipe.data.source)
    return {
        "data_source": public_name(recipe.data.source),
        "dataset_id": recipe.data.source if is_on_hub else None,
        "dataset_config": recipe.data.config if is_on_hub else None,
        "version": version("hftransfer"),
        "settings": recipe.hub,
        "recipe": recipe_yaml(recipe),
        "seed": recipe.train.seed,
    }


def _shown(rows: list[Row]) -> list[Row]:
    """A few rows, of different labels as far as there are."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.label, row)
    return list(islice((*first.values(), *(row for row in rows if row is not first.get(row.label))), _SHOWN))


def _example_of(row: Row) -> Mapping[str, str]:
    """A text or question as the Hub's page takes it to try a model."""
    content = row.content
    if isinstance(content, QuestionContent):
        return {"text": content.question, "context": content.context[:_LONGEST_TEXT]}
    assert isinstance(content, TextContent)
    return {"text": content.text[:_LONGEST_TEXT]} | ({"text_pair": content.pair} if content.pair else {})


def _public_model(name: str, checkpoint: Checkpoint) -> str:
    """A model's name without its place on this disk."""
    if _hub_id_of(name, checkpoint) is not None or name.startswith("bundled/"):
        return name
    return _last_part(name)


def _last_part(name: str) -> str:
    return Path(name).resolve().name


def _hub_id_of(model: str, checkpoint: Checkpoint) -> str | None:
    """The Hub id of the base model, where it lies on the Hub."""
    if model in BUNDLED_MODELS:
        return BUNDLED_MODELS[model].hub_id
    return model if checkpoint.revision is not None and not model.startswith("open_clip:") else None
