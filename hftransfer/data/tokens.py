"""Texts whose words have tags: read from lists of words, column files, and texts with character spans."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from typing_extensions import override

from hftransfer.base.errors import DataError, must_be
from hftransfer.data.columns import as_label, column_of, first_of, is_missing, is_unlabelled, once, passed_over
from hftransfer.data.conll import CONLL_SUFFIXES, read_conll
from hftransfer.data.reading import InputColumns, LeftOutRows, NamedInput, Records, read_each, require_some_sound
from hftransfer.data.roles import Found
from hftransfer.data.rows import Row, json_bytes
from hftransfer.data.settings import DataSettings
from hftransfer.data.tables import Table, raise_first, read_table, table_suffix
from hftransfer.data.tags import OUTSIDE
from hftransfer.data.texts import Texts, text_column_of

TOKEN_COLUMNS = ("tokens", "words", "token", "word", "form")
_OF_ENTITIES = ("ner_tags", "ner", "tags", "ner_tag", "labels", "label", "tag")
_TAGS = (*_OF_ENTITIES, "pos_tags", "upos", "pos", "xpos", "chunk_tags")
_SPANS = ("entities", "spans", "ner", "annotations", "label", "labels")
_STARTS, _ENDS = ("start", "start_offset", "begin", "start_char"), ("end", "end_offset", "stop", "end_char")
_LABELS = ("label", "entity", "type", "entity_group", "tag", "labels")
_SPAN = "{start, end, label}, characters counted from 0, the end not counted"
_ARRAY = re.compile(r"'\s+'|\"\s+\"|\.\.\.")
Words = tuple[tuple[int, int], ...]
"""The characters [start, end) of each word of a text."""


@dataclass(frozen=True, slots=True)
class WordsContent:
    """A text and where its words are; `words` is None where the tokenizer tells."""

    path: ClassVar[None] = None
    identity: ClassVar[None] = None
    text: str
    words: Words | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text."""
        return (self.text,)

    @property
    def widget(self) -> dict[str, str]:
        """The text as the Hub's page takes it to try a model."""
        return {"text": self.text}

    def read(self) -> bytes:
        """Return the text and its words as JSON."""
        return json_bytes([self.text, list(self.words or ())])


def joined(tokens: Sequence[str]) -> WordsContent:
    """Return words with a space between each two as a text."""
    words, start = [], 0
    for token in tokens:
        words.append((start, start + len(token)))
        # One for the space between.
        start += len(token) + 1
    return WordsContent(" ".join(tokens), tuple(words))


# --- columns ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenColumns:
    """The columns with the words (or texts) and with their tags (or spans)."""

    content: str
    target: str
    has_spans: bool
    parted: list[str] = field(default_factory=list)
    """Words that the spans of the rows read so far part, each with its row."""

    def row(self, record: Mapping[str, object], where: str) -> Row:
        """Return the row of a record.

        Raises:
            DataError: it is not as it must be.
        """
        if self.has_spans:
            return _row_of_spans(record.get(self.content), record.get(self.target), where, self)
        return _row_of_tags(record.get(self.content), record.get(self.target), where, self)


def token_columns(columns: Sequence[str], settings: DataSettings, source: object) -> TokenColumns:
    """Return the columns that are read of those there are: of words with tags, or else of texts with spans.

    Raises:
        DataError: a column is missing; all that are, at once.
    """
    lowered = {column.lower() for column in columns}
    has_tokens = settings.tokens_column is not None or not lowered.isdisjoint(TOKEN_COLUMNS)
    has_spans = settings.spans_column is not None or (not has_tokens and not lowered.isdisjoint(_SPANS))
    finders: list[Callable[[], str]] = []
    if has_spans:
        finders.append(lambda: text_column_of(settings.text_column, columns, "data.text_column", source))
        finders.append(lambda: column_of(settings.spans_column, _SPANS, columns, "data.spans_column", source))
    else:
        finders.append(lambda: column_of(settings.tokens_column, TOKEN_COLUMNS, columns, "data.tokens_column", source))
        finders.append(lambda: column_of(_tags_column(settings), _TAGS, columns, "data.tags_column", source))
    found: list[str] = []
    faults: list[str] = []
    for find in finders:
        try:
            found.append(find())
        except DataError as error:
            faults += error.faults
    raise_first(faults)
    if found[0] == found[1]:
        where = "data.spans_column" if has_spans else "data.tags_column"
        raise DataError(must_be(where, "a different column from that of the words", f"'{found[0]}'"))
    return TokenColumns(found[0], found[1], has_spans)


def _tags_column(settings: DataSettings) -> str | None:
    return settings.tags_column or settings.label_column


# --- words with tags -------------------------------------------------------------------------------------------------


def _row_of_tags(tokens: object, tags: object, where: str, columns: TokenColumns) -> Row:
    words = _listed(tokens, where, columns.content, "the words of a text")
    names = _listed(tags, where, columns.target, "a tag for each word")
    faults = []
    if not words:
        remedy = "Remove such rows, or skip them: data.on_error=skip"
        faults.append(
            must_be(f"{where}: column '{columns.content}'", "a non-empty list of words", "an empty one", remedy)
        )
    elif len(words) != len(names):
        got = f"{len(names)} tags for {len(words)} words"
        faults.append(must_be(f"{where}: column '{columns.target}'", "as many tags as words", got))
    for place, word in enumerate(words):
        if not isinstance(word, str) or not word.strip():
            faults.append(
                must_be(f"{where}: word {place + 1} in column '{columns.content}'", "a text", repr(word)[:60])
            )
    for place, tag in enumerate(names):
        if (fault := _tag_fault(tag)) is not None:
            faults.append(must_be(f"{where}: tag {place + 1} in column '{columns.target}'", "a name", fault))
    raise_first(faults, 3)
    return Row(where, joined(words), tuple(as_label(str(tag)) for tag in names))


def _tag_fault(tag: object) -> str | None:
    """Return what a tag is that is no name and no id."""
    if is_missing(tag) or (isinstance(tag, str) and not tag.strip()):
        return "nothing"
    is_id = isinstance(tag, Integral) and f"{int(tag)}" == f"{tag}" and int(tag) >= 0  # no truth value
    return None if isinstance(tag, str) or is_id else f"{tag!r} ({type(tag).__name__})"[:60]


def _listed(value: object, where: str, column: str, what: str) -> list[Any]:
    """Return the values in a cell: a list, JSON or Python's way to write one, or names with spaces between them.

    Raises:
        DataError: it is none.
    """
    given = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(given, str) and given.strip().startswith("["):
        # numpy prints lists without commas: Python would join the names in them.
        if _ARRAY.search(given) is None:
            given = _parsed(given)
    elif isinstance(given, str):
        given = given.split()
    if not isinstance(given, list | tuple):
        got = "nothing" if is_missing(value) else repr(value)[:60]
        remedy = 'Write lists as JSON, as in ["Ann", "Lee"].' if isinstance(value, str) else ""
        raise DataError(must_be(f"{where}: column '{column}'", f"a list of {what}", got, remedy))
    return list(given)


def _parsed(text: str) -> object:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


# --- texts with spans ------------------------------------------------------------------------------------------------


class _Span(NamedTuple):
    start: int
    end: int
    label: str


def _row_of_spans(text: object, given: object, where: str, columns: TokenColumns) -> Row:
    if not isinstance(text, str) or not text.strip():
        got = "nothing" if is_missing(text) or text == "" else repr(text)[:60]
        raise DataError(must_be(f"{where}: column '{columns.content}'", "a text with words", got))
    listed = given.tolist() if hasattr(given, "tolist") else given
    listed = _parsed(listed) if isinstance(listed, str) and listed.strip() else listed
    listed = [] if is_missing(listed) or listed == "" else listed
    if not isinstance(listed, list | tuple):
        raise DataError(must_be(f"{where}: column '{columns.target}'", f"a list of {_SPAN}", repr(given)[:60]))
    spans, faults = list[_Span](), list[str]()
    for place, one in enumerate(listed, start=1):
        try:
            spans.append(_span(one, text, f"{where}: span {place}"))
        except DataError as error:
            faults += error.faults
    # Tools write the same span twice where two people marked it.
    spans = sorted(set(spans))
    for one, other in pairwise(spans):
        if other.start < one.end:
            allowed = "separate: nested and overlapping entities are not supported"
            got = f"{_told(one, text)} and {_told(other, text)}"
            faults.append(
                must_be(f"{where}: the spans", allowed, got, "Keep one of them, or skip the row: data.on_error=skip")
            )
    raise_first(faults, 3)
    columns.parted.extend(f"{parted} in {where}" for span in spans if (parted := _parted(span, text)) is not None)
    words = words_of(text, [edge for span in spans for edge in span[:2]])
    return Row(where, WordsContent(text, words), _tags_of(words, spans))


def _told(span: _Span, text: str) -> str:
    return f"'{text[span.start : span.end][:40]}' ({span.start} to {span.end}, {span.label})"


def _span(given: object, text: str, where: str) -> _Span:
    """Return a span without the whitespace at its ends.

    Raises:
        DataError: it is none, or not within the text.
    """
    wanted: str | None = None
    if isinstance(given, Mapping):
        fields = [_first(given, names) for names in (_STARTS, _ENDS, _LABELS)]
        wanted = given["text"] if isinstance(given.get("text"), str) else None
    else:
        fields = list(given) if isinstance(given, list | tuple) else []
    if len(fields) != 3:
        raise DataError(must_be(where, _SPAN, repr(given)[:80]))
    label = fields[2][0] if isinstance(fields[2], list | tuple) and len(fields[2]) == 1 else fields[2]
    places = [_whole(field) for field in fields[:2]]
    if places[0] is None or places[1] is None or _tag_fault(label) is not None:
        raise DataError(must_be(where, _SPAN, repr(given)[:80]))
    start, end = places[0], places[1]
    if not 0 <= start < end <= len(text) or not text[start:end].strip():
        allowed = f"positions within the text, which has {len(text)} characters"
        raise DataError(
            must_be(where, allowed, f"{start} to {end}", "The end is the position after the last character.")
        )
    if wanted is not None and text[start:end] != wanted:
        found = text.find(wanted)
        remedy = f"That is at {found}." if found >= 0 else "That is nowhere in the text."
        raise DataError(must_be(where, f"at '{wanted[:40]}'", f"'{text[start:end][:40]}' ({start} to {end})", remedy))
    inner = text[start:end]
    start, end = start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())
    return _Span(start, end, as_label(str(label)))


def _first(given: Mapping[str, object], names: Sequence[str]) -> object:
    return next((given[name] for name in names if name in given), None)


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def words_of(text: str, edges: Sequence[int] = ()) -> Words:
    """Return the words of a text: runs of letters and digits with their marks, every other sign by itself, and every
    sign of a script that is written without spaces. A word ends at each of the `edges` too."""
    cuts, found, start = set(edges), list[tuple[int, int]](), -1
    for place, sign in enumerate(text):
        kind = _kind(sign)
        if start >= 0 and (kind != "letter" or place in cuts):
            found.append((start, place))
            start = -1
        if kind == "sign":
            found.append((place, place + 1))
        elif kind == "letter" and start < 0:
            start = place
    if start >= 0:
        found.append((start, len(text)))
    return tuple(found)


def _kind(sign: str) -> str:
    if sign.isspace():
        return "space"
    if sign.isascii():
        return "letter" if sign.isalnum() else "sign" if sign.isprintable() else "space"
    category = unicodedata.category(sign)
    if category[0] in "PS":
        return "sign"
    if category[0] in "ZC":
        return "space" if category != "Cf" else "letter"
    is_alone = "\u2e80" <= sign <= "\u9fff" or "\uf900" <= sign <= "\ufaff" or "\U00020000" <= sign <= "\U0003ffff"
    return "sign" if is_alone else "letter"


def _tags_of(words: Words, spans: Sequence[_Span]) -> tuple[str, ...]:
    """Return the tags of words in IOB2: no word reaches over the edge of a span."""
    tags, left = list[str](), list(reversed(spans))
    before: _Span | None = None
    for start, _ in words:
        while left and left[-1].end <= start:
            left.pop()
        span = left[-1] if left and left[-1].start <= start else None
        tags.append(OUTSIDE if span is None else f"{'I' if span is before else 'B'}-{span.label}")
        before = span
    return tuple(tags)


def _parted(span: _Span, text: str) -> str | None:
    """Return a word that a span begins or ends in, parted there; None where it holds whole words."""
    for edge in span[:2]:
        if 0 < edge < len(text) and _kind(text[edge - 1]) == _kind(text[edge]) == "letter":
            before, after = re.split(r"\W", text[:edge])[-1], re.split(r"\W", text[edge:])[0]
            return f"'{before[-20:]}|{after[:20]}'"
    return None


def _told_of_parts(parted: Sequence[str]) -> str:
    """Return a note on spans that part words: a model tags whole words, and where a text comes without spans such words
    are not parted."""
    told = "1 span begins or ends" if len(parted) == 1 else f"{len(parted)} spans begin or end"
    return f"{told} inside a word ({parted[0]}); predictions mark whole words, so parts of words can't be found"


# --- the reader ------------------------------------------------------------------------------------------------------


class TaggedTexts(Texts):
    """Texts whose words have a tag each."""

    inputs = "sentences"
    one = "sentence"
    usual_columns = (*TOKEN_COLUMNS, "ner_tags")
    usual_task = "token-classification"
    python_rows = "(words, tags) or (text, spans)"
    own_settings = frozenset(
        {"text_column", "tokens_column", "tags_column", "spans_column", "max_tokens", "stride_tokens"}
    )
    from_folders = False
    own_tables = CONLL_SUFFIXES

    @override
    def table(self, path: Path, encoding: str | None) -> Table:
        is_conll = path.suffix.lower() in CONLL_SUFFIXES and not _has_header(path)
        return read_conll(path, encoding) if is_conll else read_table(path, encoding)

    @override
    def target_column(self, settings: DataSettings) -> tuple[str | None, str]:
        if settings.spans_column is not None:
            return settings.spans_column, "data.spans_column"
        return _tags_column(settings), "data.tags_column"

    @override
    def columns(self, given: Records, settings: DataSettings) -> list[str]:
        read = token_columns(given.columns, settings, given.source)
        return [once(column, given.columns, given.source) for column in (read.content, read.target)]

    @override
    def rows(self, given: Records, settings: DataSettings, found: Found, left: LeftOutRows | None) -> list[Row]:
        read = token_columns(given.columns, settings, given.source)
        if not read.has_spans:
            for note in passed_over(read.target, _tags_column(settings), _TAGS, given.columns, "tags"):
                found.note(note)
        rows = read_each(given, read.row, left)
        if read.parted:
            found.note(_told_of_parts(read.parted))
        return rows

    def record(self, value: object, where: str) -> Mapping[str, object]:
        """Return (words, tags), (text, spans) or a dict as a record."""
        if isinstance(value, Mapping):
            return value
        if isinstance(value, tuple | list) and len(value) == 2:
            names = ("text", "entities") if isinstance(value[0], str) else ("tokens", "tags")
            return dict(zip(names, value, strict=True))
        allowed = "a (words, tags) pair, (text, spans) or a dict"
        raise DataError(must_be(where, allowed, type(value).__name__))

    def is_unlabelled(self, given: Records, settings: DataSettings) -> bool:
        """Return whether rows have no tags at all; texts without a span are texts without an entity."""
        try:
            read = token_columns(given.columns, settings, given.source)
        except DataError:
            lowered = {name.lower() for name in given.columns}
            return self.target_column(settings)[0] is None and lowered.isdisjoint((*_TAGS, *_SPANS))
        return not read.has_spans and all(is_unlabelled(value) for value in given.values(read.target))

    @override
    def is_of_folder(self, suffixes: set[str]) -> bool:
        return False

    def require_alike(self, parts: Mapping[str, Sequence[Row]]) -> None:
        """Return: words with tags and texts with spans are rows of one form."""

    # --- inputs to predict -------------------------------------------------------------------------------------------

    @override
    def of_table(self, path: Path, table: Table, columns: InputColumns, *, name: str) -> list[NamedInput]:
        words = replace(columns, first=None).first_among(table.columns, "tokens_column") or first_of(
            TOKEN_COLUMNS, table.columns
        )
        if words is None or columns.first_among(table.columns, "text_column") is not None:
            return super().of_table(path, table, columns, name=name)
        return require_some_sound(_inputs_of(name, table, once(words, table.columns, path)))


def _inputs_of(name: str, table: Table, column: str) -> Iterator[NamedInput]:
    for record, number in zip(table.records, table.numbers, strict=True):
        where = f"{name}:{number}"
        try:
            words = _listed(record.get(column), where, column, "the words of a text")
            yield NamedInput(" ".join(map(str, words)), words)
        except DataError as error:
            yield NamedInput(where, error)


def _has_header(path: Path) -> bool:
    """Return whether a table begins with the names of its columns, as no column file does."""
    if not table_suffix(path):
        return False
    try:
        with path.open("rb") as stream:
            first = stream.readline(4096)
    except OSError:
        return True  # told when it is read
    names = {name.strip(' \r\n"').lower() for name in re.split(r"[\t,;]", first.decode("utf-8", "replace"))}
    return len(names & {"text", "sentence", *TOKEN_COLUMNS, *_TAGS, *_SPANS, "id"}) > 1


TAGGED_TEXTS = TaggedTexts()
