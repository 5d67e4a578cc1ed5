#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: three steps before a model differ.
#
# Guess: steps of preprocessing convert to what they do in scikit-learn, or say what they can't do, as SimpleImputer
# does with missing_values=-1. Seen: Normalizer("max") divides by the greatest value, where scikit-learn divides by the
# greatest absolute value, so that rows with a large negative number grow, or change their signs. KNNImputer reads no
# missing_values: -1 stays in the row and is filled nowhere. SimpleImputer(add_indicator=True) leaves the indicators
# out. A model after the first two gives other answers without a word.
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
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(600, 4)).astype(np.float32)
target = (inputs[:, 0] + inputs[:, 1] > 0).astype(np.int64)
counts = np.abs(inputs * 5).round().astype(np.float32)
holed = np.where(drawn.random(inputs.shape) < 0.2, np.float32(-1), counts)
empty = np.where(holed < 0, np.float32("nan"), holed)


def told(model, rows: np.ndarray, answers: int = 0) -> np.ndarray:
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    file = to_onnx(model, rows[:1], options=options).SerializeToString()
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"X": rows})[answers]


greatest = Normalizer("max").fit(inputs)
given = told(greatest, inputs)
assert np.allclose(greatest.transform(inputs), inputs / np.abs(inputs).max(1, keepdims=True)), "this has changed"
signs = float(np.mean(np.sign(given) != np.sign(inputs)))
print(f"Normalizer('max'): greatest number {np.abs(given).max():.1f} for 1.0; {signs:.2f} of the signs differ")
assert np.abs(given).max() > 2, "this has changed: absolute values"

minus = KNNImputer(missing_values=-1).fit(holed)
assert (minus.transform(holed) >= 0).all(), "this has changed: scikit-learn"
given = told(minus, holed)
print(f"KNNImputer(missing_values=-1): {int((given == -1).sum())} of {int((holed == -1).sum())} holes stay -1")
assert (given[holed == -1] == -1).all(), "this has changed: missing_values"

for name, step, rows in (("no step", None, inputs), ("Normalizer('max')", Normalizer("max"), inputs),
                         ("KNNImputer(missing_values=-1)", KNNImputer(missing_values=-1), holed)):  # fmt: skip
    model = make_pipeline(*([step] if step else []), LogisticRegression(C=100)).fit(rows, target)
    other = float(np.mean(told(model, rows) != model.predict(rows)))
    print(f"{name}, then logistic regression: {other:.3f} of the labels differ")
    assert (other > 0.01) == (step is not None), "this has changed: the labels"

indicated = SimpleImputer(add_indicator=True).fit(empty)
shapes = indicated.transform(empty).shape, told(indicated, empty).shape
print(f"SimpleImputer(add_indicator=True): {shapes[0][1]} columns, of ONNX {shapes[1][1]}")
assert shapes == ((600, 8), (600, 4)), "this has changed: the indicators"
PY
echo "still so"
