#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: the tuned threshold is left out.
#
# Guess: TunedThresholdClassifierCV, which exists to move the threshold, calls the same labels once converted to ONNX,
# or can't be converted, as FixedThresholdClassifier. Seen: it is converted without a word to the estimator within it:
# labels are cut at 0.5 again. Where one row in twenty is positive, the tuned model finds nine tenths of these, and its
# file a fifth.
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
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import TunedThresholdClassifierCV

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(6000, 4)).astype(np.float32)
target = (inputs[:, 0] + inputs[:, 1] + 1.2 * drawn.normal(size=6000) > 3.1).astype(np.int64)


def converted(model, options: dict[str, object] | None) -> list[np.ndarray]:
    file = to_onnx(model, inputs[:1], options=options).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": inputs})


model = TunedThresholdClassifierCV(LogisticRegression()).fit(inputs, target)
labels, shares = converted(model, {id(model): {"zipmap": False}})
true, chances = model.predict(inputs), model.predict_proba(inputs)
print(f"{target.mean():.3f} of the rows are positive; the threshold is {model.best_threshold_:.3f}")
for name, told in (("scikit-learn", true), ("ONNX", labels)):
    print(f"{name}: {told.mean():.3f} called positive, recall {recall_score(target, told):.2f}")
assert np.allclose(shares, chances, atol=1e-5), "this has changed: the probabilities"
assert np.array_equal(true, chances[:, 1] >= model.best_threshold_), "this has changed: scikit-learn"
assert np.array_equal(labels, shares[:, 1] > 0.5), "this has changed: the threshold is in the file"
assert recall_score(target, true) > 2 * recall_score(target, labels), "this has changed"
PY
echo "still so"
