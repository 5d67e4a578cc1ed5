"""Metrics of tags: entities as seqeval counts them in its strict IOB2 mode, and single words where tags are plain.

An entity begins with B- and goes on with I- of the same type; I- that follows neither is none (Ramshaw and Marcus 1995,
cmp-lg/9505040; seqeval, `mode="strict", scheme=IOB2`). It counts as found if type, first and last word are right, as in
CoNLL-2003 (Tjong Kim Sang and De Meulder 2003, cs/0306050). Of plain tags every word is an entity of its own, but for
those tagged O: over tags without O precision, recall and F1 are then all the accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from hftransfer.metrics.metric import Scores

NOTHING = "(none)"
"""In a confusion of types: what is an entity on one side alone."""
_DRAWS, _DRAWS_AT_ONCE = 2000, 100


class TaggedSpan(NamedTuple):
    """An entity: the words [start, end) and its type."""

    start: int
    end: int
    type: str


def entities_of(tags: Sequence[str], *, plain: bool = False) -> list[TaggedSpan]:
    """Return the entities among the tags of a text, in their order."""
    if plain:
        return [TaggedSpan(place, place + 1, tag) for place, tag in enumerate(tags) if tag != "O"]
    found: list[TaggedSpan] = []
    start, kind = 0, ""
    # One tag more ends an entity that reaches to the last word.
    for place, tag in enumerate([*tags, "O"]):
        if kind and tag != f"I-{kind}":
            found.append(TaggedSpan(start, place, kind))
            kind = ""
        if tag.startswith("B-"):
            start, kind = place, tag[2:]
    return found


def score_tags(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, plain: bool = False) -> Scores:
    """Return the scores in [0, 1] of predicted tags, one list a text, against the true ones.

    `f1`, `precision` and `recall` of all entities together, the 95 % interval of `f1` (percentile bootstrap over
    texts), `token_accuracy`, `per_class` for each type, `type_confusion` (true types in rows, predicted in columns, of
    entities with the same words), and how many have the right words and a wrong type, or the right type and other
    words. Of plain tags also `macro_f1`.
    """
    pairs = [
        (entities_of(own, plain=plain), entities_of(said, plain=plain))
        for own, said in zip(gold, predicted, strict=True)
    ]
    counts = np.array([counted_pair(*pair) for pair in pairs], dtype=np.float64).reshape(-1, 3)  # (N, 3)
    right, said, there = counts.sum(axis=0).tolist()
    words = [
        one == other for own, found in zip(gold, predicted, strict=True) for one, other in zip(own, found, strict=True)
    ]
    per_class = _per_class(pairs)
    scores: Scores = {
        "f1": f1_of(right, said, there),
        "precision": right / said if said else 0.0,
        "recall": right / there if there else 0.0,
        "token_accuracy": sum(words) / len(words) if words else 0.0,
        "f1_interval": _interval(counts),
    }
    if plain:
        known = [own["f1"] for own in per_class.values() if own["support"]]
        scores["macro_f1"] = sum(known) / len(known) if known else 0.0
    swapped, moved = _near_misses(pairs)
    scores |= {"right_span_wrong_type": swapped, "right_type_wrong_span": moved, "entities": int(there)}
    return {**scores, "per_class": per_class, "type_confusion": _confusion(pairs)}


def counted_pair(gold: Sequence[TaggedSpan], predicted: Sequence[TaggedSpan]) -> tuple[int, int, int]:
    """Return how many entities of a text were found right, were predicted, and are there."""
    return len(set(gold) & set(predicted)), len(predicted), len(gold)


def f1_of(right: float, predicted: float, there: float) -> float:
    """Return F1 from counts of entities; 0 where there is none on either side."""
    return 2 * right / (predicted + there) if predicted + there else 0.0


def best_constant(gold: Sequence[Sequence[str]], *, plain: bool = False) -> tuple[str, float]:
    """Return the tag that, given to every word, has the highest F1, and that F1: the one that begins the type with the
    most entities of one word, each word being an entity then; O where no entity has one word."""
    spans = [entities_of(own, plain=plain) for own in gold]
    alone = Counter(one.type for own in spans for one in own if one.end - one.start == 1)
    if not alone:
        return "O", 0.0
    kind, right = alone.most_common(1)[0]
    return (kind if plain else f"B-{kind}"), f1_of(right, sum(map(len, gold)), sum(map(len, spans)))


def text_f1(gold: Sequence[str], predicted: Sequence[str], *, plain: bool = False) -> float:
    """Return the F1 of one text's entities; 1 where there are none and none was predicted."""
    right, said, there = counted_pair(entities_of(gold, plain=plain), entities_of(predicted, plain=plain))
    return f1_of(right, said, there) if said + there else 1.0


_Pairs = Sequence[tuple[Sequence[TaggedSpan], Sequence[TaggedSpan]]]


def _per_class(pairs: _Pairs) -> dict[str, dict[str, float]]:
    right, said, there = Counter[str](), Counter[str](), Counter[str]()
    for gold, predicted in pairs:
        right.update(one.type for one in set(gold) & set(predicted))
        said.update(one.type for one in predicted)
        there.update(one.type for one in gold)
    return {
        kind: {
            "precision": right[kind] / said[kind] if said[kind] else 0.0,
            "recall": right[kind] / there[kind] if there[kind] else 0.0,
            "f1": f1_of(right[kind], said[kind], there[kind]),
            "support": there[kind],
        }
        for kind in sorted({*said, *there})
    }


def _confusion(pairs: _Pairs) -> Scores:
    """Return the types, and how often each true one (R) was predicted as each (C) for the same words."""
    names = sorted({one.type for pair in pairs for own in pair for one in own})
    place = {name: index for index, name in enumerate([*names, NOTHING])}
    matrix = np.zeros((len(place), len(place)), dtype=np.int64)  # (K, K)
    for gold, predicted in pairs:
        true, said = _by_words(gold), _by_words(predicted)
        for words in true.keys() | said.keys():
            matrix[place[true.get(words, NOTHING)], place[said.get(words, NOTHING)]] += 1
    return {"names": list(place), "counts": matrix.tolist()}


def _by_words(entities: Iterable[TaggedSpan]) -> dict[tuple[int, int], str]:
    return {(one.start, one.end): one.type for one in entities}


def _near_misses(pairs: _Pairs) -> tuple[int, int]:
    """Return how many true entities have the right words and a wrong type, and how many have overlapping words that are
    not all right under the right type."""
    swapped = moved = 0
    for gold, predicted in pairs:
        said = _by_words(predicted)
        for one in gold:
            other = said.get((one.start, one.end))
            swapped += other is not None and other != one.type
            moved += other is None and any(
                near.type == one.type and near.start < one.end and one.start < near.end for near in predicted
            )
    return swapped, moved


def _interval(counts: np.ndarray) -> list[float]:
    """Return the 95 % interval of F1 from the counts (N, 3) of texts: texts are drawn anew, with replacement."""
    texts = len(counts)
    if not texts:
        return [0.0, 1.0]
    random, found = np.random.default_rng(0), list[np.ndarray]()
    for _ in range(_DRAWS // _DRAWS_AT_ONCE):
        often = random.multinomial(texts, np.full(texts, 1 / texts), size=_DRAWS_AT_ONCE)  # (draws, N)
        right, said, there = (often @ counts).T  # (draws,) each
        found.append(2 * right / np.maximum(said + there, 1))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return [float(low), float(high)]
