"""The linear probe's head, solved: multinomial logistic regression by L-BFGS on standardised features.

As in the CLIP paper's probes (Radford et al., arXiv 2103.00020, appendix A.3) the L2 strength is chosen on the
validation split; where that has fewer than 100 rows, by cross-validation on the training split. One closed-form ridge
regression for all strengths at once (a single eigendecomposition) narrows the grid and gives the first starting
point; each further fit starts from the one before. Of two classes and many rows the steps are taken along the
eigenvectors of the features' covariance, scaled to the curvature along them: a sixth as many on 6,000 sentences. (Of
more classes they were twice as many: their curvatures differ too much for one scale.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from threadpoolctl import threadpool_limits

from hftransfer.data.groups import deal
from hftransfer.tasks.head_task import ClassWeights
from hftransfer.tasks.labelled import weights_by_class
from hftransfer.tasks.multi_label import positive_weights

GRID = tuple(float(10.0**power) for power in np.arange(-5.0, 1.01, 0.5))
GRID_NEAR = tuple(float(10.0**power) for power in np.arange(-5.0, 3.01, 0.5))
MANY_TO_CHOOSE, _FOLDS, _LEAST_OF_A_CLASS = 100, 5, 3
"""Validation rows from which on they choose the L2 strength; else so many folds of the training rows do, where each
class has so many."""
_NEAR_OF_ONE = 0.3
"""The L2 strength near a given head with one example of each class; with n it is an n-th."""
_OF_LEARNED = 0.02
"""The L2 strength of a head on features that its own examples have shaped, where few others could choose it."""
_LEAST_DEVIATION = 0.03
_ROWS_AT_ONCE = 4096
_IN_MEMORY_BYTES = 64 << 20


class Features(Protocol):
    """Features (N, D) that may be larger than memory."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop as float32 (stop - start, D)."""


@dataclass(frozen=True)
class InMemory:
    """Features (N, D) that are in memory."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        count, width = self.values.shape
        return count, width

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop as float32 (stop - start, D)."""
        return self.values[start:stop]


class KnownHead(NamedTuple):
    """A head that is known before anything is learned: weight (C, D), bias (C,)."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class SolvedHead:
    """A plain linear layer on raw features: logits = features @ weight.T + bias; weight (C, D), bias (C,)."""

    weight: np.ndarray
    bias: np.ndarray
    l2: float
    measured: float
    path: tuple[tuple[float, float], ...] = ()
    """The L2 strengths that were tried, from weak to strong, and what each came to."""
    measure: str = "validation log loss"
    """What chose among them; `measured` of the one that was taken."""

    def logits(self, features: Features) -> np.ndarray:
        """Return the logits (N, C) in float64."""
        parts = [part.astype(np.float64) @ self.weight.T + self.bias for part in _parts(features)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.bias)))


@dataclass(frozen=True)
class Problem:
    """The data of a head to solve: features (N, D) with their targets, and others by which the L2 strength is chosen.

    Targets are class ids (N,), labels (N, C) of 0 and 1, or numbers (N,), as the solver takes them.
    """

    train: Features
    targets: np.ndarray
    validation: Features
    validation_targets: np.ndarray
    classes: int
    l2: float | None = None
    """None: the best of the grid on the validation rows."""
    near: KnownHead | None = None
    """A head that the solution stays near to."""
    balanced: ClassWeights = False
    """Whether rare classes count as much as frequent ones, or how much each class (C,) counts."""
    pilot_rows: int | None = None
    """Of so many training rows, drawn at random, the L2 strength is chosen, and scaled to all; None: of all."""
    independent: bool = False
    """Whether no training row is like another by its making but for its group, and none has shaped the features: then
    they can choose the L2 strength by cross-validation where validation rows are few."""
    groups: np.ndarray | None = None
    """The number (N,) of each training row's group, from 0, where some are like others: folds keep them together."""
    learned: bool = False
    """Whether these very rows have shaped the features, so that all have one unit, in which their mean squared
    distance from their mean is 1: how much each varies says which of them tell the classes apart."""


def solve_head(
    train: Features,
    train_labels: np.ndarray,
    validation: Features,
    validation_labels: np.ndarray,
    classes: int,
    l2: float | None = None,
    near: KnownHead | None = None,
    *,
    balanced: ClassWeights = False,
    learned: bool = False,
) -> SolvedHead:
    """Return the head with the lowest validation log loss over the grid of L2 strengths (or at the one given).

    The objective is mean cross-entropy + l2 / 2 · ‖W‖² over standardised features; the bias is free. The
    standardisation is folded into the returned weights. Deterministic. `balanced` weighs each class by the inverse of
    its frequency among the training rows, in both losses; an array (C,) says how much each counts beside the others.

    With `near`, what is small is the way from there: l2 / 2 · ‖W - W₀‖² / s², s being the mean length of the rows of
    W₀, features as they are, and the bias that of `near` (as in CLAP; Silva-Rodríguez et al., arXiv 2312.12730).

    Features that are `learned` are not standardised one by one but all divided by the root of their total variance.
    """
    mean, deviation = _moments(train) if near is None else _units_of(near)
    if learned:
        varies = np.isfinite(deviation)
        deviation = np.where(varies, np.sqrt(np.square(deviation[varies]).sum()), np.inf)
    scaled: _Scaled = _Standardised(train, mean, deviation)
    held_out: _Scaled = _Standardised(validation, mean, deviation)
    values = vectors = None
    if near is None and scaled.in_memory and train.shape[0] < train.shape[1]:
        # Heads with an L2 penalty lie along the directions that the rows have, which are fewer than features.
        values, vectors = _directions_of_few(np.concatenate(list(scaled.parts())))
        scaled, held_out = _Rotated(scaled, vectors), _Rotated(held_out, vectors)
    if near is None:
        grid = (l2,) if l2 is not None else GRID
        strengths, start, basis = _ridge_pass(scaled, train_labels, held_out, validation_labels, classes, grid, values)
    else:
        basis = None
        # A few examples can't tell whether weak strengths overfit, nor can the few that would choose among them.
        grid = (l2,) if l2 is not None else tuple(each for each in GRID_NEAR if each >= 0.03 / train.shape[0])
        strengths = [l2] if l2 is not None else [each for each in (10.0, 0.1, 0.001) if each in grid]
        start = np.vstack([near.weight.T.astype(np.float64) * deviation[:, None], near.bias])
    anchor = None if near is None else start
    by_class = _counts_of_classes(balanced, train_labels, classes)
    fits: dict[float, tuple[float, np.ndarray]] = {}

    def fit(strength: float, first: np.ndarray) -> None:
        weights = _logistic_regression(scaled, train_labels, strength, first, anchor, basis, by_class)
        fits[strength] = (_log_loss(held_out, validation_labels, weights, by_class), weights)

    # Threads of BLAS cost more than they give with so few columns: 2.5 times the time on 6,000 × 384 features.
    with threadpool_limits(1 if scaled.in_memory else None, "blas"):
        for strength in strengths:  # from strong to weak: each solution is near the next
            fit(strength, start)
            start = fits[strength][1]
        while (edge := _edge({strength: loss for strength, (loss, _) in fits.items()}, grid)) is not None:
            neighbour, strength = edge
            fit(strength, fits[neighbour][1])
    # Of equal losses the strongest: it rests least on what may be chance.
    best = min(fits, key=lambda strength: (fits[strength][0], -strength))
    loss, weights = fits[best]
    if vectors is not None:
        weights = np.vstack([vectors @ weights[:-1], weights[-1:]])
    path = tuple((strength, fits[strength][0]) for strength in sorted(fits))
    return SolvedHead(*_for_raw_features(weights, mean, deviation), best, loss, path)


def _for_raw_features(weights: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight (C, D) and bias (C,) of a head on features as they are, from weights (D + 1, C) on
    standardised ones, the bias in the last row."""
    # Constant features, whose deviation is infinite, get the weight 0.
    weight = weights[:-1].T / deviation  # (C, D)
    return weight, weights[-1] - weight @ mean


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Class probabilities (N, C) from logits (N, C)."""
    return np.asarray(softmax(logits.astype(np.float64), axis=1))


def _counts_of_classes(balanced: ClassWeights, labels: np.ndarray, classes: int) -> np.ndarray | None:
    """Return how much a row of each class (C,) counts; None where all count the same."""
    if isinstance(balanced, np.ndarray):
        # A strength means the same whatever the weights' unit is: those of all rows have the mean 1.
        return np.asarray(balanced / balanced[labels].mean())
    return weights_by_class(balanced, labels, classes) if balanced else None


def _edge(losses: Mapping[float, float], grid: Sequence[float]) -> tuple[float, float] | None:
    """Return the best strength and its neighbour not fitted yet, while the best lies at an end of what was fitted."""
    best = min(losses, key=lambda strength: losses[strength])
    place = grid.index(best)
    for neighbour in (place - 1, place + 1):
        if 0 <= neighbour < len(grid) and grid[neighbour] not in losses:
            return best, grid[neighbour]
    return None


class _InParts(Protocol):
    """Features of which a part of the rows at a time lies in memory."""

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the rows (n, D) in order."""


class _Sized(_InParts, Protocol):
    """Such features that say how many they are."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""


class _Scaled(_Sized, Protocol):
    """Such features that say whether all of them lie in memory."""

    @property
    def in_memory(self) -> bool: ...


class _Whole(NamedTuple):
    """Rows (N, D) that lie in memory."""

    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape[0], self.rows.shape[1]

    def parts(self) -> Iterator[np.ndarray]:
        return iter([self.rows])


class _Standardised:
    """Features less their mean, divided by their deviation, in float64: kept if small, else made anew each time."""

    def __init__(self, features: Features, mean: np.ndarray, deviation: np.ndarray) -> None:
        self.features, self.mean, self.deviation = features, mean, deviation
        self.shape = features.shape
        self._kept = list(self._made()) if _small(features) else None

    @property
    def in_memory(self) -> bool:
        return self._kept is not None

    def parts(self) -> Iterator[np.ndarray]:
        return iter(self._kept) if self._kept is not None else self._made()

    def _made(self) -> Iterator[np.ndarray]:
        for part in _parts(self.features):
            yield (part.astype(np.float64) - self.mean) / self.deviation


def _small(features: Features) -> bool:
    """Return whether features may lie in memory in float64."""
    count, width = features.shape
    return count * width * 8 <= _IN_MEMORY_BYTES


def _parts(features: Features) -> Iterator[np.ndarray]:
    count = features.shape[0]
    for start in range(0, count, _ROWS_AT_ONCE):
        yield features.rows(start, min(start + _ROWS_AT_ONCE, count))


def _labelled(features: _InParts, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    start = 0
    for part in features.parts():
        yield part, labels[start : start + len(part)]
        start += len(part)


def varying(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return which features (D,), of these means and standard deviations, vary; the others count as constants."""
    # What varies less than float32 resolves is rounding noise: as a constant it gets no weight.
    varies = deviation > 1e-6 * np.abs(mean) + 1e-12
    # So is a dead unit (unit 319 of all-MiniLM-L6-v2 varies by 2e-9): standardised, it would get a weight of a
    # million on the raw feature, which then decides as soon as precision, or a step of training, moves it.
    usual = float(np.median(deviation[varies])) if varies.any() else 0.0
    return np.asarray(varies & (deviation > 1e-4 * usual))


def _moments(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation (D,) of each feature; infinite ones of features that are constant, or vary
    ten thousand times less than the others do. Others count as varying 0.03 times as much as the median at least.

    A unit of a network that few training rows make fire, and faintly, would else decide wherever it fires fully: of 32
    drawings EfficientNet-Lite0's features in bfloat16 came to 0.91 on the test split so, and to 0.99 with this bound.
    """
    count, width = features.shape
    total = np.zeros(width)
    for part in _parts(features):
        total += part.sum(axis=0, dtype=np.float64)
    mean = total / count  # (D,)
    squares = np.zeros(width)
    for part in _parts(features):
        squares += np.square(part.astype(np.float64) - mean).sum(axis=0)
    deviation = np.sqrt(squares / count)  # (D,)
    varies = varying(mean, deviation)
    least = _LEAST_DEVIATION * float(np.median(deviation[varies])) if varies.any() else 0.0
    return mean, np.where(varies, np.maximum(deviation, least), np.inf)


def _units_of(near: KnownHead) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and deviation (D,) of features that are taken as they are, in units in which the rows of a given
    weight have length 1 in the mean."""
    width = near.weight.shape[1]
    length = float(np.linalg.norm(near.weight.astype(np.float64), axis=1).mean())
    return np.zeros(width), np.full(width, 1.0 / max(length, 1e-12))


def _ridge_pass(
    train: _Scaled,
    labels: np.ndarray,
    validation: _InParts,
    validation_labels: np.ndarray,
    classes: int,
    grid: Sequence[float],
    variances: np.ndarray | None = None,
) -> tuple[list[float], np.ndarray, _Basis | None]:
    """Return the strengths worth fitting, strong to weak, weights (D + 1, C) to start from, and where it pays a basis
    to fit on. Features that lie along the eigenvectors of their covariance come with their `variances` (D,).

    Ridge regression of the centred one-hot labels on the features: W(λ) = V (S + λ)⁻¹ Vᵀ XᵀY / N with the
    eigendecomposition V S Vᵀ of the covariance XᵀX / N.
    """
    count, width = train.shape
    priors = np.bincount(labels, minlength=classes) / count  # (C,)
    if variances is None:
        principal = _principal_of_few if count < width else _principal
        values, vectors, rotated = principal(train, labels, lambda own: np.eye(classes)[own] - priors)
    else:
        values, vectors = variances, np.eye(width)
        rotated = sum(part.T @ (np.eye(classes)[own] - priors) for part, own in _labelled(train, labels)) / count
    right = np.zeros(len(grid))
    fits = [vectors @ (rotated / (values[:, None] + strength)) for strength in grid]
    for part, part_labels in _labelled(validation, validation_labels):
        right += [np.sum((part @ fit + priors).argmax(axis=1) == part_labels) for fit in fits]
    # Of equally accurate strengths the strongest; logistic curvature is about a quarter of the squared loss's and
    # less on confident examples, so the logistic optimum lies at the same strength or weaker.
    best = max(range(len(grid)), key=lambda index: (right[index], grid[index]))
    near = [grid[index] for index in range(max(0, best - 3), min(len(grid), best + 2))]
    # A class without a row has the prior of half a row: none at all would be surer than the rows are.
    start = np.vstack([4.0 * fits[best], np.log(np.maximum(priors, 0.5 / count))])
    basis = _Basis(values, vectors) if classes == 2 and count >= 4 * width else None
    return sorted(near, reverse=True), start, basis


def _principal(
    features: _Sized, targets: np.ndarray, centred: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the eigenvalues (D,) and eigenvectors (D, D) of the features' covariance, and the covariance (D, C) of the
    targets with the features along these; `centred` makes (n, C) of the targets of some rows."""
    count, width = features.shape
    covariance: np.ndarray = np.zeros((width, width))
    cross: np.ndarray | float = 0.0
    for part, own in _labelled(features, targets):
        covariance += part.T @ part  # (D, D)
        cross = cross + part.T @ centred(own)  # (D, C)
    values, vectors = np.linalg.eigh(covariance / count)
    return np.maximum(values, 0.0), vectors, np.asarray(vectors.T @ cross / count)


def _principal_of_few(
    features: _Sized, targets: np.ndarray, centred: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `_principal` does, of the R eigenvalues above 0 alone, where rows are fewer than features: those of
    the products of all rows (N, N) are the same, and take (D / N)³ times less. What is left out adds nothing to a ridge
    regression."""
    rows = np.concatenate(list(features.parts()))
    values, vectors = _directions_of_few(rows)
    return values, vectors, np.asarray(vectors.T @ (rows.T @ centred(targets)) / len(rows))


def _directions_of_few(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the R eigenvalues (R,) above 0 and their eigenvectors (D, R) of the covariance of rows (N, D) that are
    fewer than features."""
    values, left = _products_of_rows(rows)
    return values, rows.T @ (left / np.sqrt(values * len(rows)))


def _products_of_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the R eigenvalues above 0, and the eigenvectors (N, R), of the products of all rows (N, D), by N."""
    values, left = np.linalg.eigh(rows @ rows.T / len(rows))  # (N,), (N, N)
    # Below, a vector is as much rounding as it is a direction.
    kept = values > 1e-12 * max(1.0, float(values[-1]))
    return values[kept], left[:, kept]


class _Basis(NamedTuple):
    """The eigenvalues (D,) and eigenvectors (D, D) of the covariance of features."""

    values: np.ndarray
    vectors: np.ndarray

    def scales(self, curvature: float, l2: float) -> np.ndarray:
        """Return the inverse roots (D, 1) of the curvature along each vector, that of the loss by its logits being
        given."""
        return 1.0 / np.sqrt(curvature * self.values + l2)[:, None]


def _logistic_regression(
    features: _Sized,
    labels: np.ndarray,
    l2: float,
    start: np.ndarray,
    anchor: np.ndarray | None = None,
    basis: _Basis | None = None,
    by_class: np.ndarray | None = None,
) -> np.ndarray:
    """Return the weights (D + 1, C), bias last, that minimise mean cross-entropy + l2 / 2 · ‖W‖²; or with an anchor,
    those near it, of the same bias. With a basis the steps are those on its scaled vectors. `by_class` (C,) is how much
    the rows of each class count."""
    count, width = features.shape
    shape = (width + 1, start.shape[1])
    centre: float | np.ndarray = 0.0 if anchor is None else anchor[:-1]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        gradient = np.zeros(shape)
        loss = 0.0
        for part, part_labels in _labelled(features, labels):
            logs = log_softmax(part @ weights[:-1] + weights[-1], axis=1)
            chosen = np.arange(len(part)), part_labels
            residual = np.exp(logs)  # (n, C)
            # Probabilities less the labels: the gradient by the logits.
            residual[chosen] -= 1.0
            if by_class is None:
                loss -= logs[chosen].sum()
            else:
                counted = by_class[part_labels]  # (N,)
                loss -= float(counted @ logs[chosen])
                residual *= counted[:, None]
            gradient[:-1] += part.T @ residual
            gradient[-1] += residual.sum(axis=0) if anchor is None else 0.0
        gradient /= count
        way = weights[:-1] - centre
        gradient[:-1] += l2 * way  # (D, C)
        return loss / count + 0.5 * l2 * float(np.square(way).sum()), gradient.ravel()

    if basis is None:
        return _minimum(objective, start)
    scales, vectors = basis.scales(_curvature(features, start), l2), basis.vectors

    def weights_at(place: np.ndarray) -> np.ndarray:
        return np.vstack([vectors @ (scales * place[:-1]), place[-1:]])

    def on_vectors(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = objective(weights_at(flat.reshape(shape)).ravel())
        gradient = slope.reshape(shape)
        return loss, np.vstack([scales * (vectors.T @ gradient[:-1]), gradient[-1:]]).ravel()

    return weights_at(_minimum(on_vectors, np.vstack([(vectors.T @ start[:-1]) / scales, start[-1:]])))


def _curvature(features: _InParts, weights: np.ndarray) -> float:
    """Return the mean of p (1 - p) over rows and classes."""
    found = [softmax(part @ weights[:-1] + weights[-1], axis=1) for part in features.parts()]
    return float(np.mean([np.mean(p * (1.0 - p)) for p in found]))


def _minimum(objective: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray) -> np.ndarray:
    options = {"maxiter": 1000, "maxcor": 10, "gtol": 1e-6, "ftol": 1e-10}
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x).reshape(start.shape)


def _log_loss(features: _InParts, labels: np.ndarray, weights: np.ndarray, by_class: np.ndarray | None = None) -> float:
    total = 0.0
    for part, part_labels in _labelled(features, labels):
        logs = log_softmax(part @ weights[:-1] + weights[-1], axis=1)
        own = logs[np.arange(len(part)), part_labels]  # (N,)
        total -= own.sum() if by_class is None else float(by_class[part_labels] @ own)
    return float(total / max(1, len(labels) if by_class is None else by_class[labels].sum()))


# --- several labels at once ------------------------------------------------------------------------------------------


def solve_labels(problem: Problem) -> SolvedHead:
    """Return one logistic regression for each label (N, C), each at the L2 strength that is best on validation.

    One L-BFGS steps all labels together: on the eigenvectors of the features' covariance, each scaled to the curvature
    along it for each label, the labels' problems look alike, and take about as many steps together as one alone. A
    ridge regression of all labels and strengths at once says where each label's search begins. Where few rows would
    choose the strengths, cross-validation chooses one for all labels.
    """
    if folds := _folds_to_choose_by(problem):
        return _chosen_by_folds(problem, folds, lambda l2: solve_labels(replace(problem, l2=l2)))
    mean, deviation = _moments(problem.train)
    scaled, held_out = (_Standardised(part, mean, deviation) for part in (problem.train, problem.validation))
    targets, wanted = problem.targets.astype(np.float64), problem.validation_targets.astype(np.float64)
    grid = np.array(GRID if problem.l2 is None else (problem.l2,))
    with threadpool_limits(1 if scaled.in_memory else None, "blas"):
        values, vectors, place, start = _ridge_of_labels(scaled, targets, held_out, wanted, grid)
        rotated, rotated_held_out = _Rotated(scaled, vectors), _Rotated(held_out, vectors)
        search = _LabelSearch(rotated, targets, values, _positive_weights(problem))
        losses = np.full((len(grid), targets.shape[1]), np.inf)  # (G, C)
        fits = np.zeros((len(grid), *start.shape))  # (G, D + 1, C)
        labels = np.arange(targets.shape[1])
        while True:
            start = search.minimum(start, grid[place])
            told = _label_losses(rotated_held_out, wanted, start, search.positive_weights)
            # Labels whose search has ended go along in the same steps: their first result stands.
            fresh = ~np.isfinite(losses[place, labels])
            losses[place[fresh], labels[fresh]] = told[fresh]
            fits[place[fresh], :, labels[fresh]] = start[:, fresh].T
            best = losses.argmin(axis=0)  # (C,)
            ahead = _unfitted_beside(losses, best)
            if (ahead == best).all():
                break
            place = ahead
            start = fits[best, :, labels].T
    chosen = fits[best, :, labels].T  # (D + 1, C)
    weight = (vectors @ chosen[:-1]).T / deviation  # (C, D)
    # One number for all labels; strengths lie on a logarithmic grid.
    l2 = float(np.exp(np.log(grid[best]).mean()))
    return SolvedHead(weight, chosen[-1] - weight @ mean, l2, float(losses.min(axis=0).mean()))


def _positive_weights(problem: Problem) -> np.ndarray:
    """Return how much a row with a label counts beside one without it, (C,)."""
    targets, own = problem.targets.astype(np.float64), problem.balanced
    weights: np.ndarray | float = 1.0
    if own is not False:
        weights = own if isinstance(own, np.ndarray) else positive_weights(targets)
    return np.broadcast_to(weights, targets.shape[1:])


def _unfitted_beside(losses: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Return for each label (C,) the place of a strength beside its best (C,) that was not fitted yet, the weaker one
    first; the best itself where both were."""
    ahead = best.copy()
    for label, place in enumerate(best.tolist()):
        for neighbour in (place - 1, place + 1):
            if 0 <= neighbour < len(losses) and not np.isfinite(losses[neighbour, label]):
                ahead[label] = neighbour
                break
    return ahead


class _Rotated:
    """Standardised features along eigenvectors (D, R) of their covariance."""

    def __init__(self, features: _Scaled, vectors: np.ndarray) -> None:
        self._features, self._vectors = features, vectors
        self.shape = features.shape[0], vectors.shape[1]
        self._kept = [part @ vectors for part in features.parts()] if features.in_memory else None

    @property
    def in_memory(self) -> bool:
        return self._kept is not None

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the rows (n, D) in order."""
        return iter(self._kept) if self._kept is not None else (one @ self._vectors for one in self._features.parts())


@dataclass
class _LabelSearch:
    """The logistic regressions of all labels (N, C) on rotated features (N, D), as one minimisation."""

    features: _InParts
    targets: np.ndarray
    values: np.ndarray
    """The variances (D,) along the features."""
    positive_weights: np.ndarray
    """How much a row with the label counts beside one without it, (C,)."""

    def minimum(self, start: np.ndarray, l2: np.ndarray) -> np.ndarray:
        """Return the weights (D + 1, C), bias last, for the strengths (C,) of all labels."""
        counts = (1.0 + (self.positive_weights - 1.0) * self.targets).sum(axis=0)  # (C,)
        rates = self.positive_weights * self.targets.sum(axis=0) / counts  # (C,)
        # About how strongly the loss bends: a label that one row in a hundred has bends it little.
        curvature = np.maximum(rates * (1.0 - rates), 1e-4) * 0.5
        scales = np.vstack(
            [1.0 / np.sqrt(curvature * self.values[:, None] + l2), 1.0 / np.sqrt(curvature)[None]]
        )  # (D + 1, C)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = scales * flat.reshape(scales.shape)
            gradient, loss = np.zeros(scales.shape), np.zeros(scales.shape[1])
            for part, wanted in _labelled(self.features, self.targets):
                logits = part @ weights[:-1] + weights[-1]  # (n, C)
                own = 1.0 + (self.positive_weights - 1.0) * wanted  # (n, C)
                loss += (own * (np.logaddexp(0.0, logits) - wanted * logits)).sum(axis=0)
                residual = own * (expit(logits) - wanted)  # (n, C)
                gradient[:-1] += part.T @ residual
                gradient[-1] += residual.sum(axis=0)
            gradient /= counts
            gradient[:-1] += l2 * weights[:-1]
            total = loss / counts + 0.5 * l2 * np.square(weights[:-1]).sum(axis=0)
            return float(total.sum()), (scales * gradient).ravel()

        return np.asarray(scales * _minimum(objective, start / scales))


def _ridge_of_labels(
    train: _Standardised, targets: np.ndarray, validation: _Standardised, wanted: np.ndarray, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the eigenvalues (D,) and eigenvectors (D, D) of the features' covariance, the place in the grid (C,) where
    ridge regression of each label is best on validation, and weights (D + 1, C) on the eigenvectors to start from."""
    priors = targets.mean(axis=0)  # (C,)
    values, vectors, rotated = _principal(train, targets, lambda own: own - priors)
    fits = [rotated / (values[:, None] + strength) for strength in grid]
    errors = np.zeros((len(grid), targets.shape[1]))
    for part, own in _labelled(validation, wanted):
        turned = part @ vectors  # (n, D)
        errors += [np.square(turned @ fit + priors - own).sum(axis=0) for fit in fits]
    place = errors.argmin(axis=0)  # (C,)
    best = np.stack([fits[index][:, label] for label, index in enumerate(place.tolist())], axis=1)
    # A logit moves by 1 / (p (1 - p)) where its probability does.
    slope = 1.0 / np.clip(priors * (1.0 - priors), 0.05, None)
    bias = np.log(np.clip(priors, 1e-6, 1 - 1e-6) / (1.0 - np.clip(priors, 1e-6, 1 - 1e-6)))
    return values, vectors, place, np.vstack([slope * best, bias])


def _label_losses(
    features: _InParts, targets: np.ndarray, weights: np.ndarray, positive_weights: np.ndarray
) -> np.ndarray:
    """Return the mean log loss (C,) of each label."""
    total, counts = np.zeros(targets.shape[1]), np.zeros(targets.shape[1])
    for part, wanted in _labelled(features, targets):
        logits = part @ weights[:-1] + weights[-1]
        own = 1.0 + (positive_weights - 1.0) * wanted
        total += (own * (np.logaddexp(0.0, logits) - wanted * logits)).sum(axis=0)
        counts += own.sum(axis=0)
    return np.asarray(total / np.maximum(counts, 1.0))


# --- numbers ---------------------------------------------------------------------------------------------------------

RIDGE_GRID = tuple(float(10.0**power) for power in np.arange(-6.0, 3.01, 0.25))
LEAST_JUDGED = 20
"""Of fewer validation rows their error tells less of an L2 strength than generalised cross-validation does."""


def solve_numbers(problem: Problem) -> SolvedHead:
    """Return the ridge regression of numbers (N,), in closed form: mean squared error + l2 · ‖w‖² over standardised
    features, the bias free; scikit-learn's `Ridge` with alpha = N · l2.

    One eigendecomposition serves all strengths. The one with the least error on the validation rows is taken; where
    these are fewer than `LEAST_JUDGED`, the one with the least error by generalised cross-validation on the training
    rows (Golub, Heath and Wahba 1979). The standardisation is folded into the weight.
    """
    mean, deviation = _moments(problem.train)
    scaled, held_out = (_Standardised(part, mean, deviation) for part in (problem.train, problem.validation))
    targets = problem.targets.astype(np.float64)
    grid = np.array(RIDGE_GRID if problem.l2 is None else (problem.l2,))
    centre = float(targets.mean())
    directions = _Directions.of(scaled, targets - centre)
    errors = np.zeros(len(grid))
    few = len(problem.validation_targets) < LEAST_JUDGED
    if few:
        errors = directions.cross_validated(grid, float(np.square(targets - centre).sum()))
    else:
        weights = directions.weights(grid)  # (D, G)
        for part, own in _labelled(held_out, problem.validation_targets.astype(np.float64)):
            errors += np.square(part @ weights + centre - own[:, None]).sum(axis=0)
        errors /= len(problem.validation_targets)
    best = int(errors.argmin())
    weight = directions.weights(grid[best : best + 1]).T / deviation  # (1, D)
    roots = np.sqrt(errors)
    path = tuple(zip(grid.tolist(), roots.tolist(), strict=True))
    measure = "RMSE by generalised cross-validation" if few else "validation RMSE"
    return SolvedHead(weight, centre - weight @ mean, float(grid[best]), float(roots[best]), path, measure)


class _Directions(NamedTuple):
    """The features' covariance by its eigenvalues (K,) and eigenvectors (D, K), and the covariance (K,) of the targets
    with the features along these; of so many rows."""

    values: np.ndarray
    vectors: np.ndarray
    with_targets: np.ndarray
    rows: int

    @classmethod
    def of(cls, features: _Standardised, targets: np.ndarray) -> _Directions:
        """Find those of features (N, D) and centred targets (N,): of more rows than columns by the covariance (D, D),
        else by the products (N, N) of the rows."""
        count, width = features.shape
        principal = _principal if count >= width else _principal_of_few
        return cls(*principal(features, targets, lambda own: own), count)

    def weights(self, grid: np.ndarray) -> np.ndarray:
        """Return the weights (D, G) for each of the strengths (G,)."""
        return np.asarray(self.vectors @ (self.with_targets[:, None] / (self.values[:, None] + grid)))

    def cross_validated(self, grid: np.ndarray, squares: float) -> np.ndarray:
        """Return the mean squared error (G,) by generalised cross-validation: the residuals' mean square by the square
        of the share of freedom that is left; `squares` is the sum of the squared centred targets."""
        varies = self.values > 1e-12 * max(1.0, float(self.values.max(initial=0.0)))
        values, along = self.values[varies][:, None], np.square(self.with_targets[varies])[:, None]
        # As sums of what is left along each direction: the difference of what there is and what is explained is nothing
        # but rounding where directions are as many as rows, and weak strengths would win by it.
        outside = max(self.rows - 1 - len(values), 0)  # the bias takes one
        shrunk = grid / (values + grid)  # (K, G)
        unexplained = max(squares / self.rows - float((along / values).sum()), 0.0) if outside else 0.0
        residual = unexplained + (along / values * np.square(shrunk)).sum(axis=0)
        left = (outside + shrunk.sum(axis=0)) / self.rows
        return np.asarray(residual / np.square(left))


# --- tokens ----------------------------------------------------------------------------------------------------------


class TokenRows:
    """The features of chosen tokens, one row each, out of stored activations of whole texts; read as they are needed.

    `tokens[i]` names those of item i. Only the rows that are asked for lie in memory.
    """

    def __init__(self, stored: TokenStore, tokens: Sequence[Sequence[int]], width: int) -> None:
        self._stored, self._width = stored, width
        self._items = np.repeat(np.arange(len(tokens)), [len(own) for own in tokens])
        self._tokens = np.fromiter((token for own in tokens for token in own), dtype=np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return len(self._items), self._width

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop as float32 (stop - start, D)."""
        return self._stored.tokens_of(self._items[start:stop], self._tokens[start:stop], self._width)


class TokenStore(Protocol):
    """Stored features of the tokens of texts."""

    def tokens_of(self, items: np.ndarray, tokens: np.ndarray, width: int) -> np.ndarray:
        """The features (n, D) of single tokens of texts (n,), D being `width`, in float32."""


def _solve_classes(problem: Problem) -> SolvedHead:
    solve = partial(
        solve_head,
        validation=problem.validation,
        validation_labels=problem.validation_targets,
        classes=problem.classes,
        near=problem.near,
        balanced=problem.balanced,
        learned=problem.learned,
    )
    count, most = problem.train.shape[0], problem.pilot_rows
    if problem.near is not None and problem.l2 is None and len(problem.validation_targets) < MANY_TO_CHOOSE:
        # A few rows choose almost at random: a strength by the examples of a class alone was better (docs/few_shot.md).
        return solve(problem.train, problem.targets, l2=_NEAR_OF_ONE * problem.classes / count)
    if problem.learned and problem.l2 is None and len(problem.validation_targets) < MANY_TO_CHOOSE:
        # Classes lie far apart in what they have shaped: the weakest strength looks best, and is sure of everything.
        return solve(problem.train, problem.targets, l2=_OF_LEARNED)
    if folds := _folds_to_choose_by(problem):
        return _chosen_by_folds(problem, folds, lambda l2: solve(problem.train, problem.targets, l2=l2))
    if problem.l2 is not None or most is None or count <= most:
        return solve(problem.train, problem.targets, l2=problem.l2)
    # Always the same rows, in the order in which they lie on the disk.
    drawn = np.sort(np.random.default_rng(0).permutation(count)[:most])
    pilot, targets = InMemory(_chosen(problem.train, drawn)), problem.targets[drawn]
    tried: list[SolvedHead] = []
    for l2 in reversed(GRID):  # strong strengths take few steps: from there until it gets worse
        tried.append(solve(pilot, targets, l2=l2))
        if len(tried) > 1 and tried[-1].measured > tried[-2].measured:
            break
    best = min(tried, key=lambda head: head.measured)
    # What is best for the sum of the losses stays about the same; the objective has their mean.
    head = solve(problem.train, problem.targets, l2=best.l2 * most / count)
    return replace(head, path=tuple((one.l2 * most / count, one.measured) for one in reversed(tried)))


def _folds_to_choose_by(problem: Problem) -> int:
    """Return how many folds of the training rows choose the L2 strength; 0 where validation does."""
    few = problem.independent and len(problem.validation_targets) < MANY_TO_CHOOSE
    if problem.l2 is not None or problem.near is not None or not few or not _small(problem.train):
        return 0
    # Of groups a class needs as many as it needs rows elsewhere.
    places = range(len(problem.targets)) if problem.groups is None else problem.groups.tolist()
    if problem.targets.ndim > 1:
        return _FOLDS if len(set(places)) >= _FOLDS * _LEAST_OF_A_CLASS else 0
    found = Counter(label for label, _ in set(zip(problem.targets.tolist(), places, strict=True)))
    least = min(found[label] for label in range(problem.classes))
    return min(_FOLDS, least) if least >= _LEAST_OF_A_CLASS else 0


def _chosen_by_folds(problem: Problem, folds: int, solve: Callable[[float], SolvedHead]) -> SolvedHead:
    """Return the head of the L2 strength that is best by cross-validation; of equals the strongest."""
    with threadpool_limits(1, "blas"):
        losses = _cross_validated(problem, folds)
    l2 = min(losses, key=lambda strength: (losses[strength], -strength))
    path, measure = tuple(sorted(losses.items())), "log loss by cross-validation"
    return replace(solve(l2), l2=l2, measured=losses[l2], path=path, measure=measure)


def folds_in_turn(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold (N,) of each row, drawn at random: those of each class (N,) in turn, of several labels a row
    (N, C) all rows."""
    order, fold = np.random.default_rng(seed).permutation(len(labels)), np.empty(len(labels), dtype=np.int64)
    if labels.ndim == 1:
        order = order[np.argsort(labels[order], kind="stable")]
    fold[order] = np.arange(len(labels)) % folds
    return fold


def _fold_of_rows(problem: Problem, folds: int) -> np.ndarray:
    """Return the fold (N,) of each training row: classes evenly among the folds, no group in two of them."""
    labels, groups = problem.targets, problem.groups
    if groups is None:
        return folds_in_turn(labels, folds, 0)
    strata = np.eye(problem.classes, dtype=np.int64)[labels] if labels.ndim == 1 else labels  # (N, C)
    counts = np.zeros((int(groups.max()) + 1, strata.shape[1]), dtype=np.int64)  # (G, C)
    np.add.at(counts, groups, strata)
    return np.asarray(deal(counts, np.bincount(groups), [1 / folds] * folds, [0])[groups])


def _cross_validated(problem: Problem, folds: int) -> dict[float, float]:
    """Return the log loss of training rows by heads of the other folds, by L2 strength: a search around the best.

    A few dozen validation rows choose almost at random: of 100 and 300 examples the test log loss was a seventh to a
    quarter lower with the strength chosen so, and accuracy the same (docs/strategies.md). Labels have one strength
    together.
    """
    rows = _along_all_directions(_Standardised(problem.train, *_moments(problem.train)))
    fold = _fold_of_rows(problem, folds)
    kind = _FoldOfClasses if problem.targets.ndim == 1 else _FoldOfLabels
    parts = [kind(problem, rows, fold == number) for number in range(folds)]
    tried: dict[float, float] = {}
    ahead = [GRID[-3], GRID[-5], GRID[-7]]  # 1, 0.1, 0.01
    while ahead:
        l2 = ahead.pop(0)
        tried[l2] = float(np.average([part.loss(l2) for part in parts], weights=np.bincount(fold, minlength=folds)))
        if not ahead and (edge := _edge(tried, GRID)) is not None:
            ahead.append(edge[1])
    return tried


class _FoldOfClasses:
    """The rows (N, D) of a fold, held out, and the classes of all others; each solution is near the one before."""

    def __init__(self, problem: Problem, rows: np.ndarray, own: np.ndarray) -> None:
        self._by_class = _counts_of_classes(problem.balanced, problem.targets, problem.classes)
        self._learned, self._held_out = _Whole(rows[~own]), _Whole(rows[own])
        self._labels, self._wanted = problem.targets[~own], problem.targets[own]
        self._weights = np.zeros((rows.shape[1] + 1, problem.classes))

    def loss(self, l2: float) -> float:
        """Return the log loss of the rows held out."""
        self._weights = _logistic_regression(self._learned, self._labels, l2, self._weights, by_class=self._by_class)
        return _log_loss(self._held_out, self._wanted, self._weights, self._by_class)


class _FoldOfLabels:
    """The same of labels (N, C)."""

    def __init__(self, problem: Problem, rows: np.ndarray, own: np.ndarray) -> None:
        targets = problem.targets.astype(np.float64)
        learned, self._wanted = targets[~own], targets[own]
        values, vectors, _ = _principal(_Whole(rows[~own]), learned, lambda each: each - learned.mean(axis=0))
        weights = _positive_weights(problem)
        self._search = _LabelSearch(_Whole(rows[~own] @ vectors), learned, values, weights)
        self._held_out = _Whole(rows[own] @ vectors)
        self._weights = np.zeros((rows.shape[1] + 1, targets.shape[1]))

    def loss(self, l2: float) -> float:
        """Return the mean log loss of all labels of the rows held out."""
        self._weights = self._search.minimum(self._weights, np.full(self._weights.shape[1], l2))
        losses = _label_losses(self._held_out, self._wanted, self._weights, self._search.positive_weights)
        return float(losses.mean())


def _along_all_directions(features: _Standardised) -> np.ndarray:
    """Return features (N, D) in memory; of more columns than rows their coordinates (N, R) along the directions
    that the rows have, in which heads with an L2 penalty are the same."""
    rows = np.concatenate(list(features.parts()))
    if rows.shape[0] >= rows.shape[1]:
        return rows
    values, left = _products_of_rows(rows)
    return np.asarray(left * np.sqrt(values * len(rows)))


def _chosen(features: Features, rows: np.ndarray) -> np.ndarray:
    """Return some rows (n,), in rising order, of features (N, D) that may be larger than memory."""
    chosen, start = list[np.ndarray](), 0
    for part in _parts(features):
        chosen.append(part[rows[(rows >= start) & (rows < start + len(part))] - start])
        start += len(part)
    return np.concatenate(chosen)


SOLVERS: Mapping[str, Callable[[Problem], SolvedHead]] = {
    "softmax": _solve_classes,
    "sigmoid": solve_labels,
    "ridge": solve_numbers,
}
"""By the names that tasks give (`HeadTask.solver`)."""
