#!/usr/bin/env bash
# catboost 1.2.10 with onnxruntime 1.32.0, 2026-11-30: models of the classes -1 and 1 call 0 and 1 in ONNX.
#
# Guess: save_model(format="onnx") writes a file that gives what predict() and predict_proba() give, or refuses, as it
# does for a scale and for trees that aren't symmetric. Seen: so it is with two classes called 0 and 1 or by words, and
# with three classes of any numbers. Two classes with other numbers, such as -1 and 1 or 1 and 2, are called 0 and 1:
# half of the labels or all are wrong. MultiClassOneVsAll gets a softmax for its sigmoids. Poisson and Tweedie
# regression give the logarithm of what predict() gives. Nothing is said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check \
  catboost==1.2.10 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime
from catboost import CatBoostClassifier, CatBoostRegressor

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(1000, 5)).astype(np.float32)
scores = inputs @ drawn.normal(size=(5, 3)) + 0.5 * drawn.normal(size=(1000, 3))
two, three = (scores[:, 0] > 0).astype(int), scores.argmax(1)
size = {"iterations": 50, "depth": 4, "verbose": 0, "random_seed": 0, "allow_writing_files": False}


def told(model) -> list[np.ndarray]:
    model.save_model("model.onnx", format="onnx")
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession("model.onnx", settings).run(None, {"features": inputs})


for classes in ([0, 1], ["cat", "dog"], [-1, 1], [1, 2], [3, 7, 9]):
    target = np.array(classes)[two if len(classes) == 2 else three]
    model = CatBoostClassifier(**size).fit(inputs, target)
    labels, shares = told(model)
    shares = np.array([[row[key] for key in sorted(row)] for row in shares])
    right = [float(np.mean(np.ravel(answers) == target)) for answers in (model.predict(inputs), labels)]
    named = sorted(set(np.ravel(labels).tolist()))
    print(f"classes {classes}: accuracy {right[0]:.3f}, of ONNX {right[1]:.3f}; it calls {named}")
    assert np.allclose(shares, model.predict_proba(inputs), atol=1e-5), "this has changed: the probabilities"
    if classes in ([-1, 1], [1, 2]):
        assert named == [0, 1] and right[1] < right[0] - 0.3, "this has changed: the labels"
    else:
        assert right[0] == right[1] > 0.9, "this has changed"

model = CatBoostClassifier(**size, loss_function="MultiClassOneVsAll").fit(inputs, three)
shares = np.array([[row[key] for key in sorted(row)] for row in told(model)[1]])
true = model.predict_proba(inputs)
raw = model.predict(inputs, prediction_type="RawFormulaVal")
sigmoids, softmax = 1 / (1 + np.exp(-raw)), np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
print(f"MultiClassOneVsAll: probabilities up to {np.abs(shares - true).max():.3f} apart")
assert np.allclose(true, sigmoids), "this has changed: catboost"
assert np.allclose(shares, softmax, atol=1e-5) and np.abs(shares - true).max() > 0.05, "this has changed: the softmax"

counts = drawn.poisson(np.exp(1 + scores[:, 0] / 3))
for loss in ("RMSE", "Poisson", "Tweedie:variance_power=1.5"):
    model = CatBoostRegressor(**size, loss_function=loss).fit(inputs, counts)
    true, given = model.predict(inputs), told(model)[0].ravel()
    print(f"{loss}: mean {true.mean():.3f} for {counts.mean():.3f} counted, of ONNX {given.mean():.3f}")
    raw = model.predict(inputs, prediction_type="RawFormulaVal")
    assert np.allclose(true, raw if loss == "RMSE" else np.exp(raw)), "this has changed: catboost"
    assert np.allclose(given, true if loss == "RMSE" else np.log(true), atol=1e-4), "this has changed: the logarithm"
PY
echo "still so"
