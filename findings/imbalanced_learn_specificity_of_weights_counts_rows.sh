#!/usr/bin/env bash
# imbalanced-learn 0.14.2 with scikit-learn 1.9.1, 2026-11-30: with weights that sum to 1 the specificity is 0.998 where
# it is 0.494; with weights of 2 on average it is -0.35.
#
# Guess: specificity_score(sample_weight=...) is the weight of the true negatives over the weight of all negatives, as
# recall_score for the other label; multiplying all weights by ten changes nothing. Seen: the true negatives are the
# number of rows less the weights of the rest. With weights that sum to 1 every model is almost perfectly specific; with
# weights above 1 the number falls below 0, or leaps above 1. geometric_mean_score with average="binary", "macro" or
# "weighted", sensitivity_specificity_support and what make_index_balanced_accuracy wraps take it over. Only weights
# with a mean of 1 come out right.
# (metrics/_classification.py: tn_sum = y_true.size - ...)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  imbalanced-learn==0.14.2 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from imblearn.metrics import geometric_mean_score, sensitivity_score, specificity_score
from sklearn.metrics import recall_score

draw = np.random.default_rng(0)
true = (np.arange(200) < 40).astype(int)
said = np.where(true == 1, np.arange(200) % 5 != 0, np.arange(200) % 2).astype(int)  # 0.8 of the ones, half of the zeros
weights = draw.uniform(0.5, 1.5, 200)
weights /= weights.mean()

for scale, seen in ((1 / 200, "near one"), (0.1, "near one"), (1, "right"), (2, "low"), (10, "below zero")):
    given = {"sample_weight": weights * scale}
    negative = true == 0
    by_hand = given["sample_weight"][negative & (said == 0)].sum() / given["sample_weight"][negative].sum()
    other = recall_score(true, said, pos_label=0, **given)
    recall = recall_score(true, said, **given)
    found = specificity_score(true, said, **given)
    mean = geometric_mean_score(true, said, average="binary", **given)
    print(f"mean weight {scale:g}: specificity {found:.4f}, by hand {by_hand:.4f}, recall of the other label {other:.4f};",
          f"geometric mean {mean:.4f}, by hand {np.sqrt(recall * by_hand):.4f}")
    assert abs(by_hand - other) < 1e-9 and abs(by_hand - 0.5) < 0.05, "the oracle"
    assert abs(sensitivity_score(true, said, **given) - recall) < 1e-9, "the sensitivity is right"
    rest = given["sample_weight"][(true == 1) | (said == 1)].sum()
    false = given["sample_weight"][negative & (said == 1)].sum()
    assert abs(found - (200 - rest) / (200 - rest + false)) < 1e-9, "this has changed"
    assert {"near one": found > 0.9, "right": abs(found - by_hand) < 1e-9, "low": found < by_hand - 0.1,
            "below zero": found < 0 or found > 1}[seen], "this has changed"
    if seen == "near one":
        assert mean > np.sqrt(recall * by_hand) + 0.1, "this has changed"
PY
echo "still so"
