#!/usr/bin/env bash
# venn-abers 1.5.4 with numpy 2.4.6 and scikit-learn 1.9.1, 2026-11-30: calibrated probabilities of -13 and 14.
#
# Guess: predict_proba of the same two-class scores is the same whatever the two classes are called, as it is when
# VennAbersCalibrator holds an estimator, and with scikit-learn's calibrators. Seen: given p_cal and y_cal it takes the
# labels themselves for frequencies of the second class. With classes 1 and 2, or -1 and 1, it returns numbers below 0 and
# above 1 in rows that sum to 1, without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  venn-abers==1.5.4 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from venn_abers import VennAbersCalibrator

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(2000, 2))
second = (inputs[:, 0] + drawn.normal(size=2000) > 0).astype(int)
chances = 1 / (1 + np.exp(-3 * inputs[:, 0]))
scores = np.stack([1 - chances, chances], axis=1)
calibration, test = slice(0, 1000), slice(1000, None)

for names in ((0, 1), (1, 2), (-1, 1)):
    labels = np.array(names)[second]
    told = VennAbersCalibrator().predict_proba(p_cal=scores[calibration], y_cal=labels[calibration], p_test=scores[test])
    with_estimator = VennAbersCalibrator(estimator=LogisticRegression(), inductive=True, cal_size=0.3, random_state=0)
    with_estimator.fit(inputs[calibration], labels[calibration])
    beside = with_estimator.predict_proba(inputs[test])
    print(
        f"classes {names}: from {told.min():.2f} to {told.max():.2f}, sums {told.sum(1).min():.2f} to {told.sum(1).max():.2f},"
        f" AUC {roc_auc_score(second[test], told[:, 1]):.3f}; with an estimator from {beside.min():.2f} to {beside.max():.2f}"
    )
    within = told.min() >= 0 and told.max() <= 1
    assert within == (names == (0, 1)), "this has changed: other labels"
    assert beside.min() >= 0 and beside.max() <= 1, "this has changed: with an estimator"
    assert np.allclose(told.sum(1), 1), "this has changed: the sums"
PY
echo "still so"
