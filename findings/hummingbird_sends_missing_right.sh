#!/usr/bin/env bash
# hummingbird-ml 0.4.12 with scikit-learn 1.9.1 and torch 2.14.1, 2026-11-30: missing values and categories are
# mistaken.
#
# Guess: HistGradientBoostingClassifier, made for missing values and for categories, predicts the same once converted,
# or can't be converted. Seen: which side a split has for missing values (NaN) is not read: all go right. A split by a
# set of categories is read as one by a threshold. No word is said. With a fifth of the values missing accuracy falls
# from 0.94 to 0.82. Forests are alike. Whole rows of plain numbers are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  hummingbird-ml==0.4.12 scikit-learn==1.9.1 torch==2.14.1 onnx==1.16.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from hummingbird.ml import convert
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

drawn = np.random.default_rng(0)
whole = drawn.normal(size=(2000, 6)).astype(np.float32)
target = (whole[:, 0] + whole[:, 1] + 0.3 * drawn.normal(size=2000) > 0).astype(np.int64)
holed = whole.copy()
holed[drawn.random(whole.shape) < 0.2] = np.nan
sorts = drawn.integers(8, size=(2000, 6)).astype(np.float32)
by_sort = np.isin(sorts[:, 0], [0, 3, 5]).astype(np.int64)

plain = HistGradientBoostingClassifier(max_iter=30, random_state=0)
sorted_ = HistGradientBoostingClassifier(max_iter=30, random_state=0, categorical_features=[0])
forest = RandomForestClassifier(20, max_depth=6, random_state=0)
for name, model, inputs, answers in (
    ("boosting, whole rows", plain, whole, target), ("forest, whole rows", forest, whole, target),
    ("boosting, missing values", plain, holed, target), ("forest, missing values", forest, holed, target),
    ("boosting, categories", sorted_, sorts, by_sort),
):  # fmt: skip
    model.fit(inputs, answers)
    ready = convert(model, "torch", whole[:1])
    gap = float(np.abs(ready.predict_proba(inputs) - model.predict_proba(inputs)).max())
    right = [float(np.mean(one.predict(inputs) == answers)) for one in (model, ready)]
    print(f"{name}: accuracy {right[0]:.3f}, converted {right[1]:.3f}; probabilities up to {gap:.2f} apart")
    if "whole" in name:
        assert gap < 1e-4 and right[0] == right[1], "this has changed: whole rows"
    else:
        assert gap > 0.2 and right[1] < right[0] - 0.05, "this has changed"
PY
echo "still so"
