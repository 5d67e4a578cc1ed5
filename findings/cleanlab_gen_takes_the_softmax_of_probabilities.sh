#!/usr/bin/env bash
# cleanlab 2.9.0 with numpy 2.4.6 and scikit-learn 1.9.1, 2026-12-01: the entropy of probabilities by which GEN finds
# strange examples is that of their softmax: what it ranks rightly 999 times in 1000 comes out below chance.
#
# Guess: OutOfDistribution({"method": "gen"}).fit_score(pred_probs=...) gives the generalized entropy (Liu and others,
# CVPR 2023) of the probabilities that it asks for, as method "entropy" does with the plain one. Seen: it takes the
# softmax of them once more. After that all of 100 classes have nearly the same probability, and of all examples the
# scores agree to three digits: half against half has 0.36984, and 0.6 with the rest spread over 99 classes 0.36980,
# where by the formula they are 0.98 and 0.42. Who calls the least 5 % strange gets others: images torn between a few
# like classes, and not those of no class. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  cleanlab==2.9.0 numpy==2.4.6 scikit-learn==1.9.1 pandas==2.3.3 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from cleanlab.outlier import OutOfDistribution
from sklearn.metrics import roc_auc_score

CLASSES = 100


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def by_formula(probabilities):
    """One minus the mean over the classes of (p (1 - p)) ** 0.1."""
    return 1 - ((probabilities * (1 - probabilities)) ** 0.1).sum(axis=1) / CLASSES


def scores(probabilities, method):
    settings = {"adjust_pred_probs": False, "method": method}
    return OutOfDistribution(settings).fit_score(pred_probs=probabilities, verbose=False)


draw = np.random.default_rng(0)
usual, strange = draw.normal(0, 1, (2, 500, CLASSES))
for row in usual:  # torn between three like classes
    row[draw.choice(CLASSES, 3, replace=False)] += draw.uniform(9, 12, 3)
strange[np.arange(500), draw.integers(0, CLASSES, 500)] += draw.uniform(5, 8, 500)  # one a little, the rest spread
probabilities, is_usual = softmax(np.concatenate([usual, strange])), np.repeat([1, 0], 500)

found, wanted = scores(probabilities, "gen"), by_formula(probabilities)
areas = {
    "cleanlab's gen": roc_auc_score(is_usual, found),
    "gen by the formula": roc_auc_score(is_usual, wanted),
    "cleanlab's entropy": roc_auc_score(is_usual, scores(probabilities, "entropy")),
}
print(", ".join(f"{name}: AUROC {area:.3f}" for name, area in areas.items()))
assert areas["gen by the formula"] > 0.99 and areas["cleanlab's gen"] < 0.5, "this has changed"
assert np.abs(found - by_formula(softmax(probabilities))).max() < 1e-9, "this has changed"

two = np.zeros((2, CLASSES))
two[0, :2], two[1] = 0.5, 0.4 / 99
two[1, 0] = 0.6
print("half and half, and 0.6 with the rest spread:", scores(two, "gen"), "by the formula:", by_formula(two))
assert np.ptp(scores(two, "gen")) < 1e-3 < np.ptp(by_formula(two)), "this has changed"
PY
echo "still so"
