#!/usr/bin/env bash
# crepes 0.9.1 with scikit-learn 1.9.1, 2026-11-29: the same rows asked twice get other prediction sets.
#
# Guess: a calibrated classifier is a function: `predict_set` of the same rows gives the same sets.
# Seen: p-values are smoothed by a random number, seeded anew at each call, unless `smoothing=False` (or a seed) is given.
# With 5 calibration examples, as few-shot work has them, half of the rows get another set the second time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q --disable-pip-version-check crepes==0.9.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from crepes import WrapClassifier
from sklearn.linear_model import LogisticRegression

random = np.random.default_rng(0)
rows = random.normal(size=(505, 5))
labels = (rows[:, 0] + random.normal(size=505) > 0).astype(int)
model = WrapClassifier(LogisticRegression())
model.fit(rows[:200], labels[:200])
model.calibrate(rows[200:205], labels[200:205])


def differing(**options):
    first, second = (model.predict_set(rows[205:], confidence=0.9, **options) for _ in range(2))
    return sum(set(one) != set(other) for one, other in zip(first, second, strict=True))


smoothed, plain = differing(), differing(smoothing=False)
print(f"of 300 rows asked twice {smoothed} get another set; with smoothing=False {plain}")
assert smoothed > 50, "this has changed"
assert plain == 0, "this has changed: even without smoothing"
PY
echo "still so"
