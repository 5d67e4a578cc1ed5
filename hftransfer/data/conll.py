"""Column files in the manner of the CoNLL shared tasks: a word a line with its tags, a blank line between sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from hftransfer.base.errors import DataError, must_be
from hftransfer.data.tables import Table, decoded_text, raise_first

CONLL_SUFFIXES = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".txt", ".tsv")
_CONLL_2003 = ("tokens", "pos_tags", "chunk_tags", "ner_tags")
_CONLL_U = ("id", "tokens", "lemmas", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_TAG = re.compile(r"O|[BIESLU]-\S+")
_NUMBER = re.compile(r"\d+(-\d+|\.\d+)?")


def read_conll(path: Path, encoding: str | None = None) -> Table:
    """Return the sentences of a column file: lists of words and of tags, with the line on which each begins.

    Columns are parted by tabs, or where there are none by spaces. The first has the words and the last the tags
    (`tags`); of four columns they are named as CoNLL-2003's, of ten as CoNLL-U's. Lines `-DOCSTART-` and comments are
    passed over.

    Raises:
        DataError: the file can't be read, or lines have another number of columns than the others.
    """
    try:
        text, _ = decoded_text(path.read_bytes(), str(path), encoding)
    except OSError as error:
        raise DataError(must_be(str(path), "a readable file", error.strerror or str(error))) from error
    lines = text.split("\n")  # not splitlines: of odd separators words may consist
    is_tabbed = any("\t" in line for line in lines)
    rows = [(number, _cells(line, is_tabbed=is_tabbed)) for number, line in enumerate(lines, start=1)]
    widths = Counter(len(cells) for _, cells in rows if cells and not cells[0].startswith(("#", "-DOCSTART-")))
    width = max(widths, key=lambda size: (widths[size], size), default=0)
    if width < 2:
        allowed = "lines with a word and its tag, separated by a tab or a space, and blank lines between sentences"
        got = f"lines such as '{next((line for line in lines if line.strip()), '')[:60]}'"
        raise DataError(must_be(str(path), allowed, got))
    sentences = list(_sentences(rows, width, path.name))
    names, notes = _names_of(width, sentences)
    numbers, records = [], []
    for first, cells in sentences:
        numbers.append(first)
        records.append({name: [row[place] for row in cells] for place, name in enumerate(names)})
    parting = "tabs" if is_tabbed else "spaces"
    notes = [
        f"{path.name}: one word per line, {width} columns separated by {parting}; columns {', '.join(names)}",
        *notes,
    ]
    return Table(numbers, records, list(names), notes)


def _cells(line: str, *, is_tabbed: bool) -> list[str]:
    line = line.rstrip("\r")
    if not line.strip():
        return []
    if line.startswith("-DOCSTART-"):  # of older files with spaces, whatever parts the columns
        return ["-DOCSTART-"]
    return [cell.strip() for cell in line.split("\t")] if is_tabbed else line.split()


def _sentences(rows: Sequence[tuple[int, list[str]]], width: int, name: str) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield the line on which each sentence begins, and the cells of its words."""
    faults: list[str] = []
    begun, own = 0, list[list[str]]()
    for number, cells in [*rows, (0, [])]:
        if not cells:
            if own:
                yield begun, own
            own = []
        elif cells[0] == "-DOCSTART-" or (cells[0].startswith("#") and len(cells) != width and not own):
            continue  # a document begins, or a comment
        elif len(cells) != width:
            remedy = "A blank line ends a sentence; a word has no space in it."
            faults.append(
                must_be(f"{name}:{number}", f"a line of {width} columns, like the others", len(cells), remedy)
            )
        elif width == len(_CONLL_U) and _NUMBER.fullmatch(cells[0]) and not cells[0].isdecimal():
            continue  # of CoNLL-U: several words written as one, or one that is not written
        else:
            begun = begun if own else number
            own.append(cells)
    raise_first(faults)


def _names_of(width: int, sentences: Sequence[tuple[int, Sequence[Sequence[str]]]]) -> tuple[list[str], list[str]]:
    """Return the names of the columns, and what was noticed."""
    if width == len(_CONLL_U) and all(_NUMBER.fullmatch(row[0]) for _, rows in sentences for row in rows):
        return list(_CONLL_U), []
    if width == len(_CONLL_2003):
        return list(_CONLL_2003), []
    first, last = ([row[place] for _, rows in sentences for row in rows] for place in (0, -1))
    if all(map(_TAG.fullmatch, first)) and not all(map(_TAG.fullmatch, last)):
        return ["tags", *_between(width), "tokens"], ["the first column has the tags, the last the words"]
    return ["tokens", *_between(width), "tags"], []


def _between(width: int) -> list[str]:
    return [f"column_{place}" for place in range(2, width)]
