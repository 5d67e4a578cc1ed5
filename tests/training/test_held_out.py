"""Logits of examples that a head did not learn from: beside scikit-learn's folds, and where there are none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hftransfer.metrics.calibration import log_loss, temperature_of
from hftransfer.training import held_out as held_out_module
from hftransfer.training.held_out import HeldOut, out_of_fold
from hftransfer.training.solver import InMemory, solve_head
from hftransfer.training.temperature import _chosen

CLASSES, WIDTH = 3, 8


def drawn(count: int, seed: int, noise: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    centers = np.random.default_rng(9).normal(size=(CLASSES, WIDTH))
    return (centers[labels] + noise * random.normal(size=(count, WIDTH))).astype(np.float32), labels


def found_of(train: Any, validation: Any, *, group: str | None = None, l2: float = 0.01, **more: Any) -> HeldOut | None:
    """Return what is found of a probe's features and labels by split."""
    job = SimpleNamespace(
        **{"solves_rows": True, "names": None, "class_weights": False, "made": SimpleNamespace(l2=l2)},
        task=SimpleNamespace(solver="softmax"),
        splits=SimpleNamespace(class_names=["a", "b", "c"]),
        train=SimpleNamespace(seed=0),
    )
    vars(job).update(more)
    sources = SimpleNamespace(
        views=[InMemory(train[0])], others={"validation": SimpleNamespace(stored=InMemory(validation[0]))}
    )
    rows = [SimpleNamespace(group=group)]
    splits = {"train": train, "validation": validation}
    examples = {n: SimpleNamespace(split=SimpleNamespace(class_ids=own[1], rows=rows)) for n, own in splits.items()}
    return out_of_fold(cast(Any, job), cast(Any, sources), cast(Any, examples))


def test_logits_are_those_of_scikit_learns_regressions_on_the_other_folds() -> None:
    train, validation = drawn(85, 0), drawn(15, 1)
    found = found_of(train, validation)
    assert found is not None
    rows, labels = (np.concatenate(parts) for parts in zip(train, validation, strict=True))
    np.testing.assert_array_equal(found.labels, labels)
    order = np.random.default_rng(0).permutation(100)
    order = np.concatenate([order[labels[order] == label] for label in range(3)])
    for number in range(5):
        own = order[number::5]
        rest = np.setdiff1d(order, own)
        scaler = StandardScaler().fit(rows[rest])
        other = LogisticRegression(C=1 / (0.01 * 85), tol=1e-8, max_iter=5000)
        wanted = other.fit(scaler.transform(rows[rest]), labels[rest]).predict_log_proba(scaler.transform(rows[own]))
        logits = found.logits[own]
        told = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(told, wanted, atol=0.02)


@pytest.mark.parametrize("counts", [[40] * 5, [20] * 10, [60, 40], [80, 20], [50, 50], [30, 30, 30]])
def test_every_fold_holds_every_class_as_often_as_its_share(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = np.eye(len(counts), dtype=np.float32)[labels]
    seen: list[np.ndarray] = []

    def head(_: object, __: object, held_out: tuple[InMemory, np.ndarray], ___: int) -> object:
        seen.append(held_out[1])
        return SimpleNamespace(logits=lambda own: np.zeros((own.shape[0], len(counts))))

    monkeypatch.setattr(held_out_module, "solved_again", head)
    splits = SimpleNamespace(class_names=[str(label) for label in range(len(counts))])
    assert found_of((rows[::2], labels[::2]), (rows[1::2], labels[1::2]), splits=splits) is not None
    for own in seen:
        shares = np.bincount(own, minlength=len(counts))
        assert np.abs(shares - np.array(counts) / 5).max() <= 1


def test_the_temperature_of_a_start_never_raises_the_log_loss_of_validation() -> None:
    # Sure of 14 that it has right, and undecided about 10: less often right than sure, and yet not too sure.
    gaps = np.array([8.0] * 14 + [-0.3] * 10)  # (24,)
    own = HeldOut(np.stack([gaps, np.zeros(24)], axis=1), np.zeros(24, dtype=np.int64), "validation")
    learned = _chosen(own, own, stepped=True)
    assert learned > 1
    assert log_loss(own.logits / learned, own.labels) > log_loss(own.logits, own.labels)
    assert _chosen(own, own, stepped=False) == 1


def test_they_choose_a_temperature_and_so_does_a_small_validation_split() -> None:
    (rows, labels), (new, truth) = drawn(60, 0), drawn(3000, 2)
    train, validation = (rows[:45], labels[:45]), (rows[45:], labels[45:])
    # Hardly held back the head is much too sure of what it says.
    head = solve_head(*(InMemory(train[0]), train[1], InMemory(validation[0]), validation[1]), CLASSES, 1e-4)
    found = found_of(train, validation, l2=1e-4)
    assert found is not None
    temperature, logits = temperature_of(found.logits, found.labels), head.logits(InMemory(new))
    assert temperature > 1.5
    assert log_loss(logits / temperature, truth) < log_loss(logits, truth)
    few = temperature_of(head.logits(InMemory(validation[0])), validation[1])  # of 15 rows
    best = min(log_loss(logits / each, truth) for each in np.geomspace(1, 100, 50))
    assert log_loss(logits / few, truth) == pytest.approx(best, abs=0.02)


@pytest.mark.parametrize(
    "more",
    [{"group": "a patient"}, {"solves_rows": False}, {"names": object()}, {"l2": None}],
    ids=["groups", "stepped", "named", "another head"],
)
def test_there_are_none_where_folds_say_nothing(more: dict[str, Any]) -> None:
    assert found_of(drawn(85, 0), drawn(15, 1), **more) is None


def test_there_are_none_of_a_large_validation_split_or_a_class_with_few_examples() -> None:
    assert found_of(drawn(60, 0), drawn(1000, 1)) is None
    rows, labels = drawn(85, 0)
    few = np.flatnonzero(labels == 1)[4:]
    assert found_of((np.delete(rows, few, 0), np.delete(labels, few)), (rows[:1], labels[:1])) is None
