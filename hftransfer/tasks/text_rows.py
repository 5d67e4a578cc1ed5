"""Rows of texts as tokens: what is learned of each, what is cut, and what is proved of it before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from hftransfer.base.errors import DataError, counted, must_be, some
from hftransfer.data.rows import Row
from hftransfer.data.settings import BY_DEFAULT, BY_MAX_TOKENS, OR_MORE_TOKENS, OR_SKIP
from hftransfer.data.tables import raise_first
from hftransfer.tasks.contract import Examples, Proofs
from hftransfer.tasks.templates import Encoded, Template, cut, windows

if TYPE_CHECKING:
    from hftransfer.adapters.causal import CausalAdapter
    from hftransfer.adapters.checkpoint import Checkpoint
    from hftransfer.data.dialogues import Dialogue
    from hftransfer.data.settings import DataSettings
    from hftransfer.data.splits import Splits

_LONGEST_TOKENS = 1024
"""Tokens of a row where nobody says."""
_SHOWN_TOKENS = 400


class Part(NamedTuple):
    """An item: (a part of) a row, as tokens, and the bytes of the text that is learned of it."""

    question: int
    """The place of its row."""
    encoded: Encoded
    size_bytes: int


@dataclass(frozen=True)
class EncodedRows:
    """The items of rows, and what a person should know of them."""

    parts: list[Part]
    notes: list[str]
    faults: list[str]


def template_of(adapter: CausalAdapter, settings: DataSettings) -> Template:
    """Return the template by which a model's rows become tokens.

    Raises:
        ModelError: its tokenizer has no end token.
    """
    return Template.of(cast(Any, adapter.processor), settings.template, settings.loss_on, adapter.name)


@dataclass(frozen=True)
class TokenLimit:
    """How many tokens a row may have, and who says so."""

    tokens: int
    of_model: bool = False
    """Whether the model takes no more."""
    is_usual: bool = False
    """Whether nobody set it."""

    @classmethod
    def of(cls, settings: DataSettings, model: int) -> TokenLimit:
        """Return the limit by the settings, for a model that takes so many."""
        wanted = settings.max_tokens or _LONGEST_TOKENS
        return cls(min(wanted, model), model <= wanted, settings.max_tokens is None)

    @property
    def words(self) -> str:
        """The limit for people."""
        if self.of_model:
            return f"{self.tokens:,} tokens, the limit of the model"
        return f"{self.tokens:,} tokens{BY_DEFAULT if self.is_usual else BY_MAX_TOKENS}"


def token_limit(adapter: CausalAdapter, settings: DataSettings) -> TokenLimit:
    """Return how many tokens a row may have."""
    return TokenLimit.of(settings, adapter.max_tokens)


def encode_rows(rows: Sequence[Row], template: Template, limit: TokenLimit, *, strict: bool) -> EncodedRows:
    """Return rows as items of so many tokens at the most.

    Raises:
        DataError: a template can't be applied, nothing that is learned ends a row, or (`strict`) a prompt leaves no
            room for what is learned.
    """
    found = _encoded(rows, template, limit, strict=strict)
    raise_first(found.faults)
    return found


def _encoded(rows: Sequence[Row], template: Template, limit: TokenLimit, *, strict: bool) -> EncodedRows:
    parts, notes, faults = list[Part](), list[str](), list[str]()
    counts, most = dict.fromkeys(("cut", "full", "documents", "turns"), 0), limit.tokens
    for place, row in enumerate(rows):
        try:
            own = template.encode(cast("Dialogue", row.content), row.id)
        except DataError as error:
            faults += error.faults
            continue
        if cast("Dialogue", row.content).is_document:
            found = windows(own[0], most)
            counts["documents"] += len(found) > 1
            parts += [_part(place, one, template) for one in found]
            continue
        fitting = [_part(place, cut(one, most), template) for one in own]
        counts["turns"] += len(own) > 1
        learned = [part for part in fitting if part.encoded.learned]
        counts["cut"] += 0 < sum(part.encoded.learned for part in learned) < sum(one.learned for one in own)
        parts += learned or fitting[:1]
        if not learned:
            counts["full"] += 1
            if strict:
                got = f"{own[0].labels.index(1)} tokens"
                remedy = f"Shorten it{'' if limit.of_model else OR_MORE_TOKENS}{OR_SKIP}."
                faults.append(must_be(f"{row.id}: the prompt", f"shorter than {limit.words}", got, remedy))
    faults += _endless(rows, parts, template, most)
    if counts["documents"]:
        notes.append(f"{counted(len(rows), 'document')} in {counted(len(parts), 'part')} of {most} tokens at most")
    if counts["turns"]:
        told = "the chat template writes turns otherwise where more follows, so that each is learned for itself"
        notes.append(f"{counted(counts['turns'], 'conversation')} in several parts: {told}")
    if counts["cut"]:
        notes.append(f"{counted(counts['cut'], 'completion')} cut at {most} tokens: their ends are not learned")
    if counts["full"]:
        notes.append(f"{counted(counts['full'], 'row')} not learned: the prompt fills all {most} tokens")
    return EncodedRows(parts, notes, faults)


def _part(place: int, encoded: Encoded, template: Template) -> Part:
    text = str(template.tokenizer.decode(_learned_ids(encoded), skip_special_tokens=True))
    return Part(place, encoded, len(text.encode("utf-8", "replace")))


def inputs_of(encoded: Encoded) -> dict[str, list[int]]:
    """Return an item as a model takes it, not padded, with its labels."""
    return {"input_ids": encoded.ids, "attention_mask": [1] * len(encoded.ids), "labels": encoded.labels}


def parts_of(examples: Examples) -> Sequence[Part]:
    """Return the items of a split."""
    return cast("Sequence[Part]", examples.windows)


# --- what is proved before training ----------------------------------------------------------------------------------


def proofs_of(splits: Splits, settings: DataSettings, checkpoint: Checkpoint) -> Proofs:
    """Return how the rows become tokens: by which template, how they end, how long they are, and one example.

    Raises:
        DataError: a prompt leaves no room for what is learned, or nothing that is learned ends a row.
    """
    from hftransfer.adapters.processors import load_tokenizer

    tokenizer: Any = load_tokenizer(checkpoint)
    template = Template.of(tokenizer, settings.template, settings.loss_on, checkpoint.name)
    config = checkpoint.config.get("text_config") or checkpoint.config
    known = config.get("max_position_embeddings") or config.get("n_positions") or 1 << 20
    limit = TokenLimit.of(settings, min(int(known), int(min(tokenizer.model_max_length, 1 << 20))))
    strict, lines, faults = settings.on_error == "stop", list[str](), list[str]()
    encoded: dict[str, list[Part]] = {}
    for name, split in splits.items():
        found = _encoded(split.rows, template, limit, strict=strict)
        faults += found.faults
        encoded[name] = found.parts
        lines += [f"{name}: {note}" for note in found.notes]
    raise_first(faults)
    told = [*_told_of_template(template), f"a row has room for {limit.words}", *_told_of_lengths(encoded), *lines]
    return Proofs(told, _example(template, encoded))


def _endless(rows: Sequence[Row], parts: Sequence[Part], template: Template, most: int) -> list[str]:
    """Return the rows in which what is learned has no end, though they are not cut."""
    ends = set(template.stops)
    endless = [
        rows[part.question].id
        for part in parts
        if part.encoded.learned and len(part.encoded.ids) < most and not ends & set(_learned_ids(part.encoded))
    ]
    if not endless:
        return []
    wanted = template.tokenizer.convert_ids_to_tokens(list(template.stops))
    remedy = "The model would never learn to stop: give data.template."
    where = f"what is learned of {some(endless, 3)}"
    return [must_be(where, f"a text that ends with {' or '.join(wanted)}", "one without an end", remedy)]


def _learned_ids(encoded: Encoded) -> list[int]:
    return [own for own, label in zip(encoded.ids, encoded.labels, strict=True) if label]


def _told_of_template(template: Template) -> list[str]:
    """Return by which template rows become tokens, and how a text ends."""
    tokenizer = template.tokenizer
    way = "the chat template of the tokenizer" if template.text is None else f"the template {template.text!r}"
    ends = " or ".join(map(str, tokenizer.convert_ids_to_tokens(list(template.stops))))
    lines = [f"rows become tokens by {way}; a text ends with {ends}, which is learned"]
    if tokenizer.pad_token_id in (None, *template.stops):
        lines.append(
            "padding is that token too: it is left out of the loss by its place, and the end that is learned is not"
        )
    return lines


def _told_of_lengths(encoded: Mapping[str, Sequence[Part]]) -> list[str]:
    """Return how long items are, and how much of them is learned."""
    lines = []
    for name, parts in encoded.items():
        if parts:
            sizes = [len(part.encoded.ids) for part in parts]
            half, most = np.percentile(sizes, [50, 95])
            learned = sum(part.encoded.learned for part in parts)
            told = f"median {half:.0f} tokens, 95 % have at most {most:.0f}, the longest {max(sizes)}"
            lines.append(
                f"{name}: {told}; {learned:,} of {sum(sizes):,} are learned{' each epoch' * (name == 'train')}"
            )
    return lines


def _example(template: Template, encoded: Mapping[str, Sequence[Part]]) -> list[tuple[str, bool]]:
    """Return the first training item as texts, those that are learned marked."""
    first = next((part.encoded for part in encoded.get("train", ()) if part.encoded.learned), None)
    if first is None:
        return []
    pairs = list(zip(first.ids, first.labels, strict=True))[:_SHOWN_TOKENS]
    runs = [(bool(label), [own for own, _ in run]) for label, run in groupby(pairs, key=lambda pair: pair[1])]
    return [(str(template.tokenizer.decode(ids)), label) for label, ids in runs]
