"""Sets of labels as they are told of a test split."""

from __future__ import annotations

import numpy as np

from hftransfer.metrics.calibration import conformity_of, needed_for, set_scores


def test_sets_are_those_that_predictions_have_and_hold_the_true_label_about_so_often() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(4, 0.6), 4000)
    labels = np.array([random.choice(4, p=row) for row in probabilities])
    conformity = conformity_of(probabilities[np.arange(2000), labels[:2000]])
    assert conformity is not None
    found = set_scores(probabilities[2000:], labels[2000:], conformity)
    sets = [np.flatnonzero(row >= needed_for(conformity, 0.9)).tolist() for row in probabilities[2000:]]
    assert found["set_size_90"] == np.mean([len(one) for one in sets])
    assert found["set_coverage_90"] == np.mean([label in one for label, one in zip(labels[2000:], sets, strict=True)])
    assert 0.87 < found["set_coverage_90"] < 0.93
