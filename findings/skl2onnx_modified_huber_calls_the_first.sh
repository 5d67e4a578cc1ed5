#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: SGDClassifier calls other classes.
#
# Guess: SGDClassifier(loss="modified_huber") with three classes or more has the labels of predict() in ONNX, as with
# loss="log_loss". Seen: probabilities agree, and labels don't. predict() takes the greatest score. The converted model
# takes the greatest probability, and probabilities of this loss are scores cut at -1 and 1: all surely positive scores
# are the same, and so are all rows where none is positive. Of equal ones the first class wins: a fifth of the labels
# differ, and ones that were right turn wrong.
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
from sklearn.linear_model import SGDClassifier

drawn = np.random.default_rng(0)
places = drawn.integers(4, size=2000)
inputs = (drawn.normal(size=(4, 32))[places] + 3 * drawn.normal(size=(2000, 32))).astype(np.float32)


def converted(model, options: dict[str, object] | None) -> list[np.ndarray]:
    file = to_onnx(model, inputs[:1], options=options).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": inputs})


for loss in ("log_loss", "modified_huber"):
    model = SGDClassifier(loss=loss, random_state=0).fit(inputs, places)
    labels, shares = converted(model, {id(model): {"zipmap": False}})
    true = model.predict(inputs)
    by_hand = (inputs @ model.coef_.T + model.intercept_).argmax(1)
    assert np.array_equal(true, by_hand), "this has changed: scikit-learn"
    assert np.allclose(shares, model.predict_proba(inputs), atol=1e-4), "this has changed: the probabilities"
    other = float(np.mean(labels != true))
    right = [float(np.mean(told == places)) for told in (true, labels)]
    print(f"{loss}: {other:.3f} of the labels differ; accuracy {right[0]:.3f}, of ONNX {right[1]:.3f}")
    assert (other > 0.05) == (loss == "modified_huber") and other < 0.5, "this has changed"
    assert np.array_equal(labels, shares.argmax(1)), "this has changed: the labels of ONNX"
PY
echo "still so"
