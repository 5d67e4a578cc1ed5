#!/usr/bin/env bash
# pycm 4.6 with numpy 2.4.6, beside scikit-learn 1.9.1, 2026-11-30: sure models have a small area under PR curves.
#
# Guess: PRCurve(...).area() is the area over all recalls from 0 to 1, as scikit-learn's auc(recall, precision) and,
# nearly, average_precision_score; ROCCurve is brought to the corner (0, 0) and does agree with roc_auc_score.
# Seen: the curve begins at the recall of the highest score (augment_endpoint in curve.py is for ROC alone). What lies
# left of it counts 0. If softmax in float16 says 1.0 for 87 of 100 positives, as that of a fine-tuned model does, the
# area is 0.13 where it is 1.0; the surer and the better a model is, the less, and one of 0 and 1 has 0. Scores in
# tenths lose a tenth. Nothing is said, but where a threshold is above all scores of a class, of that point.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  pycm==4.6 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import numpy as np
from pycm import PRCurve, ROCCurve
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

draw = np.random.default_rng(0)
true = np.repeat([0, 1], 100)


def ask(name, both):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        own = [curve(true, both, classes=[0, 1]).area()[1] for curve in (PRCurve, ROCCurve)]
    scores = both[:, 1]
    precision, recall, _ = precision_recall_curve(true, scores)
    others = [auc(recall, precision), roc_auc_score(true, scores)]
    first = (scores[true == 1] == scores.max()).mean()
    print(
        f"{name}: precision and recall: pycm {own[0]:.3f}, scikit-learn {others[0]:.3f} (average precision"
        f" {average_precision_score(true, scores):.3f}); ROC: {own[1]:.3f} and {others[1]:.3f};"
        f" {first:.2f} of the positives have the highest score; {len(said)} warnings"
    )
    assert abs(own[1] - others[1]) < 1e-9, "this has changed: the area under ROC curves"
    return own[0], others[0], first, len(said)


def softmax(logits):
    return (1 / (1 + np.exp(-np.stack([-logits, logits], 1)))).astype(np.float16).astype(float)


# Logits of a model that is right about all, mild and five times as large.
logits = np.where(true == 1, 1, -1) * draw.uniform(1, 6, 200)
for name, factor, most in (("timid", 1, 1), ("sure", 5, 0.2)):
    own, other, first, _ = ask(name, softmax(factor * logits))
    assert abs(other - 1) < 1e-9, "this has changed: scikit-learn"
    assert abs(own - (1 - first)) < 1e-9 and own < most, "this has changed"
own, other, _, said = ask("zeros and ones", np.eye(2)[true])
assert own == said == 0 and other == 1, "this has changed: zeros and ones"

# A model of middling skill whose scores are tenths.
tenths = np.round(np.clip(0.3 * true + 0.6 * draw.random(200) + 0.05, 0, 1), 1)
own, other, _, _ = ask("tenths", np.stack([1 - tenths, tenths], 1))
assert other - own > 0.05, "this has changed: tenths"
PY
echo "still so"
