"""What a solved head says of examples that it did not learn from: of the validation split, or of nearly all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hftransfer.tasks.contract import Examples
from hftransfer.training.job import Job
from hftransfer.training.learning_curve import QUICK_NUMBERS, solved_again
from hftransfer.training.solver import InMemory, folds_in_turn
from hftransfer.training.sources import Sources

_FOLDS = 5
_MANY = 1000
"""Validation examples from which on they tell enough by themselves."""


@dataclass(frozen=True)
class HeldOut:
    """Logits (N, C) of examples that they did not learn from, and their class ids (N,)."""

    logits: np.ndarray
    labels: np.ndarray
    words: str


def out_of_fold(job: Job, sources: Sources, examples: dict[str, Examples]) -> HeldOut | None:
    """Return logits of all training and validation examples, each by a head solved on the others but a fifth, with the
    L2 strength that was chosen; None where the head is not solved on one row of features an example, where validation
    is large, or where folds would share groups or lack classes.

    The heads learn from a little less than the model's own does: 80 % of both splits, where validation has 15 %.
    """
    validation = sources.others["validation"].stored
    is_solved = job.solves_rows and len(sources.views) == 1 and job.made.l2 is not None
    if not is_solved or job.names is not None or validation is None:
        return None
    splits = [examples[name].split for name in ("train", "validation")]
    train, classes = sources.views[0], len(job.splits.class_names)
    count = train.shape[0] + validation.shape[0]
    labels = np.concatenate([split.class_ids for split in splits])
    grouped = any(row.group is not None for split in splits for row in split.rows)
    few = np.bincount(labels, minlength=classes).min() < _FOLDS
    if grouped or few or validation.shape[0] >= _MANY or count * train.shape[1] > QUICK_NUMBERS:
        return None
    rows = np.concatenate([own.rows(0, own.shape[0]) for own in (train, validation)])  # (N, D)
    # The order of `drawn_evenly` repeats itself: by that each fold would get classes of its own.
    fold = folds_in_turn(labels, _FOLDS, job.train.seed)
    logits = np.empty((count, classes))
    for number in range(_FOLDS):
        own, rest = fold == number, fold != number
        held_out = InMemory(rows[own])
        head = solved_again(job, (rows[rest], labels[rest]), (held_out, labels[own]), train.shape[0])
        logits[own] = head.logits(held_out)
    return HeldOut(logits, labels, f"{count:,} examples out of fold")
