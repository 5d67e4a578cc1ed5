"""Conversations as tokens: what a template makes of them, and which of the tokens are learned."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, Protocol

from hftransfer.base.errors import DataError, ModelError, first_line, must_be
from hftransfer.data.dialogues import THOUGHTS, TOOLS, Turn, messages_of
from hftransfer.data.tables import raise_first

if TYPE_CHECKING:
    from hftransfer.data.dialogues import Dialogue

PLAIN = "{prompt}\n"
"""What a prompt is put into where a tokenizer has no chat template."""
_GENERATION = "{% generation"


class Tokenizer(Protocol):
    """The questions asked of a tokenizer of transformers."""

    chat_template: Any
    eos_token_id: int | None
    pad_token_id: int | None
    all_special_ids: list[int]
    added_tokens_decoder: Any

    def __call__(self, text: str, **options: Any) -> Any: ...  # noqa: D102
    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...  # noqa: D102
    def decode(self, token_ids: Any, **options: Any) -> Any: ...  # noqa: D102
    def convert_ids_to_tokens(self, ids: Any, **options: Any) -> Any: ...  # noqa: D102


class Placed(NamedTuple):
    """A prompt as tokens, and its texts, each with its pieces: the place among the tokens, start and end."""

    ids: list[int]
    texts: list[tuple[str, list[tuple[int, int, int]]]]


class Encoded(NamedTuple):
    """A row as tokens: `labels` has 1 for each token that is learned (the first one never is)."""

    ids: list[int]
    labels: list[int]

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(self.labels)


@dataclass(frozen=True)
class Template:
    """How conversations become tokens: by the tokenizer's chat template, or a prompt put into a text.

    In a conversation the assistant's turns are learned, each with the token that ends it; the tokens of a turn are
    those by which the conversation grows with it (and where the template marks them, what it marks). Turns that are
    written otherwise where more follows are learned each for itself, after the prompt that a model is given.
    """

    tokenizer: Tokenizer
    text: str | None = None
    """What a prompt is put into, as in `{prompt}\\n`; None for the chat template."""
    loss_on: Literal["completion", "all"] = "completion"
    name: str = "the model"

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, text: str | None, loss_on: Literal["completion", "all"], name: str = "the model"
    ) -> Template:
        """Return the template that is asked for; without one the tokenizer's own, or a plain one.

        Raises:
            ModelError: the tokenizer has no token that ends a text.
        """
        if tokenizer.eos_token_id is None:
            remedy = "Without one, no text would ever end: name it in tokenizer_config.json (eos_token)."
            raise ModelError(must_be(f"the tokenizer of model '{name}'", "one with an end token", "none", remedy))
        text = text if text is not None or tokenizer.chat_template else PLAIN
        return cls(tokenizer, text, loss_on, name)

    @property
    def end(self) -> int:
        """The tokenizer's end token."""
        assert self.tokenizer.eos_token_id is not None
        return self.tokenizer.eos_token_id

    @cached_property
    def stops(self) -> tuple[int, ...]:
        """The tokens that end a text: the tokenizer's end token, and what the chat template ends a turn with."""
        own = self.turn_end if self.text is None else None
        return tuple(dict.fromkeys([self.end] if own is None else [own, self.end]))

    @cached_property
    def turn_end(self) -> int | None:
        """The special token with which the chat template ends a turn; None where it has none."""
        turns = (Turn("user", "a"), Turn("assistant", "b"))
        try:
            whole, before = self._chat(turns), self._chat(turns[:1], writes=True)
        except DataError:
            return None
        return self._last_special(whole[len(before) :]) if whole[: len(before)] == before else None

    # --- encoding ----------------------------------------------------------------------------------------------------

    def encode(self, dialogue: Dialogue, where: str) -> list[Encoded]:
        """Return a document or a conversation as tokens, whole; turns that the chat template writes otherwise where
        more follows are further items, each the last of its own.

        Raises:
            DataError: the template can't be applied to it.
        """
        if self.loss_on == "all" and not all(turn.learned for turn in dialogue.turns):
            raise DataError(must_be(f"{where}: weight", "1 or left out with data.loss_on: all", "0"))
        if dialogue.is_document:
            ids = [*self._begin, *self._bare(dialogue.turns[0].text), self.end]
            return [Encoded(ids, _after_first(ids))]
        if self.text is not None:
            _require_texts(dialogue.turns, where)
            prompt, turn = self.prompt(dialogue.prompt, where), dialogue.turns[-1]
            completion = [*self._bare(turn.text), self.end]
            return [self._learned([*prompt, *completion], [0] * len(prompt) + [1] * len(completion))]
        return self._conversation(dialogue.turns, where)

    def prompt(self, turns: Sequence[Turn], where: str) -> list[int]:
        """Return the tokens after which the assistant writes.

        Raises:
            DataError: the template can't be applied to these turns.
        """
        if not turns:
            remedy = "Start the conversation with a user message."
            raise DataError(must_be(where, "a prompt with a completion", "only an assistant message", remedy))
        if self.text is None:
            self._require_told(turns, where)
            return self._chat(turns, where, writes=True)
        _require_texts(turns, where)
        if any(turn.role in ("assistant", "tool") for turn in turns):
            remedy = "Leave data.template out, with a model whose tokenizer has a chat template."
            allowed = "a single prompt, since data.template has room for one"
            raise DataError(must_be(where, allowed, f"a conversation of {len(turns) + 1} messages", remedy))
        text = self.text.replace("{prompt}", "\n".join(turn.text for turn in turns))
        return [*self._begin, *self._bare(text)]

    def placed(self, turns: Sequence[Turn], where: str) -> Placed:
        """Return the tokens after which the assistant writes, and which of them are pieces of which turn.

        Raises:
            DataError: the template can't be applied, or the tokenizer doesn't tell places in the text.
        """
        ids, messages, before = self.prompt(turns, where), _messages(turns), 0
        if self.text is None:
            rendered = str(self._applied(turns, where, add_generation_prompt=True, tokenize=False))
        else:
            before = len(self._begin)
            rendered = self.text.replace("{prompt}", "\n".join(message["content"] for message in messages))
        try:
            found = self.tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
        except NotImplementedError as error:
            allowed = "a fast one, which gives positions in the text"
            raise DataError(must_be(f"the tokenizer of model '{self.name}'", allowed, "a slow one")) from error
        if list(found["input_ids"]) != ids[before:]:
            allowed = "one whose text gives the same tokens when tokenized again"
            raise DataError(must_be(f"{where}: the chat template of model '{self.name}'", allowed, "another"))
        offsets, texts, at = found["offset_mapping"], [], 0
        for message in messages:
            text = message["content"].strip()
            start = rendered.find(text, at)
            if not text or start < 0:
                continue  # a template may leave a turn out
            at = start + len(text)
            own = [
                (place, max(first, start) - start, min(last, at) - start)
                for place, (first, last) in enumerate(offsets, before)
                if max(first, start) < min(last, at)
            ]
            texts.append((text, own))
        return Placed(ids, texts)

    def _conversation(self, turns: Sequence[Turn], where: str) -> list[Encoded]:
        self._require_told(turns, where, learned=True)
        whole = self._chat(turns, where)
        spoken = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
        labels = self._marked(turns, where)
        if labels is not None:
            for place in spoken:
                if not turns[place].learned:
                    start, stop = self._span(turns, place, whole, where) or self._refused(where)
                    labels[start:stop] = [0] * (stop - start)
            return [self._item(whole, labels)]
        labels, alone = [0] * len(whole), []
        for place in spoken:
            if not turns[place].learned:
                continue
            if span := self._span(turns, place, whole, where):
                labels[span[0] : span[1]] = [1] * (span[1] - span[0])
            elif place == spoken[-1] or any(turn.role == "user" for turn in turns[:place]):
                alone.append(place)
        if self.loss_on == "all":
            return [self._item(whole, labels)]
        items = [self._item(whole, labels)] if any(labels) else []
        return [*(self._alone(turns[: place + 1], where) for place in alone), *items]

    def _item(self, ids: list[int], labels: list[int]) -> Encoded:
        if labels[-1] == 1 and not self._ended(ids, labels):
            # The template ends no turn: without this token the model would never learn to stop.
            return self._learned([*ids, self.end], [*labels, 1])
        return self._learned(ids, labels)

    def _span(self, turns: Sequence[Turn], place: int, whole: list[int], where: str) -> tuple[int, int] | None:
        """Return where a turn of the assistant starts and stops among all tokens, by how the conversation grows with
        it; None where it does not."""
        after = whole if place == len(turns) - 1 else self._chat(turns[: place + 1], where)
        before = self._before(turns[: place + 1], after, where)
        if before is None or after[: len(before)] != before or whole[: len(after)] != after:
            return None
        return len(before), self._turn_stop(after, len(before))

    def _alone(self, turns: Sequence[Turn], where: str) -> Encoded:
        """Return the last turn after the prompt that a model is given, of a template that writes it otherwise where
        more follows, or that begins what is to be written otherwise than what is written (with an empty thought, say).

        Raises:
            DataError: where it begins can't be told.
        """
        ids = self._chat(turns, where)
        before = self._before(turns, ids, where)
        if before is None:
            self._refused(where)
        start = len(before)
        if ids[:start] != before:
            start = self._start(turns, before, where)
            if ids[:start] != before[:start]:
                self._refused(where)
            if not any(key in json.loads(turns[-1].more or "{}") for key in THOUGHTS):
                ids, start = [*before, *ids[start:]], len(before)
        stop = self._turn_stop(ids, start)
        return self._item(ids, [0] * start + [1] * (stop - start) + [0] * (len(ids) - stop))

    def _start(self, turns: Sequence[Turn], before: list[int], where: str) -> int:
        """Return where the last turn begins to be the assistant's own words, by two others in its place; what the
        template puts after that before something is to be written is no part of turns."""
        one, other = (self._chat((*turns[:-1], Turn("assistant", text)), where) for text in ("b", "c"))
        start = _alike(one, other)
        return start if _alike(before, one) == start else self._refused(where)

    def _refused(self, where: str) -> NoReturn:
        allowed, remedy = "one whose text grows with each message", "Give data.template, as in '{prompt}\\n'."
        raise DataError(must_be(f"the chat template of model '{self.name}'", allowed, f"another ({where})", remedy))

    def _before(self, turns: Sequence[Turn], ids: list[int], where: str) -> list[int] | None:
        """Return the tokens after which the last of the turns was written, of those of all turns; None where that can't
        be told."""
        if any(turn.role == "user" for turn in turns[:-1]):
            return self._chat(turns[:-1], where, writes=True)
        if any(turn.role == "assistant" for turn in turns[:-1]):
            return None
        # The assistant begins: what opens its turn is looked for, as few templates render what no user began.
        opening = self._opening
        starts = range(len(ids) - len(opening) + 1) if opening else ()
        found = next((start for start in starts if tuple(ids[start : start + len(opening)]) == opening), None)
        return None if found is None else ids[: found + len(opening)]

    @cached_property
    def _opening(self) -> tuple[int, ...]:
        """The tokens by which the chat template opens a turn that is to be written; none where it has none."""
        turns = (Turn("user", "a"),)
        before, opened = self._chat(turns), self._chat(turns, writes=True)
        return tuple(opened[len(before) :]) if opened[: len(before)] == before else ()

    def _turn_stop(self, ids: Sequence[int], start: int) -> int:
        """Return where a turn that begins at `start` ends: behind its last special token, line ends left out."""
        special = [place for place in range(start, len(ids)) if ids[place] in self._special]
        return special[-1] + 1 if special else len(ids)

    def _marked(self, turns: Sequence[Turn], where: str) -> list[int] | None:
        """Return the labels that the template's own marks give; None where it has none, or they mark nothing."""
        if _GENERATION not in str(self.tokenizer.chat_template):
            return None
        found = self._applied(turns, where, return_dict=True, return_assistant_tokens_mask=True)
        ids, mask = [list(found[name]) for name in ("input_ids", "assistant_masks")]
        if not any(mask):
            return None
        for place, (own, following) in enumerate(pairwise([*mask, 0])):
            # Marks often leave out the token that ends a turn.
            if own and not following and place + 1 < len(ids) and ids[place + 1] in self.stops:
                mask[place + 1] = 1
        return [int(bool(own)) for own in mask]

    def _ended(self, ids: Sequence[int], labels: Sequence[int]) -> bool:
        learned = [own for own, label in zip(ids, labels, strict=True) if label]
        return bool(learned) and learned[-1] in {*self.stops, *self._special}

    def _learned(self, ids: list[int], labels: list[int]) -> Encoded:
        return Encoded(ids, _after_first(ids) if self.loss_on == "all" else [0, *labels[1:]])

    # --- the tokenizer -----------------------------------------------------------------------------------------------

    @cached_property
    def _special(self) -> frozenset[int]:
        # Not all that a tokenizer adds as special are among those that it names.
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset({*self.tokenizer.all_special_ids, *(own for own, token in added if token.special)})

    def _last_special(self, ids: Sequence[int]) -> int | None:
        return next((own for own in reversed(ids) if own in self._special), None)

    @cached_property
    def _begin(self) -> list[int]:
        """The tokens that the tokenizer puts before a text."""
        whole, bare = list(self.tokenizer("a")["input_ids"]), self._bare("a")
        return whole[: whole.index(bare[0])] if bare and bare[0] in whole else []

    def _bare(self, text: str) -> list[int]:
        from hftransfer.adapters.texts import clean_text

        return list(self.tokenizer(clean_text(text), add_special_tokens=False, truncation=False)["input_ids"])

    def _require_told(self, turns: Sequence[Turn], where: str, *, learned: bool = False) -> None:
        """Return if the chat template tells what turns hold beside texts: what it passes over a model would learn to
        leave out. Thoughts are asked for where they are `learned`: templates leave out those of earlier turns.

        Raises:
            DataError: it does not.
        """
        compared: dict[str, tuple[Sequence[Turn], Sequence[Turn]]] = {}
        if turns and turns[0].role == TOOLS:
            compared[TOOLS] = turns, turns[1:]
        for place, turn in enumerate(turns):
            held = json.loads(turn.more or "{}")
            for key in held.keys() - {"name", "tool_call_id", *(() if learned else THOUGHTS)}:
                rest = {name: value for name, value in held.items() if name != key}
                bare = turn._replace(more=json.dumps(rest) if rest else "")
                compared[key] = turns[: place + 1], (*turns[:place], bare)
        faults = []
        for key, (given, bare_turns) in compared.items():
            whole = self._applied(given, where, tokenize=False)
            with contextlib.suppress(DataError):  # what it can't do without it tells
                if self._applied(bare_turns, where, tokenize=False) != whole:
                    continue
                name = f"{where}: the chat template of model '{self.name}'"
                remedy = "Choose a model that learned to use them, or write them into the texts."
                faults.append(must_be(name, f"one that tells {key}", "one that leaves them out", remedy))
        raise_first(faults)

    def _chat(self, turns: Sequence[Turn], where: str = "a message", *, writes: bool = False) -> list[int]:
        return list(self._applied(turns, where, add_generation_prompt=writes, return_dict=True)["input_ids"])

    def _applied(self, turns: Sequence[Turn], where: str, *, tokenize: bool = True, **options: object) -> Any:
        if not self.tokenizer.chat_template:
            remedy = "Choose a chat model (its name often ends with -Instruct), or give prompts and completions."
            allowed = "one with a chat template, for conversations"
            raise DataError(must_be(f"the tokenizer of model '{self.name}'", allowed, "none", remedy))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tools = json.loads(turns[0].text) if turns and turns[0].role == TOOLS else None
                found = self.tokenizer.apply_chat_template(_messages(turns), tools=tools, tokenize=tokenize, **options)
        except Exception as error:  # whatever a template raises: it is a program of its own
            allowed = "one that takes these messages"
            got = f"{type(error).__name__}: {first_line(error)}"
            raise DataError(
                must_be(f"{where}: the chat template of model '{self.name}'", allowed, got, "Give data.template.")
            ) from error
        return found


def _messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    from hftransfer.adapters.texts import clean_text

    return messages_of([turn._replace(text=clean_text(turn.text), more=clean_text(turn.more)) for turn in turns])


def _require_texts(turns: Sequence[Turn], where: str) -> None:
    if any(turn.more or turn.role == TOOLS for turn in turns):
        remedy = "Leave data.template out, with a model whose tokenizer has a chat template for them."
        allowed = "texts alone, since data.template has room for nothing else"
        raise DataError(must_be(where, allowed, "tools, calls of them, or thoughts", remedy))


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two texts have in common from the start."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _after_first(ids: Sequence[int]) -> list[int]:
    return [0, *[1] * (len(ids) - 1)]


def windows(encoded: Encoded, most: int) -> list[Encoded]:
    """Return a document in parts of so many tokens at the most; each begins with the last token of the one before it,
    so that every token but the first is learned once."""
    if len(encoded.ids) <= most:
        return [encoded]
    parts = []
    for start in range(0, len(encoded.ids) - 1, most - 1):
        ids, labels = encoded.ids[start : start + most], encoded.labels[start : start + most]
        parts.append(Encoded(ids, [0, *labels[1:]]))
    return parts


def cut(encoded: Encoded, most: int) -> Encoded:
    """Return the first tokens of a conversation, so many at the most."""
    return Encoded(encoded.ids[:most], encoded.labels[:most])
