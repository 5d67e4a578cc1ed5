"""Tags of words: in which scheme they are written, the same in IOB2, and how rows are held out and encoded by them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from typing_extensions import override

from hftransfer.base.errors import DataError, counted, must_be, nearest, some
from hftransfer.data.rows import Row
from hftransfer.data.tables import raise_first
from hftransfer.data.targets import TargetKind, Targets, divided

OUTSIDE = "O"
Tags = tuple[str, ...]
"""The tags of the words of one row."""
Scheme = Literal["IOB1", "IOB2", "BIOES", "BILOU", "plain"]
_TAG = re.compile(r"([BIESLUM])-(.+)", re.DOTALL)
_BEGINS, _ENDS = frozenset("BSU"), frozenset("ELSU")
_WORDS: Mapping[Scheme, str] = {
    "IOB1": "IOB1 (B- only where an entity follows another of its type): learned as IOB2",
    "IOB2": "IOB2 (an entity begins with B- and continues with I-)",
    "BIOES": "BIOES (also called BMES): learned as IOB2",
    "BILOU": "BILOU: learned as IOB2",
    "plain": "plain, one for each word: words are learned and scored one by one, not as entities",
}


def parted(tag: str) -> tuple[str, str]:
    """Return the prefix and the type of a tag; a plain one has no prefix, and what is outside neither."""
    matched = _TAG.fullmatch(tag)
    if matched is not None:
        return matched[1], matched[2]
    return "", "" if tag == OUTSIDE else tag


def are_entities(class_names: Iterable[str]) -> bool:
    """Return whether tags are those of entities in IOB2, and not plain ones."""
    return all(name == OUTSIDE or parted(name)[0] in ("B", "I") for name in class_names)


# --- schemes ---------------------------------------------------------------------------------------------------------


def scheme_of(rows: Sequence[Row]) -> Scheme:
    """Return the scheme in which the tags of all rows are written.

    IOB1 is told from IOB2 by how most entities begin: in IOB2 with B-, in IOB1 with I- unless they follow another of
    their type.

    Raises:
        DataError: they are in several, or numbers are among names.
    """
    places: dict[str, str] = {}
    for row in rows:
        for tag in row.target:
            places.setdefault(tag, row.id)
    named = [tag for tag in places if tag != OUTSIDE]
    numbers = [tag for tag in named if tag.isdecimal()]
    if numbers and len(numbers) < len(places):
        other = next(tag for tag in places if not tag.isdecimal())
        got = f"the number {numbers[0]} ({places[numbers[0]]}) beside '{other}' ({places[other]})"
        raise DataError(must_be("the tags", "all names, or all numbers", got, "Write names instead of numbers."))
    prefixed = [tag for tag in named if parted(tag)[0]]
    if not prefixed:
        return "plain"
    bare = [tag for tag in named if not parted(tag)[0]]
    if bare:
        _refuse(places, prefixed[0], bare[0], "Write all with a prefix, as in B-PER and I-PER, or none.")
    # Reversed, so that the first tag with a prefix is the one that is shown.
    by_prefix = {parted(tag)[0]: tag for tag in reversed(prefixed)}
    of_bioes, of_bilou = ([by_prefix[sign] for sign in signs if sign in by_prefix] for signs in ("ESM", "LU"))
    if of_bioes and of_bilou:
        _refuse(places, of_bioes[0], of_bilou[0], "S- and E- are of BIOES, U- and L- of BILOU: write one of them.")
    if of_bioes or of_bilou:
        return "BIOES" if of_bioes else "BILOU"
    begun = Counter(prefix for row in rows for prefix in _beginnings(row.target))
    return "IOB1" if begun["I"] > begun["B"] else "IOB2"


def _refuse(places: Mapping[str, str], one: str, other: str, remedy: str) -> None:
    got = f"'{one}' ({places[one]}) beside '{other}' ({places[other]})"
    raise DataError(must_be("the tags", "in one scheme: IOB1, IOB2, BIOES, BILOU or plain", got, remedy))


def _beginnings(tags: Tags) -> list[str]:
    """Return the prefixes of the words at which an entity begins that follows none of its type."""
    found, before = [], ""
    for tag in tags:
        prefix, kind = parted(tag)
        if kind and kind != before:
            found.append(prefix)
        before = kind
    return found


def as_iob2(tags: Tags, scheme: Scheme) -> tuple[Tags, int]:
    """Return the same tags in IOB2, and how many are where the scheme allows none: what goes on without having begun
    (it begins there), and of BIOES and BILOU what never ends."""
    if scheme == "plain":
        return tags, 0
    closes = scheme in ("BIOES", "BILOU")
    found: list[str] = []
    broken, inside = 0, ""  # the type of the entity that may go on
    for tag in tags:
        prefix, kind = parted(tag)
        goes_on = bool(kind) and kind == inside and prefix not in _BEGINS
        broken += closes and bool(inside) and not goes_on
        if not kind:
            found.append(OUTSIDE)
        else:
            found.append(f"{'I' if goes_on else 'B'}-{kind}")
            broken += not goes_on and prefix not in _BEGINS and scheme != "IOB1"
        inside = "" if prefix in _ENDS else kind
    return tuple(found), broken + (closes and bool(inside))


@dataclass(frozen=True)
class Alike:
    """Rows by split, all of whose tags are in IOB2 or plain, and what was noticed."""

    parts: dict[str, list[Row]]
    notes: list[str]


def in_one_scheme(parts: Mapping[str, Sequence[Row]]) -> Alike:
    """Return the rows of all splits with tags in IOB2, or plain; which scheme it was is told over all of them.

    Raises:
        DataError: the tags are in several schemes.
    """
    scheme = scheme_of([row for rows in parts.values() for row in rows])
    alike: dict[str, list[Row]] = {}
    faulty: list[str] = []
    broken = 0
    for name, rows in parts.items():
        alike[name] = []
        for row in rows:
            tags, more = as_iob2(row.target, scheme)
            faulty += [row.id] if more else []
            broken += more
            alike[name].append(row if tags == row.target else replace(row, target=tags))
    notes = [f"tags are {_WORDS[scheme]}"]
    if broken:
        what = "that continue where nothing began" + (", or never end" if scheme in ("BIOES", "BILOU") else "")
        notes.append(f"{counted(broken, 'tag')} {what} (in {some(faulty, 3)}): each is read as a beginning")
    return Alike(alike, notes)


def entities_in_words(parts: Mapping[str, Sequence[Row]]) -> str:
    """Return how many entities of each type every split has; nothing where tags are plain."""
    counts = {
        name: Counter(tag[2:] for row in rows for tag in row.target if tag[:2] == "B-") for name, rows in parts.items()
    }
    types = sorted({kind for own in counts.values() for kind in own})
    if not types:
        return ""
    told = (f"{kind} {' / '.join(f'{own[kind]:,}' for own in counts.values())}" for kind in types)
    return f"entities ({' / '.join(counts)}): {some(told, 20)}"


# --- the target kind -------------------------------------------------------------------------------------------------


class WordTags(TargetKind):
    """A tag for each word of a text."""

    needs_every_class = False
    hold_out_words = "rows at random, none with the last of a tag"

    @override
    def require(self, rows: Sequence[Row]) -> None:
        tags = {tag for row in rows for tag in row.target}
        if len(tags) < 2:
            remedy = "For entities, one of them is O (outside)."
            got = some(f"'{tag}'" for tag in tags) + " alone" if tags else "none"
            raise DataError(must_be("the tags of the training data", "of at least two kinds", got, remedy))

    def hold_out(self, rows: list[Row], fraction: float, seed: int, name: str) -> tuple[list[Row], list[Row]]:
        """Return two parts of the rows, drawn at random; a row with the last of a tag stays in the first."""
        wanted = round(fraction * len(rows))
        left = Counter(tag for row in rows for tag in set(row.target))
        held: set[int] = set()
        for place in np.random.default_rng([seed, *name.encode()]).permutation(len(rows)).tolist():
            own = set(rows[place].target)
            # A tag without a row in training could not be learned, and would be told as unknown.
            if len(held) < wanted and all(left[tag] > 1 for tag in own):
                held.add(place)
                left.subtract(own)
        if not held:
            where, got = f"data.{name}_fraction", f"{fraction:g} of {counted(len(rows), 'row')}"
            remedy = f"Add rows, or give a {name} split of your own."
            raise DataError(
                must_be(where, "a fraction that leaves rows in both parts, and every tag in the first", got, remedy)
            )
        return divided(rows, held)

    @override
    def strata(self, rows: Sequence[Row]) -> np.ndarray:
        """Return which tags each row has, (N, S) of 0 and 1."""
        places = {name: place for place, name in enumerate(self.class_names(rows))}
        found = np.zeros((len(rows), len(places)), dtype=np.uint8)
        for number, row in enumerate(rows):
            found[number, [places[tag] for tag in set(row.target)]] = 1
        return found

    def class_names(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Return the tags: O first, then by type, B- before I-; plain ones in natural order."""
        names = {tag for row in rows for tag in row.target}
        return tuple(sorted(names, key=_order))

    @override
    def class_names_of(self, parts: Mapping[str, Sequence[Row]]) -> tuple[str, ...]:
        """Return the tags of the training split, and those with which its entities go on elsewhere: none may be longer
        than a word in training."""
        learned = self.class_names(parts["train"])
        begun = {f"I-{kind}" for prefix, kind in map(parted, learned) if prefix == "B"}
        longer = begun & {tag for rows in parts.values() for row in rows for tag in row.target}
        return tuple(sorted({*learned, *longer}, key=_order))

    @override
    def require_known(self, parts: Mapping[str, Sequence[Row]], class_names: Sequence[str]) -> None:
        faults = []
        for name in ("validation", "test"):
            for tag, words, first in _unknown(parts[name], class_names):
                where = f"the tag '{tag}' of the {name} split ({counted(words, 'word')}, such as in {first})"
                remedy = nearest(tag, class_names) or "Add examples of it to training, or leave those rows out."
                faults.append(must_be(where, "one of the training split's", "a tag never trained on", remedy))
        raise_first(faults)

    @override
    def require_of_model(self, rows: Sequence[Row], class_names: Sequence[str]) -> None:
        alike = in_one_scheme({"": rows}).parts[""]
        faults = []
        for tag, words, first in _unknown(alike, class_names):
            where = f"the tag '{tag}' ({counted(words, 'word')}, such as in {first})"
            faults.append(must_be(where, "one of the model's", "another", nearest(tag, class_names)))
        raise_first(faults)

    def encode(self, rows: Sequence[Row], class_names: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the ids of the tags of each row."""
        ids = {name: index for index, name in enumerate(class_names)}
        alike = in_one_scheme({"": rows}).parts[""] if rows else []
        return [tuple(ids[tag] for tag in row.target) for row in alike]

    def counts(self, targets: Targets, class_names: Sequence[str]) -> list[int]:
        """Return how many words have each tag."""
        ids = np.fromiter((tag for own in targets for tag in own), dtype=np.int64)
        found: list[int] = np.bincount(ids, minlength=len(class_names)).tolist()
        return found

    @override
    def notes(self, rows: Iterable[Row]) -> list[str]:
        """Return a warning where tags are numbers: which of them is outside of all entities nothing tells."""
        tags = {tag for row in rows for tag in row.target}
        if not tags or not all(tag.isdecimal() for tag in tags):
            return []
        return [
            "warning: tags are numbers without names: each is taken as a tag of its own, 0 too. For entities, write "
            "names (O, B-PER, I-PER), or give a datasets.Dataset whose ClassLabel has them"
        ]

    @override
    def notes_on(self, parts: Mapping[str, Sequence[Row]]) -> list[str]:
        """Return the same of all splits, and a warning of tags that no training word has."""
        known = self.class_names(parts.get("train", ()))
        return [
            *self.notes(row for rows in parts.values() for row in rows),
            *(
                f"warning: {counted(words, 'word')} of {name} {'has' if words == 1 else 'have'} the tag '{tag}' and no "
                "training word has: it can't be learned"
                for name, rows in parts.items()
                for tag, words, _ in _unknown(rows, known)
            ),
        ]

    @override
    def in_words(self, target: Tags) -> str:
        return " ".join(target)


WORD_TAGS = WordTags()


def _unknown(rows: Sequence[Row], class_names: Sequence[str]) -> list[tuple[str, int, str]]:
    """Return the tags that are none of these, how many words have each, and the first row with it."""
    known = set(class_names)
    words: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in rows:
        for tag in row.target:
            if tag not in known:
                words[tag] += 1
                first.setdefault(tag, row.id)
    return [(tag, count, first[tag]) for tag, count in words.items()]


def _order(tag: str) -> tuple[bool, int, str, str]:
    prefix, kind = parted(tag)
    return (tag != OUTSIDE, int(tag) if tag.isdecimal() else 0, kind, prefix)
