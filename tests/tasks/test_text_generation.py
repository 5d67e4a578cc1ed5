"""Text generation: which tokens are learned, how likely they are, what is written, and what is left behind."""

from __future__ import annotations

import io
import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from typer.testing import CliRunner

import hftransfer as ht
from hftransfer.adapters.causal import LABELS, CausalAdapter, label_scores
from hftransfer.adapters.checkpoint import find_checkpoint
from hftransfer.adapters.heads import LANGUAGE
from hftransfer.adapters.libraries import quiet_peft
from hftransfer.adapters.loading import load_adapter
from hftransfer.adapters.writing import Writing, write
from hftransfer.attribution.explanation import GenerationExplanation
from hftransfer.attribution.words import attribute_answer
from hftransfer.base.errors import DataError, HftransferError, ModelError, RecipeError, printable
from hftransfer.base.progress import Progress
from hftransfer.cli import app
from hftransfer.data.dialogues import COMPLETIONS, DIALOGUES, Dialogue, Turn, turns_of
from hftransfer.data.reading import InputColumns
from hftransfer.data.rows import Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.sources import find_rows, rows_from_python
from hftransfer.data.tables import read_table
from hftransfer.metrics.generation import rouge_l, score_likelihood, score_texts
from hftransfer.predictors.command_line import _Stream
from hftransfer.tasks import TASKS
from hftransfer.tasks.outcomes import Manner
from hftransfer.tasks.templates import Template, cut, windows
from hftransfer.tasks.text_rows import TokenLimit, encode_rows
from hftransfer.tasks.written_texts import prompts_of
from hftransfer.training.batches import count_of_steps, filled_batches
from hftransfer.training.settings import TrainSettings
from tests.builders import (
    CHAT_TEMPLATE,
    WRITERS,
    TinyModels,
    byte_tokenizer,
    interrupted,
    load_model,
    slowly,
    write_tiny_writer,
)

ROWS = [(f"name[{name}], food[{food}]", f"{name} serves {food}.") for name in "ABCDEF" for food in ("soup", "pie")]
QUICK: dict[str, Any] = {"max_new_tokens": 8, "written": 2, "max_tokens": 96}


@pytest.fixture(scope="session")
def writers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("writers")
    return {family: write_tiny_writer(family, folder / family) for family in WRITERS}


def adapter_of(folder: Path) -> CausalAdapter:
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint is not None
    adapter = load_adapter(checkpoint, (), head=LANGUAGE)
    assert isinstance(adapter, CausalAdapter)
    return adapter


def dialogue(*turns: tuple[str, str]) -> Dialogue:
    return Dialogue(tuple(Turn(*turn) for turn in turns))


# --- which tokens are learned ----------------------------------------------------------------------------------------


def learned_texts(template: Template, items: Any) -> list[str]:
    """The runs of learned tokens, as texts."""
    runs: list[list[int]] = [[]]
    for item in items:
        for own, label in zip(item.ids, item.labels, strict=True):
            if label:
                runs[-1].append(own)
            elif runs[-1]:
                runs.append([])
        runs.append([])
    return [template.tokenizer.decode(run) for run in runs if run]


@pytest.mark.parametrize("pad", [None, "<pad>"])
def test_the_assistants_turns_are_learned_each_with_its_end(pad: str | None) -> None:
    template = Template(byte_tokenizer(pad=pad))
    turns = dialogue(("system", "S"), ("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2!"))
    encoded = template.encode(turns, "row 1")
    assert learned_texts(template, encoded) == ["1<end>", "2!<end>"]
    assert template.prompt(turns.prompt, "row 1") == encoded[0].ids[: len(encoded[0].ids) - len("2!") - 2]
    assert template.stops == (257,)


def test_marks_of_a_template_are_followed_and_the_end_is_added() -> None:
    marked = (
        "{% for message in messages %}<s>{{ message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
        "{% generation %}{{ message['content'] }}{% endgeneration %}{% else %}{{ message['content'] }}{% endif %}"
        "{{ '<end>' }}{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    template = Template(byte_tokenizer(chat=marked))
    turns = dialogue(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"))
    assert learned_texts(template, template.encode(turns, "row 1")) == ["1<end>", "2<end>"]


def test_a_template_that_ends_no_turn_is_given_an_end() -> None:
    endless = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    endless += "{% if add_generation_prompt %}assistant: {% endif %}"
    template = Template(byte_tokenizer(chat=endless))
    encoded = template.encode(dialogue(("user", "one"), ("assistant", "1")), "row 1")
    assert learned_texts(template, encoded)[-1].endswith("<end>")
    assert template.stops == (257,)


def test_a_turn_may_end_with_a_token_of_its_own() -> None:
    from tokenizers import AddedToken

    tokenizer = byte_tokenizer(chat=CHAT_TEMPLATE.replace("<end>", "<turn>"))
    tokenizer.add_tokens([AddedToken("<turn>", special=True)])
    template = Template(tokenizer)
    turns = dialogue(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"))
    assert learned_texts(template, template.encode(turns, "row 1")) == ["1<turn>", "2<turn>"]
    assert template.stops == (tokenizer.convert_tokens_to_ids("<turn>"), 257)


def test_a_template_that_rewrites_earlier_turns_teaches_each_for_itself() -> None:
    forgetful = (
        "{% for message in messages %}<s>{{ message['role'] + '\n' }}"
        "{{ message['content'] if loop.last or message['role'] == 'user' else '…' }}<end>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    )
    template = Template(byte_tokenizer(chat=forgetful))
    turns = dialogue(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"))
    items = template.encode(turns, "row 1")
    assert learned_texts(template, items) == ["1<end>", "2<end>"]
    assert [template.tokenizer.decode(item.ids) for item in items] == [
        "<s>user\none<end><s>assistant\n1<end>",
        "<s>user\none<end><s>assistant\n…<end><s>user\ntwo<end><s>assistant\n2<end>",
    ]
    rows = [Row("row 1", turns, ("2",))]
    found = encode_rows(rows, template, TokenLimit(100), strict=True)
    assert [part.question for part in found.parts] == [0, 0]
    assert "1 conversation in several parts: the chat template writes turns otherwise" in found.notes[0]
    short = encode_rows(rows, template, TokenLimit(30), strict=True)
    assert learned_texts(template, [part.encoded for part in short.parts]) == ["1<end>"]
    assert any(note.startswith("1 completion cut at 30 tokens") for note in short.notes)


THOUGHTFUL = (
    "{% for message in messages %}<s>{{ message['role'] + '\n' }}"
    "{% if message['thinking'] and loop.last %}(({{ message['thinking'] }})){% endif %}{{ message['content'] }}<end>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant\n(()){% endif %}"
)


def test_what_a_template_puts_before_an_answer_is_there_in_training_too() -> None:
    # As Gemma 4's: an empty thought before what is to be written, and none in what is written.
    template = Template(byte_tokenizer(chat=THOUGHTFUL))
    turns = dialogue(("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"))
    items = template.encode(turns, "row 1")
    assert learned_texts(template, items) == ["1<end>", "2<end>"]
    for place, item in zip((1, 3), items, strict=True):
        prompt = template.prompt(turns.turns[:place], "row 1")
        assert item.ids[: len(prompt)] == prompt
        assert not any(item.labels[: len(prompt)])
    (row,) = read([{"messages": [ASKED, {**SAID, "thinking": "Well."}]}])
    items = template.encode(row.content, "row 1")
    assert learned_texts(template, items) == ["((Well.))a<end>"]
    assert template.tokenizer.decode(items[0].ids) == "<s>user\nq<end><s>assistant\n((Well.))a<end>"


def test_a_turn_of_the_assistant_that_no_user_asked_for_is_learned_too() -> None:
    template = Template(byte_tokenizer())
    greeted = dialogue(("assistant", "Hello!"), ("user", "one"), ("assistant", "1"))
    assert learned_texts(template, template.encode(greeted, "row 1")) == ["Hello!<end>", "1<end>"]
    told = dialogue(("system", "S"), *((turn.role, turn.text) for turn in greeted.turns))
    encoded = template.encode(told, "row 1")
    assert learned_texts(template, encoded) == ["Hello!<end>", "1<end>"]
    alone = dialogue(("assistant", "Hello!"))
    assert learned_texts(template, template.encode(alone, "row 1")) == ["Hello!<end>"]
    assert prompts_of(read([{"messages": [{"role": "assistant", "content": "Hello!"}]}]), 4) == []
    strict = "{% if messages[0]['role'] == 'assistant' %}{{ raise_exception('a user must begin') }}{% endif %}"
    with pytest.raises(DataError, match="one that takes these messages; got TemplateError: a user must begin"):
        Template(byte_tokenizer(chat=strict + CHAT_TEMPLATE)).encode(greeted, "row 1")
    with pytest.raises(DataError, match="a prompt with a completion; got only an assistant message"):
        Template(byte_tokenizer(), "{prompt}").encode(alone, "row 1")


def test_a_plain_template_and_prompts_that_are_learned_too() -> None:
    turns = dialogue(("user", "one"), ("assistant", "1"))
    plain = Template.of(byte_tokenizer(chat=None), None, "completion")
    assert learned_texts(plain, plain.encode(turns, "row 1")) == ["1<end>"]
    assert plain.tokenizer.decode(plain.encode(turns, "row 1")[0].ids) == "one\n1<end>"
    own = Template.of(byte_tokenizer(), "Q: {prompt} A:", "all")
    assert learned_texts(own, own.encode(turns, "row 1")) == [": one A:1<end>"]


def test_a_document_is_learned_whole_in_parts_that_share_one_token() -> None:
    template = Template(byte_tokenizer())
    (encoded,) = template.encode(dialogue(("", "abcdefghij")), "a.txt")
    parts = windows(encoded, 4)
    assert encoded.learned == 10
    assert sum(part.learned for part in parts) == 10
    assert max(len(part.ids) for part in parts) == 4
    assert all(one.ids[-1] == two.ids[0] for one, two in pairwise(parts))
    assert cut(encoded, 4).ids == encoded.ids[:4]


@pytest.mark.parametrize(
    ("options", "turns", "message"),
    [
        ({"end": None}, [("user", "a"), ("assistant", "b")], "one with an end token; got none"),
        ({"chat": None}, [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")], "conversation of 4"),
        ({"chat": "{{ raise_exception('no system') }}"}, [("user", "a"), ("assistant", "b")], "no system"),
        ({"chat": "{{ messages | length }}"}, [("user", "a"), ("assistant", "b")], "grows with each message"),
    ],
)
def test_what_a_template_cant_do_is_said(options: dict[str, Any], turns: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(HftransferError) as caught:
        Template.of(byte_tokenizer(**options), None, "completion").encode(dialogue(*turns), "row 1")
    assert message in str(caught.value)


def test_a_prompt_without_room_is_told_or_left_out_and_a_cut_is_noted() -> None:
    template = Template(byte_tokenizer(), "{prompt}")
    rows = rows_from_python([("p" * 30, "x"), ("p", "y" * 30)], DataSettings(source="memory"), DIALOGUES)["all"]
    with pytest.raises(
        DataError, match=r"row\[0\]: the prompt must be shorter than 16 tokens, .*; got 30 tokens. .*larger"
    ):
        encode_rows(rows, template, TokenLimit(16), strict=True)
    with pytest.raises(DataError, match=r"16 tokens, the limit of the model; .*Shorten it, or set"):
        encode_rows(rows, template, TokenLimit(16, of_model=True), strict=True)
    found = encode_rows(rows, template, TokenLimit(16), strict=False)
    assert [part.encoded.learned for part in found.parts] == [0, 15]
    assert [note.split(":")[0] for note in found.notes] == ["1 completion cut at 16 tokens", "1 row not learned"]


# --- reading ---------------------------------------------------------------------------------------------------------

ASKED, SAID = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def read(rows: object, **settings: Any) -> list[Any]:
    found = rows_from_python(rows, DataSettings(source="memory", **settings), DIALOGUES)
    return [row for part in found.values() for row in part]


def test_rows_of_every_form_are_read() -> None:
    assert read([("p", "c")])[0].content == dialogue(("user", "p"), ("assistant", "c"))
    assert read([{"instruction": "do", "input": "it", "output": "done"}])[0].content.turns[0].text == "do\n\nit"
    messages = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]
    assert read([{"conversations": messages}])[0].content == dialogue(("user", "hi"), ("assistant", "yo"))
    assert read([{"messages": json.dumps(messages)}])[0].target == ("yo",)
    assert read(["a text", "another"])[1].content.is_document
    assert read([{"question": "why", "answer": "so"}])[0].target == ("so",)
    several = {"prompt": "p", "completion": "c", "references": ["c", "d"]}
    assert read([several])[0].target == ("c", "d")
    talk = {"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant", "content": "a"}]}
    assert read([talk])[0].content == dialogue(("user", "q"), ("assistant", "a"))
    assert read([{"a": "p", "b": "c"}], prompt_column="a", completion_column="b")[0].target == ("c",)
    system = {"system": "Be brief.", "prompt": "q", "completion": "a"}
    told = dialogue(("system", "Be brief."), ("user", "q"), ("assistant", "a"))
    assert read([system, {**system, "system": ""}])[0].content == told
    assert read([system, {**system, "system": ""}])[1].content == dialogue(("user", "q"), ("assistant", "a"))
    parts: object = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
    briefed: list[dict[str, object]] = [{"role": "system", "content": parts}, {"role": "user", "content": "q"}]
    assert read([{"messages": [*briefed, {"role": "assistant", "content": "a"}]}])[0].content == told


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, "got prompt. Name the column: data.completion_column=…"),
        (
            {"promt": "p", "completion": "c"},
            "Did you mean 'prompt' by 'promt'? Or name the column: data.prompt_column=…",
        ),
        ({"instruction": "p", "ouput": "c"}, "Did you mean 'output' by 'ouput'?"),
        ({"mesages": []}, "Did you mean 'messages' by 'mesages'?"),
        ({"prompt": "p", "completion": " "}, "column 'completion' must be a text; got an empty text"),
        ({"messages": [{"role": "user", "content": "p"}]}, "messages with an assistant turn; got user"),
        ({"messages": [{"role": "user", "content": "p"}] * 2 + [{"role": "assistant", "content": "a"}]}, "message 2"),
        ({"messages": [{"role": "oracle", "content": "p"}]}, "the role of message 1 must be one of system, user"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "{role, content} with texts"),
        ({"messages": "hello"}, "a list of messages"),
        ({"label": "x"}, "one layout (text; prompt, completion; messages; instruction, input, output); got label."),
        ({"messages": [ASKED, {**SAID, "tool_calls": ["look"]}]}, "message 2: tool_calls must be calls of tools"),
        ({"messages": [ASKED, {**SAID, "tool_calls": [{"name": "a", "arguments": "b"}]}]}, "arguments: {…}}}]; got"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, "message 2 must be {role, content}"),
        ({"messages": [ASKED, {"role": "function_call", "content": "look"}]}, "message 2: tool_calls must be calls"),
        ({"messages": [ASKED, {**SAID, "weight": 0}]}, "an assistant turn that is learned; got all of weight 0"),
        ({"messages": [ASKED, {**SAID, "weight": 0.5}]}, "message 2: weight must be 1, 0 (this turn is not learned)"),
        ({"messages": [ASKED, SAID], "tools": "look"}, "column 'tools' must be a list of tools, as in [{type:"),
        ({"instruction": "p", "output": "c", "history": [["q", "a"]]}, "row[0]: history must be empty or left out"),
        (
            {"messages": [{"role": "system", "content": "Be long."}, ASKED, SAID], "system": "Be brief."},
            "column 'system' must be empty where messages begin with a system turn; got Be brief.",
        ),
    ],
)
def test_rows_that_teach_nothing_are_told_in_words(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read([row])
    assert message in str(caught.value)


def test_what_a_prompt_is_about_and_what_is_told_before_it_are_read() -> None:
    about = {"instruction": "do", "context": "it", "response": "done"}
    assert read([about])[0].content.turns[0].text == "do\n\nit"
    assert read([{**about, "input": " "}])[0].content.turns[0].text == "do\n\nit"
    told = dialogue(("system", "Be brief."), ("user", "why"), ("assistant", "so"))
    assert read([{"system_prompt": "Be brief.", "question": "why", "response": "so"}])[0].content == told
    assert read([{"question": "why", "context": "it", "answer": "so"}])[0].content.turns[0].text == "why\n\nit"
    empty = {"tool_calls": None, "reasoning_content": "", "weight": 1}
    row = {"messages": [ASKED, {**SAID, **empty}], "system": "Be brief.", "tools": "[]"}
    assert read([row])[0].content == dialogue(("system", "Be brief."), ("user", "q"), ("assistant", "a"))


# --- tools, thoughts, turns that are not learned ---------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
ANSWERED = [{"role": "tool", "tool_call_id": "1", "content": "rain"}, {"role": "assistant", "content": "Rain."}]
OF_TOOLS = (
    "{% if tools %}{{ '<s>tools\n' + tools | tojson + '<end>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<s>' + message['role'] + '\n' }}"
    "{% if message['reasoning_content'] and loop.last %}{{ '(' + message['reasoning_content'] + ')' }}{% endif %}"
    "{{ message['content'] }}"
    "{% for call in message['tool_calls'] %}{{ call['function'] | tojson }}{% endfor %}{{ '<end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
)


def called(form: str, arguments: object) -> dict[str, Any]:
    """A message that calls a tool, in one of the forms there are."""
    function = {"name": "look", "arguments": arguments}
    forms: dict[str, dict[str, Any]] = {
        "openai": {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": function}]},
        "bare": {"role": "assistant", "content": "", "tool_calls": [{**function, "id": "1"}]},
        "json": {"role": "assistant", "tool_calls": json.dumps([{"id": "1", "function": function}])},
        "legacy": {"role": "assistant", "content": None, "function_call": function},
        "sharegpt": {"from": "function_call", "value": json.dumps(function)},
    }
    return forms[form]


def learned_text(row: Any, template: Template) -> str:
    return "".join(learned_texts(template, template.encode(row.content, row.id)))


@pytest.mark.parametrize("form", ["openai", "bare", "json", "legacy", "sharegpt"])
@pytest.mark.parametrize("arguments", [{"at": "Rome", "unit": None}, '{"at": "Rome"}'])
def test_calls_of_tools_are_learned_as_the_chat_template_writes_them(form: str, arguments: object) -> None:
    (row,) = read([{"messages": [ASKED, called(form, arguments), *ANSWERED], "tools": [TOOL]}])
    template = Template.of(byte_tokenizer(chat=OF_TOOLS), None, "completion")
    call = '{"name": "look", "arguments": {"at": "Rome"}}'
    assert learned_text(row, template) == f"{call}<end>Rain.<end>"
    whole = template.tokenizer.decode(template.encode(row.content, row.id)[0].ids)
    assert whole == (
        f"<s>tools\n{json.dumps([TOOL])}<end>\n<s>user\nq<end>\n<s>assistant\n{call}<end>\n"
        "<s>tool\nrain<end>\n<s>assistant\nRain.<end>\n"
    )


def test_calls_in_tables_of_datasets_have_their_own_arguments(tmp_path: Path) -> None:
    import datasets

    tool = {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
    rows = [{"messages": [ASKED, called("openai", own)], "tools": [tool]} for own in ({"at": "Rome"}, {"when": 3})]
    wanted = [row.content for row in read(rows)]
    # Structs have the keys of all rows, and what is JSON is written as texts.
    structs = datasets.Dataset.from_list(rows)
    mixed = datasets.Dataset.from_list(rows, on_mixed_types="use_json")
    for data in (structs, mixed):
        assert [row.content for row in read(data)] == wanted
        data.to_parquet(tmp_path / "rows.parquet")
        found = find_rows(DataSettings(source=str(tmp_path / "rows.parquet")), Progress(None), DIALOGUES)
        assert [row.content for row in found["all"]] == wanted


def test_tools_are_part_of_the_prompt() -> None:
    row = {"messages": [ASKED, called("openai", {})], "tools": json.dumps([TOOL])}
    (one,) = read([row])
    assert one.content.prompt[0].role == "tools"
    assert one.content.group != read([{**row, "tools": "[]"}])[0].content.group
    assert one.target == ()  # what is written can't be compared with a call
    assert read([{"prompt": "q", "completion": [called("openai", {})]}])[0].target == ()
    template = Template.of(byte_tokenizer(chat=OF_TOOLS), None, "completion")
    prompt = template.tokenizer.decode(template.prompt(one.content.prompt, "row"))
    assert prompt == f"<s>tools\n{json.dumps([TOOL])}<end>\n<s>user\nq<end>\n<s>assistant\n"
    assert read([{"prompt": "q", "completion": "a", "tools": [TOOL]}])[0].content.prompt[0].role == "tools"


def test_thoughts_are_learned_where_the_template_writes_them() -> None:
    (row,) = read([{"messages": [ASKED, {**SAID, "reasoning_content": "Well."}]}])
    template = Template.of(byte_tokenizer(chat=OF_TOOLS), None, "completion")
    assert learned_text(row, template) == "(Well.)a<end>"
    # Templates leave out thoughts of earlier turns on purpose.
    (row,) = read([{"messages": [ASKED, {**SAID, "reasoning_content": "Well."}, ASKED, SAID]}])
    assert learned_texts(template, template.encode(row.content, row.id)) == ["(Well.)a<end>", "a<end>"]


@pytest.mark.parametrize(
    ("row", "key"),
    [
        ({"messages": [ASKED, called("openai", {}), *ANSWERED]}, "tool_calls"),
        ({"messages": [ASKED, SAID], "tools": [TOOL]}, "tools"),
        ({"messages": [ASKED, {**SAID, "reasoning_content": "Well."}]}, "reasoning_content"),
        ({"messages": [ASKED, {**SAID, "thinking": "Well."}]}, "thinking"),
        ({"messages": [ASKED, {**SAID, "thinking": "Well."}, ASKED, SAID]}, "thinking"),
    ],
)
def test_a_template_that_leaves_out_what_turns_hold_is_refused(row: dict[str, Any], key: str) -> None:
    (one,) = read([row])
    template = Template.of(byte_tokenizer(), None, "completion")
    with pytest.raises(DataError, match=f"must be one that tells {key}; got one that leaves them out"):
        template.encode(one.content, one.id)
    plain = Template.of(byte_tokenizer(), "{prompt}\n", "completion")
    with pytest.raises(DataError, match=r"texts alone, since data\.template has room for nothing else"):
        plain.encode(one.content, one.id)


@pytest.mark.parametrize("marks", [False, True])
def test_turns_of_weight_0_are_not_learned(marks: bool) -> None:
    (row,) = read([{"messages": [ASKED, {**SAID, "weight": 0}, ASKED, {**SAID, "content": "b", "weight": 1}]}])
    chat = CHAT_TEMPLATE
    if marks:
        chat = (
            "{% for message in messages %}{{ '<s>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}"
            "{% generation %}{{ message['content'] + '<end>' }}{% endgeneration %}{% else %}"
            "{{ message['content'] + '<end>' }}{% endif %}{{ '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}"
        )
    template = Template.of(byte_tokenizer(chat=chat), None, "completion")
    assert learned_text(row, template) == "b<end>"
    (last,) = read([{"messages": [ASKED, SAID, ASKED, {**SAID, "content": "b", "weight": 0}]}])
    assert learned_text(last, template) == "a<end>"
    assert last.target == ()
    with pytest.raises(DataError, match=r"weight must be 1 or left out with data.loss_on: all"):
        Template.of(byte_tokenizer(chat=chat), None, "all").encode(row.content, row.id)


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "do", "input": "it", "output": "done"},
        {"instruction": "do", "context": "it", "response": "done"},
        {"system": "Be brief.", "prompt": "q", "completion": "a"},
        {"system": "Be brief.", "messages": [ASKED, SAID]},
        {"conversations": [ASKED, SAID]},
        {"prompt": [ASKED], "completion": "a"},
        {"prompt": "q", "completion": "a", "tools": [TOOL]},
        {"messages": [ASKED, SAID], "tools": json.dumps([TOOL])},
        {"prompt": [ASKED, called("legacy", {"at": "Rome"}), ANSWERED[0]], "completion": "a"},
    ],
)
def test_prompts_are_read_as_in_training(row: dict[str, Any], tmp_path: Path) -> None:
    task = TASKS["text-generation"]
    learned = read([row])[0].content.prompt
    asked = {name: value for name, value in row.items() if name not in ("output", "response", "completion")}
    asked = {name: [ASKED] if value == [ASKED, SAID] else value for name, value in asked.items()}
    assert task.row_of(asked, 0).content.turns == learned  # type: ignore[attr-defined]
    file = tmp_path / "asked.jsonl"
    file.write_text(json.dumps(asked) + "\n")
    table = read_table(file)
    (found,) = DIALOGUES.of_table(file, table, InputColumns(), name="asked.jsonl")
    given: Any = found.value
    assert task.row_of(given, 0).content.turns == learned  # type: ignore[attr-defined]


def test_rows_without_messages_keep_what_goes_with_their_prompts(tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    prompted = {"messages": None, "instruction": "do", "input": "it", "system": "Be brief."}
    file.write_text(json.dumps({"messages": [ASKED]}) + "\n" + json.dumps(prompted) + "\n")
    found = DIALOGUES.of_table(file, read_table(file), InputColumns(), name="asked.jsonl")
    turns = [TASKS["text-generation"].row_of(one.value, 0).content.turns for one in found]  # type: ignore[attr-defined]
    assert turns == [(Turn("user", "q"),), (Turn("system", "Be brief."), Turn("user", "do\n\nit"))]
    assert [one.name for one in found] == ["asked.jsonl:1", "asked.jsonl:2"]


def test_a_fault_that_many_rows_have_is_told_once() -> None:
    with pytest.raises(DataError) as caught:
        read([("p", "")] * 9 + [("p", 4)])
    first, second = caught.value.faults
    assert first.endswith("got an empty text. The same in 8 more rows: row[1], row[2], row[3] and 5 more.")
    assert second.startswith("row[9]: column 'completion' must be a text; got 4")


def test_texts_are_found_as_files(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("first\n")
    (tmp_path / "two.txt").write_text("second\n")
    found = rows_from_python(str(tmp_path), DataSettings(source="memory"), DIALOGUES)
    read_texts = [(row.id, row.content.texts[0]) for row in found["all"]]
    assert read_texts == [("one.txt", "first\n"), ("two.txt", "second\n")]
    long = tmp_path / "book.txt"
    long.write_text("\n\n".join(["word " * 150] * 9))
    passages = rows_from_python(str(long), DataSettings(source="memory"), DIALOGUES)["all"]
    assert [row.id for row in passages] == ["book.txt:1", "book.txt:7", "book.txt:13"]
    assert "".join(row.content.texts[0] for row in passages) == long.read_text()


def test_prompts_stay_together_and_are_written_for_once() -> None:
    rows = [(f"p{n // 4}", f"c{n}") for n in range(40)]
    own = read(rows)
    kept, held = COMPLETIONS.hold_out(own, 0.25, 0, "test")
    assert {row.content.texts for row in kept}.isdisjoint(row.content.texts for row in held)
    assert 8 <= len(held) <= 12
    assert [own[place].content.texts[0] for place in prompts_of(own, 5)] == ["p0", "p2", "p4", "p6", "p8"]


# --- how likely the learned tokens are -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", WRITERS)
def test_scores_and_gradients_are_those_of_all_logits(family: str, writers: dict[str, Path]) -> None:
    adapter = adapter_of(writers[family])
    ids = torch.randint(0, 250, (3, 12), generator=torch.Generator().manual_seed(0))
    labels = torch.zeros_like(ids)
    labels[0, 4:], labels[1, 1:7], labels[2, 11] = 1, 1, 1
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), LABELS: labels}
    wanted_ids = ids.masked_fill(labels == 0, -100)
    loss = adapter.model(input_ids=ids, labels=wanted_ids, use_cache=False).loss
    weight: Any = adapter.stages[1].get_submodule("attn.c_proj" if family == "gpt2" else "self_attn.o_proj").weight
    (wanted,) = torch.autograd.grad(loss, weight)
    for boundary in (0, 1, len(adapter.stages)):
        scores = adapter.above(adapter.below(inputs, boundary), boundary)
        assert scores.shape == (3, 12, 3)
        assert float(scores[labels == 0].detach().abs().sum()) == 0
        assert torch.allclose(scores[..., 0].sum() / labels.sum(), loss, atol=1e-5)
        (found,) = torch.autograd.grad(scores[..., 0].sum() / labels.sum(), weight)
        assert torch.allclose(found, wanted, atol=1e-5)
    with torch.no_grad():
        logits = adapter.model(input_ids=ids, use_cache=False).logits
    hits = (logits[:, :-1].argmax(-1) == ids[:, 1:]) & labels[:, 1:].bool()
    assert torch.equal(scores[:, 1:, 1].bool(), hits)
    logs = -logits[:, :-1].log_softmax(-1).mean(-1) * labels[:, 1:]
    assert torch.allclose(scores[:, 1:, 2], logs, atol=1e-5)


def test_logits_lie_in_memory_a_few_at_a_time() -> None:
    seen: list[int] = []

    def head(features: torch.Tensor) -> torch.Tensor:
        seen.append(len(features))
        return features @ torch.ones(4, 7)

    labels = torch.ones(2, 9, dtype=torch.int64)
    labels[:, 0] = 0
    features = torch.randn(2, 9, 4, requires_grad=True)
    scores = label_scores(features, torch.zeros(2, 9, dtype=torch.int64), labels, head, 5)
    torch.autograd.backward(scores[..., 0].sum())
    assert sorted(seen) == [1, 1, 5, 5, 5, 5, 5, 5]  # once forward, and once more for the gradient
    assert math.isclose(float(scores[0, 1, 0].detach()), math.log(7), rel_tol=1e-5)


@pytest.mark.parametrize("family", WRITERS)
def test_packed_texts_do_not_see_one_another(family: str, writers: dict[str, Path]) -> None:
    adapter = adapter_of(writers[family])
    adapter.pack()
    drawn = torch.randint(0, 250, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(12) < torch.tensor([[12], [5], [8]])).long()
    labels = mask.clone()
    labels[:, 0] = 0
    whole = {"input_ids": drawn * mask, "attention_mask": mask, LABELS: labels}
    for boundary in (0, 1, len(adapter.stages)):
        packed = adapter.above(adapter.below(whole, boundary), boundary)
        for row, count in enumerate((12, 5, 8)):
            adapter.packs = False
            alone = adapter.above({name: tensor[row : row + 1, :count] for name, tensor in whole.items()}, 0)
            adapter.packs = True
            assert torch.allclose(packed[row, :count], alone[0], atol=1e-5)
        assert not packed[mask == 0].any()


def test_packed_training_is_that_of_padded_batches(writers: dict[str, Path]) -> None:
    losses = []
    for packing in (False, True):
        train: dict[str, Any] = {"epochs": 2, "packing": packing, "precision": "fp32"}
        strategy = {"kind": "lora", "dropout": 0.0}
        model = str(writers["qwen2"])
        done = ht.fit("text-generation", model=model, train=ROWS, strategy=strategy, data=QUICK, **train)
        losses.append([row["train_loss"] for row in done.history[1:]])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_gradual_unfreezing_begins_with_the_last_stage(writers: dict[str, Path]) -> None:
    strategy = ht.FineTune(gradual=True, learning_rate=0.01)
    model = str(writers["llama"])
    done = ht.fit("text-generation", model=model, train=ROWS, strategy=strategy, data=QUICK, epochs=2, precision="fp32")
    assert [row["epoch"] for row in done.history] == [0, 1, 2]
    with pytest.raises(RecipeError, match="head_init must be auto for task text-generation; got random"):
        ht.fit("text-generation", model=model, train=ROWS, strategy={"kind": "fine-tune", "head_init": "random"})


def test_an_encoder_is_refused(tiny: TinyModels, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must be a decoder; got the encoder"):
        ht.fit("text-generation", model=str(tiny("bert")), train=ROWS, strategy=ht.LoRA())
    import transformers as tf

    config = tf.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, vocab_size=264
    )
    tf.BertLMHeadModel(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    checkpoint = find_checkpoint(str(tmp_path))
    assert checkpoint is not None
    with pytest.raises(ModelError, match="a decoder, for text-generation"):
        load_adapter(checkpoint, (), head=LANGUAGE)


# --- runs ------------------------------------------------------------------------------------------------------------


def recipe_of(model: object, strategy: object = "lora", **train: Any) -> dict[str, Any]:
    return {
        "task": "text-generation",
        "model": str(model),
        "data": {"source": "memory", **QUICK},
        "strategy": strategy,
        "train": {"epochs": 1, "batch_size": 4, "precision": "fp32", **train},
    }


@pytest.mark.parametrize(
    ("family", "strategy"),
    [
        ("gpt2", {"kind": "lora", "merge": True, "learning_rate": 0.01}),
        ("llama", {"kind": "fine-tune", "unfreeze": "all", "learning_rate": 0.01}),
        *slowly(
            ("qwen2", {"kind": "lora", "rslora": True, "learning_rate": 0.01}),
            ("gemma2", {"kind": "fine-tune", "unfreeze": 1, "learning_rate": 0.01}),
        ),
    ],
)
def test_a_run_learns_and_leaves_a_native_model(
    family: str, strategy: dict[str, Any], writers: dict[str, Path], tmp_path: Path
) -> None:
    import transformers as tf

    result = ht.run(recipe_of(writers[family], strategy, epochs=3), data=ROWS, out=tmp_path / "run")
    before, after = result.metrics["before"]["test"], result.metrics["test"]
    assert after["bits_per_byte"] < before["bits_per_byte"]
    low, high = after["bits_per_byte_interval"]
    assert low <= after["bits_per_byte"] <= high
    assert f"; {before['bits_per_byte']:.4f} before training)" in str(result.headline)
    assert {"bleu", "chrf", "rouge_l", "stopped", "exact_match", "length_ratio"} <= after.keys()
    ids = torch.randint(0, 250, (1, 20), generator=torch.Generator().manual_seed(1))
    predictor = ht.load(tmp_path / "run")
    assert isinstance(predictor, ht.Predictor)
    with torch.no_grad():
        own = predictor.adapter.model(input_ids=ids).logits
        folder = tmp_path / "run" / ("merged" if strategy.get("merge") else "model")
        if (folder / "adapter_config.json").is_file():
            import peft

            base = tf.AutoModelForCausalLM.from_pretrained(writers[family])
            with quiet_peft():
                model = peft.PeftModel.from_pretrained(base, str(folder)).eval()
            assert json.loads((folder / "adapter_config.json").read_text())["task_type"] == "CAUSAL_LM"
        else:
            model = tf.AutoModelForCausalLM.from_pretrained(folder).eval()
            ends = model.generation_config.eos_token_id
            assert 257 in (ends if isinstance(ends, list) else [ends])
            assert model.config.use_cache
        assert torch.allclose(model(input_ids=ids).logits, own, atol=1e-5)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "before:" in page
    assert "Before training: " in page
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "| Metric | Before training | Test (95 % interval) | Validation |" in card
    assert "with the tokenizer's chat template" in card
    assert not any(str(writers[family]) in file.read_text() for file in (tmp_path / "run" / "model").glob("*.[mj]*"))
    code = next(block for block in re.findall(r"```python\n(.*?)```", card, re.S) if "generate" in block)
    code = code.replace("path/to/this/folder", str(tmp_path / "run" / "model"))
    code = code.replace(f"path/to/{family}", str(writers[family])).replace("max_new_tokens=128", "max_new_tokens=8")
    told: list[str] = []
    with quiet_peft():
        exec(compile(code, "card", "exec"), {"print": told.append})
    with pytest.raises(RecipeError, match=r"convert_hf_to_gguf\.py") as caught:
        ht.export(tmp_path / "run", format="gguf")  # type: ignore[arg-type]
    is_lora, whole = strategy["kind"] == "lora", "merged" if strategy.get("merge") else "model"
    assert ("First merge LoRA" in str(caught.value)) == (is_lora and whole == "model")
    assert (str(tmp_path / "run" / whole) in str(caught.value)) == (whole == "merged" or not is_lora)
    (own_text,) = predictor.predict(["What is it?"], max_new_tokens=8)
    assert told[0].strip() == own_text.text


def test_kept_activations_give_what_computing_anew_does(writers: dict[str, Path]) -> None:
    model, strategy = str(writers["llama"]), {"kind": "fine-tune", "unfreeze": 1}
    losses = []
    for cache in ("on", "off"):
        done = ht.fit("text-generation", model=model, train=ROWS, strategy=strategy, data=QUICK, epochs=2, cache=cache)
        losses.append([row["train_loss"] for row in done.history[1:]])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "linear-probe"}, "strategy.kind must be lora or fine-tune"),
        ({"data": {"source": "memory", "template": "Q:"}}, "data.template must be a text with {prompt} in it"),
        ({"data": {"source": "memory", "max_new_tokens": 0}}, "data.max_new_tokens must be"),
        ({"task": "text-classification", "train": {"packing": True}}, "train.packing must be left out"),
        ({"train": {"class_weights": "auto"}}, "train.class_weights must be none"),
        ({"strategy": {"kind": "lora", "head_init": "solved"}}, "strategy.head_init must be auto or random"),
    ],
)
def test_settings_that_make_no_sense_are_told(change: dict[str, Any], message: str, writers: dict[str, Path]) -> None:
    with pytest.raises(RecipeError) as caught:
        ht.check({**recipe_of(writers["llama"]), **change}, data=ROWS)
    assert message in str(caught.value)


def test_batches_of_so_many_tokens_hold_every_text_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 90, 200)
    batches = filled_batches(lengths, 256, seed=0, epoch=1)
    assert sorted(item for batch in batches for item in batch) == list(range(200))
    assert max(len(batch) * lengths[batch].max() for batch in batches) <= 256
    assert filled_batches(np.array([300, 2]), 256, seed=0, epoch=0) in ([[0], [1]], [[1], [0]])
    settings = TrainSettings(tokens_per_batch=256)
    assert count_of_steps(200, lengths, settings, 2) == sum(len(filled_batches(lengths, 256, 0, at)) for at in (0, 1))


def test_parts_of_so_many_tokens_have_the_gradient_of_the_whole(writers: dict[str, Path]) -> None:
    model, strategy = str(writers["llama"]), {"kind": "fine-tune", "learning_rate": 1e-3}
    histories = []
    for micro in (None, 100):
        train: dict[str, Any] = {"epochs": 2, "tokens_per_batch": 400, "micro_tokens": micro, "precision": "fp32"}
        fitted = ht.fit("text-generation", model=model, train=ROWS, strategy=strategy, data=QUICK, **train)
        histories.append([row["train_loss"] for row in fitted.history[1:]])
    assert histories[0] == pytest.approx(histories[1], rel=1e-5)


def test_check_proves_the_end_and_shows_what_is_learned(writers: dict[str, Path]) -> None:
    told = io.StringIO()
    ht.check(recipe_of(writers["llama"]), data=ROWS, progress=Progress(told))
    lines = told.getvalue()
    assert "the chat template of the tokenizer; a text ends with <end>, which is learned" in lines
    assert "padding is that token too" in lines
    assert "a row has room for 96 tokens, set by data.max_tokens" in lines
    assert re.search(r"train: median \d+ tokens, 95 % have at most \d+, .* are learned each epoch", lines)
    assert "<s>user\nname[A], food[soup]<end>\n<s>assistant\n[A serves soup.<end>]" in lines
    with pytest.raises(DataError, match=r"row\[0\]: the prompt must be shorter than 16 tokens, set by .* The same in"):
        ht.check({**recipe_of(writers["llama"]), "data": {"source": "memory", "max_tokens": 16}}, data=ROWS)


def test_a_template_whose_marks_leave_out_the_end_is_refused(tmp_path: Path) -> None:
    # The turn ends with a token that is none of the tokenizer's end tokens.
    chat = "{% for message in messages %}<s>{{ message['role'] + '\n' + message['content'] + '.' }}{% endfor %}"
    chat += "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
    marked = chat.replace(
        "{{ message['role'] + '\n' + message['content'] + '.' }}",
        ("{{ message['role'] + '\n' }}{% generation %}{{ message['content'] }}{% endgeneration %}."),
    )
    write_tiny_writer("llama", tmp_path, chat=marked)
    with pytest.raises(DataError, match=r"a text that ends with .* got one without an end"):
        ht.check(recipe_of(tmp_path), data=ROWS)


def test_what_has_nothing_to_see_is_told_in_words() -> None:
    assert ht.Generation("", stopped=True, tokens=(), log_probability=-1.0).shown == "(only end-of-turn)"
    unseen = ht.Generation("", stopped=False, tokens=(256, 256), log_probability=-1.0)
    assert unseen.line("a", "softmax") == "a  (only special tokens and spaces: 2) …"
    assert ht.Generation("a", stopped=True, tokens=(3,), log_probability=-1.0).shown == "a"


def test_a_resumed_run_is_the_run_that_was_not_interrupted(
    writers: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(writers["llama"], "lora", epochs=3, tokens_per_batch=120, micro_tokens=60, batch_size=4)
    whole = ht.run(recipe, data=ROWS, out=tmp_path / "whole")
    with interrupted(monkeypatch, 5):
        ht.run(recipe, data=ROWS, out=tmp_path / "run")
    # Of a folder of runs the newest goes on that is unfinished.
    resumed = ht.run(tmp_path, data=ROWS, resume=True)
    assert resumed.folder == tmp_path / "run"
    with pytest.raises(HftransferError, match="must be at least one interrupted run; got none"):
        ht.run(tmp_path, data=ROWS, resume=True)
    one, two = ((run.folder / "model" / "adapter_model.safetensors").read_bytes() for run in (whole, resumed))
    assert one == two
    assert whole.metrics["test"] == resumed.metrics["test"]
    assert whole.metrics["before"] == resumed.metrics["before"]


@pytest.mark.slow
def test_comparing_ranks_is_by_tokens_that_were_likeliest(writers: dict[str, Path], tmp_path: Path) -> None:
    study = ht.compare(
        recipe_of(writers["llama"]), strategies=["lora:2", "fine-tune:all"], seeds=[0], data=ROWS, out=tmp_path / "cmp"
    )
    assert {arm.score is not None and 0 <= arm.score <= 1 for arm in study.arms} == {True}


def test_several_completions_of_a_prompt_are_no_copies(writers: dict[str, Path]) -> None:
    rows = [("p", "one answer"), ("p", "another"), ("q", "one answer"), ("q", "one answer"), *ROWS]
    found = ht.audit(recipe_of(writers["llama"]), data=rows)
    assert [one.id for one in found.findings if one.kind != "oddity"] == ["row[3]"]


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", WRITERS)
def test_texts_written_together_are_those_written_alone(family: str, writers: dict[str, Path]) -> None:
    adapter = adapter_of(writers[family])
    random = np.random.default_rng(0)
    prompts = [random.integers(0, 250, int(size)).tolist() for size in random.integers(1, 40, 10)]
    # Any token may end a text here, so that some do.
    stops = tuple(range(0, 256, 17))
    found = write(adapter, prompts, Writing(stops, 12))
    for prompt, one in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt])
        told = adapter.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=list(stops)
        )[0, len(prompt) :].tolist()
        ended = told[-1] in stops
        assert (list(one.ids), one.stopped) == (told[:-1] if ended else told, ended)
        with torch.no_grad():
            logs = adapter.model(input_ids=torch.tensor([prompt + told])).logits[0].log_softmax(-1)
        wanted = sum(float(logs[len(prompt) - 1 + place, token]) for place, token in enumerate(told))
        assert one.log_probability == pytest.approx(wanted, abs=1e-3)
    assert any(one.stopped for one in found)
    assert not all(one.stopped for one in found)


def test_what_is_drawn_follows_from_the_seed_and_not_from_neighbours(writers: dict[str, Path]) -> None:
    adapter = adapter_of(writers["llama"])
    how = Writing((257,), 10, temperature=1.0, seed=5)
    both = write(adapter, [[1, 2, 3], [4, 5]], how)
    assert write(adapter, [[1, 2, 3]], how)[0].ids == both[0].ids
    assert write(adapter, [[1, 2, 3]], Writing((257,), 10, temperature=1.0, seed=6))[0].ids != both[0].ids


def test_a_text_ends_where_the_context_does(writers: dict[str, Path]) -> None:
    adapter = adapter_of(writers["gpt2"])
    (found,) = write(adapter, [[1] * 250], Writing((), 100))
    assert len(found.ids) == adapter.max_tokens - 250
    assert not found.stopped


def test_predictions_tell_text_end_and_probability(writers: dict[str, Path]) -> None:
    model = ht.load(writers["llama"])
    assert isinstance(model, ht.Predictor)
    one, other = model.predict(["name[A]", "name[B]"], max_new_tokens=5)
    assert len(one.tokens) <= 5
    assert one.log_probability < 0
    alone = model.predict("name[A]", max_new_tokens=5)
    assert alone.tokens == one.tokens != other.tokens
    assert alone.log_probability == pytest.approx(one.log_probability, abs=1e-4)
    talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "name[A]"}]
    given: Any = [{"messages": talk}]
    assert model.predict(given, max_new_tokens=5)[0] != one
    with pytest.raises(RecipeError, match="max_new_tokens must be 1 or more; got 0"):
        model.predict(["a"], max_new_tokens=0)
    with pytest.raises(DataError, match="1 to 255 tokens long"):
        model.predict(["a" * 300])
    with pytest.raises(DataError, match="prompt 2 must be a text"):
        model.predict(["a", " "])


@pytest.mark.parametrize("family", WRITERS)
def test_words_of_a_prompt_are_weighed_for_what_is_written(family: str, writers: dict[str, Path]) -> None:
    model = ht.load(writers[family])
    assert isinstance(model, ht.Predictor)
    adapter = model.source
    assert isinstance(adapter, CausalAdapter)
    template = Template(adapter.processor)
    turns = dialogue(("system", "Be brief."), ("user", "name[A], food[soup]")).turns
    prompt = template.placed(turns, "prompt 1")
    for text, pieces in prompt.texts:
        assert template.tokenizer.decode([prompt.ids[place] for place, _, _ in pieces]) == text
        assert "".join(text[start:end] for _, start, end in pieces) == text
    found = attribute_answer(adapter, prompt, [65, 66, 67], 1, steps=200)
    # Completeness (Sundararajan et al., proposition 1), and the log probability by plain transformers.
    assert found.total == pytest.approx(found.difference, rel=0.02, abs=0.02)
    with torch.no_grad():
        logs = adapter.model(torch.tensor([[*prompt.ids, 65, 66, 67]])).logits[0].log_softmax(dim=-1)
    wanted = logs[-3, 66] + logs[-2, 67]
    assert found.score == pytest.approx(float(wanted), abs=1e-4)
    assert [[word.text for word in part] for part in found.words] == [["Be", "brief."], ["name[A],", "food[soup]"]]


def test_a_generation_is_explained_whole_or_in_part(writers: dict[str, Path], tmp_path: Path) -> None:
    model = ht.load(writers["llama"])
    assert isinstance(model, ht.Predictor)
    (written,) = model.predict(["name[A] food[pie]"], max_new_tokens=128)
    (whole,) = ht.explain(model, ["name[A] food[pie]"])
    assert isinstance(whole, GenerationExplanation)
    assert whole.text == written.text
    assert [word.text for word in whole.words] == ["name[A]", "food[pie]"]
    part = written.text[2:5]
    (some,) = ht.explain(model, ["name[A] food[pie]"], label=part)
    assert isinstance(some, GenerationExplanation)
    assert whole.log_probability < some.log_probability < 0
    with pytest.raises(DataError, match=r"the part to explain must be in '.*'; got 'soups'"):
        ht.explain(model, ["name[A] food[pie]"], label="soups")
    command = ["explain", str(writers["llama"]), "name[A] food[pie]", "--out", str(tmp_path / "told")]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.output
    assert "(log probability -" in outcome.stdout
    page = (tmp_path / "told" / "explanations.html").read_text()
    assert "food[pie]" in page


def test_the_command_line_shows_one_text_as_it_is_and_several_in_lines(
    writers: dict[str, Path], tmp_path: Path
) -> None:
    def told(*words: str) -> str:
        outcome = CliRunner().invoke(app, ["predict", str(writers["llama"]), *words, "--max-new-tokens", "6"])
        assert outcome.exit_code == 0, outcome.output
        return outcome.stdout

    model = ht.load(writers["llama"])
    assert isinstance(model, ht.Predictor)
    (one,) = model.predict(["hello"], max_new_tokens=6)
    assert told("hello") == printable(one.text) + "\n"
    lines = told("hello", "there").splitlines()
    assert [line.split("  ")[0] for line in lines] == ["hello", "there"]
    assert json.loads(told("hello", "--json"))["predictions"][0]["tokens"] == 6
    table = tmp_path / "prompts.jsonl"
    table.write_text('{"prompt": "hello"}\n{"messages": [{"role": "user", "content": "hello"}]}\n')
    assert told(str(table), "--csv", str(tmp_path / "out.csv")) == ""
    assert "prompts.jsonl:2" in (tmp_path / "out.csv").read_text()
    table.write_text('{"prompt": "hello"}\n{"prompt": ""}\n')
    part = CliRunner().invoke(app, ["predict", str(writers["llama"]), str(table), "--max-new-tokens", "2"])
    assert "prompts.jsonl:2: column 'prompt' must be a text; got an empty text" in part.stderr
    table.write_text('{"messages": [{"role": "user", "content": "a"}]}\n{"messages": []}\n')
    part = CliRunner().invoke(app, ["predict", str(writers["llama"]), str(table), "--max-new-tokens", "2"])
    assert "prompts.jsonl:2: column 'messages' must be a list of messages" in part.stderr
    refused = CliRunner().invoke(app, ["predict", str(writers["llama"]), "a", "--max-new-tokens", "0"])
    assert refused.exit_code == 2


def test_a_text_appears_as_it_grows(capsys: pytest.CaptureFixture[str]) -> None:
    stream = _Stream()
    for text in ("a", "a b", "a b\ufffd", "a b\u00e9"):
        stream.tell(0, text)
    assert capsys.readouterr().out == "a b\u00e9"


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_likelihood_is_a_ratio_of_sums() -> None:
    found = score_likelihood(np.array([4.0, 2.0]), np.array([2, 4]), np.array([1, 2]), np.array([10, 5]))
    assert found["perplexity"] == pytest.approx(math.e)
    assert found["bits_per_byte"] == pytest.approx(6 / math.log(2) / 15)
    assert found["token_accuracy"] == 0.5
    assert found["perplexity_interval"] == pytest.approx([math.exp(0.5), math.exp(2)])


def test_written_texts_are_judged_by_the_nearest_reference() -> None:
    # The numbers are those of rouge-score 0.1.2 (rougeL, no stemmer) and of the definitions.
    assert rouge_l("the cat sat on the mat", "a cat was on the mat") == pytest.approx(2 / 3)
    assert rouge_l("Ein Käse!", "käse ein") == 0.5
    assert rouge_l("", "a") == 0
    assert rouge_l("今天天气很好,去 park", "今天天气不好,去 Park") == pytest.approx(7 / 8)
    assert rouge_l("วันนี้", "วันนั้น") > 0.5
    found = score_texts(["the cat", "x y"], [["a dog", "the cat"], ["x y z", "q"]], [True, False])
    assert found["exact_match"] == 0.5
    assert found["stopped"] == 0.5
    assert found["rouge_l"] == pytest.approx((1 + 0.8) / 2)
    assert found["length_ratio"] == pytest.approx(4 / 3)  # of two that are as near, the shorter counts
    written, right = ["今天天气很好我们去公园散步", "他说"], [["今天天气很好我们去公园跑步"], ["她说话"]]
    found = score_texts(written, right, [True, True])
    wanted = sacrebleu.corpus_bleu(written, [[own for (own,) in right]], tokenize="zh").score
    assert found["bleu"] == pytest.approx(wanted)
    assert found["length_ratio"] == 15 / 16
    assert score_texts(["a b c d e"], [["a b c d e"]], [True])["bleu"] == pytest.approx(100)


def test_roles_are_known_by_other_names() -> None:
    turns = turns_of([{"role": "human", "content": "a"}, {"role": "model", "content": "b"}], "row 1", answered=True)
    assert [turn.role for turn in turns] == ["user", "assistant"]


def test_a_prompt_that_is_too_long_costs_no_other_its_answer(writers: dict[str, Path]) -> None:
    model = load_model(writers["gpt2"])
    prompts = ["a", "a" * 300, "b", "c", " ", "d"]
    told = list(model.predict_each(prompts, Manner(5)))
    assert [isinstance(one, DataError) for one in told] == [False, True, False, False, True, False]
    assert "prompt 2: the prompt must be 1 to 255 tokens long" in str(told[1])
    alone = model.predict(["a", "b", "c", "d"], max_new_tokens=5)
    for place, wanted in zip((0, 2, 3, 5), alone, strict=True):
        assert told[place].text == wanted.text
        assert told[place].log_probability == pytest.approx(wanted.log_probability, abs=1e-4)


def test_every_one_of_many_equal_prompts_is_drawn_for_itself(writers: dict[str, Path]) -> None:
    model = load_model(writers["gpt2"])
    told = model.predict(["name[A]"] * 70, max_new_tokens=12, temperature=1.0)
    assert len({one.tokens for one in told}) > 60  # more than are written at once
    again = list(model.predict_each([" ", *["name[A]"] * 3], Manner(12, 1.0)))
    assert [one.tokens for one in again[1:]] == [one.tokens for one in told[1:4]]  # by their place among all


def test_texts_end_where_plain_transformers_ends_them(writers: dict[str, Path], tmp_path: Path) -> None:
    model = load_model(writers["llama"])
    whole = model.predict("name[A]", max_new_tokens=8)
    adapter = model.source
    assert isinstance(adapter, CausalAdapter)
    end = next(token for token in whole.tokens[1:] if token != whole.tokens[0])
    adapter.model.generation_config.eos_token_id = [257, end]  # as Llama 3.1's, which ends calls of tools otherwise
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model").predict("name[A]", max_new_tokens=8)
    assert again.stopped
    assert again.tokens == whole.tokens[: whole.tokens.index(end)]
