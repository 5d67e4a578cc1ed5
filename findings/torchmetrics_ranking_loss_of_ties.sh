#!/usr/bin/env bash
# torchmetrics 1.9.0 with torch 2.14.1 and scikit-learn 1.9.1, 2026-11-30: predictions that say nothing rank perfectly.
#
# Guess: MultilabelRankingLoss counts a pair of labels with equal scores as wrong, as scikit-learn's label_ranking_loss
# does, or as half wrong, so that equal scores for all labels have a loss of 1, or one half. Seen: ties are decided by
# the order of the columns. Scores that are all equal have a loss of 0, the best there is, where the right labels are
# the last columns, and 1 where they are the first. Scores in bfloat16 or float16, rounded ones and saturated sigmoids
# have many ties.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.14.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from sklearn.metrics import label_ranking_loss
from torchmetrics.classification import MultilabelRankingLoss


def both(scores, true):
    own = float(MultilabelRankingLoss(num_labels=true.shape[1])(torch.tensor(scores), torch.tensor(true)))
    return own, float(label_ranking_loss(true, scores))


first = np.tile([1, 1, 0, 0, 0], (8, 1))
same = np.full(first.shape, 0.5)
random = np.random.default_rng(0)
scores, true = random.random((400, 5)), random.integers(0, 2, (400, 5))
found = {
    "equal scores, first labels right": both(same, first),
    "equal scores, last labels right": both(same, first[:, ::-1].copy()),
    "random scores": both(scores, true),
    "random scores, one digit": both(scores.round(1), true),
}
for name, (own, other) in found.items():
    print(f"{name}: torchmetrics: {own:.4f}, scikit-learn: {other:.4f}")
assert all(other == 1 for _, other in list(found.values())[:2]), "this has changed"
own, other = found["random scores"]
assert abs(own - other) < 1e-6, "this has changed"
assert sorted(own for own, _ in list(found.values())[:2]) == [0, 1], "this has changed"
own, other = found["random scores, one digit"]
assert own < other - 0.03, "this has changed"
PY
echo "still so"
