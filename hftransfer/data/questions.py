"""Questions on a context as inputs, in SQuAD's columns: read from tables, data sets and Python."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from hftransfer.base.errors import DataError, must_be
from hftransfer.data.columns import column_of, in_lower_case, is_missing, once
from hftransfer.data.reading import InputColumns, LeftOutRows, NamedInput, Reader, Records, require_some_sound
from hftransfer.data.roles import Found
from hftransfer.data.rows import GoldAnswer, Inspection, QuestionContent, Row, json_bytes
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import STDIN, TABLE_SUFFIXES, Table, json_lines, raise_first
from hftransfer.data.texts import texts_in

if TYPE_CHECKING:
    from hftransfer.base.progress import Advance

_ANSWERS = '{"text": [texts], "answer_start": [whole numbers]}'


@dataclass(frozen=True)
class QuestionColumns:
    """The columns with the questions, contexts and answers; the others are None where there are none.

    With a column `start`, `answers` holds one plain text per row, empty where the context has no answer.
    """

    question: str
    context: str
    answers: str
    start: str | None
    id: str | None
    title: str | None

    @property
    def names(self) -> list[str]:
        """The names of the columns that are read."""
        all_columns = (self.question, self.context, self.answers, self.start, self.id, self.title)
        return [column for column in all_columns if column is not None]

    def rows(
        self, records: Sequence[Mapping[str, object]], wheres: Sequence[str], left: list[tuple[str, str]] | None = None
    ) -> list[Row]:
        """Return the rows of records; no answers means that the context has none. With `left`, rows that can't be
        learned from (an answer is not where it is said to be) are put there with the reason.

        Raises:
            DataError: a question or context is missing, an answer is not where it is said to be, an id is there
                twice; lines are named.
        """
        rows: list[Row] = []
        faults: list[str] = []
        lines: dict[str, list[str]] = {}  # of each id
        for record, where in zip(records, wheres, strict=True):
            try:
                content, answers = self._content(record, where)
            except DataError as error:
                if left is None:
                    faults += error.faults
                else:
                    left.append((where, " ".join(error.faults)))
                continue
            lines.setdefault(content.id, []).append(where)
            rows.append(Row(where, content, answers))
        for id, same in lines.items():
            if len(same) > 1:
                faults.append(
                    must_be(f"the id '{id}'", "used by one question only", f"{len(same)}: {', '.join(same[:3])}")
                )
        raise_first(faults)
        return rows

    def _content(self, record: Mapping[str, object], where: str) -> tuple[QuestionContent, tuple[GoldAnswer, ...]]:
        question, context = record.get(self.question), record.get(self.context)
        faults = [
            must_be(f"{where}: column '{column}'", "a text", _shown(value))
            for column, value in ((self.question, question), (self.context, context))
            if not isinstance(value, str) or not value.strip()
        ]
        answers: list[GoldAnswer] = []
        try:
            answers = self._answers(record, where)
        except DataError as error:
            faults += error.faults
        if isinstance(context, str) and context.strip():
            faults += [fault for answer in answers if (fault := _answer_fault(answer, context, where))]
        if faults:
            raise DataError(*faults)
        id = record.get(self.id) if self.id else None
        title = record.get(self.title) if self.title else None
        content = QuestionContent(
            id=where if is_missing(id) or id == "" else str(id),
            question=str(question),
            context=str(context),
            # Without titles the questions on one context stay together: they could give away each other's answers.
            group=title if isinstance(title, str) and title else str(context),
        )
        return content, tuple(answers)

    def _answers(self, record: Mapping[str, object], where: str) -> list[GoldAnswer]:
        value = record.get(self.answers)
        if self.start is None:
            return _squad_answers(value, where)
        if is_missing(value) or value == "":
            return []
        return _checked_answers([value], [record.get(self.start)], value, where)


def question_columns(columns: Sequence[str], settings: DataSettings, source: object) -> QuestionColumns:
    """Return the reader of records with `question`, `context` and `answers`: {"text": […], "answer_start": […]}, a list
    of {"text", "answer_start"}, or either as JSON text; or with one answer's text in `answer` and its `answer_start`.

    Raises:
        DataError: a column is missing; all that are, at once.
    """
    found: dict[str, str] = {}
    faults: list[str] = []
    for role, named, usual in (
        ("question", settings.question_column, ("question",)),
        ("context", settings.context_column, ("context",)),
        ("answers", settings.answers_column, ("answers", "answer")),
    ):
        try:
            found[role] = column_of(named, usual, columns, f"data.{role}_column", source)
        except DataError as error:
            faults += error.faults
    raise_first(faults)
    lowered = in_lower_case(columns)
    # Answers in SQuAD's form hold their places themselves.
    start = lowered.get("answer_start") if found["answers"].lower() != "answers" else None
    for column in (start, lowered.get("id"), lowered.get("title")):
        if column is not None:
            once(column, columns, source)
    return QuestionColumns(**found, start=start, id=lowered.get("id"), title=lowered.get("title"))


def _squad_answers(value: object, where: str) -> list[GoldAnswer]:
    """Return the answers in one of SQuAD's forms."""
    given = value
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            remedy = "Write [] if there is no answer; put the position of a plain text into a column answer_start."
            raise DataError(must_be(f"{where}: the answers", "SQuAD's, as JSON", _shown(value), remedy)) from error
    given = _listed(given)
    if isinstance(given, Mapping):
        texts, starts = _listed(given.get("text")), _listed(given.get("answer_start"))
    elif isinstance(given, list | tuple) and all(isinstance(entry, Mapping) for entry in given):
        texts = [entry.get("text") for entry in given]
        starts = [entry.get("answer_start") for entry in given]
    else:
        texts = starts = None
    if not isinstance(texts, list | tuple) or not isinstance(starts, list | tuple) or len(texts) != len(starts):
        raise DataError(must_be(f"{where}: the answers", _ANSWERS, _shown(value)))
    return _checked_answers(texts, starts, value, where)


def _checked_answers(texts: Sequence[object], starts: Sequence[object], shown: object, where: str) -> list[GoldAnswer]:
    answers = []
    for text, start in zip(texts, starts, strict=True):
        place = _whole_number(start)
        if not isinstance(text, str) or place is None:
            got = _shown(shown) if isinstance(shown, Mapping | list | tuple) else f"{_shown(text)} at {_shown(start)}"
            raise DataError(must_be(f"{where}: the answers", _ANSWERS, got))
        answers.append(GoldAnswer(text, place))
    return answers


def _answer_fault(answer: GoldAnswer, context: str, where: str) -> str | None:
    """Why an answer can't be learnt: it is not in the context where it is said to be."""
    if answer.text and answer.start >= 0 and context.startswith(answer.text, answer.start):
        return None
    beyond = "" if 0 <= answer.start < len(context) else f", outside the context of {len(context)} characters"
    # A look-ahead finds places that overlap, too.
    places = [match.start() for match in re.finditer(f"(?={re.escape(answer.text)})", context)] if answer.text else []
    nearest_place = min(places, key=lambda place: abs(place - answer.start), default=None)
    remedy = "It is nowhere in the context." if nearest_place is None else f"It is at {nearest_place}."
    if not answer.text:
        remedy = "An answer has a text; a question without an answer has no answers at all."
    allowed = f"where '{answer.text[:60]}' starts"
    return must_be(f"{where}: answer_start", allowed, f"{answer.start}{beyond}", remedy)


def _whole_number(value: object) -> int | None:
    """Return the number that a cell holds: of whole numbers pandas makes fractions where others are missing, CSV
    texts."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()) else None


def _listed(value: object) -> object:
    """Return a NumPy array (as pandas reads lists out of Parquet) as a list."""
    return value.tolist() if hasattr(value, "tolist") else value


def _shown(value: object) -> str:
    if is_missing(value):
        return "nothing"
    return "an empty text" if isinstance(value, str) and not value.strip() else f"{value!r}"[:80]


class Questions(Reader):
    """Questions, each with the text that holds its answer."""

    inputs = "questions"
    one = "question"
    modality = "text"
    usual_columns = ("context",)
    usual_task = "question-answering"
    python_rows = "question, context and answers"
    own_settings = frozenset({"question_column", "context_column", "answers_column", "max_tokens", "stride_tokens"})
    suffix = ""
    from_folders = False
    fields = ("question", "context")

    @override
    def columns(self, given: Records, settings: DataSettings) -> list[str]:
        return question_columns(given.columns, settings, given.source).names

    @override
    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        del found
        return question_columns(given.columns, settings, given.source).rows(given.records, given.wheres, left)

    @override
    def record(self, value: object, where: str) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return value
        raise DataError(must_be(where, "a dict with question, context and answers", type(value).__name__))

    def is_unlabelled(self, given: Records, settings: DataSettings) -> bool:
        """Return False: a question without answers is one that its context does not answer."""
        del given, settings
        return False

    def inspect(
        self, rows: list[Row], advance: Advance, settings: DataSettings | None = None, *, decode: bool = False
    ) -> Inspection:
        """Return the digests of questions with their contexts and answers."""
        del settings, decode
        advance(len(rows))
        return Inspection([_digest(row) for row in rows], {})

    # --- inputs to predict -------------------------------------------------------------------------------------------

    def lines(self, lines: Iterable[str], columns: InputColumns) -> Iterator[NamedInput]:
        """Return a question for each line, a JSON object with both texts."""
        yield from self._of_records(json_lines(lines, STDIN), columns, STDIN, STDIN)

    @override
    def alone(self, name: str, path: Path | None) -> NamedInput:
        del path
        allowed = f"a table ({', '.join(TABLE_SUFFIXES)}) with questions and contexts"
        raise DataError(must_be(f"the input '{name}'", allowed, "something else"))

    @override
    def of_file(self, file: Path) -> NamedInput:
        return self.alone(str(file), file)

    @override
    def of_table(self, path: Path, table: Table, columns: InputColumns, *, name: str) -> list[NamedInput]:
        return self._of_records(table, columns, path, name)

    def _of_records(self, table: Table, columns: InputColumns, source: object, name: str) -> list[NamedInput]:
        if not table.records:
            raise DataError(must_be(name, "questions with their contexts, as JSON objects in lines", "nothing"))
        question = columns.first_among(table.columns, "question_column")
        context = columns.second_among(table.columns, "context_column")
        first = column_of(question, ("question",), table.columns, "--column", source)
        second = column_of(context, ("context",), table.columns, "--pair-column", source)
        return require_some_sound(_asked(name, table, first, second))

    @override
    def from_fields(self, values: Mapping[str, str]) -> object:
        return dict(values)


QUESTIONS = Questions()


def _asked(name: str, table: Table, question: str, context: str) -> Iterator[NamedInput]:
    for where, values in texts_in(name, table, [question, context]):
        if isinstance(values, DataError):
            yield NamedInput(where, values)
        else:
            yield NamedInput(values[0], {"question": values[0], "context": values[1]})


def _digest(row: Row) -> bytes:
    answers = [[answer.text, answer.start] for answer in row.target]
    return hashlib.blake2b(json_bytes([*row.content.texts, answers]), digest_size=16).digest()
