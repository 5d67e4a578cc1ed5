#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: trees err where values are missing.
#
# Guess: trees and forests trained on data with missing values (NaN), which scikit-learn takes, give the same labels
# and numbers once converted to ONNX, which knows nodes_missing_value_tracks_true. Seen: which side each split learned
# for NaN is not written. All go right. A sixth of the labels differ, probabilities by up to 1, and nothing is said.
# Rows without missing values are right, so that a check on them passes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(1000, 6)).astype(np.float32)
target = (inputs[:, 0] + inputs[:, 1] + 0.3 * drawn.normal(size=1000) > 0).astype(np.int64)
whole = inputs.copy()
inputs[drawn.random(inputs.shape) < 0.2] = np.nan
full = ~np.isnan(inputs).any(1)


def converted(model, options: dict[str, object] | None) -> np.ndarray:
    file = to_onnx(model, whole[:1], options=options).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": inputs})[-1]


def by_hand(tree, row: np.ndarray, obeyed: bool) -> np.ndarray:
    node = 0
    while tree.children_left[node] >= 0:
        value = row[tree.feature[node]]
        left = (obeyed and tree.missing_go_to_left[node]) if np.isnan(value) else value <= tree.threshold[node]
        node = (tree.children_left if left else tree.children_right)[node]
    return tree.value[node, 0]


size = {"max_depth": 5, "random_state": 0}
for model in (DecisionTreeClassifier(**size), DecisionTreeRegressor(**size), RandomForestClassifier(20, **size),
              RandomForestRegressor(20, **size), ExtraTreesClassifier(20, **size)):  # fmt: skip
    model.fit(inputs, target)
    sure = hasattr(model, "predict_proba")
    told = converted(model, {id(model): {"zipmap": False}} if sure else None)
    told = told[:, 1] if sure else told.ravel()
    true = model.predict_proba(inputs)[:, 1] if sure else model.predict(inputs)
    gap = np.abs(told - true)
    other = float(np.mean((told > 0.5) != (true > 0.5)))
    name = type(model).__name__
    print(f"{name}: up to {gap[~full].max():.2f} apart where values are missing,", end=" ")
    print(f"{gap[full].max():.1e} elsewhere; {other:.3f} of the labels differ")
    assert gap[~full].max() > 0.1 and gap[full].max() < 1e-5, "this has changed"
    if name == "DecisionTreeClassifier":
        obeyed, right = (np.array([by_hand(model.tree_, row, way)[1] for row in inputs]) for way in (True, False))
        assert np.allclose(true, obeyed) and np.allclose(told, right, atol=1e-6), "this has changed: the way"
        assert other > 0.05, "this has changed: the labels"
PY
echo "still so"
