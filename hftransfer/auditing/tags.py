"""Tags of words that are likely wrong: what probes that never saw their text say of them.

By cleanlab's own function for tokens (Wang and Mueller, arXiv 2210.03920).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hftransfer.auditing.findings import Finding
from hftransfer.auditing.labels import FOLDS
from hftransfer.data.splits import Splits
from hftransfer.training.solver import Features, InMemory, probabilities, solve_head

_MOST_SOLVED = 16384
"""Words that a probe is solved on: more tell little more, and take longer."""
_L2 = 0.01
"""The L2 strength of the probes: about the best on WNUT17, and a weak one learns wrong tags by heart."""
_SHOWN = 3


@dataclass(frozen=True)
class TaggedWords:
    """The words of one split: features (N, D), tags (N,), the row of each, and what a person knows it by."""

    features: Features
    tags: np.ndarray
    rows: Sequence[int]
    names: Sequence[str]


def tag_findings(splits: Splits, words: dict[str, TaggedWords], seed: int) -> list[Finding]:
    """Return the rows with tags that are likely wrong, the surest first. Texts are in one fold as a whole, and copies
    of a text in the same."""
    from cleanlab.token_classification.filter import find_label_issues

    copies: dict[bytes, int] = {}
    fold_of = np.random.default_rng(seed).integers(0, FOLDS, sum(splits.sizes().values()))
    features: list[np.ndarray] = []
    places: list[tuple[str, int]] = []
    tags, folds, names = list[int](), list[int](), list[str]()
    for split, own in words.items():
        digests = getattr(splits, split).digests
        numbers = [copies.setdefault(digest, len(copies)) for digest in digests]
        features.append(own.features.rows(0, own.features.shape[0]).astype(np.float16))
        places += [(split, row) for row in own.rows]
        folds += [int(fold_of[numbers[row]]) for row in own.rows]
        tags += own.tags.tolist()
        names += own.names
    found = _out_of_fold(np.concatenate(features), np.array(tags), np.array(folds), len(splits.class_names), seed)
    by_text: dict[tuple[str, int], list[int]] = {}
    for word, place in enumerate(places):
        by_text.setdefault(place, []).append(word)
    texts = list(by_text)
    issues = find_label_issues(
        [[tags[word] for word in by_text[text]] for text in texts], [found[by_text[text]] for text in texts], n_jobs=1
    )
    doubtful: dict[tuple[str, int], list[int]] = {}
    for text, place in issues:
        doubtful.setdefault(texts[text], []).append(by_text[texts[text]][place])
    return [_finding(splits, text, own, found, tags=tags, names=names) for text, own in doubtful.items()]


def _out_of_fold(features: np.ndarray, tags: np.ndarray, folds: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """Return the probabilities (N, C) that probes give to words of texts that they were not solved with."""
    found, random = np.zeros((len(tags), classes)), np.random.default_rng([seed, 1])
    for fold in np.unique(folds).tolist():
        held, kept = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        kept = np.sort(random.permutation(kept)[:_MOST_SOLVED])
        train, rest = (InMemory(features[own].astype(np.float32)) for own in (kept, held))
        head = solve_head(train, tags[kept], rest, tags[held], classes, l2=_L2)
        found[held] = probabilities(head.logits(rest))
    return found


def _finding(
    splits: Splits,
    text: tuple[str, int],
    words: Sequence[int],
    found: np.ndarray,
    *,
    tags: Sequence[int],
    names: Sequence[str],
) -> Finding:
    split, row = text
    own = getattr(splits, split).rows[row]
    told = []
    for word in words[:_SHOWN]:
        likely = int(found[word].argmax())
        said = splits.class_names[likely], splits.class_names[tags[word]]
        sure = f"{found[word, likely]:.0%}"
        told.append(f"{names[word]} is tagged {said[1]}, a probe trained without it predicts {said[0]} ({sure})")
    more = [f"and {len(words) - _SHOWN} more"] if len(words) > _SHOWN else []
    score = float(max(1.0 - found[word, tags[word]] for word in words))
    suggested = splits.class_names[int(found[words[0]].argmax())]
    return Finding(
        "label", split, own.id, splits.kind.in_words(own.target), "; ".join([*told, *more]), score, suggested
    )
