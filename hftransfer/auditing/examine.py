"""An audit of rows, top to bottom: duplicates, labels, outliers, what is odd about single rows, and the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType

import numpy as np

from hftransfer.auditing.audit import Audit
from hftransfer.auditing.duplicates import (
    Named,
    Signature,
    Twins,
    exact_twins,
    groups_of,
    image_twins,
    plain_words,
    text_twins,
    twin_findings,
)
from hftransfer.auditing.findings import Finding, Kind, in_order
from hftransfer.auditing.labels import (
    FOLDS,
    out_of_fold_labels,
    out_of_fold_probabilities,
    overlapping_classes,
    wrong_in_sets,
    wrong_labels,
)
from hftransfer.auditing.neighbours import MOST_ROWS, Neighbours, find_neighbours, standardised
from hftransfer.auditing.texts import in_other_words, odd_about_text
from hftransfer.base.errors import counted, some
from hftransfer.data.inspection import decode_row
from hftransfer.data.reading import Reader
from hftransfer.data.rows import Row
from hftransfer.data.splits import NAMES, Splits
from hftransfer.metrics.multi_label import average_precision
from hftransfer.training.solver import Features

_UNEVEN, _TRUSTED = 10.0, 0.85
_TRUSTED_PRECISION = 0.5
"""Average precision below which a probe judges no label of several."""
LEAST_CLOSELY, LEAST_QUICKLY = 0.4, 0.75
"""How alike rows are that are looked at as near duplicates: by an audit, and in a few seconds for the page of a run."""


@dataclass
class Subject:
    """The readable rows of all splits, one split after the other, and what is known of them."""

    reader: Reader
    rows: list[Row]
    named: list[Named]
    digests: list[bytes]
    labels: np.ndarray
    """Class ids (N,), or where rows have any number of labels which they have, (N, C)."""
    class_names: tuple[str, ...]
    counts: Mapping[str, Sequence[int]]
    features: np.ndarray | None
    odd: dict[int, list[str]] = field(default_factory=dict)
    """What is odd about single rows, as far as it was noticed when they were read."""
    signatures: dict[int, Signature] = field(default_factory=dict)
    """The perceptual hashes of images, as far as they were needed."""

    @classmethod
    def of(cls, splits: Splits, reader: Reader, stored: Mapping[str, Features] = MappingProxyType({})) -> Subject:
        """Return the rows of all splits, with their features where they are known."""
        rows, named, digests = [], [], []
        labels = []
        is_labelled = splits.kind.has_names
        for name, split in splits.items():
            rows += split.rows
            digests += split.digests
            labels.append(np.asarray(split.targets) if is_labelled else np.zeros(len(split), dtype=np.int64))
            kind = splits.kind
            named += [
                Named(name, row.id, kind.in_words(row.target), kind.beyond_words(row.target)) for row in split.rows
            ]
        counts = splits.counts() if splits.class_names else {}
        parts = [stored[name].rows(0, len(split)) for name, split in splits.items() if name in stored]
        features = np.concatenate(parts) if parts else None
        names = splits.class_names if is_labelled else ()
        # An empty split knows nothing of columns, and does not join with (N, C).
        ids = np.concatenate([part for part in labels if len(part)] or labels[:1])
        return cls(reader, rows, named, digests, ids, names, counts, features)

    def has_content(self, place: int) -> bool:
        """Return whether there is anything in a row: an image always has something, a text words."""
        return not self.reader.fields or any(map(plain_words, self.rows[place].content.texts))

    def texts(self) -> list[str]:
        """Return the texts of all rows; of pairs, and of questions with what they are asked of, one after the other."""
        return ["\n".join(self.reader.compared_texts(row)) for row in self.rows]


def examine(
    subject: Subject, seed: int, advance: Callable[[int], None] = lambda _: None, least: float = LEAST_CLOSELY
) -> Audit:
    """Return what is wrong with the rows. `advance` is told of each of the `STEPS` done. Rows whose standardised
    features have a cosine similarity below `least` are not looked at as near duplicates; labels are judged alike
    whatever it is."""
    findings: list[Finding] = []
    notes: list[str] = []
    near = _neighbours(subject, notes)
    advance(1)
    # Empty rows are all the same, and odd rather than copies.
    twins = [one for one in exact_twins(subject.digests) if subject.has_content(one.first)]
    alike = {} if near is None else near.pairs(min(least, LEAST_QUICKLY))
    near_twins = _near_twins(subject, alike, twins, least)
    findings += twin_findings([*twins, *near_twins], subject.named)
    advance(1)
    # Of the same rows the page of a run and an audit, which looks closer, find the same labels: the folds are the same.
    apart = [one for one in near_twins if alike.get((one.first, one.second), 1.0) >= LEAST_QUICKLY]
    groups = groups_of([*twins, *apart], len(subject.rows))
    findings += _label_findings(subject, groups, seed, notes)
    advance(1)
    if near is not None and subject.features is not None:
        told, far = "unlike all others, of its own class and of others", find_neighbours(subject.features).outliers()
        findings += [_finding(subject, "outlier", place, told, score) for place, score in far.items()]
    findings += _oddities(subject)
    notes += _on_classes(subject)
    advance(1)
    return Audit(len(subject.rows), in_order(findings), tuple(notes), contents_of(subject))


def contents_of(subject: Subject) -> dict[tuple[str, str], Row]:
    """Return the rows by split and id."""
    return {(own.split, own.id): row for own, row in zip(subject.named, subject.rows, strict=True)}


STEPS = 4


def _finding(subject: Subject, kind: Kind, place: int, reason: str, score: float = 1.0, suggested: str = "") -> Finding:
    own = subject.named[place]
    return Finding(kind, own.split, own.id, own.label, reason, score, suggested)


# --- duplicates ------------------------------------------------------------------------------------------------------


def _neighbours(subject: Subject, notes: list[str]) -> Neighbours | None:
    if len(subject.rows) > MOST_ROWS:
        notes.append(f"near duplicates and outliers were not looked for: more than {MOST_ROWS:,} rows")
        return None
    if subject.features is not None:
        return find_neighbours(standardised(subject.features))
    if not subject.reader.fields:
        found = _signatures(subject, range(len(subject.rows)))
        bits = np.array([found[place].bits for place in range(len(subject.rows))])
        return find_neighbours(np.where(bits, 1.0, -1.0).astype(np.float32))
    return None


def _near_twins(
    subject: Subject, alike: Mapping[tuple[int, int], float], exact: Sequence[Twins], least: float
) -> list[Twins]:
    known = {(one.first, one.second) for one in exact}
    candidates = {pair: similarity for pair, similarity in alike.items() if similarity >= least and pair not in known}
    if not subject.reader.fields:
        places = sorted({place for pair in candidates for place in pair})
        return image_twins(candidates, _signatures(subject, places))
    labels = [own.label for own in subject.named]
    # Texts that differ in a word and in their labels, as "one of the best films", are no copies.
    candidates = {pair: alike for pair, alike in candidates.items() if labels[pair[0]] == labels[pair[1]]}
    return [one for one in text_twins(subject.texts(), candidates) if (one.first, one.second) not in known]


def _signatures(subject: Subject, places: Sequence[int]) -> Mapping[int, Signature]:
    """Return the perceptual hashes of these images at least, each decoded once, in a few threads."""

    def signature(place: int) -> Signature:
        row = subject.rows[place]
        return Signature.of(decode_row(row))

    missing = [place for place in places if place not in subject.signatures]
    with ThreadPoolExecutor(max_workers=4) as pool:
        subject.signatures.update(zip(missing, pool.map(signature, missing), strict=True))
    return subject.signatures


# --- labels ----------------------------------------------------------------------------------------------------------


def _label_findings(subject: Subject, groups: np.ndarray, seed: int, notes: list[str]) -> list[Finding]:
    names = subject.class_names
    if subject.features is None or len(names) < 2:
        return []
    if subject.labels.ndim == 2:
        return _several_label_findings(subject, subject.features, groups, seed, notes)
    # Copies stay in one fold, so a class needs as many different rows as there are folds.
    different = [len(np.unique(groups[subject.labels == label])) for label in range(len(names))]
    fewest = int(np.argmin(different))
    if different[fewest] < FOLDS:
        told = f"class '{names[fewest]}' has {different[fewest]} rows that are no copies, {FOLDS} are needed"
        notes.append(f"labels were not judged: {told}")
        return []
    found = out_of_fold_probabilities(subject.features, subject.labels, groups, len(names), seed)
    notes += overlapping_classes(subject.labels, found, names)
    agreed = float((found.argmax(axis=1) == subject.labels).mean())
    if agreed < _TRUSTED:
        notes.append(
            f"a probe on this model predicts only {agreed:.0%} of the labels: it is a weak judge of the others"
        )
    findings = []
    for place, score in wrong_labels(subject.labels, found).items():
        own, likely = found[place, subject.labels[place]], int(found[place].argmax())
        reason = (
            f"a probe trained without it predicts {names[likely]} ({found[place, likely]:.0%}); its label has {own:.0%}"
        )
        findings.append(_finding(subject, "label", place, reason, score, names[likely]))
    return findings


def _several_label_findings(
    subject: Subject, features: np.ndarray, groups: np.ndarray, seed: int, notes: list[str]
) -> list[Finding]:
    """Return the rows of which one label at least is likely wrong, or missing; one finding each, of the surest."""
    labels, names = subject.labels.astype(bool), subject.class_names
    # As many rows that are no copies, with the label and without it, as there are folds.
    different = [min(len(np.unique(groups[own])), len(np.unique(groups[~own]))) for own in labels.T]
    judged = [place for place, count in enumerate(different) if count >= FOLDS]
    if few := [names[place] for place in range(len(names)) if place not in judged]:
        notes.append(f"labels on fewer than {FOLDS} rows, or on all but so few, were not judged: {some(few)}")
    if not judged:
        return []
    found = out_of_fold_labels(features, labels[:, judged], groups, seed)  # (N, J)
    # A probe that can't tell a label on most rows is no judge of the others.
    quality = [average_precision(labels[:, place], found[:, j]) or 0.0 for j, place in enumerate(judged)]
    if weak := [names[place] for place, own in zip(judged, quality, strict=True) if own < _TRUSTED_PRECISION]:
        notes.append(f"probes on this model predict {some(weak)} too poorly to judge these labels")
    trusted = [j for j, own in enumerate(quality) if own >= _TRUSTED_PRECISION]
    judged, found = [judged[j] for j in trusted], found[:, trusted]
    if not judged:
        return []
    findings = []
    for row, (place, score) in wrong_in_sets(labels[:, judged], found).items():
        name, probability = names[judged[place]], found[row, place]
        is_given = bool(labels[row, judged[place]])
        said = f"label '{name}' is given" if is_given else f"label '{name}' is not given"
        reason = f"{said}; a probe trained without the row gives it {probability:.0%}"
        findings.append(_finding(subject, "label", row, reason, score, "" if is_given else name))
    return findings


# --- single rows, and classes ----------------------------------------------------------------------------------------


def _oddities(subject: Subject) -> list[Finding]:
    told: dict[int, list[str]] = {place: list(words) for place, words in subject.odd.items()}
    if subject.reader.fields:
        for place, row in enumerate(subject.rows):
            for part in row.content.texts:
                told.setdefault(place, []).extend(odd_about_text(part))
        for place, words in in_other_words(subject.texts()).items():
            told.setdefault(place, []).append(words)
    return [_finding(subject, "oddity", place, "; ".join(words)) for place, words in told.items() if words]


def _on_classes(subject: Subject) -> list[str]:
    if not subject.class_names:
        return _on_shared_groups(subject)
    # Data that only judge a model have no training split.
    counts = np.array(subject.counts["train"] if sum(subject.counts["train"]) else subject.counts["test"])
    most = int(counts.argmax())
    few = [i for i in np.argsort(counts).tolist() if counts[most] >= _UNEVEN * max(1, counts[i])]
    if not few:
        return []
    rare = some(f"'{subject.class_names[i]}' {counts[i]}" for i in few)
    told = f"classes are uneven: '{subject.class_names[most]}' {counts[most]} rows, {rare}"
    return [f"{told} (train.class_weights: auto weighs them)"]


def _on_shared_groups(subject: Subject) -> list[str]:
    """Return where rows of several splits share what they are asked about."""
    fields = subject.reader.fields
    if len(fields) < 2:
        return []
    contexts: dict[str, set[str]] = {name: set() for name in NAMES}
    for row, own in zip(subject.rows, subject.named, strict=True):
        contexts[own.split].add(row.content.texts[-1])
    shared = {(one, other): len(contexts[one] & contexts[other]) for one, other in combinations(NAMES, 2)}
    return [
        f"{counted(count, fields[-1])} of the {other} split in the {one} split too: scores on them are too good"
        for (one, other), count in shared.items()
        if count
    ]
