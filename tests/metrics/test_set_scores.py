"""Sets of labels as they are told of a test split."""

from __future__ import annotations

import numpy as np

from hftransfer.metrics.calibration import conformity_of, needed_for, set_scores


def test_sets_are_those_that_predictions_have_and_hold_the_true_label_about_so_often() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(4, 0.6), 4000)
    labels = np.array([random.choice(4, p=row) for row in probabilities])
    validation, test = probabilities[:2000], probabilities[2000:]
    own = validation[np.arange(2000), labels[:2000]]
    conformity = conformity_of(own, validation.argmax(axis=1) == labels[:2000])
    assert conformity is not None
    found = set_scores(test, labels[2000:], conformity)
    least = needed_for(conformity, 0.9)
    sets = [{int(row.argmax()), *np.flatnonzero(row >= least).tolist()} for row in test]
    assert found["set_size_90"] == np.mean([len(one) for one in sets])
    assert found["set_coverage_90"] == np.mean([label in one for label, one in zip(labels[2000:], sets, strict=True)])
    assert 0.87 < found["set_coverage_90"] < 0.93
    # No larger than sets that may be empty, and need as much of every label.
    plain = test >= needed_for(conformity_of(own, np.zeros(2000, dtype=bool)) or (), 0.9)
    assert found["set_size_90"] <= plain.sum(axis=1).mean()


def test_a_model_that_is_right_more_often_than_asked_gives_one_label_each() -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 3, 400)
    taken = np.where(random.random(400) < 0.96, labels, (labels + 1) % 3)
    probabilities = 0.05 + 0.85 * np.eye(3)[taken]  # (N, C)
    conformity = conformity_of(probabilities[np.arange(200), labels[:200]], taken[:200] == labels[:200])
    found = set_scores(probabilities[200:], labels[200:], conformity or ())
    assert found == {"set_size_90": 1.0, "set_coverage_90": float((taken[200:] == labels[200:]).mean())}
