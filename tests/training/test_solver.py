"""The solver of the head, against scikit-learn and against slow, plain gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss as sklearn_log_loss

from hftransfer.auditing import neighbours
from hftransfer.training import contrastive, maps, solver
from hftransfer.training.solver import (
    GRID,
    InMemory,
    Problem,
    SolvedHead,
    TokenRows,
    _principal_of_few,
    _Standardised,
    probabilities,
    solve_head,
    solve_labels,
    varying,
)


class Plain:
    """Features in memory."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values.astype(np.float32)
        self.shape: tuple[int, int] = (values.shape[0], values.shape[1])

    def rows(self, start: int, stop: int) -> np.ndarray:
        return self.values[start:stop]


def problem(
    count: int = 300, width: int = 12, classes: int = 3, seed: int = 0, noise: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds whose features have very different scales and offsets."""
    generator = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(0, 1, (classes, width))
    labels = np.arange(count) % classes
    values = centers[labels] + generator.normal(0, noise, (count, width))
    scales, offsets = np.logspace(-3, 3, width), np.linspace(-50, 50, width)
    return (values * scales + offsets).astype(np.float32), labels


def solved(train: Any, validation: Any, classes: int, l2: float | None = None) -> SolvedHead:
    return solve_head(Plain(train[0]), train[1], Plain(validation[0]), validation[1], classes, l2)


def test_features_that_were_learned_have_one_unit_and_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(30) % 3
    values = (3.0 + generator.normal(size=(3, 8))[labels] + generator.normal(size=(30, 8))).astype(np.float32)
    found = solver.SOLVERS["softmax"](
        Problem(InMemory(values), labels, InMemory(values[:9]), labels[:9], classes=3, learned=True)
    )
    unit = np.sqrt(values.astype(np.float64).var(axis=0).sum())
    oracle = LogisticRegression(C=1 / (0.02 * 30), tol=1e-10, max_iter=10_000).fit(values / unit, labels)
    assert found.l2 == 0.02
    assert np.allclose(softmax(found.logits(InMemory(values)), axis=1), oracle.predict_proba(values / unit), atol=1e-4)


def scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised features, none of which varies less than 0.03 times as much as the median feature."""
    exact = values.astype(np.float64)
    mean, deviation = exact.mean(axis=0), exact.std(axis=0)
    constant = deviation == 0
    deviation = np.maximum(deviation, 0.03 * np.median(deviation[~constant]))
    deviation[constant] = 1
    return (exact - mean) / deviation, mean, deviation


def log_loss(head: SolvedHead, values: np.ndarray, labels: np.ndarray) -> float:
    logits = values.astype(np.float64) @ head.weight.T + head.bias
    return float(np.mean([-log_softmax(row)[label] for row, label in zip(logits, labels, strict=True)]))


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("l2", [1e-3, 1e-2, 1.0])
def test_the_head_is_scikit_learns_at_equal_strength(classes, l2):
    values, labels = problem(classes=classes)
    head = solved((values, labels), (values, labels), classes, l2)
    inputs, _, deviation = scaled(values)
    reference = LogisticRegression(C=1 / (len(labels) * l2), tol=1e-10, max_iter=10_000)
    if classes == 2:  # scikit-learn's two-class model has one row of weights: the same optimum at twice the strength
        reference = LogisticRegression(C=2 / (len(labels) * l2), tol=1e-10, max_iter=10_000)
    reference.fit(inputs, labels)
    theirs = reference.predict_proba(inputs)
    assert np.abs(probabilities(head.logits(Plain(values))) - theirs).max() < 1e-3
    # For features of deviation 1: a standardised one whose deviation was bounded varies less, and matters less.
    spread = values.astype(np.float64).std(axis=0)
    weight, theirs = head.weight * spread, reference.coef_ * (spread / deviation)
    if classes == 2:
        assert np.abs((weight[1] - weight[0]) - theirs[0]).max() < 1e-3
    else:
        assert np.abs(weight - weight.mean(axis=0) - (theirs - theirs.mean(axis=0))).max() < 1e-3


@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_at_the_head_the_gradient_vanishes(l2):
    values, labels = problem(count=120, width=5)
    head = solved((values, labels), (values, labels), 3, l2)
    inputs, mean, deviation = scaled(values)
    weight, bias = head.weight * deviation, head.bias + head.weight @ mean
    gradient, bias_gradient = l2 * weight, np.zeros(3)
    for row, label in zip(inputs, labels, strict=True):
        residual = softmax(weight @ row + bias) - np.eye(3)[label]
        gradient = gradient + np.outer(residual, row) / len(labels)
        bias_gradient += residual / len(labels)
    assert np.abs(gradient).max() < 1e-5
    assert np.abs(bias_gradient).max() < 1e-5


def test_the_standardisation_is_folded_exactly():
    """The head on raw features gives the logits of the standardised problem."""
    values, labels = problem()
    head = solved((values, labels), (values, labels), 3, 1e-2)
    inputs, mean, deviation = scaled(values)
    unfolded = inputs @ (head.weight * deviation).T + (head.bias + head.weight @ mean)
    assert np.abs(unfolded - head.logits(Plain(values))).max() < 1e-8


def test_a_constant_feature_gets_no_weight_and_does_no_harm():
    values, labels = problem()
    with_constant = np.concatenate([values, np.full((len(values), 2), [[7.5, 0.0]], dtype=np.float32)], axis=1)
    plain = solved((values, labels), (values, labels), 3, 1e-2)
    head = solved((with_constant, labels), (with_constant, labels), 3, 1e-2)
    assert np.abs(head.weight[:, -2:]).max() < 1e-6
    ours, theirs = head.logits(Plain(with_constant)), plain.logits(Plain(values))
    assert np.abs(probabilities(ours) - probabilities(theirs)).max() < 1e-3


def test_a_feature_that_is_constant_but_for_rounding_gets_no_huge_weight():
    """Its weight would be divided by nothing but noise, and a head in float32 could not hold it."""
    values, labels = problem()
    noise = np.random.default_rng(0).integers(-1, 2, (len(values), 2)).astype(np.float32)
    nearly = np.float32(0.137) * (1 + noise * np.finfo(np.float32).eps)
    head = solved((np.hstack([values, nearly]), labels), (np.hstack([values, nearly]), labels), 3, 1e-5)
    assert np.abs(head.weight[:, -2:]).max() < 100


@pytest.mark.parametrize("size", [2e-9, 1e-6])
def test_a_dead_unit_gets_no_weight(size: float):
    """One that varies ten thousand times less than the others (unit 319 of all-MiniLM-L6-v2, by 2e-9) would be blown up
    to their size, and decide as soon as the network below moves a little."""
    values, labels = problem()
    dead = (np.random.default_rng(0).normal(size=(len(values), 1)) * size + labels[:, None] * size).astype(np.float32)
    plain = solved((values, labels), (values, labels), 3, 1e-3)
    both = np.hstack([values, dead])
    head = solved((both, labels), (both, labels), 3, 1e-3)
    assert np.abs(head.weight[:, -1]).max() < 1e-6
    assert head.weight[:, :-1] == pytest.approx(plain.weight, abs=1e-4)


def test_every_standardisation_leaves_dead_units_small():
    """Of a linear layer on maps, the projections of towers and the neighbours of an audit, too."""
    random = np.random.default_rng(0)
    features = random.normal(3.0, 2.0, (200, 5)).astype(np.float32)
    features[:, 4] = random.normal(0.0, 2e-9, 200)
    assert varying(features.mean(axis=0), features.std(axis=0)).tolist() == [True] * 4 + [False]
    assert np.abs(neighbours.standardised(features)[:, 4]).max() < 1e-6
    assert contrastive._deviations(features)[4] > 1.0
    cells = maps._Cells(torch.from_numpy(features.copy()), torch.eye(2)[torch.from_numpy(features[:, 0] > 3.0).long()])
    weight, _ = cells.unrotated(torch.ones(6, 2))
    assert weight[:, 4].abs().max() == 0.0
    assert weight[:, :4].abs().min() > 0.0


def test_a_unit_that_hardly_fires_among_the_training_rows_does_not_decide_where_it_fires_fully():
    random = np.random.default_rng(0)
    labels, wanted = np.arange(32) % 2, np.arange(400) % 2
    values, others = (random.normal(2.0 * own[:, None], 1.0, (len(own), 20)) for own in (labels, wanted))
    values[:, 19], others[:, 19] = 0.0, random.permutation(wanted)
    values[[1, 3], 19] = 1e-3  # two of a class, and faintly
    train, test = (values.astype(np.float32), labels), (others.astype(np.float32), wanted)
    found = solved(train, train, 2, 0.1).logits(Plain(test[0])).argmax(axis=1)
    assert np.mean(found == wanted) > 0.98


def test_few_validation_rows_leave_the_strength_to_cross_validation_on_the_training_rows():
    (values, labels), few = problem(90, 12), problem(9, seed=1)
    given = solver.Problem(Plain(values), labels, Plain(few[0]), few[1], 3, independent=True)
    head = solver.SOLVERS["softmax"](given)
    standard, _, _ = scaled(values)
    order = np.random.default_rng(0).permutation(90)
    fold = np.empty(90, dtype=int)
    fold[order[np.argsort(labels[order], kind="stable")]] = np.arange(90) % 5
    for l2, told in head.path:
        losses = []
        for number in range(5):
            own = fold == number
            oracle = LogisticRegression(C=1 / (l2 * (~own).sum()), tol=1e-9, max_iter=10_000)
            oracle.fit(standard[~own], labels[~own])
            losses.append(sklearn_log_loss(labels[own], oracle.predict_proba(standard[own]), labels=[0, 1, 2]))
        assert told == pytest.approx(np.mean(losses), abs=1e-4)
    assert head.l2 == min(head.path, key=lambda one: one[1])[0]
    assert head.measure == "log loss by cross-validation"
    plain = solved((values, labels), few, 3, head.l2)
    np.testing.assert_allclose(head.weight, plain.weight)


def test_of_more_columns_than_rows_cross_validation_is_the_same_along_the_directions_that_there_are(monkeypatch):
    values, labels = problem(40, 60)
    given = solver.Problem(Plain(values), labels, Plain(values), labels, 3)
    quick = solver._cross_validated(given, 4)
    monkeypatch.setattr(solver, "_along_all_directions", lambda features: np.concatenate(list(features.parts())))
    plain = solver._cross_validated(given, 4)
    assert quick.keys() == plain.keys()
    for l2, loss in plain.items():  # with weak penalties both stop a little before the minimum
        assert quick[l2] == pytest.approx(loss, abs=1e-4 if l2 > 1e-3 else 3e-3)


@pytest.mark.parametrize(
    "wish", [{"independent": False}, {"l2": 0.5}, {"validation": 100}, {"rare": True}, {"large": 1}]
)
def test_else_validation_chooses_the_strength(wish: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    if wish.get("large"):  # more than lies in memory
        monkeypatch.setattr(solver, "_IN_MEMORY_BYTES", 1000)
    (values, labels), (others, wanted) = problem(90), problem(wish.get("validation", 12), seed=1)
    if wish.get("rare"):  # fewer than three of a class
        labels = np.where(np.arange(90) < 88, labels % 2, 2)
    given = solver.Problem(
        Plain(values), labels, Plain(others), wanted, 3, l2=wish.get("l2"), independent=wish.get("independent", True)
    )
    assert solver.SOLVERS["softmax"](given).measure == "validation log loss"


@pytest.mark.parametrize("width", [4, 40])
def test_features_that_are_all_constant_give_the_share_of_each_class(width):
    values, labels = np.ones((30, width), dtype=np.float32), np.array([0] * 20 + [1] * 10)
    head = solved((values, labels), (values, labels), 2)
    assert probabilities(head.logits(Plain(values)))[0] == pytest.approx([2 / 3, 1 / 3], abs=1e-4)


def test_there_may_be_more_features_than_examples():
    train, validation = problem(30, 200), problem(60, 200, seed=1)
    head = solved(train, validation, 3)
    inputs, *_ = scaled(train[0])
    reference = LogisticRegression(C=1 / (30 * head.l2), tol=1e-10, max_iter=10_000).fit(inputs, train[1])
    ours = probabilities(head.logits(Plain(train[0])))
    assert np.abs(ours - reference.predict_proba(inputs)).max() < 1e-3


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_of_more_features_than_examples_the_head_is_that_of_all_features(balanced, learned, monkeypatch):
    values, _ = problem(40, 90)
    labels, held_out = np.array([0] * 20 + [1] * 12 + [2] * 8), problem(60, 90, seed=1)

    def head() -> SolvedHead:
        given = Plain(values), labels, Plain(held_out[0]), held_out[1], 3
        return solve_head(*given, balanced=balanced, learned=learned)

    along = head()
    monkeypatch.setattr(solver, "_IN_MEMORY_BYTES", 0)
    whole = head()
    assert along.l2 == whole.l2
    assert along.measured == pytest.approx(whole.measured, abs=1e-6)
    ours, theirs = (probabilities(each.logits(Plain(held_out[0]))) for each in (along, whole))
    assert np.abs(ours - theirs).max() < 1e-5


def test_there_may_be_many_classes_and_few_examples_of_each():
    train, validation = problem(120, 20, 40, noise=0.3), problem(80, 20, 40, seed=1, noise=0.3)
    head = solved(train, validation, 40)
    assert head.weight.shape == (40, 20)
    assert np.mean(head.logits(Plain(validation[0])).argmax(axis=1) == validation[1]) > 0.9


def test_a_class_may_be_missing_in_validation():
    train, (values, labels) = problem(), problem(seed=1)
    kept = labels != 2
    head = solved(train, (values[kept], labels[kept]), 3)
    assert np.isfinite(head.weight).all()
    assert head.weight.shape == (3, 12)


def test_separable_classes_give_finite_weights():
    train, validation = problem(noise=0.01), problem(seed=1, noise=0.01)
    head = solved(train, validation, 3)
    assert np.isfinite(head.weight).all()
    assert np.mean(head.logits(Plain(validation[0])).argmax(axis=1) == validation[1]) == 1.0


def test_the_same_problem_gives_the_same_bits():
    train, validation = problem(), problem(seed=1)
    first, second = solved(train, validation, 3), solved(train, validation, 3)
    assert first.weight.tobytes() == second.weight.tobytes()
    assert first.bias.tobytes() == second.bias.tobytes()


@pytest.mark.parametrize("noise", [0.5, 2.0, 6.0])
def test_the_strength_is_the_best_of_those_around_it(noise):
    train, validation = problem(noise=noise), problem(seed=1, noise=noise)
    head = solved(train, validation, 3)
    losses = {l2: solved(train, validation, 3, l2).measured for l2 in GRID}
    assert head.l2 in GRID
    place = GRID.index(head.l2)
    neighbours = GRID[max(0, place - 1) : place + 2]
    assert losses[head.l2] == min(losses[l2] for l2 in neighbours)
    assert losses[head.l2] <= min(losses.values()) + 1e-3


def test_the_log_loss_that_is_told_is_that_of_the_head():
    train, validation = problem(), problem(seed=1)
    head = solved(train, validation, 3)
    assert head.measured == pytest.approx(log_loss(head, *validation), abs=1e-6)


def test_a_given_strength_is_used():
    train, validation = problem(), problem(seed=1)
    assert solved(train, validation, 3, 0.037).l2 == 0.037


def test_stronger_regularisation_gives_smaller_weights():
    values, labels = problem()
    _, _, deviation = scaled(values)
    sizes = [np.abs(solved((values, labels), (values, labels), 3, l2).weight * deviation).sum() for l2 in GRID[::3]]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("rows_at_once", [1, 7, 299, 1000])
def test_features_larger_than_memory_give_the_same_head(rows_at_once, monkeypatch):
    train, validation = problem(), problem(seed=1)
    whole = solved(train, validation, 3, 1e-2)
    monkeypatch.setattr(solver, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(solver, "_ROWS_AT_ONCE", rows_at_once)
    streamed = solved(train, validation, 3, 1e-2)
    ours, theirs = streamed.logits(Plain(train[0])), whole.logits(Plain(train[0]))
    assert np.abs(probabilities(ours) - probabilities(theirs)).max() < 1e-5
    assert streamed.measured == pytest.approx(whole.measured, abs=1e-6)


def test_features_larger_than_memory_are_never_read_whole(monkeypatch):
    monkeypatch.setattr(solver, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(solver, "_ROWS_AT_ONCE", 50)
    most = 0

    class Watched(Plain):
        def rows(self, start: int, stop: int) -> np.ndarray:
            nonlocal most
            most = max(most, stop - start)
            return super().rows(start, stop)

    values, labels = problem()
    solve_head(Watched(values), labels, Watched(values), labels, 3)
    assert most == 50


def test_logits_of_no_rows_are_none():
    head = SolvedHead(np.ones((3, 2)), np.zeros(3), 1.0, 0.0)
    assert head.logits(Plain(np.empty((0, 2)))).shape == (0, 3)


def test_probabilities_of_huge_logits_are_finite():
    values = probabilities(np.array([[1e4, 0.0, -1e4], [-1e30, -1e30, -1e30]]))
    assert values[0].tolist() == [1.0, 0.0, 0.0]
    assert values[1] == pytest.approx([1 / 3] * 3)


# --- numbers ---------------------------------------------------------------------------------------------------------


def numbers(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of very different scales, one of them constant, and numbers far from 0 that follow from them."""
    random = np.random.default_rng(seed)
    weight = np.random.default_rng(99).normal(0, 1, width)
    values = random.normal(0, 1, (count, width))
    targets = 1000 + 50 * (values @ weight + random.normal(0, 1, count))
    values = values * np.logspace(-3, 3, width) + np.linspace(-50, 50, width)
    values[:, 3] = 7.0
    return values.astype(np.float32), targets


@pytest.mark.parametrize("l2", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize(("count", "width"), [(120, 12), (20, 40)])  # more rows than columns, and fewer
def test_numbers_are_solved_as_by_ridge_regression(count: int, width: int, l2: float) -> None:
    values, targets = numbers(count, width)
    head = solver.solve_numbers(solver.Problem(Plain(values), targets, Plain(values), targets, 0, l2))
    standard, _, _ = scaled(values)
    oracle = Ridge(alpha=l2 * count).fit(standard, targets)
    np.testing.assert_allclose(head.logits(Plain(values))[:, 0], oracle.predict(standard), rtol=1e-7)
    assert head.weight[0, 3] == 0.0
    assert head.l2 == l2


def test_the_strength_of_a_ridge_regression_is_chosen_on_validation() -> None:
    (values, targets), (others, wanted) = numbers(60, 30), numbers(200, 30, seed=1)
    head = solver.solve_numbers(solver.Problem(Plain(values), targets, Plain(others), wanted, 0))
    standard, mean, deviation = scaled(values)
    held_out = (others.astype(np.float64) - mean) / deviation
    errors = {}
    for l2 in solver.RIDGE_GRID:
        guessed = Ridge(alpha=l2 * len(values)).fit(standard, targets).predict(held_out)
        errors[l2] = float(np.sqrt(np.square(guessed - wanted).mean()))
    assert dict(head.path) == pytest.approx(errors)
    assert head.l2 == min(errors, key=lambda l2: errors[l2])
    assert head.measure == "validation RMSE"


def test_with_few_validation_rows_it_is_chosen_by_generalised_cross_validation() -> None:
    values, targets = numbers(60, 12)
    head = solver.solve_numbers(solver.Problem(Plain(values), targets, Plain(values[:3]), targets[:3], 0))
    standard, _, _ = scaled(values)
    whole = np.hstack([np.ones((60, 1)), standard])
    for l2, told in head.path:
        penalty = np.diag([0.0] + [l2 * 60] * 12)
        hat = whole @ np.linalg.solve(whole.T @ whole + penalty, whole.T)
        residual = targets - hat @ targets
        expected = np.sqrt(np.square(residual).mean()) / (1 - np.trace(hat) / 60)
        assert told == pytest.approx(expected, rel=1e-6)
    assert head.measure == "RMSE by generalised cross-validation"


def test_numbers_are_solved_from_features_larger_than_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values, targets = numbers(300, 12)
    given = solver.Problem(Plain(values), targets, Plain(values), targets, 0)
    whole = solver.solve_numbers(given)
    monkeypatch.setattr(solver, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(solver, "_ROWS_AT_ONCE", 64)
    parts = solver.solve_numbers(given)
    np.testing.assert_allclose(parts.weight, whole.weight, rtol=1e-9)


# --- several labels --------------------------------------------------------------------------------------------------


def _sets(seed: int, count: int, width: int = 6, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Features of several scales, and labels of which the last is rare."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, width)) * np.logspace(-1, 1, width)
    weights = np.random.default_rng(99).normal(size=(width, labels)) / np.logspace(-1, 1, width)[:, None]
    offsets = np.array([0.0, -1.0, 0.5, -2.5])
    scores = features @ weights + offsets + random.logistic(size=(count, labels))
    return features.astype(np.float32), (scores > 0).astype(int)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_each_label_is_the_logistic_regression_of_scikit_learn(l2: float, balanced: bool) -> None:
    from sklearn.preprocessing import StandardScaler

    (features, labels), (others, known) = _sets(0, 300), _sets(1, 100)
    head = solve_labels(Problem(InMemory(features), labels, InMemory(others), known, 4, l2=l2, balanced=balanced))
    scaler = StandardScaler().fit(features.astype(np.float64))
    for place in range(4):
        # Its objective is a sum over rows, or over their weights: ours divides by them.
        own = labels[:, place]
        weight = {0: 1.0, 1: (len(own) - own.sum()) / own.sum()} if balanced else None
        total = sum(weight[one] for one in own) if weight else len(own)
        oracle = LogisticRegression(C=1 / (l2 * total), class_weight=weight, tol=1e-10, max_iter=10_000)
        oracle.fit(scaler.transform(features), own)
        found = head.logits(InMemory(others))[:, place]
        assert found == pytest.approx(oracle.decision_function(scaler.transform(others)), abs=2e-3)


def test_each_label_has_the_strength_that_is_best_on_validation() -> None:
    (features, labels), (others, known) = _sets(2, 200), _sets(3, 200)
    validation = InMemory(others)
    head = solve_labels(Problem(InMemory(features), labels, validation, known, 4))
    losses = np.logaddexp(0, head.logits(validation)) - known * head.logits(validation)
    for l2 in GRID[2:-2]:
        at_l2 = solve_labels(Problem(InMemory(features), labels, validation, known, 4, l2=l2))
        others_losses = np.logaddexp(0, at_l2.logits(validation)) - known * at_l2.logits(validation)
        assert (losses.mean(axis=0) <= others_losses.mean(axis=0) + 1e-3).all()


def test_features_larger_than_memory_give_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    (features, labels), (others, known) = _sets(4, 120), _sets(5, 60)
    problem = Problem(InMemory(features), labels, InMemory(others), known, 4)
    kept = solve_labels(problem)
    monkeypatch.setattr("hftransfer.training.solver._IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("hftransfer.training.solver._ROWS_AT_ONCE", 7)
    assert solve_labels(problem).weight == pytest.approx(kept.weight, rel=1e-3, abs=1e-4)


def test_classes_are_weighed_by_the_inverse_of_their_frequency() -> None:
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [120, 25, 8])
    features = (random.normal(size=(len(labels), 5)) + 0.7 * labels[:, None]).astype(np.float32)
    rows = InMemory(features)
    head = solve_head(rows, labels, rows, labels, 3, l2=0.05, balanced=True)
    scaler = StandardScaler().fit(features.astype(np.float64))
    oracle = LogisticRegression(C=1 / (0.05 * len(labels)), class_weight="balanced", tol=1e-10, max_iter=10_000)
    found = oracle.fit(scaler.transform(features), labels).decision_function(scaler.transform(features))
    own = head.logits(rows)
    assert own - own.mean(axis=1, keepdims=True) == pytest.approx(found - found.mean(axis=1, keepdims=True), abs=5e-3)
    plain = solve_head(rows, labels, rows, labels, 3, l2=0.05)
    assert (own.argmax(axis=1) == 2).sum() > (plain.logits(rows).argmax(axis=1) == 2).sum()


def test_tokens_are_read_as_rows() -> None:
    class Texts:
        """Two texts of three and two tokens."""

        def tokens_of(self, items: np.ndarray, tokens: np.ndarray, width: int) -> np.ndarray:
            """Numbers that tell text and token."""
            return np.asarray(10.0 * items[:, None] + tokens[:, None] + np.zeros((1, width)))

    rows = TokenRows(Texts(), [[0, 2], [1]], 4)
    assert rows.shape == (3, 4)
    assert rows.rows(0, 3)[:, 0].tolist() == [0.0, 2.0, 11.0]
    assert rows.rows(1, 2)[:, 0].tolist() == [2.0]


@pytest.mark.parametrize("unit", [1.0, 10.0])
def test_weights_of_classes_are_those_of_scikit_learn(unit: float) -> None:
    random = np.random.default_rng(3)
    labels = random.choice(3, 120, p=[0.7, 0.2, 0.1])
    features = (random.normal(size=(120, 6)) + 0.7 * np.eye(6)[labels]).astype(np.float32)
    given = unit * np.array([1.0, 3.5, 2.0])
    rows = InMemory(features)
    head = solve_head(rows, labels, rows, labels, 3, l2=0.05, balanced=given)
    weights = given / given[labels].mean()  # their unit is of no matter
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    oracle = LogisticRegression(C=1 / (0.05 * 120), class_weight=dict(enumerate(weights)), tol=1e-10, max_iter=10_000)
    oracle.fit(scaled, labels)
    own = softmax(head.logits(rows), axis=1)
    assert own == pytest.approx(oracle.predict_proba(scaled), abs=1e-4)
    plain = softmax(solve_head(rows, labels, rows, labels, 3, l2=0.05).logits(rows), axis=1)
    assert own[:, 1].mean() > plain[:, 1].mean()


def test_of_fewer_rows_than_features_the_ridge_is_that_of_the_normal_equations() -> None:
    random = np.random.default_rng(4)
    values, labels = random.normal(size=(9, 30)).astype(np.float32), np.array([0, 1, 2] * 3)
    values[3] = values[0]  # as a copy among the rows is
    features = _Standardised(InMemory(values), values.mean(axis=0), values.std(axis=0))
    priors = np.full(3, 1 / 3)
    eigen, vectors, rotated = _principal_of_few(features, labels, lambda own: np.eye(3)[own] - priors)
    (rows,) = features.parts()
    for strength in (1e-3, 1.0):
        expected = np.linalg.solve(rows.T @ rows / 9 + strength * np.eye(30), rows.T @ (np.eye(3)[labels] - priors) / 9)
        assert vectors @ (rotated / (eigen[:, None] + strength)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("count", "width"), [(30, 100), (30, 29), (40, 7)])
def test_generalised_cross_validation_is_that_of_the_hat_matrix(count: int, width: int) -> None:
    generator = np.random.default_rng(count)
    values = generator.normal(0, 1, (count, width)).astype(np.float32)
    numbers = generator.normal(0, 1, count)  # nothing of them can be known
    few = InMemory(values[:5]), numbers[:5]
    tried = dict(solver.solve_numbers(Problem(InMemory(values), numbers, *few, classes=0)).path)
    exact = values.astype(np.float64)
    inputs = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    gram, ones = inputs @ inputs.T / count, np.full((count, count), 1 / count)
    for l2, told in tried.items():
        hat = gram @ np.linalg.inv(gram + l2 * np.eye(count)) + ones  # (N, N)
        residual = numbers - hat @ numbers
        wanted = np.sqrt(np.mean(residual**2)) / (1 - np.trace(hat) / count)
        if l2 >= 1e-3 or width < count - 1:  # below, this difference is but rounding
            assert told == pytest.approx(wanted, rel=1e-3)
    if width >= count:  # as many directions as rows: no strength wins by fitting all of them
        assert tried[min(tried)] > 0.5
        assert tried[min(tried)] == pytest.approx(tried[sorted(tried)[1]], rel=1e-2)


def test_few_validation_rows_leave_the_strength_of_labels_to_cross_validation() -> None:
    lost = np.zeros((4, 2))
    for seed, independent in np.ndindex(4, 2):
        generator = np.random.default_rng(seed)
        values = generator.normal(0, 1, (270, 120)).astype(np.float32)
        labels = (values[:, :3] + generator.normal(0, 1, (270, 3)) > 0).astype(np.int64)
        train, few = (InMemory(values[:60]), labels[:60]), (InMemory(values[60:70]), labels[60:70])
        head = solve_labels(Problem(*train, *few, classes=3, independent=bool(independent)))
        logits, truth = head.logits(InMemory(values[70:])), labels[70:]
        lost[seed, independent] = np.mean(np.logaddexp(0, logits) - truth * logits)
    assert (lost[:, 1] < lost[:, 0]).all()
    by_folds = head
    assert by_folds.measure == "log loss by cross-validation"
    assert dict(by_folds.path)[by_folds.l2] == by_folds.measured == min(dict(by_folds.path).values())
    # The same by scikit-learn's heads: each label of each fold by itself.
    fold = solver._fold_of_rows(Problem(*train, *few, classes=3), 5)
    inputs, *_ = scaled(values[:60])
    losses = np.zeros((60, 3))
    for number, label in np.ndindex(5, 3):
        own = fold == number
        head = LogisticRegression(C=1 / ((~own).sum() * by_folds.l2), tol=1e-10, max_iter=10_000)
        found = head.fit(inputs[~own], labels[:60][~own, label]).predict_proba(inputs[own])
        losses[own, label] = -np.log(found[np.arange(own.sum()), labels[:60][own, label]])
    assert by_folds.measured == pytest.approx(losses.mean(), rel=1e-3)


@pytest.mark.parametrize("several", [False, True])
def test_folds_that_choose_keep_groups_together_and_classes_apart(several: bool) -> None:
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(24), generator.integers(1, 6, 24))
    labels = (groups % 3).astype(np.int64)
    values = generator.normal(0, 1, (len(groups), 4)).astype(np.float32)
    targets = np.eye(3, dtype=np.int64)[labels] if several else labels
    given = Problem(
        *(InMemory(values), targets, InMemory(values[:9]), targets[:9]), classes=3, independent=True, groups=groups
    )
    folds = solver._folds_to_choose_by(given)
    assert folds == 5
    fold = solver._fold_of_rows(given, folds)
    assert all(len(set(fold[groups == group])) == 1 for group in range(24))
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.max() <= 1.6 * sizes.min()
    if not several:
        assert (np.array([np.bincount(labels[fold == number], minlength=3) for number in range(folds)]) > 0).all()
    # Two groups of a class are too few, however many rows they have.
    assert solver._folds_to_choose_by(replace(given, groups=labels * 2 + np.arange(len(labels)) % 2)) == 0
