#!/usr/bin/env bash
# mlxtend 0.25.0 with numpy 2.4.6, 2026-11-30: the importance of a group of columns is that of the first columns.
#
# Guess: feature_importance_permutation(feature_groups=[0, [1, 2], [3, 4]]) shuffles the columns of each group in turn
# and puts them back, as it does without groups, so that only the group with the one column that the model reads counts.
# Seen: for a group of two columns it shuffles columns 0 and 1, whichever the group has (rng.shuffle(X[:, i]) for i in
# range(columns)), and puts back those of the group. A model that reads column 0 alone has all of its loss, 0.5, under
# the groups without it, and after the call the caller's own X is left shuffled in column 0: the same model, right on
# all rows before, is then right on half of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  mlxtend==0.25.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from mlxtend.evaluate import feature_importance_permutation

GROUPS = [0, [1, 2], [3, 4]]
inputs = np.random.default_rng(0).normal(size=(4000, 5))
labels = (inputs[:, 0] > 0).astype(int)


def model(rows):
    """Reads column 0 alone."""
    return (rows[:, 0] > 0).astype(int)


def by_hand(rows):
    """What accuracy falls by when the columns of a group are shuffled."""
    draw, falls = np.random.default_rng(1), []
    for group in GROUPS:
        other = rows.copy()
        other[:, group] = other[draw.permutation(len(rows))][:, group]
        falls.append(1 - np.mean(model(other) == labels))
    return falls


def theirs(groups):
    """The importances, which columns the call has changed, and the accuracy after it."""
    rows = inputs.copy()
    found = feature_importance_permutation(rows, labels, model, "accuracy", feature_groups=groups, seed=0)[0]
    return found.round(3).tolist(), (rows != inputs).any(axis=0).tolist(), float(np.mean(model(rows) == labels))


true = by_hand(inputs)
alone, changed_alone, after_alone = theirs(None)
one, changed_one, after_one = theirs([[1, 2]])
grouped, changed, after = theirs(GROUPS)
print("by hand, groups 0, 1 and 2, 3 and 4:", np.round(true, 3).tolist())
print("without groups:", alone, "changed:", changed_alone, "accuracy afterwards:", after_alone)
print("group 1 and 2 alone:", one, "changed:", changed_one, "accuracy afterwards:", after_one)
print("groups 0, 1 and 2, 3 and 4:", grouped, "changed:", changed, "accuracy afterwards:", after)
assert abs(true[0] - 0.5) < 0.05 and true[1:] == [0, 0], "the oracle has changed"
assert abs(alone[0] - 0.5) < 0.05 and alone[1:] == [0] * 4 and not any(changed_alone), "this has changed"
assert abs(one[0] - 0.5) < 0.05 and changed_one[0] and abs(after_one - 0.5) < 0.05, "this has changed: one group"
assert min(grouped[1:]) > 0.45 and changed[0] and abs(after - 0.5) < 0.05, "this has changed: three groups"
PY
echo "still so"
