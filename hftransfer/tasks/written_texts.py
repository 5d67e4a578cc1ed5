"""Texts that a language model writes for rows: for which of them, how good they are, and how that is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, cast

import numpy as np

from hftransfer.base.errors import must_be
from hftransfer.data.rows import Row
from hftransfer.data.tables import raise_first
from hftransfer.metrics.metric import Scores
from hftransfer.tasks.outcomes import Generation, Manner
from hftransfer.tasks.shown import Example, ExampleGroup
from hftransfer.tasks.templates import Template
from hftransfer.tasks.text_rows import template_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from hftransfer.adapters.causal import CausalAdapter
    from hftransfer.adapters.writing import Written
    from hftransfer.data.dialogues import Dialogue
    from hftransfer.data.settings import DataSettings

_SHOWN = 12
Samples = Mapping[int, Generation]
"""Generated texts for the prompts of some rows, by the places of the rows."""


def prompts_of(rows: Sequence[Row], most: int) -> list[int]:
    """Return the places of rows whose prompts differ, so many at the most, evenly spread. What the assistant says
    unasked has no prompt."""
    first: dict[object, int] = {}
    for place, row in enumerate(rows):
        if row.target and (prompt := cast("Dialogue", row.content).prompt):
            first.setdefault(prompt, place)
    places = list(first.values())
    return [places[index * len(places) // most] for index in range(most)] if len(places) > most else places


def write_for(
    adapter: CausalAdapter,
    rows: Sequence[Row],
    settings: DataSettings,
    manner: Manner = Manner(),  # noqa: B008 - it can't be changed
    *,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Callable[[int], None] = lambda _: None,
    places: Sequence[int] | None = None,
) -> list[Generation]:
    """Return what a model writes after the prompts of rows, which have these places among all that are asked.

    Raises:
        DataError: a prompt is longer than what the model takes.
    """
    from hftransfer.adapters.writing import Writing, write

    template, faults = template_of(adapter, settings), list[str]()
    prompts = [template.prompt(cast("Dialogue", row.content).prompt, row.id) for row in rows]
    for row, prompt in zip(rows, prompts, strict=True):
        if not 0 < len(prompt) < adapter.max_tokens:
            allowed = f"1 to {adapter.max_tokens - 1} tokens long, so that the model can continue"
            faults.append(must_be(f"{row.id}: the prompt", allowed, f"{len(prompt)}"))
    raise_first(faults)
    stops = tuple(dict.fromkeys([*template.stops, *adapter.known_ends]))  # a call of a tool may end otherwise
    how = Writing(stops, settings.max_new_tokens, manner.temperature, manner.seed)
    so_far: dict[int, list[int]] = {}

    def tell(place: int, token: int) -> None:
        if manner.tell is not None:
            so_far.setdefault(place, []).append(token)
            manner.tell(place, _text(template, so_far[place]))

    written = write(adapter, prompts, how, autocast=autocast, tell=tell, advance=advance, numbers=places)
    return [_generation(template, one) for one in written]


def _generation(template: Template, written: Written) -> Generation:
    return Generation(_text(template, written.ids), written.stopped, written.ids, written.log_probability)


def _text(template: Template, ids: Sequence[int]) -> str:
    return str(template.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def judged_samples(rows: Sequence[Row], samples: Samples) -> Scores:
    """Return what written texts are worth beside all right completions of their prompts."""
    from hftransfer.metrics.generation import score_texts

    right: dict[object, dict[str, None]] = {}
    for row in rows:
        right.setdefault(cast("Dialogue", row.content).prompt, {}).update(dict.fromkeys(row.target))
    references = [list(right[cast("Dialogue", rows[place].content).prompt]) for place in samples]
    return score_texts([one.text for one in samples.values()], references, [one.stopped for one in samples.values()])


def side_by_side(rows: Sequence[Row], samples: Samples, before: Samples) -> list[ExampleGroup]:
    """Return what was written before training and after it, beside what is right."""

    def told(place: int) -> str:
        parts = [f"before: {before[place].shown}"] if place in before else []
        return "\n".join([*parts, f"after: {samples[place].shown}", f"right: {rows[place].target[0]}"])

    places = list(samples)[:_SHOWN]
    title = "Generated texts before and after training" if before else "Generated texts"
    note = "… marks a text that did not end by itself."
    return [ExampleGroup(title, "", note, [Example(place, told(place)) for place in places])]


def least_likely(rows: Sequence[Row], bits: np.ndarray) -> list[ExampleGroup]:
    """Return the rows that the model finds least likely."""
    places = np.argsort(-bits, kind="stable")[:_SHOWN].tolist()
    told = [
        Example(
            place, f"{bits[place]:.2f} bits per byte" + (f": {rows[place].target[0]}" if rows[place].target else "")
        )
        for place in places
    ]
    return [ExampleGroup("Least likely", "wrong", "", told)] if told else []
