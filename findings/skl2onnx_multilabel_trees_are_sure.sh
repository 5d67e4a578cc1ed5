#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: a tree of several labels is sure of all.
#
# Guess: DecisionTreeClassifier of several labels at once gives the probabilities of predict_proba in ONNX, as a forest
# does, and as it does with one label. Seen: all that isn't 0 becomes 1. A leaf with 40 examples for a label and 2
# against it has the probabilities 1 and 1. Of what is ranked by them nothing is left, and every label that was seen
# once in a leaf passes any threshold. The labels are right, and nothing is said.
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
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(1000, 6)).astype(np.float32)
targets = (inputs[:, :3] + drawn.normal(size=(1000, 3)) > 0.5).astype(np.int64)


def told(model) -> list[np.ndarray]:
    file = to_onnx(model, inputs[:1], options={id(model): {"zipmap": False}}).SerializeToString()
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"X": inputs})


size = {"max_depth": 5, "random_state": 0}
for name, model, target, wrong in (
    ("tree, one label", DecisionTreeClassifier(**size), targets[:, 0], False),
    ("forest, three labels", RandomForestClassifier(10, **size), targets, False),
    ("extra trees, three labels", ExtraTreesClassifier(10, **size), targets, False),
    ("tree, three labels", DecisionTreeClassifier(**size), targets, True),
    ("extra tree, three labels", ExtraTreeClassifier(**size), targets, True),
):
    model.fit(inputs, target)
    labels, shares = told(model)
    true = np.array(model.predict_proba(inputs))
    labels = np.asarray(labels).reshape(target.shape)
    assert np.array_equal(labels, model.predict(inputs)), "this has changed: the labels"
    gap = float(np.abs(shares - true).max())
    print(f"{name}: probabilities up to {gap:.3f} apart, they add up to {shares.sum(-1).max():.2f} at most")
    assert np.allclose(true.sum(-1), 1), "this has changed: scikit-learn"
    assert (gap > 0.7) == wrong and (wrong or gap < 1e-5), "this has changed"
    if wrong:
        assert np.array_equal(shares, true > 0), "this has changed: what isn't 0 is 1"
        areas = [roc_auc_score(targets[:, 0], part[0, :, 1]) for part in (true, shares)]
        print(f"  area under the curve of the first label {areas[0]:.3f}, of ONNX {areas[1]:.3f}")
        assert areas[1] < areas[0] - 0.1, "this has changed: the ranking"
PY
echo "still so"
