"""How good a linear probe is with fewer examples: solved again on parts of the kept activations."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hftransfer.tasks.contract import Examples, Judged
from hftransfer.training.activations import StoredActivations
from hftransfer.training.job import Job
from hftransfer.training.solver import SOLVERS, Features, InMemory, Problem, SolvedHead

_PARTS = (16, 8, 4, 2)
_DRAWS = 3
QUICK_NUMBERS = 8_000_000
"""Numbers in features up to which solving again takes no time to speak of."""
_PATIENCE_SECONDS = 2.0
"""No further part is solved after so long."""
_LEAST, _LEAST_OF_CLASS = 8, 2


@dataclass(frozen=True)
class CurvePoint:
    """The scores of several draws of so many training examples, by the task's headline."""

    examples: int
    scores: tuple[float, ...]


def learning_curve(
    job: Job, features: Mapping[str, StoredActivations], examples: Mapping[str, Examples]
) -> list[CurvePoint]:
    """Return the score on the test split (or on validation, where there is no test) of probes on a 16th, an 8th, a
    quarter and a half of the training examples, three draws each; none of what is too large to be quick.

    The L2 strength is that of the whole probe (`solved_again`).
    """
    train = features["train"]
    count, width = train.shape
    if job.made.l2 is None or job.task.solver is None or job.names is not None or count * width > QUICK_NUMBERS:
        return []
    began, rows = time.perf_counter(), train.rows(0, count)  # (N, D)
    targets = job.task.solver_targets(examples["train"])
    least = max(_LEAST, _LEAST_OF_CLASS * len(job.splits.class_names))
    held_out, wanted = features["validation"], job.task.solver_targets(examples["validation"])
    points: list[CurvePoint] = []
    for part in _PARTS:
        size, scores = count // part, []
        for draw in range(_DRAWS) if size >= least else ():
            if time.perf_counter() - began > _PATIENCE_SECONDS:
                return points
            chosen = drawn_evenly(targets, np.random.default_rng((job.train.seed, draw)))[:size]
            head = solved_again(job, (rows[chosen], targets[chosen]), (held_out, wanted), count)
            scores.append(_score(job, head, features, examples))
        if scores:
            points.append(CurvePoint(size, tuple(scores)))
    return points


def solved_again(
    job: Job, learned: tuple[np.ndarray, np.ndarray], held_out: tuple[Features, np.ndarray], count: int
) -> SolvedHead:
    """Return the head of a solved job on other features and targets, with the L2 strength that was chosen with `count`
    examples: for the sum of the losses it is the same, whatever their number."""
    (rows, targets), solver = learned, job.task.solver
    assert solver is not None
    assert job.made.l2 is not None
    problem = Problem(
        *(InMemory(rows), targets, *held_out),
        classes=len(job.splits.class_names),
        l2=job.made.l2 * count / len(rows),
        balanced=job.class_weights,
    )
    return SOLVERS[solver](problem)


def drawn_evenly(targets: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return an order (N,) of examples whose every beginning holds the classes as all of them do; of other targets than
    class ids (N,) any order."""
    order = random.permutation(len(targets))
    if targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
        return order
    places = np.empty(len(targets))
    for label in np.unique(targets):
        own = order[targets[order] == label]
        # The first of each class comes early, whatever the class' size.
        places[own] = (np.arange(len(own)) + random.random()) / len(own)
    return np.argsort(places, kind="stable")


def _score(
    job: Job, head: SolvedHead, features: Mapping[str, StoredActivations], examples: Mapping[str, Examples]
) -> float:
    validation = _judged(job, head, features["validation"], examples["validation"], {})
    judged = validation
    if "test" in examples:
        # What validation tunes, such as thresholds, holds for the test, as in the run itself.
        judged = _judged(job, head, features["test"], examples["test"], validation.extras)
    return float(judged.metrics[job.task.headline.name])


def _judged(
    job: Job, head: SolvedHead, features: StoredActivations, own: Examples, extras: Mapping[str, object]
) -> Judged:
    logits: Sequence[np.ndarray] = list(head.logits(features))
    outcomes = job.task.decode(logits, range(len(logits)), own)
    settings = job.task.judging_settings(job.data, job.splits.train.targets)
    return job.task.judge(outcomes, own, job.splits.class_names, **{**settings, **extras})
