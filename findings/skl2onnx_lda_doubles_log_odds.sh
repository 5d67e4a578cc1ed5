#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0, scikit-learn 1.9.1, 2026-11-30: two-class LDA is twice as sure.
#
# Guess: the ONNX file of LinearDiscriminantAnalysis gives the probabilities of predict_proba. Seen: with three classes
# it does. With two it takes a softmax of the score and its negative, which is the sigmoid of twice the score, where
# scikit-learn takes the sigmoid of the score. Labels are right, but every log odds is doubled: 0.8 becomes 0.94. What
# was calibrated is overconfident on the device, a threshold other than 0.5 lets other rows through, and no word is
# said.
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
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(4000, 8)).astype(np.float32)
scores = 0.7 * inputs @ drawn.normal(size=(8, 3)) + drawn.gumbel(size=(4000, 3))
targets = {2: (scores[:, 0] > scores[:, 1]).astype(np.int64), 3: scores.argmax(1)}


def converted(model, options: dict[str, object] | None) -> list[np.ndarray]:
    file = to_onnx(model, inputs[:1], options=options).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": inputs})


shrunk = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
for model in (LogisticRegression(), LinearDiscriminantAnalysis(), shrunk):
    for count, target in targets.items():
        trained = model.fit(inputs, target)
        labels, told = converted(trained, {id(trained): {"zipmap": False}})
        true = trained.predict_proba(inputs)
        assert np.array_equal(labels, trained.predict(inputs)), "this has changed: the labels"
        chosen = told[np.arange(4000), target], true[np.arange(4000), target]
        losses = [float(-np.log(part).mean()) for part in chosen]
        gap = float(np.abs(told - true).max())
        print(f"{type(model).__name__}, {count} classes: probabilities differ by up to {gap:.3f};", end=" ")
        print(f"log loss {losses[1]:.3f}, of ONNX {losses[0]:.3f}")
        wrong = count == 2 and isinstance(model, LinearDiscriminantAnalysis)
        assert (gap > 0.1) == wrong and (wrong or gap < 1e-5), "this has changed"
        if wrong:
            score = inputs @ trained.coef_[0] + trained.intercept_[0]
            assert np.allclose(true[:, 1], 1 / (1 + np.exp(-score)), atol=1e-5), "this has changed: scikit-learn"
            assert np.allclose(told[:, 1], 1 / (1 + np.exp(-2 * score)), atol=1e-5), "this has changed: the log odds"
PY
echo "still so"
