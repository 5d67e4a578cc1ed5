"""Rows that are the same, or nearly: within a split, across splits, and with different labels."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hftransfer.auditing.findings import Finding, Kind

_BITS = 256
# Bits of two hashes that may differ: in any two images, and in two whose features are much alike.
# Of 320,000 pairs of different photos of cats and dogs the nearest differed in 84 (one pair in 6: the same photo).
_SAME_BITS, _SIMILAR_BITS = 64, 96
_ALIKE = 0.75
_LEAST_DEVIATION = 2.0  # of 256 grey levels; a paler picture has noise for its hash
_LEAST_TEXT, _SAME_TEXT = 20, 0.9


@dataclass(frozen=True)
class Twins:
    """Two rows that are the same or nearly, in which way, and how sure that is, from 0 to 1."""

    first: int
    second: int
    how: str
    score: float = 1.0


def exact_twins(digests: Sequence[bytes]) -> list[Twins]:
    """Return each row beside the first one with the very same content."""
    first: dict[bytes, int] = {}
    places = [(first.setdefault(digest, place), place) for place, digest in enumerate(digests)]
    return [Twins(earlier, place, "the same content") for earlier, place in places if earlier != place]


@dataclass(frozen=True)
class Signature:
    """The perceptual hash of an image, and of the image in the mirror, as bits (256,). They say nothing of an
    image of one colour."""

    bits: np.ndarray
    mirrored: np.ndarray
    is_flat: bool = False

    @classmethod
    def of(cls, image: Image.Image) -> Signature:
        """Return the signature of an RGB image, by ImageHash's `phash`."""
        import imagehash

        # Hashes look at a coarse picture: reduced first, a large photo costs as little as a small one.
        small = image.convert("L").resize((256, 256), Image.Resampling.BILINEAR, reducing_gap=2.0)
        mirrored = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        bits, in_mirror = (imagehash.phash(one, hash_size=16).hash.reshape(_BITS) for one in (small, mirrored))
        return cls(bits, in_mirror, bool(np.asarray(small, dtype=np.float32).std() < _LEAST_DEVIATION))


def image_twins(candidates: Mapping[tuple[int, int], float], signatures: Mapping[int, Signature]) -> list[Twins]:
    """Return the candidates, given with the similarity of their features, whose perceptual hashes agree too: the same
    picture in another size, format, tone, frame, cut by a little, or in the mirror."""
    found = []
    for (first, second), similarity in candidates.items():
        one, other = signatures[first], signatures[second]
        # Of one colour all over, any two have nearly the same hash.
        if one.is_flat or other.is_flat:
            continue
        straight = int(np.count_nonzero(one.bits != other.bits))
        mirrored = int(np.count_nonzero(one.bits != other.mirrored))
        differ = min(straight, mirrored)
        if differ <= (_SIMILAR_BITS if similarity >= _ALIKE else _SAME_BITS):
            how = "nearly the same picture" if straight <= mirrored else "nearly the same picture in the mirror"
            found.append(Twins(first, second, how, 1.0 - differ / _BITS))
    return found


def plain_words(text: str) -> str:
    """Return the text without case, punctuation, accents' forms and runs of white space."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def text_twins(texts: Sequence[str], candidates: Mapping[tuple[int, int], float]) -> list[Twins]:
    """Return texts of the same words, and the candidates that share nine tenths of their characters."""
    words = [plain_words(text) for text in texts]
    first: dict[str, int] = {}
    found = {}
    for place, own in enumerate(words):
        earlier = first.setdefault(own, place)
        if own and earlier != place:
            found[earlier, place] = Twins(earlier, place, "the same words")
    for one, other in candidates:
        if min(len(words[one]), len(words[other])) < _LEAST_TEXT or words[one] == words[other]:
            continue
        # Without `autojunk`, which in longer texts passes over the most frequent letters.
        matcher = difflib.SequenceMatcher(None, words[one], words[other], autojunk=False)
        # Both are upper bounds of the ratio, and far cheaper.
        if matcher.real_quick_ratio() >= _SAME_TEXT and matcher.quick_ratio() >= _SAME_TEXT:
            share = matcher.ratio()
            if share >= _SAME_TEXT:
                found[one, other] = Twins(one, other, "nearly the same words", share)
    return list(found.values())


def groups_of(twins: Sequence[Twins], count: int) -> np.ndarray:
    """Return a number (N,) for each row, the same for rows that are twins, of twins, and so on."""
    firsts, seconds = [one.first for one in twins], [one.second for one in twins]
    # Twins of twins belong together: groups are the connected parts of the graph.
    graph = coo_array((np.ones(len(twins)), (firsts, seconds)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


@dataclass(frozen=True)
class Named:
    """The split, id and label by which findings name a row, and what tells its label from others of the same words."""

    split: str
    id: str
    label: str
    mark: object = None


def twin_findings(twins: Sequence[Twins], rows: Sequence[Named]) -> list[Finding]:
    """Return one finding for each row that a twin of it comes before (training rows come first), by its surest twin: a
    leak where that lies in another split, a duplicate else; and a conflict besides where labels differ."""
    best: dict[tuple[Kind, int], Twins] = {}
    for one in sorted(twins, key=lambda each: -each.score):
        kinds: list[Kind] = ["leak" if rows[one.first].split != rows[one.second].split else "duplicate"]
        if (rows[one.first].label, rows[one.first].mark) != (rows[one.second].label, rows[one.second].mark):
            kinds.append("conflict")
        for kind in kinds:
            best.setdefault((kind, max(one.first, one.second)), one)
    found = []
    for (kind, place), one in best.items():
        row, other = rows[place], rows[min(one.first, one.second)]
        where = f"{one.how} as {other.id} ({other.split})"
        apart = f"which is labelled {other.label}" if row.label != other.label else "which is labelled otherwise"
        reason = f"{where}, {apart}" if kind == "conflict" else where
        of_other = other.split, other.id, other.label
        found.append(Finding(kind, row.split, row.id, row.label, reason, one.score, "", *of_other))
    return found
