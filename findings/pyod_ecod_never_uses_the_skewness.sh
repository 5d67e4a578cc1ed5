#!/usr/bin/env bash
# pyod 3.6.7 with numpy 2.3.5 and scipy 1.17.1, 2026-11-30: ECOD's score is the sum of the rarer tail of each dimension;
# the skewness, by which it chooses the tail, never counts.
#
# Guess: ECOD gives Li et al.'s outlier score: three sums over the dimensions, of the log of the left tails, of the
# right tails and of that tail to which each dimension is skewed, and of the three sums the largest. Seen: the largest
# is taken in each dimension, and summed afterwards. The tail by skewness is one of the other two, so that it adds
# nothing: data mirrored in one dimension, which have another skewness there, keep their scores to the last digit.
# Samples that are a bit low here and a bit high there count as more of an outlier than in the paper; of the twenty
# worst five stay.
# (models/ecod.py, decision_function)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pyod==3.6.7 numba==0.63.1 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.3.5
cd "$folder"
OMP_NUM_THREADS=1 MPLBACKEND=agg MPLCONFIGDIR="$folder" "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from pyod.models.ecod import ECOD
from scipy.stats import rankdata, skew

draw = np.random.default_rng(0)
rows = np.column_stack([draw.exponential(size=(500, 3)), -draw.exponential(size=(500, 3))])


def tails(rows):
    """Of each value the log of the share of values no greater, and of those no smaller, turned positive."""
    left = -np.log(rankdata(rows, "max", axis=0) / len(rows))
    right = -np.log(rankdata(-rows, "max", axis=0) / len(rows))
    return left, right, np.where(skew(rows, axis=0) < 0, left, right)


sums = np.array([each.sum(1) for each in tails(rows)])
paper = sums.max(0)
print("share of rows whose largest sum is that of the tails by skewness:", (sums.argmax(0) == 2).mean())
found = ECOD().fit(rows).decision_scores_
left, right, _ = tails(rows)
rarer = np.maximum(left, right).sum(1)
worst = [set(np.argsort(scores)[-20:]) for scores in (found, paper)]
print(f"largest distance from the paper {np.abs(found - paper).max():.3f}, from the sum of the rarer tails",
      f"{np.abs(found - rarer).max():.1e}; of the 20 worst {len(worst[0] & worst[1])} are the same")
assert np.abs(found - rarer).max() < 1e-9, "this has changed"
assert np.abs(found - paper).max() > 0.5 and (found >= paper - 1e-9).all(), "this has changed"
assert len(worst[0] & worst[1]) < 20, "this has changed"

mirrored = rows * [-1, 1, 1, 1, 1, 1]
again, by_paper = ECOD().fit(mirrored).decision_scores_, np.max([each.sum(1) for each in tails(mirrored)], 0)
print(f"one dimension mirrored: ECOD moves by {np.abs(again - found).max():.1e}, the largest of the sums by",
      f"{np.abs(by_paper - paper).max():.3f}")
assert np.abs(again - found).max() < 1e-9 and np.abs(by_paper - paper).max() > 0.5, "this has changed"
PY
echo "still so"
