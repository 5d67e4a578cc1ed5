#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0 and scikit-learn 1.9.1, 2026-11-30: isotonic calibration is converted to steps.
#
# Guess: the ONNX file of CalibratedClassifierCV(method="isotonic") gives the probabilities of predict_proba up to the
# rounding of float32, as it does with method="sigmoid". Seen: scikit-learn joins the thresholds by straight lines, and the
# converted model takes the value of one threshold. Probabilities differ by up to seven hundredths and fall together
# into few values. Nothing is said while converting.
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
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(3000, 4)).astype(np.float32)
labels = (inputs[:, 0] + drawn.normal(size=3000) > 0).astype(np.int64)

for method in ("sigmoid", "isotonic"):
    model = CalibratedClassifierCV(LogisticRegression(), method=method, ensemble=False).fit(inputs[:500], labels[:500])
    file = to_onnx(model, inputs[:1], options={"zipmap": False}).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    told = session.run(None, {"X": inputs[500:]})[1]
    true = model.predict_proba(inputs[500:])
    apart = float(np.abs(told - true).max())
    print(
        f"{method}: probabilities differ by at most {apart:.1e}; {len(np.unique(told[:, 1].round(5)))} values where"
        f" scikit-learn has {len(np.unique(true[:, 1].round(5)))}"
    )
    assert (apart > 0.02) == (method == "isotonic"), "this has changed: the probabilities"
    fewer = len(np.unique(told[:, 1].round(5))) < 0.5 * len(np.unique(true[:, 1].round(5)))
    assert fewer == (method == "isotonic"), "this has changed: the steps"
PY
echo "still so"
