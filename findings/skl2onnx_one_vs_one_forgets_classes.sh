#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: one-vs-one tells a place for a class.
#
# Guess: OneVsOneClassifier converted to ONNX gives the classes that predict() gives, as OneVsRestClassifier does.
# Seen: it gives their places, 0, 1, 2, whatever the classes are called: of the classes 1, 2 and 3 each answer is one
# too low, and of -1, 0 and 1 each is another class. All three are still valid numbers. Only classes that count from 0
# come out right. With words for classes the file can't be loaded.
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
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(600, 8)).astype(np.float32)
places = (inputs @ drawn.normal(size=(8, 3))).argmax(1)


def converted(model, options: dict[str, object] | None) -> list[np.ndarray]:
    file = to_onnx(model, inputs[:1], options=options).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": inputs})


for classes in ([0, 1, 2], [1, 2, 3], [-1, 0, 1]):
    target = np.array(classes)[places]
    for kind in (OneVsRestClassifier, OneVsOneClassifier):
        model = kind(LogisticRegression()).fit(inputs, target)
        true = model.predict(inputs)
        assert np.mean(true == target) > 0.95, "this has changed: predict"
        told = converted(model, {id(model): {"zipmap": False}})[0].ravel()
        right = float(np.mean(told == target))
        print(f"{kind.__name__}, classes {classes}: accuracy {np.mean(true == target):.3f}, of ONNX {right:.3f}")
        if kind is OneVsRestClassifier:
            assert np.array_equal(told, true), "this has changed: one against the rest"
        else:
            assert np.array_equal(told, np.searchsorted(classes, true)), "this has changed: one against one"
PY
echo "still so"
