"""Rows of questions in SQuAD's columns, from the records of a table, a data set or Python."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hftransfer.data.columns import column_of
from hftransfer.data.rows import Answer, QuestionContent, Row
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import raise_first
from hftransfer.errors import DataError, must_be


def question_rows(
    records: Sequence[Mapping[str, Any]],
    wheres: Sequence[str],
    columns: Sequence[str],
    settings: DataSettings,
    source: object,
) -> list[Row]:
    """The rows of records with `question`, `context` and `answers`: {"text": […], "answer_start": […]}, a list of
    {"text", "answer_start"}, or the same as JSON text. No answers means that the context has none.

    Raises:
        DataError: columns are missing, an answer is not where it is said to be, an id is there twice; lines are named.
    """
    named = {
        "question": column_of(settings.question_column, ("question",), columns, "data.question_column", source),
        "context": column_of(settings.context_column, ("context",), columns, "data.context_column", source),
        "answers": column_of(settings.answers_column, ("answers",), columns, "data.answers_column", source),
    }
    rows: list[Row] = []
    faults: list[str] = []
    for record, where in zip(records, wheres, strict=True):
        try:
            rows.append(_row(record, where, named))
        except DataError as error:
            faults += error.faults
    contents = [row.content for row in rows]
    counts = Counter(content.id for content in contents if isinstance(content, QuestionContent))
    faults += [must_be(f"the id '{id}'", "of one question", f"{count}") for id, count in counts.items() if count > 1]
    raise_first(faults)
    return rows


def _row(record: Mapping[str, Any], where: str, named: Mapping[str, str]) -> Row:
    texts = {}
    for role in ("question", "context"):
        value = record.get(named[role])
        if not isinstance(value, str) or (role == "question" and not value.strip()):
            shown = "an empty text" if isinstance(value, str) else f"{value!r}"[:60]
            raise DataError(must_be(f"{where}: column '{named[role]}'", "a text", shown))
        texts[role] = value
    answers = _answers(record.get(named["answers"]), where)
    raise_first([fault for answer in answers if (fault := _answer_fault(answer, texts["context"], where))])
    id = str(record.get("id") or where)
    group = str(record.get("title") or texts["context"])
    return Row(where, QuestionContent(id, texts["question"], texts["context"], tuple(answers), group), "")


def _answers(value: Any, where: str) -> list[Answer]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(must_be(f"{where}: the answers", "SQuAD's, as JSON", value[:60])) from error
    if isinstance(value, Mapping):
        texts, starts = list(value.get("text", ())), list(value.get("answer_start", ()))
        pairs = list(zip(texts, starts, strict=False)) if len(texts) == len(starts) else None
    elif isinstance(value, Sequence) and all(isinstance(entry, Mapping) for entry in value):
        pairs = [(entry.get("text"), entry.get("answer_start")) for entry in value]
    else:
        pairs = None
    if pairs is None or not all(isinstance(t, str) and isinstance(s, int) for t, s in pairs):
        allowed = '{"text": [texts], "answer_start": [whole numbers]}'
        raise DataError(must_be(f"{where}: the answers", allowed, f"{value!r}"[:80]))
    return [Answer(text, int(start)) for text, start in pairs]


def _answer_fault(answer: Answer, context: str, where: str) -> str | None:
    """Why an answer can't be learnt: it is not in the context where it is said to be."""
    if answer.text and answer.start >= 0 and context[answer.start : answer.start + len(answer.text)] == answer.text:
        return None
    found = context.find(answer.text) if answer.text else -1
    remedy = f"It is at {found}." if found >= 0 else "It is nowhere in the context."
    return must_be(f"{where}: answer_start", f"where '{answer.text[:60]}' starts", answer.start, remedy)
