#!/usr/bin/env bash
# mlxtend 0.25.0 with scikit-learn 1.9.1 and numpy 2.4.6, 2026-11-30: .632+ gives accuracies of -3.5 and 7.3.
#
# Guess: bootstrap_point632_score(method=".632+") holds the rate of overfitting R between 0 and 1 and the error below
# that of guessing, as the paper of Efron and Tibshirani that its docstring names does, so that the weight lies between
# 0.632 and 1 and each accuracy between 0 and 1. Seen: R is taken as it comes, and weight = 0.632 / (1 - 0.368 * R) runs
# to infinity and turns its sign, where the training error is near that of guessing, as that of weak models is. Of 200
# accuracies of a stump 13 are below 0 or above 1. Their mean is off by 0.03, and their 2.5th percentile, which the
# docstring takes for the lower end of an interval, is -0.10 where it is 0.51. (Other data give NaN.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  mlxtend==0.25.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from mlxtend.evaluate import BootstrapOutOfBag, bootstrap_point632_score
from sklearn.base import clone
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

draw = np.random.default_rng(0)
inputs = draw.normal(size=(60, 3))
labels = (inputs[:, 0] + draw.normal(size=60) * 3 > 0).astype(int)


def by_hand(model, bounded):
    """The .632+ of each of 200 samples, with R as the paper has it or as it comes."""
    scores = []
    for train, test in BootstrapOutOfBag(n_splits=200, random_seed=0).split(inputs):
        model = clone(model).fit(inputs[train], labels[train])
        predicted = model.predict(inputs)
        missed, seen = np.mean(predicted[test] != labels[test]), np.mean(predicted != labels)
        guessing = np.mean(labels[:, None] != predicted[None])
        if bounded:
            missed = min(missed, guessing)
            rate = (missed - seen) / (guessing - seen) if missed > seen else 0
        else:
            rate = np.divide(missed - seen, guessing - seen)
        weight = np.divide(0.632, 1 - 0.368 * rate)
        scores.append(1 - (weight * missed + (1 - weight) * seen))
    return np.array(scores)


for model in (DecisionTreeClassifier(max_depth=1, random_state=0), KNeighborsClassifier(15)):
    theirs = bootstrap_point632_score(model, inputs, labels, method=".632+", random_seed=0)
    true, unbounded = by_hand(model, True), by_hand(model, False)
    outside = int(np.sum((theirs < 0) | (theirs > 1)))
    print(
        f"{type(model).__name__}: mlxtend's mean {theirs.mean():.3f}, from {theirs.min():.2f} to {theirs.max():.2f},"
        f" {outside} outside 0 to 1;"
        f" bounded {true.mean():.3f}, from {true.min():.2f} to {true.max():.2f};"
        f" 2.5th percentile {np.percentile(theirs, 2.5):.3f} and {np.percentile(true, 2.5):.3f}"
    )
    assert true.min() > 0 and true.max() < 1 and np.allclose(theirs, unbounded), "this has changed"
    assert outside > 5 and theirs.min() < -1 and theirs.max() > 1.5, "this has changed: R is held between 0 and 1"
    assert np.percentile(true, 2.5) - np.percentile(theirs, 2.5) > 0.3, "this has changed"
PY
echo "still so"
