"""Texts to go on with: documents, prompts with completions, and conversations, read from tables, files and Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, must_be
from hftransfer.data.columns import column_of, first_of, in_lower_case, is_missing, no_column
from hftransfer.data.layouts import files_below, visible
from hftransfer.data.reading import (
    InputColumns,
    LeftOutRows,
    NamedInput,
    Reader,
    Records,
    plain_lines,
    read_each,
    require_some_sound,
)
from hftransfer.data.roles import Found, split_role
from hftransfer.data.rows import FileContent, Row, Target, json_bytes, read_row
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import STDIN, TABLE_SUFFIXES, Table, decoded_text, objects_in, raise_first, read_table
from hftransfer.data.targets import TargetKind, count_to_hold_out, divided
from hftransfer.data.texts import texts_in

PROMPT_COLUMNS = ("prompt", "instruction", "question", "query", "input")
COMPLETION_COLUMNS = ("completion", "response", "output", "answer")
MESSAGES_COLUMNS = ("messages", "conversations", "conversation")
DOCUMENT_COLUMNS = ("text", "content", "document", "body")
TOOLS = "tools"
"""The role of the turn that stands for the tools a model may call; a chat template takes them apart from messages."""
_ROLES = {
    **dict.fromkeys(("gpt", "model", "bot", "ai", "function_call"), "assistant"),
    **dict.fromkeys(("function", "observation"), "tool"),
    "human": "user",
    "developer": "system",
}
"""Names of roles in other formats (ShareGPT's among them)."""
_FIRST = ("user", "assistant")
_AFTER = {
    **dict.fromkeys(("", TOOLS), ("system", *_FIRST)),
    "system": _FIRST,
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""Which roles may come after one. Whether the assistant may begin is for the chat template to say."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Keys of what the assistant thought before it said something."""
_KEPT_KEYS = ("tool_calls", "tool_call_id", "name", *THOUGHTS)
"""What messages hold beside texts and chat templates may read."""
_UNREAD_COLUMNS = ("functions", "history")
"""What others put into prompts. It is not read and must be empty, or the model would learn to leave it out."""
_SYSTEM = ("system", "system_prompt")
"""Columns with what is told before a prompt."""
_ABOUT = {"instruction": ("input", "context"), "question": ("context",)}
"""Columns with the text that a prompt is about (Alpaca's, Dolly's)."""
ASKED_COLUMNS = {*MESSAGES_COLUMNS, *PROMPT_COLUMNS, *DOCUMENT_COLUMNS}
"""Columns one of which a prompt has."""
_LAYOUTS = "text; prompt, completion; messages; instruction, input, output"
"""The columns of each layout that is read."""
_PASSAGE_CHARACTERS = 2000


class Turn(NamedTuple):
    """A turn of one side in a conversation, or the tools that it may call (as JSON)."""

    role: str
    text: str
    more: str = ""
    """What a message holds beside its text (calls of tools, thoughts), as JSON; empty where it holds nothing."""
    learned: bool = True
    """Whether it is learned, if it is the assistant's."""

    @property
    def shown(self) -> str:
        """The turn for people."""
        return " ".join(part for part in (f"{self.role}: {self.text}", self.more) if part)

    @property
    def target(self) -> tuple[str, ...]:
        """The text that a model is to write here; none where it is to write more than that, or nothing."""
        return (self.text,) if self.learned and not self.more else ()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Turns in their order; a document is one turn whose role is empty. The last turn is missing where it is to be
    written."""

    path: ClassVar[None] = None
    identity: ClassVar[None] = None
    turns: tuple[Turn, ...]

    @property
    def is_document(self) -> bool:
        """Return whether it is a text that is learned as a whole."""
        return self.turns[0].role == ""

    @property
    def prompt(self) -> tuple[Turn, ...]:
        """The turns before the last one of the assistant; of a document none."""
        return self.turns[:-1] if self.turns[-1].role in ("", "assistant") else self.turns

    @property
    def group(self) -> object:
        """The prompt, or the document: rows that share it must not be in two splits."""
        return self.prompt or self.turns

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompt as one text, or the document."""
        own = self.prompt or self.turns
        return (own[0].text if len(own) == 1 else "\n".join(turn.shown for turn in own),)

    @property
    def widget(self) -> dict[str, str]:
        """The prompt as the Hub's page takes it to try a model."""
        return {"text": self.texts[0]}

    def read(self) -> bytes:
        """Return the turns as JSON."""
        return json_bytes([list(turn) if turn.more or not turn.learned else list(turn[:2]) for turn in self.turns])


class Completions(TargetKind):
    """The right completions of a prompt, the one that is learned first; none of a document."""

    hold_out_words = "whole prompts"

    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the rows that share no prompt, drawn at random."""
        groups: dict[object, list[int]] = {}
        for place, row in enumerate(rows):
            groups.setdefault(row.content.group, []).append(place)  # type: ignore[attr-defined]
        count = count_to_hold_out(rows, fraction, name)
        if len(groups) < 2:
            remedy = f"Add rows with other prompts, or give a {name} split of your own."
            raise DataError(
                must_be(f"the number of different prompts (to hold out {name} rows)", "2 or more", len(groups), remedy)
            )
        held: set[int] = set()
        members = list(groups.values())
        for place in np.random.default_rng([seed, *name.encode()]).permutation(len(members))[:-1].tolist():
            if len(held) >= count:
                break
            held.update(members[place])
        return divided(rows, held)

    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> list[Target]:
        """Return the right completions of each row."""
        del class_names
        return [row.target for row in rows]

    @override
    def mark(self, target: Target) -> Target:
        return "\x1f".join(target)

    @override
    def in_words(self, target: Target) -> str:
        return str(target[0]) if target else ""


COMPLETIONS = Completions()
Form = Literal["messages", "pairs", "documents"]


@dataclass(frozen=True)
class DialogueColumns:
    """The columns that are read: of messages, of prompts (with what goes with them, and the completions), or of
    documents."""

    form: Form
    first: str
    beside: tuple[str, ...] = ()
    """Columns with the input that an instruction is about: the first that is filled has it."""
    completion: str | None = None
    references: str | None = None
    system: str | None = None
    """What is told before each prompt."""
    tools: str | None = None
    """The tools that may be called."""
    unread: tuple[str, ...] = ()
    """Columns that must be empty, as they are not read."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        others = (self.completion, self.references, self.system, self.tools)
        all_columns = (self.first, *self.beside, *others, *self.unread)
        return [name for name in all_columns if name is not None]

    def row(self, record: Mapping[str, object], where: str) -> Row:
        """Return a record as a row.

        Raises:
            DataError: a text is missing or empty, the turns of a conversation are not in order, or there is more than
                texts.
        """
        if self.form == "documents":
            text = _text_of(record, self.first, where)
            return Row(where, Dialogue((Turn("", text),)), ())
        if self.form == "messages":
            turns = self.turns(record, where, answered=True)
            return Row(where, Dialogue(turns), turns[-1].target)
        return self._pair(record, where)

    def _pair(self, record: Mapping[str, object], where: str) -> Row:
        assert self.completion is not None
        faults: list[str] = []
        prompt = _told(faults, lambda: self.turns(record, where, answered=False)) or ()
        completion = _told(faults, lambda: _completion(record, str(self.completion), where))
        references = _told(faults, lambda: _references(record, self.references, where)) or ()
        if completion is None or faults:
            raise DataError(*faults)
        return Row(where, Dialogue((*prompt, completion)), tuple(dict.fromkeys((*completion.target, *references))))

    def turns(self, record: Mapping[str, object], where: str, *, answered: bool) -> tuple[Turn, ...]:
        """Return the messages of a record, or its prompt, with what is told before; see `turns_of`.

        Raises:
            DataError: a text is missing or empty, the turns are not in order, or there is what is not read.
        """
        _require_empty(record, self.unread, where)
        own = self._said(record, where, answered=answered)
        tools = _plain_json(record.get(self.tools)) if self.tools else None
        if not tools:
            return own
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            allowed = "a list of tools, as in [{type: function, function: {name: …, parameters: …}}]"
            raise DataError(must_be(f"{where}: column '{self.tools}'", allowed, repr(record.get(str(self.tools)))[:80]))
        return (Turn(TOOLS, _as_text(tools)), *own)

    def _said(self, record: Mapping[str, object], where: str, *, answered: bool) -> tuple[Turn, ...]:
        value = _from_json(record.get(self.first))
        said = record.get(self.system) if self.system else None
        system = (Turn("system", said),) if isinstance(said, str) and said.strip() else ()
        if self.form == "messages" or isinstance(value, list | tuple):
            own = turns_of(value, f"{where}: column '{self.first}'", answered=answered)
            if system and own[0].role == "system" and own[0] != system[0]:
                told = must_be(
                    f"{where}: column '{self.system}'", "empty where messages begin with a system turn", said
                )
                raise DataError(told)
            return own if own[0].role == "system" else (*system, *own)
        text = _text_of(record, self.first, where)
        filled = [more for name in self.beside if isinstance(more := record.get(name), str) and more.strip()]
        return (*system, Turn("user", f"{text}\n\n{filled[0]}" if filled else text))


def dialogue_columns(columns: Sequence[str], settings: DataSettings, source: object) -> DialogueColumns:
    """Return the columns that are read of those there are: messages, else prompts and completions, else documents.

    Raises:
        DataError: some are missing; all that are, at once.
    """
    lowered = {column.lower() for column in columns}
    if settings.messages_column is not None or (
        lowered & set(MESSAGES_COLUMNS) and settings.prompt_column is None and settings.text_column is None
    ):
        own = column_of(settings.messages_column, MESSAGES_COLUMNS, columns, "data.messages_column", source)
        return _asked(columns, "messages", own)
    named = settings.prompt_column is not None or settings.completion_column is not None
    if named:
        return _pair_columns(columns, settings, source)
    if settings.text_column is None:
        has_prompt, has_completion = (bool(lowered & set(usual)) for usual in (PROMPT_COLUMNS, COMPLETION_COLUMNS))
        if has_prompt and has_completion:
            return _pair_columns(columns, settings, source)
        if lowered & {"prompt", "completion", *PROMPT_COLUMNS[:2]} or not lowered & set(DOCUMENT_COLUMNS):
            raise DataError(_no_layout(columns, source, has_prompt=has_prompt, has_completion=has_completion))
    own = column_of(settings.text_column, DOCUMENT_COLUMNS, columns, "data.text_column", source)
    return DialogueColumns("documents", own)


def _no_layout(columns: Sequence[str], source: object, *, has_prompt: bool, has_completion: bool) -> str:
    """Return what layouts there are, which column may be misspelled, and how to name the one that is missing."""
    missing = {
        **({} if has_prompt else {"data.prompt_column": PROMPT_COLUMNS}),
        **({} if has_completion else {"data.completion_column": COMPLETION_COLUMNS}),
    }
    if not has_prompt and not has_completion:
        missing |= {"data.messages_column": MESSAGES_COLUMNS, "data.text_column": DOCUMENT_COLUMNS}
    usual = [name for names in missing.values() for name in names]
    return no_column(columns, f"the columns of one layout ({_LAYOUTS})", usual, list(missing), source)


def _pair_columns(columns: Sequence[str], settings: DataSettings, source: object) -> DialogueColumns:
    found, faults = {}, list[str]()
    for role, named, usual in (
        ("prompt", settings.prompt_column, PROMPT_COLUMNS),
        ("completion", settings.completion_column, COMPLETION_COLUMNS),
    ):
        try:
            found[role] = column_of(named, usual, columns, f"data.{role}_column", source)
        except DataError as error:
            faults += error.faults
    raise_first(faults)
    references = settings.references_column or in_lower_case(columns).get("references")
    if references is not None and references not in columns:
        raise DataError(must_be("data.references_column", f"a column of {source}", f"'{references}'"))
    prompt = _asked(columns, "pairs", found["prompt"])
    return replace(prompt, completion=found["completion"], references=references)


def asked_columns(columns: Sequence[str], given: InputColumns, source: object) -> DialogueColumns:
    """Return the columns of prompts that wait for their completions: messages, else prompts with what goes with them,
    as in training.

    Raises:
        DataError: there is no such column.
    """
    named = given.first_among(columns, "prompt_column", "text_column")
    messages = replace(given, first=None).first_among(columns, "messages_column") or first_of(MESSAGES_COLUMNS, columns)
    if named is None and messages is not None:
        return _asked(columns, "messages", messages)
    first = column_of(named, (*PROMPT_COLUMNS, *DOCUMENT_COLUMNS), columns, "--column", source)
    return _asked(columns, "pairs", first)


def _asked(columns: Sequence[str], form: Form, first: str) -> DialogueColumns:
    """Return the column of messages or prompts with those of what they are about and of what is told before."""
    lowered = in_lower_case(columns)
    beside = tuple(lowered[name] for name in _ABOUT.get(first.lower(), ()) if name in lowered)
    unread = tuple(column for column in columns if column.lower() in _UNREAD_COLUMNS and column != first)
    system = first_of(_SYSTEM, columns)
    return DialogueColumns(form, first, beside, system=system, tools=lowered.get(TOOLS), unread=unread)


def _require_empty(record: Mapping[str, object], names: Iterable[str], where: str) -> None:
    """Return if what is not read is empty.

    Raises:
        DataError: it holds something.
    """
    remedy = "It is not read: write it into the texts, or into messages."
    held = {name: _from_json(record.get(name)) for name in names}
    raise_first(
        [
            must_be(f"{where}: {name}", "empty or left out", repr(value)[:80], remedy)
            for name, value in held.items()
            if not is_missing(value) and value not in ("", "null", [], {}, ())
        ]
    )


def turns_of(value: object, where: str, *, answered: bool) -> tuple[Turn, ...]:
    """Return messages with `role` and `content` (or `from` and `value`) as turns; `answered`, the assistant has the
    last word, else the user or a tool.

    Raises:
        DataError: they are no messages, or their roles are out of order; all that is wrong is told.
    """
    given = _from_json(value)
    if not isinstance(given, list | tuple) or not given:
        raise DataError(must_be(where, "a list of messages with role and content", repr(value)[:80]))
    turns, faults = [], list[str]()
    for place, message in enumerate(given, start=1):
        if (turn := _told(faults, partial(_turn, message, f"{where}: message {place}"))) is None:
            continue
        if turn.role not in _AFTER or turn.role == TOOLS:
            allowed = ", ".join(name for name in _AFTER if name not in ("", TOOLS))
            faults.append(must_be(f"{where}: the role of message {place}", f"one of {allowed}", f"'{turn.role}'"))
            continue
        turns.append(turn)
    raise_first(faults)
    _require_order(turns, where, answered=answered)
    return tuple(turns)


def messages_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return turns but that of tools as chat templates take them."""
    messages = [turn for turn in turns if turn.role != TOOLS]
    return [{"role": turn.role, "content": turn.text, **json.loads(turn.more or "{}")} for turn in messages]


def _turn(message: object, where: str) -> Turn:
    """Return a message as a turn, whatever its role.

    Raises:
        DataError: it is none; all that is wrong is told.
    """
    no_message = must_be(where, "{role, content} with texts", repr(message)[:80])
    if not isinstance(message, Mapping):
        raise DataError(no_message)
    named = message.get("role", message.get("from"))
    content = message.get("content", message.get("value"))
    if not isinstance(named, str):
        raise DataError(no_message)
    role = _ROLES.get(named.lower(), named.lower())
    more = {key: value for key in _KEPT_KEYS if (value := _plain_json(message.get(key))) not in (None, "", [], {})}
    called = _plain_json(message.get("function_call"))
    if named.lower() == "function_call":
        called, content = _plain_json(content), None
        if not called:
            raise DataError(no_message)
    calls = more.get("tool_calls") or ([called] if isinstance(called, dict) else called or [])
    if calls:
        more["tool_calls"] = _calls(calls, where)
    text = _joined(content, may_be_missing=role == "assistant" and bool(more))
    if text is None:
        raise DataError(no_message)
    weight = message.get("weight")
    if not is_missing(weight) and weight not in (0, 1):
        allowed = "1, 0 (this turn is not learned) or left out"
        raise DataError(must_be(f"{where}: weight", allowed, repr(weight)[:40]))
    return Turn(role, text, _as_text(more) if more else "", is_missing(weight) or weight == 1)


def _calls(given: object, where: str) -> list[dict[str, object]]:
    """Return calls of tools as chat templates take them: each a function with its arguments, which are no text.

    Raises:
        DataError: one is something else.
    """
    found = []
    for call in given if isinstance(given, list) else [given]:
        own = call.get("function", call) if isinstance(call, dict) else {}
        arguments = own.get("arguments", {}) if isinstance(own, dict) else None
        arguments = _plain_json(arguments) if arguments not in (None, "") else {}
        if not isinstance(own, dict) or not isinstance(own.get("name"), str) or not isinstance(arguments, dict):
            allowed = "calls of tools, as in [{type: function, function: {name: …, arguments: {…}}}]"
            raise DataError(must_be(f"{where}: tool_calls", allowed, repr(call)[:80]))
        known = {"id": call["id"]} if isinstance(call, dict) and "id" in call else {}
        found.append({**known, "type": "function", "function": {"name": own["name"], "arguments": arguments}})
    return found


def _plain_json(value: object) -> object:
    """Return what a cell or a key holds, a list or an object that is written as JSON read, less what is None within:
    tables of Arrow give each object the keys of all."""
    if isinstance(value, np.ndarray | tuple):
        value = list(value)
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, Mapping):
        return {str(key): _plain_json_within(own) for key, own in value.items() if own is not None}
    if isinstance(value, list):
        return [_plain_json_within(own) for own in value]
    return None if is_missing(value) or value == "null" else value


def _plain_json_within(value: object) -> object:
    """Return what stands within a list or an object: a text is one, whatever it looks like."""
    return value if isinstance(value, str) else _plain_json(value)


def _as_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _joined(content: object, *, may_be_missing: bool = False) -> str | None:
    """Return the text of a message, also of one in parts that are texts; None where it is no text."""
    if isinstance(content, str):
        return content
    if may_be_missing and (is_missing(content) or content == []):
        return ""
    parts = content if isinstance(content, list | tuple) else ()
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in parts]
    found = [text for text in texts if isinstance(text, str)]
    return "".join(found) if found and len(found) == len(texts) else None


def _require_order(turns: Sequence[Turn], where: str, *, answered: bool) -> None:
    if answered and not any(turn.role == "assistant" for turn in turns):
        remedy = "It is what the model learns to write."
        raise DataError(must_be(where, "messages with an assistant turn", _roles(turns), remedy))
    before = ""
    for place, turn in enumerate(turns, start=1):
        if turn.role not in _AFTER[before]:
            allowed = " or ".join(_AFTER[before]) + (f" after {before}" if before else " at the start")
            raise DataError(must_be(f"{where}: the role of message {place}", allowed, f"'{turn.role}'"))
        if not turn.text.strip() and not turn.more and turn.role == "assistant":
            raise DataError(must_be(f"{where}: message {place} of the assistant", "a text", "an empty one"))
        before = turn.role
    if answered and not any(turn.learned for turn in turns if turn.role == "assistant"):
        raise DataError(must_be(where, "messages with an assistant turn that is learned", "all of weight 0"))
    last = "assistant" if answered else "user"
    if before != last and not (not answered and before == "tool"):
        raise DataError(must_be(f"{where}: the role of the last message", last, before))


def _roles(turns: Sequence[Turn]) -> str:
    return ", ".join(turn.role for turn in turns[:8])


T = TypeVar("T")


def _told(faults: list[str], look: Callable[[], T]) -> T | None:
    """Return what is looked at; what is wrong with it is put to the faults."""
    try:
        return look()
    except DataError as error:
        faults += error.faults
        return None


def _from_json(value: object) -> object:
    """Return a list that stands in a cell as JSON, or as an array of NumPy; anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _text_of(record: Mapping[str, object], column: str, where: str) -> str:
    value = record.get(column)
    if not isinstance(value, str) or not value.strip():
        got = "nothing" if is_missing(value) else "an empty text" if isinstance(value, str) else repr(value)[:60]
        raise DataError(must_be(f"{where}: column '{column}'", "a text", got))
    return value


def _completion(record: Mapping[str, object], column: str, where: str) -> Turn:
    value = _from_json(record.get(column))
    if isinstance(value, list | tuple) and len(value) == 1:
        turn = _turn(value[0], f"{where}: column '{column}'")
        if turn.role == "assistant" and turn.learned and (turn.text.strip() or turn.more):
            return turn
    return Turn("assistant", _text_of(record, column, where))


def _references(record: Mapping[str, object], column: str | None, where: str) -> tuple[str, ...]:
    value = _from_json(record.get(column)) if column else None
    if value is None or is_missing(value):
        return ()
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise DataError(must_be(f"{where}: column '{column}'", "a text, or a list of texts", repr(value)[:60]))
    return tuple(value)


class Dialogues(Reader):
    """Documents, prompts with completions, and conversations."""

    inputs = "prompts"
    one = "prompt"
    modality = "text"
    usual_columns = ("completion", *MESSAGES_COLUMNS)
    usual_task = "text-generation"
    python_rows = "(prompt, completion)"
    own_settings = frozenset(
        {"prompt_column", "completion_column", "references_column", "messages_column", "text_column", "max_tokens"}
        | {"template", "loss_on", "max_new_tokens", "written"}
    )
    suffix = ".txt"
    own_tables = (".txt",)
    fields = ("prompt",)

    @override
    def columns(self, given: Records, settings: DataSettings) -> list[str]:
        return dialogue_columns(given.columns, settings, given.source).names

    @override
    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        read = dialogue_columns(given.columns, settings, given.source)
        if read.form == "documents" and {name.lower() for name in given.columns} & set(COMPLETION_COLUMNS):
            found.note(f"whole texts are learned, those in the column '{read.first}'")
        return read_each(given, read.row, left)

    @override
    def record(self, value: object, where: str) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        if isinstance(value, str):
            return {"text": value}
        if isinstance(value, tuple) and len(value) == 2:
            return {"prompt": value[0], "completion": value[1]}
        if isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
            return {"messages": list(value)}
        allowed = "a (prompt, completion) pair, a text, a list of messages or a dict"
        raise DataError(must_be(where, allowed, type(value).__name__))

    def is_unlabelled(self, given: Records, settings: DataSettings) -> bool:
        """Return False: a text is its own target."""
        del given, settings
        return False

    @override
    def compared_texts(self, row: Row) -> tuple[str, ...]:
        # A prompt may well have several completions: those are no copies.
        return (
            tuple(turn.text for turn in row.content.turns) if isinstance(row.content, Dialogue) else row.content.texts
        )

    @override
    def table(self, path: Path, encoding: str | None) -> Table:
        if path.suffix.lower() != ".txt":
            return read_table(path, encoding)
        text, told = decoded_text(FileContent(path).read(), str(path), encoding)
        passages = list(_passages(text))
        notes = [f"{path.name} is read as {told}"] if told and encoding is None else []
        notes += [f"{path.name}: {len(passages)} passages of about {_PASSAGE_CHARACTERS:,} characters"]
        return Table([line for line, _ in passages], [{"text": own} for _, own in passages], ["text"], notes)

    @override
    def is_of_folder(self, suffixes: set[str]) -> bool:
        return ".txt" in suffixes

    @override
    def of_folder(self, folder: Path, settings: DataSettings, found: Found) -> bool:
        files = [file for file in files_below(folder) if file.suffix.lower() == ".txt"]
        named = [file for file in visible(folder) if file.is_file() and split_role(file.stem, settings)]
        if not files or any(file.name.lower().endswith(TABLE_SUFFIXES) for file in visible(folder)) or named:
            return False
        faults: list[str] = []
        for file in sorted(files):
            way = file.relative_to(folder)
            role = (split_role(way.parts[0], settings) if len(way.parts) > 1 else None) or "all"
            text = _told(faults, partial(_document_in, file, settings))
            if isinstance(text, str):
                found.setdefault(role, []).append(Row(way.as_posix(), Dialogue((Turn("", text),)), ()))
        raise_first(faults)
        if "train" in found and "all" in found:
            raise DataError(
                must_be(f"the texts in {folder}", "all in the folders of splits, or all outside them", "some of both")
            )
        return True

    # --- inputs to predict -------------------------------------------------------------------------------------------

    def is_pattern(self, name: str) -> bool:
        """Return whether a name with `*` or `?`, as questions have too, ends as files of texts do."""
        return name.endswith((".txt", *TABLE_SUFFIXES))

    def lines(self, lines: Iterable[str], columns: InputColumns) -> Iterator[NamedInput]:
        """Return a prompt for each line: a text, or a JSON object with a prompt or messages."""
        kept = [text for line in lines if (text := line.rstrip("\r\n").removeprefix("\ufeff"))]
        if (table := objects_in(kept)) is not None:
            yield from self._of_records(table, columns, STDIN)
        else:
            yield from plain_lines(kept, columns)

    @override
    def alone(self, name: str, path: Path | None) -> NamedInput:
        if path is not None and path.suffix.lower() == ".txt" and path.is_file():
            return self.of_file(path)
        return NamedInput(name, name)

    @override
    def of_file(self, file: Path) -> NamedInput:
        try:
            return NamedInput(str(file), _document_in(file, None))
        except DataError as error:
            return NamedInput(str(file), error)

    @override
    def of_table(self, path: Path, table: Table, columns: InputColumns, *, name: str) -> list[NamedInput]:
        if path.suffix.lower() == ".txt":
            return [self.of_file(path)]
        return require_some_sound(self._of_records(table, columns, name))

    def _of_records(self, table: Table, columns: InputColumns, name: str) -> Iterator[NamedInput]:
        asked = asked_columns(table.columns, columns, name)
        prompt = first_of(PROMPT_COLUMNS, table.columns) if asked.form == "messages" else None
        instead = asked if prompt is None else _asked(table.columns, "pairs", prompt)
        is_text = asked.form == "pairs" and not (asked.beside or asked.system or asked.tools or asked.unread)
        if not is_text or any(isinstance(_from_json(one.get(asked.first)), list | tuple) for one in table.records):
            for record, number in zip(table.records, table.numbers, strict=True):
                own, where = instead if is_missing(record.get(asked.first)) else asked, f"{name}:{number}"
                yield _prompt_input(record, own, where, by_text=asked.form == "pairs")
            return
        first = asked.first
        for where, values in texts_in(name, table, [first]):
            if isinstance(values, list) and not values[0].strip():
                values = DataError(must_be(f"{where}: column '{first}'", "a text", "an empty text"))
            yield NamedInput(where, values) if isinstance(values, DataError) else NamedInput(values[0], values[0])


DIALOGUES = Dialogues()


def _prompt_input(record: Mapping[str, object], asked: DialogueColumns, where: str, *, by_text: bool) -> NamedInput:
    """Return the turns of a record that wait for an answer, known by their text or their place in the file; the error
    names the place."""
    try:
        turns = asked.turns(record, where, answered=False)
    except DataError as error:
        return NamedInput(where, error)
    tools = {TOOLS: turns[0].text} if turns[0].role == TOOLS else {}
    return NamedInput(Dialogue(turns).texts[0] if by_text else where, {"messages": messages_of(turns), **tools})


def _document_in(file: Path, settings: DataSettings | None) -> str:
    encoding = settings.encoding if settings is not None else None
    text, _ = decoded_text(read_row(Row(str(file), FileContent(file), ())), str(file), encoding)
    if not text.strip():
        raise DataError(must_be(str(file), "a text", "an empty file"))
    return text


def _passages(text: str) -> Iterator[tuple[int, str]]:
    """Yield parts of a text that end with a paragraph, or of one without empty lines with a line, each with the number
    of its first line."""
    lines = text.splitlines(keepends=True)
    ends_paragraph = any(not line.strip() for line in lines)
    first, size = 0, 0
    for place, line in enumerate(lines):
        size += len(line)
        if size >= _PASSAGE_CHARACTERS and (not ends_paragraph or not line.strip()):
            yield first + 1, "".join(lines[first : place + 1])
            first, size = place + 1, 0
    rest = "".join(lines[first:])
    if rest.strip():
        yield first + 1, rest
