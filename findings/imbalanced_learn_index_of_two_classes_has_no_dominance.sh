#!/usr/bin/env bash
# imbalanced-learn 0.14.2 with scikit-learn 1.9.1, 2026-11-30: the index balanced accuracy of the geometric mean of two
# classes does not depend on alpha.
#
# Guess: make_index_balanced_accuracy(alpha=0.5)(geometric_mean_score)(true, said) is García et al.'s index for two
# classes, (1 + alpha (TPR - TNR)) TPR TNR, which tells a model that favours the positive class from one that favours
# the negative. Seen: the score's own average, "multiclass", is turned into "macro" for the dominance. The mean of the
# recalls of two classes is the mean of their specificities, whatever the model does: the dominance is 0, and the index
# the squared geometric mean. Two models with their rates swapped get the same number. average="binary" gives the index.
# (metrics/_classification.py, make_index_balanced_accuracy)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  imbalanced-learn==0.14.2 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from imblearn.metrics import geometric_mean_score, make_index_balanced_accuracy
from sklearn.metrics import recall_score

true = (np.arange(1000) < 100).astype(int)
place = np.concatenate([np.arange(100) / 100, np.arange(900) / 900])


def model(positive, negative):
    """Right about these shares of the ones and of the zeros."""
    return np.where(place < np.where(true == 1, positive, negative), true, 1 - true)


found, binary = {}, {}
for rates in ((0.9, 0.5), (0.5, 0.9)):
    said = model(*rates)
    tpr, tnr = recall_score(true, said), recall_score(true, said, pos_label=0)
    assert np.allclose((tpr, tnr), rates)
    for alpha in (0.0, 0.1, 0.5, 1.0):
        index = make_index_balanced_accuracy(alpha=alpha, squared=True)(geometric_mean_score)
        paper = (1 + alpha * (tpr - tnr)) * tpr * tnr
        found[rates, alpha] = index(true, said)
        binary[rates, alpha] = index(true, said, average="binary")
        print(f"TPR {tpr:.2f}, TNR {tnr:.2f}, alpha {alpha}: {found[rates, alpha]:.4f},",
              f"average binary {binary[rates, alpha]:.4f}, paper {paper:.4f}")
        assert abs(binary[rates, alpha] - paper) < 1e-9, "the oracle"
        assert abs(found[rates, alpha] - tpr * tnr) < 1e-9, "this has changed: alpha counts"
assert len({round(value, 9) for value in found.values()}) == 1, "this has changed"
assert binary[(0.9, 0.5), 1.0] > 2 * binary[(0.5, 0.9), 1.0], "the oracle: the index tells the two apart"
PY
echo "still so"
