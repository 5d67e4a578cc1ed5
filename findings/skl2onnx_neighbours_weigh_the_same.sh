#!/usr/bin/env bash
# skl2onnx 1.20.0 with onnxruntime 1.32.0 and scikit-learn 1.9.1, 2026-11-30: the weights of nearest neighbours are ignored.
#
# Guess: KNeighborsClassifier(weights="distance") has the same labels and probabilities once converted to ONNX, or can't be
# converted. Seen: it is converted without a word as if weights were "uniform": its probabilities are the plain shares of
# the neighbours, and one label in fifty differs. Of known examples, which scikit-learn always calls by their own
# label, a sixth gets another. The same holds for the numbers of KNeighborsRegressor.
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
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

drawn = np.random.default_rng(0)
inputs = drawn.normal(size=(2000, 4)).astype(np.float32)
labels = (inputs[:, 0] + 0.7 * drawn.normal(size=2000) > 0).astype(np.int64)
known, new = slice(0, 500), slice(500, None)


def converted(model, settings: dict[str, object]) -> list[np.ndarray]:
    file = to_onnx(model, inputs[:1], options=settings).SerializeToString()
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return [session.run(None, {"X": inputs[part]}) for part in (known, new)]


for weights in ("uniform", "distance"):
    model = KNeighborsClassifier(weights=weights).fit(inputs[known], labels[known])
    (of_known, _), (of_new, shares) = converted(model, {"zipmap": False})
    uniform = KNeighborsClassifier(weights="uniform").fit(inputs[known], labels[known]).predict_proba(inputs[new])
    others = [float(np.mean(told != model.predict(inputs[part]))) for told, part in ((of_known, known), (of_new, new))]
    print(f"{weights}: other labels for {others[0]:.3f} of the known and {others[1]:.3f} of the new examples")
    assert np.allclose(shares, uniform, atol=1e-5), "this has changed: probabilities are no longer the plain shares"
    assert (others[0] > 0.05 and others[1] > 0.01) == (weights == "distance"), "this has changed: the labels"

    regressor = KNeighborsRegressor(weights=weights).fit(inputs[known], inputs[known, 0] * 2)
    told = converted(regressor, {})[1][0].ravel()
    plain = KNeighborsRegressor().fit(inputs[known], inputs[known, 0] * 2).predict(inputs[new])
    apart, from_plain = (float(np.abs(told - number).max()) for number in (regressor.predict(inputs[new]), plain))
    print(f"{weights}: numbers of the regressor differ by at most {apart:.1e}, from a plain mean by {from_plain:.1e}")
    assert (apart > 0.1) == (weights == "distance") and from_plain < 1e-4, "this has changed: the regressor"
PY
echo "still so"
