"""Conversations as tokens: what a template makes of them, and which of the tokens are learned."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from hftransfer.base.errors import DataError, ModelError, first_line, must_be

if TYPE_CHECKING:
    from hftransfer.data.dialogues import Dialogue, Turn

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
    those by which the conversation grows with it (and where the template marks them, what it marks).
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
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        try:
            whole, before = self._chat(turns), self._chat(turns[:1], writes=True)
        except DataError:
            return None
        return self._last_special(whole[len(before) :]) if whole[: len(before)] == before else None

    # --- encoding ----------------------------------------------------------------------------------------------------

    def encode(self, dialogue: Dialogue, where: str) -> Encoded:
        """Return a document or a conversation as tokens, whole.

        Raises:
            DataError: the template can't be applied to it.
        """
        if dialogue.is_document:
            ids = [*self._begin, *self._bare(dialogue.turns[0].text), self.end]
            return Encoded(ids, _after_first(ids))
        if self.text is not None:
            prompt, turn = self.prompt(dialogue.prompt, where), dialogue.turns[-1]
            completion = [*self._bare(turn.text), self.end]
            return self._learned([*prompt, *completion], [0] * len(prompt) + [1] * len(completion))
        return self._conversation(dialogue, where)

    def prompt(self, turns: Sequence[Turn], where: str) -> list[int]:
        """Return the tokens after which the assistant writes.

        Raises:
            DataError: the template can't be applied to these turns.
        """
        if not turns:
            remedy = "Start the conversation with a user message."
            raise DataError(must_be(where, "a prompt with a completion", "only an assistant message", remedy))
        if self.text is None:
            return self._chat(_messages(turns), where, writes=True)
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
            rendered = str(self._applied(messages, where, add_generation_prompt=True, tokenize=False))
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
            if start < 0:
                continue  # a template may leave a turn out
            at = start + len(text)
            own = [
                (place, max(first, start) - start, min(last, at) - start)
                for place, (first, last) in enumerate(offsets, before)
                if max(first, start) < min(last, at)
            ]
            texts.append((text, own))
        return Placed(ids, texts)

    def _conversation(self, dialogue: Dialogue, where: str) -> Encoded:
        messages = _messages(dialogue.turns)
        whole = self._chat(messages, where)
        marked = self._marked(messages, where)
        labels = marked if marked is not None else self._grown(dialogue, whole, where)
        ends = self._ended(whole, labels)
        if labels[-1] == 1 and not ends:
            # The template ends no turn: without this token the model would never learn to stop.
            return self._learned([*whole, self.end], [*labels, 1])
        return self._learned(whole, labels)

    def _grown(self, dialogue: Dialogue, whole: list[int], where: str) -> list[int]:
        """Return the labels of the turns of the assistant, by how the conversation grows with each."""
        labels, last = [0] * len(whole), len(dialogue.turns) - 1
        for place, turn in enumerate(dialogue.turns):
            if turn.role != "assistant":
                continue
            messages = _messages(dialogue.turns[: place + 1])
            after = whole if place == last else self._chat(messages, where)
            before = self._before(messages, after, where)
            if before is None or after[: len(before)] != before or whole[: len(after)] != after:
                if place == last:
                    allowed = "one whose text grows with each message"
                    remedy = "Give data.template, as in '{prompt}\\n'."
                    got = f"another ({where})"
                    raise DataError(must_be(f"the chat template of model '{self.name}'", allowed, got, remedy))
                continue  # such a template writes earlier turns otherwise (without their thoughts): the last is learned
            stop = self._turn_stop(after, len(before))
            labels[len(before) : stop] = [1] * (stop - len(before))
        return labels

    def _before(self, messages: list[dict[str, str]], ids: list[int], where: str) -> list[int] | None:
        """Return the tokens after which the last of the messages was written, of those of all messages; None where that
        can't be told."""
        if any(message["role"] == "user" for message in messages[:-1]):
            return self._chat(messages[:-1], where, writes=True)
        if any(message["role"] == "assistant" for message in messages[:-1]):
            return None
        # The assistant begins: what opens its turn is looked for, as few templates render what no user began.
        opening = self._opening
        starts = range(len(ids) - len(opening) + 1) if opening else ()
        found = next((start for start in starts if tuple(ids[start : start + len(opening)]) == opening), None)
        return None if found is None else ids[: found + len(opening)]

    @cached_property
    def _opening(self) -> tuple[int, ...]:
        """The tokens by which the chat template opens a turn that is to be written; none where it has none."""
        turns = [{"role": "user", "content": "a"}]
        before, opened = self._chat(turns), self._chat(turns, writes=True)
        return tuple(opened[len(before) :]) if opened[: len(before)] == before else ()

    def _turn_stop(self, ids: Sequence[int], start: int) -> int:
        """Return where a turn that begins at `start` ends: behind its last special token, line ends left out."""
        special = [place for place in range(start, len(ids)) if ids[place] in self._special]
        return special[-1] + 1 if special else len(ids)

    def _marked(self, messages: list[dict[str, str]], where: str) -> list[int] | None:
        """Return the labels that the template's own marks give; None where it has none, or they mark nothing."""
        if _GENERATION not in str(self.tokenizer.chat_template):
            return None
        found = self._applied(messages, where, return_dict=True, return_assistant_tokens_mask=True)
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

    def _chat(self, messages: list[dict[str, str]], where: str = "a message", *, writes: bool = False) -> list[int]:
        return list(self._applied(messages, where, add_generation_prompt=writes, return_dict=True)["input_ids"])

    def _applied(self, messages: list[dict[str, str]], where: str, *, tokenize: bool = True, **options: object) -> Any:
        if not self.tokenizer.chat_template:
            remedy = "Choose a chat model (its name often ends with -Instruct), or give prompts and completions."
            allowed = "one with a chat template, for conversations"
            raise DataError(must_be(f"the tokenizer of model '{self.name}'", allowed, "none", remedy))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = self.tokenizer.apply_chat_template(messages, tokenize=tokenize, **options)
        except Exception as error:  # whatever a template raises: it is a program of its own
            allowed = "one that takes these messages"
            got = f"{type(error).__name__}: {first_line(error)}"
            raise DataError(
                must_be(f"{where}: the chat template of model '{self.name}'", allowed, got, "Give data.template.")
            ) from error
        return found


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    from hftransfer.adapters.texts import clean_text

    return [{"role": turn.role, "content": clean_text(turn.text)} for turn in turns]


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
