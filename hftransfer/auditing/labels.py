"""Labels that are likely wrong: what a linear probe that never saw a row says of it, by confident learning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from hftransfer.training.solver import InMemory, Problem, probabilities, solve_head, solve_labels

FOLDS = 5
# How much more probable the other label is, where the probes say it clearly.
_CLEARLY = 0.4


_SURELY = 0.8
"""How probable the opposite of one label of several is, where the probes say it clearly."""


def out_of_fold_probabilities(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: int, seed: int, folds: int = FOLDS
) -> np.ndarray:
    """Return the class probabilities (N, C) that probes give to features (N, D) they were not solved with. Rows of one
    group (the same content) are never on both sides."""
    from sklearn.model_selection import StratifiedGroupKFold

    found = np.empty((len(labels), classes))  # (N, C)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    l2 = None
    for kept, held in splitter.split(features, labels, groups):
        # The strength is chosen on the first fold, for all: one number, which can't learn single labels.
        train, rest = InMemory(features[kept]), InMemory(features[held])
        head = solve_head(train, labels[kept], rest, labels[held], classes, l2=l2)
        l2 = head.l2
        found[held] = probabilities(head.logits(rest))
    return found


def out_of_fold_labels(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int, folds: int = FOLDS
) -> np.ndarray:
    """Return the probability (N, C) of each label, by probes that were not solved with the row's features (N, D). Rows
    of one group are never on both sides."""
    from sklearn.model_selection import GroupKFold

    found = np.empty(labels.shape)  # (N, C)
    l2 = None
    for kept, held in GroupKFold(folds, shuffle=True, random_state=seed).split(features, groups=groups):
        train, rest = InMemory(features[kept]), InMemory(features[held])
        head = solve_labels(Problem(train, labels[kept], rest, labels[held], labels.shape[1], l2=l2))
        l2 = head.l2
        found[held] = expit(head.logits(rest))
    return found


def wrong_in_sets(labels: np.ndarray, found: np.ndarray) -> dict[int, tuple[int, float]]:
    """Return the rows of which a label (N, C) is likely wrong or missing by probabilities (N, C): the surest such label
    and how sure that is, the surest row first. By cleanlab, each label as a yes or no of its own."""
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    given = [np.flatnonzero(row).tolist() for row in labels]
    # One process: starting others takes longer than the work.
    issues = np.asarray(find_multilabel_issues_per_class(given, found, n_jobs=1))  # (N, C)
    doubt = np.where(issues, np.where(labels, 1.0 - found, found), -1.0)  # (N, C)
    # Of many labels most are rare: what a probe merely finds unlikely is no mistake.
    doubt[doubt < _SURELY] = -1.0
    surest = doubt.max(axis=1)  # (N,)
    order = [row for row in np.argsort(-surest, kind="stable").tolist() if surest[row] >= 0]
    return {row: (int(doubt[row].argmax()), float(surest[row])) for row in order}


def wrong_labels(labels: np.ndarray, found: np.ndarray) -> dict[int, float]:
    """Return the rows whose labels (N,) are likely wrong by probabilities (N, C), the surest first, and how sure that
    is.

    Confident learning (Northcutt et al., arXiv 1911.00068) by cleanlab tells how many there are. Its number is low of
    few rows: up to half as many more are listed, where the probes clearly say another label.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    number = int(find_label_issues(labels, found, n_jobs=1).sum())
    by_margin = {"return_indices_ranked_by": "normalized_margin", "filter_by": "predicted_neq_given", "n_jobs": 1}
    order = find_label_issues(labels, found, **by_margin)
    quality = get_label_quality_scores(labels, found, method="normalized_margin")  # 0.5 is a tie
    listed = [
        *order[:number],
        *(place for place in order[number : number + number // 2] if quality[place] <= 0.5 - _CLEARLY / 2),
    ]
    return {int(place): float(1.0 - quality[place]) for place in listed}


def overlapping_classes(labels: np.ndarray, found: np.ndarray, names: Sequence[str]) -> list[str]:
    """Return a sentence on each two classes of which one in twenty of the smaller is likely labelled as the other."""
    from cleanlab.dataset import find_overlapping_classes

    if len(names) < 3:
        return []  # that two classes are taken for each other is what the labels say already
    table = find_overlapping_classes(labels, found, class_names=list(names))
    sizes = dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))
    told = []
    for row in table.to_dict("records"):
        one, other, number = row["Class Name A"], row["Class Name B"], int(row["Num Overlapping Examples"])
        if number >= max(3, 0.05 * min(sizes[one], sizes[other])):
            told.append(f"classes '{one}' and '{other}' overlap: about {number} rows of one look like the other")
    return told
