"""What to label next: inputs that a model is unsure about, that many others are like, and that differ from each other.

The most uncertain are clustered, weighed by how uncertain they are, as in Zhdanov, "Diverse mini-batch active
learning" (arXiv 1901.05954); of each cluster the one is taken that is uncertain and typical. Uncertain ones alone are
often odd, and like each other: on photos of cats and dogs they taught a probe less than ones at random.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import override

from hftransfer.adapters.scoring import Scoring
from hftransfer.base.errors import DataError, ModelError, RecipeError, must_be
from hftransfer.base.extras import require_extra
from hftransfer.base.progress import Progress
from hftransfer.data.inputs import inputs_at, inputs_of
from hftransfer.data.reading import NamedInput
from hftransfer.predictors.inputs import as_list
from hftransfer.predictors.load import load
from hftransfer.predictors.looking import look_at, named_inputs, tell_unread, weights_of
from hftransfer.predictors.predictor import Predictor, find_place
from hftransfer.predictors.ranked import Ranked, RankedInput
from hftransfer.training.embeddings import unit

_CANDIDATES = 8
"""So many of the most uncertain are clustered for each that is suggested."""
_NEIGHBOURS = 10
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Suggestion(RankedInput):
    """An input worth a label."""

    label: str
    """What the model takes it for."""
    score: float
    uncertainty: float
    """From 0 (sure) to 1: of one label 1 less the distance of the two best probabilities, of several that of the label
    it is least sure about."""
    typicality: float
    """The mean cosine with its ten nearest among all inputs."""

    @property
    @override
    def caption(self) -> str:
        return f"{super().caption}: {self.label} {self.score:.0%}?"


def suggest(
    model: str | os.PathLike[str] | Predictor,
    inputs: object,
    *,
    count: int = 50,
    seed: int = 0,
    progress: Progress | None = None,
) -> Ranked[Suggestion]:
    """Return the inputs that are worth a label, the most uncertain first; those that can't be read are passed over, and
    told in `faults`.

    `inputs` is a folder, a table, a pattern, or a list of images or texts without labels. `model` is a run, or a model
    that gives scores of labels. It shows itself in a notebook, and `.save(folder, "suggestions")` writes a table and a
    sheet.

    >>> ht.suggest("runs/pets", "unlabelled", count=50)[0].input

    Raises:
        RecipeError: the count is none.
        ModelError: the model gives no scores of labels, or a package is missing.
        DataError: none of the inputs can be read.
    """
    predictor, sha = _ready(model, count)
    shown = progress or Progress()
    found = _suggested(predictor, sha, _given(predictor, inputs), count, seed, shown)
    if progress is None:
        tell_unread(found.faults, shown)
    return found


def _ready(model: str | os.PathLike[str] | Predictor, count: int) -> tuple[Predictor, str]:
    """Return the model, and the hash of its weights where it is one with a place.

    Raises:
        RecipeError: the count is none.
        ModelError: the model gives no scores of labels, or a package is missing.
    """
    require_extra("suggest", "hftransfer suggest")
    if count < 1:
        raise RecipeError(must_be("the count", "1 or more", count))
    found: object = model if isinstance(model, Predictor) else load(model)
    if not isinstance(found, Predictor) or not found.scores_labels:
        remedy = "Train one on your labelled data first: hftransfer run."
        raise ModelError(must_be("the model", "a model that gives scores of labels", "a model without labels", remedy))
    return found, "" if isinstance(model, Predictor) else weights_of(find_place(model))


def _suggested(
    predictor: Predictor, sha: str, named: Sequence[NamedInput], count: int, seed: int, progress: Progress
) -> Ranked[Suggestion]:
    looked = look_at(predictor, named, sha, progress)
    if not looked.names:
        raise DataError(*looked.faults, must_be("the inputs", "at least one readable input", "none"))
    scores = predictor.scores_of_features(looked.features, looked.values)
    uncertainty = uncertainty_of(scores, predictor.scoring)
    typicality = typicality_of(looked.features)
    chosen = choose(looked.features, uncertainty, typicality, count, seed)
    best = scores.argmax(axis=1)
    found = [
        Suggestion(
            looked.names[at],
            predictor.class_names[best[at]],
            float(scores[at, best[at]]),
            float(uncertainty[at]),
            float(typicality[at]),
        )
        for at in chosen
    ]
    title = f"{len(found)} of {len(looked.names):,} inputs to label next"
    return Ranked(
        found, [looked.values[at] for at in chosen], title, of_texts=bool(predictor.reader.fields), faults=looked.faults
    )


def _given(predictor: Predictor, inputs: object) -> list[NamedInput]:
    """Return inputs by name: a path, or a pattern, as on the command line."""
    if isinstance(inputs, str | os.PathLike):
        return inputs_at(os.fspath(inputs), predictor.reader, predictor.columns)
    return named_inputs(as_list(inputs, predictor.reader))


def uncertainty_of(scores: np.ndarray, scoring: Scoring) -> np.ndarray:
    """Return how uncertain scores (N, C) are, (N,) from 0 to 1."""
    if scoring == "sigmoid" or scores.shape[1] < 2:
        found: np.ndarray = 1 - np.abs(2 * scores - 1).min(axis=1)
        return found
    best = np.sort(scores, axis=1)[:, -2:]
    margin: np.ndarray = 1 - (best[:, 1] - best[:, 0])
    return margin


def typicality_of(features: np.ndarray) -> np.ndarray:
    """Return the mean cosine (N,) of each row of features (N, D) with its ten nearest."""
    rows = unit(features.astype(np.float32))
    near = min(_NEIGHBOURS, len(rows) - 1)
    if near < 1:
        return np.ones(len(rows))
    found = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        likeness = rows[start : start + _ROWS_AT_ONCE] @ rows.T  # (B, N)
        likeness[np.arange(len(likeness)), start + np.arange(len(likeness))] = -np.inf  # itself
        found.append(np.partition(likeness, -near, axis=1)[:, -near:].mean(axis=1))
    return np.concatenate(found)


def choose(
    features: np.ndarray, uncertainty: np.ndarray, typicality: np.ndarray, count: int, seed: int = 0
) -> list[int]:
    """Return the places of so many rows of features (N, D) that are uncertain, typical and unlike each other, the most
    uncertain first. Of equal rows one is taken, as far as there are others."""
    from sklearn.cluster import KMeans

    order = np.argsort(-uncertainty, kind="stable")
    _, first = np.unique(features[order], axis=0, return_index=True)
    different = order[np.sort(first)]
    if len(different) <= count:
        again = [int(at) for at in order if at not in set(different.tolist())]
        return [*map(int, different), *again][:count]
    kept = different[: _CANDIDATES * count]
    weight = _ranks(uncertainty)[kept]
    worth = weight * _ranks(typicality)[kept]
    clusters = KMeans(count, n_init=1, random_state=seed).fit_predict(unit(features[kept]), sample_weight=weight)
    members = [np.flatnonzero(clusters == cluster) for cluster in range(count)]
    chosen = [int(kept[own[worth[own].argmax()]]) for own in members if len(own)]
    chosen += [int(at) for at in kept if at not in set(chosen)][: count - len(chosen)]
    return sorted(chosen, key=lambda at: -uncertainty[at])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value (N,) from above 0 to 1, the largest 1."""
    found: np.ndarray = (np.argsort(np.argsort(values, kind="stable"), kind="stable") + 1) / len(values)
    return found


def suggest_inputs(
    model: str, inputs: Sequence[str], column: str | None, count: int, seed: int, progress: Progress
) -> Ranked[Suggestion]:
    """Return what `suggest` gives of inputs on the command line.

    Raises:
        HftransferError: as `suggest`.
    """
    predictor, sha = _ready(model, count)
    columns = replace(predictor.columns, first=column)
    if len(inputs) == 1:
        named = inputs_at(inputs[0], predictor.reader, columns)
    else:
        named = inputs_of(inputs, predictor.reader, columns)
    return _suggested(predictor, sha, named, count, seed, progress)
